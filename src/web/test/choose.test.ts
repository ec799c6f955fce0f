import assert from "node:assert/strict";
import { test } from "node:test";

import { merge, worthStreams } from "../jobs/choose";
import { checkHistory, keptOf, newestFirst, withJob } from "../history/stored";
import { idOf } from "../route";
import { job } from "./job";

test("running jobs are followed first, then who is next in line", () => {
  const jobs = [
    job({ id: "far", position: null }),
    job({ id: "third", position: 3 }),
    job({ id: "next", position: 0 }),
    job({ id: "runs", state: "running", position: null }),
  ];
  assert.deepEqual(worthStreams(jobs, 2), ["runs", "next"]);
  assert.deepEqual(worthStreams(jobs, 9), ["runs", "next", "third", "far"]);
});

test("progress changes what it names and nothing else", () => {
  const before = job({ position: 4 });
  const after = merge(before, { id: "a", state: "running", progress: 0.5 });
  assert.equal(after.progress, 0.5);
  assert.equal(after.position, null);
  assert.equal(after.input, before.input);
  assert.equal("erased" in merge(before, { state: "canceled", erased: true }), false);
});

test("what is known is not undone by an older answer", () => {
  const running = job({ state: "running", progress: 0.37, position: null });
  for (const state of ["succeeded", "failed", "canceled", "expired"] as const) {
    const ended = job({ state, position: null });
    assert.equal(merge(ended, running), ended);
    assert.equal(merge(ended, { id: "a", state: "running", progress: 0.37 }), ended);
    assert.equal(merge(ended, job({})), ended);
  }
  assert.equal(merge(job({ state: "succeeded" }), job({ state: "expired" })).state, "expired");
  assert.equal(merge(running, job({ position: 0 })).state, "queued", "its worker gave it back");
});

test("a song that is sent again begins anew under its id", () => {
  const failed = job({ state: "failed" });
  const again = job({ created_at: "2026-11-28T11:00:00.000Z" });
  assert.equal(merge(failed, again).state, "queued");
  assert.equal(merge(again, failed), again, "the answer of before");
  assert.equal(merge({ ...failed, created_at: null }, again).state, "queued");
});

test("newest first", () => {
  const jobs = [job({ id: "old" }), job({ id: "new", created_at: "2026-11-29T00:00:00.000Z" })];
  assert.deepEqual(
    jobs.sort(newestFirst).map(({ id }) => id),
    ["new", "old"],
  );
});

test("history comes back as it was kept, and what is no job is left out", () => {
  const text = JSON.stringify([keptOf(job({ state: "succeeded" })), 7, { id: "x" }, null]);
  const jobs = checkHistory(JSON.parse(text));
  assert.equal(jobs?.length, 1);
  assert.equal(jobs?.[0]?.state, "succeeded");
  assert.equal(jobs?.[0]?.input.name, "song.mp3");
  assert.deepEqual(jobs?.[0]?.stems, []);
  assert.equal(checkHistory("x"), null);
});

test("history that is broken is shown as far as it is whole", () => {
  const whole = job({ state: "failed", position: null, finished_at: "2026-11-28T10:01:00Z" });
  const read = (change: object) => checkHistory([{ ...keptOf(whole), ...change }])?.[0];
  const nothing = { name: null, bytes: 0, seconds: null };
  assert.deepEqual(read({}), whole);
  assert.deepEqual(read({ input: {} })?.input, nothing);
  assert.deepEqual(read({ input: { name: 5, bytes: "5", seconds: -1 } })?.input, nothing);
  assert.equal(read({ created_at: 5 })?.created_at, null);
  assert.equal(read({ finished_at: "soon" })?.finished_at, null);
  for (const error of [{}, { code: 5 }, "io"]) assert.equal(read({ error })?.error, null);
  assert.deepEqual(read({ error: { code: "io" } })?.error, { code: "io", message: "" });
  const options = { model: 5, stems: "bass", two_stems: {}, format: null };
  const rest = { model: "", stems: null, two_stems: null, format: "mp3" };
  assert.deepEqual(read({ options })?.options, rest);
  assert.deepEqual(read({ options: { ...rest, stems: [5] } })?.options, rest);
  assert.deepEqual(read({ stems: 5, progress: "x", position: {} }), whole);
  assert.equal(read({ state: ["failed"] }), undefined);
});

test("an address names a song only by a whole id", () => {
  const id = "ab".repeat(28);
  assert.equal(idOf(`#/${id}`), id);
  assert.equal(idOf("#/abc"), null);
  assert.equal(idOf(`#/${id}/../x`), null);
});

test("what another tab erased does not come back with news of it", () => {
  const jobs = [job({ id: "b" })];
  assert.deepEqual(withJob(jobs, job({ id: "a", state: "running" }), false), jobs);
  const both = withJob(jobs, job({ id: "a" }), true);
  assert.deepEqual(
    both.map(({ id }) => id),
    ["a", "b"],
  );
  assert.equal(withJob(both, job({ id: "b", state: "running" }), false)[1]?.state, "running");
});
