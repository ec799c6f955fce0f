import assert from "node:assert/strict";
import { test } from "node:test";

import { FRAMES_PER_BIN, barPath, bars, emptyPeaks, fillPeaks, readPeaks } from "../mixer/peaks";
import { WINDOW } from "../mixer/timeline";

test("the worker's document", () => {
  const text = JSON.stringify({
    version: 1,
    sample_rate: 44100,
    frames: 2000,
    frames_per_bin: 882,
    stems: [{ name: "bass", gain: 0.5, peaks: btoa(String.fromCharCode(0, 255, 7)) }],
  });
  const peaks = readPeaks(text, ["bass"]);
  assert.equal(peaks.frames, 2000);
  assert.deepEqual(peaks.stems.get("bass"), { gain: 0.5, bins: Uint8Array.of(0, 255, 7) });
  assert.throws(() => readPeaks('{"version":2}', ["bass"]), /version 2/);
});

test("a decoded window fills its own bins, with the larger channel", () => {
  const frames = WINDOW + FRAMES_PER_BIN + 10;
  const { bins } = emptyPeaks(["bass"], frames).stems.get("bass")!;
  assert.equal(bins.length, 250 + 2);
  const left = new Float32Array(FRAMES_PER_BIN + 10).fill(0.25);
  const right = new Float32Array(FRAMES_PER_BIN + 10);
  right[FRAMES_PER_BIN + 9] = -2;
  fillPeaks(bins, 1, [left, right]);
  assert.deepEqual([...bins.slice(248)], [0, 0, 64, 255]);
});

test("bars show the largest bin, however many there is room for", () => {
  const bins = Uint8Array.of(0, 51, 255, 0);
  assert.deepEqual(bars(bins, 2, 255), [0.2, 1]);
  assert.deepEqual(bars(bins.subarray(0, 2), 2, 102), [0, 0.5]);
  assert.deepEqual(bars(new Uint8Array(3), 2, 0), [0, 0]);
  assert.deepEqual(bars(bins, 8, 255), [0, 0, 0.2, 0.2, 1, 1, 0, 0]);
  assert.equal(barPath([0, 1], 3, 10), "M1.5 4.5v1.0M4.5 1.0v8.0");
});
