import assert from "node:assert/strict";
import { test } from "node:test";

import { decibelText, markStep, position } from "../mixer/format";
import { actionOf, type Focus } from "../mixer/keys";

function press(key: string, focus: Focus = "other", change: { shiftKey?: boolean } = {}) {
  const none = { shiftKey: false, ctrlKey: false, altKey: false, metaKey: false };
  const code = /^\d$/.test(key) ? `Digit${key}` : "";
  return actionOf({ key, code, ...none, ...change }, focus);
}

test("keys of the mixer", () => {
  assert.deepEqual(press(" "), { do: "toggle" });
  assert.deepEqual(press("ArrowLeft"), { do: "seek-by", seconds: -5 });
  assert.deepEqual(press("ArrowRight", "other", { shiftKey: true }), { do: "seek-by", seconds: 1 });
  assert.deepEqual(press("L", "button", { shiftKey: true }), { do: "loop" });
  assert.deepEqual(press("2"), { do: "solo", index: 1 });
  assert.deepEqual(press("2", "other", { shiftKey: true }), { do: "mute", index: 1 });
  assert.equal(press("x"), null);
});

test("keys that the focused element needs are its own", () => {
  assert.equal(press(" ", "button"), null);
  assert.deepEqual(press(" ", "slider"), { do: "toggle" });
  assert.equal(press("ArrowLeft", "slider"), null);
  assert.equal(press("i", "text"), null);
  const key = { key: "l", code: "KeyL", shiftKey: false, altKey: false, metaKey: false };
  assert.equal(actionOf({ ...key, ctrlKey: true }, "other"), null);
});

test("figures", () => {
  assert.equal(position(59.96), "0:59.9");
  assert.equal(position(3600.3), "1:00:00.3");
  assert.equal(decibelText(-48), "\u2212\u221e dB");
  assert.equal(decibelText(-6.5), "\u22126.5 dB");
  assert.equal(decibelText(3), "+3 dB");
  assert.equal(markStep(95, 10), 10);
  assert.equal(markStep(3600, 4), 900);
});
