import assert from "node:assert/strict";
import { test } from "node:test";

import { bytes, clock, percent, span } from "../ui/time";

test("lengths", () => {
  assert.equal(clock(0), "0:00");
  assert.equal(clock(187.4), "3:07");
  assert.equal(clock(3599.7), "1:00:00");
  assert.equal(clock(3765), "1:02:45");
});

test("spans are round, and never nothing", () => {
  assert.equal(span(0.2), "1 s");
  assert.equal(span(37), "40 s");
  assert.equal(span(55), "1 min");
  assert.equal(span(7200), "2 h");
  assert.equal(span(7800), "2 h 10 min");
});

test("sizes", () => {
  assert.equal(bytes(999), "999 B");
  assert.equal(bytes(5242880), "5.2 MB");
  assert.equal(bytes(256e6), "256 MB");
  assert.equal(bytes(999.9e6), "1.0 GB");
});

test("a bar is full only at the end", () => {
  assert.equal(percent(0.999), 99);
  assert.equal(percent(1), 100);
  assert.equal(percent(-1), 0);
});
