import assert from "node:assert/strict";
import { test } from "node:test";

import { checkKept } from "../mixer/kept";
import { REST } from "../mixer/mix";

const mix = {
  faders: { bass: { volume: -6, pan: 0.5, mute: true, solo: false } },
  region: { start: 44100, end: 88200 },
  loops: true,
};

test("a mix comes back as it was left", () => {
  assert.deepEqual(checkKept(JSON.parse(JSON.stringify([["a", mix]]))), [["a", mix]]);
});

test("what the browser kept may be anything", () => {
  for (const nothing of [null, 1, "a", {}]) assert.equal(checkKept(nothing), null);
  const rest = { faders: {}, region: null, loops: false };
  assert.deepEqual(checkKept([1, [2, mix], ["a"], ["b", 3]]), [
    ["a", rest],
    ["b", rest],
  ]);
  const odd = [
    { faders: { bass: { volume: 1e9, pan: "left", mute: 1 } } },
    { faders: { bass: null } },
  ];
  for (const one of odd) assert.deepEqual(checkKept([["a", one]])![0]![1].faders.bass, REST);
  for (const region of [{ start: 5, end: 5 }, { start: -1, end: 5 }, { start: 0.5, end: 5 }, [1]])
    assert.equal(checkKept([["a", { region }]])![0]![1].region, null);
});
