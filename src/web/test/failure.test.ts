import assert from "node:assert/strict";
import { test } from "node:test";

import { Failure, failureOf, retryDelay } from "../api/failure";

test("an answer's problem is told by its code and detail", () => {
  const failure = failureOf(429, '{"code":"quota","detail":"5 jobs wait"}', "30");
  assert.equal(failure.code, "quota");
  assert.equal(failure.detail, "5 jobs wait");
  assert.equal(failure.retryAfterS, 30);
});

test("a proxy's page and no answer at all have codes, too", () => {
  assert.equal(failureOf(502, "<html>", null).code, "status_502");
  assert.equal(failureOf(0, "", null).code, "network");
  assert.equal(failureOf(503, "", "Sun, 29 Nov 2026 10:00:00 GMT").retryAfterS, null);
});

test("what passes is tried again, later each time and not before the server says", () => {
  const lost = new Failure(0, "network", "");
  assert.equal(retryDelay(lost, 0), 500);
  assert.equal(retryDelay(lost, 2), 2000);
  assert.equal(retryDelay(lost, 1000), 15000);
  assert.equal(retryDelay(new Failure(503, "queue_full", "", 7), 0), 7000);
  assert.equal(retryDelay(new Failure(503, "queue_full", "", 1), 9), 15000);
});

test("what does not pass is not", () => {
  for (const status of [400, 401, 403, 404, 413, 422]) {
    assert.equal(retryDelay(new Failure(status, "", ""), 0), null);
  }
  assert.equal(retryDelay(new Failure(500, "internal", ""), 0), 500);
  assert.equal(retryDelay(new Failure(500, "internal", ""), 3), null);
});
