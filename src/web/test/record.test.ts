import assert from "node:assert/strict";
import { test } from "node:test";

import { checkRecords, sameFile } from "../upload/record";
import { Speed } from "../upload/speed";

const record = {
  key: "k-1",
  name: "song.wav",
  size: 100,
  modified: 5,
  url: "/apiv2/uploads/u",
  offset: 40,
  wish: { format: "flac", stems: ["bass", "drums"] },
  at: 1000,
};

test("uploads of the last day come back, what is none does not", () => {
  assert.deepEqual(checkRecords([record, { key: 1 }, null], 2000), [record]);
  assert.deepEqual(checkRecords([record], 1000 + 24 * 3600 * 1000), []);
  assert.deepEqual(checkRecords({}, 0), []);
});

test("a file is the same by name, size and time", () => {
  const file = { name: "song.wav", size: 100, lastModified: 5 };
  assert.ok(sameFile(record, file));
  assert.ok(!sameFile(record, { ...file, size: 101 }));
  assert.ok(!sameFile(record, { ...file, lastModified: 6 }));
});

test("speed is that of the last seconds", () => {
  const speed = new Speed();
  speed.add(0, 0);
  assert.equal(speed.rate(), null);
  for (let s = 1; s <= 10; s += 1) speed.add(s * 1000, s < 5 ? 0 : (s - 5) * 1000);
  assert.equal(speed.rate(), 1000);
});
