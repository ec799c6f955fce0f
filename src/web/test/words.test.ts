import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { Failure } from "../api/failure";
import { stateOf } from "../jobs/words";
import { texts } from "../texts";
import { songTitle } from "../ui/names";
import { job } from "./job";

const web = process.env.MSAAS_WEB ?? "src/web";

test("a queued song tells who is before it, and when nobody comes for it", () => {
  assert.equal(stateOf(job({ position: 0 }), 5), texts.job.next);
  assert.equal(stateOf(job({ position: 1 }), 500), "1 song is before it");
  assert.match(stateOf(job({ position: 0 }), 120), /no worker takes it/);
  assert.match(stateOf(job({ position: 3, workers: 0 }), 1), /No worker is there/);
  assert.equal(stateOf(job({ position: 0, workers: 2 }), 120), texts.job.next);
  assert.equal(stateOf(job({ position: null }), 1), texts.job.farBehind);
  const error = { code: "io", message: "disk" };
  assert.match(stateOf(job({ error }), 1), /disk is full or fails\. It is tried again/);
});

test("a running song tells how far it is", () => {
  const running = job({ state: "running", progress: 0.412, eta_seconds: 38.1 });
  assert.equal(stateOf(running, 1), "Separating · 41 % · about 40 s left");
  assert.equal(stateOf(job({ state: "running" }), 1), texts.job.beginning);
  assert.match(stateOf(running, 61), /^No progress for .* another one begins it again\.$/);
});

test("a failed song tells why, whatever the code", () => {
  const failed = (code: string, message: string) =>
    stateOf(job({ state: "failed", error: { code, message } }), 1);
  assert.match(failed("input", "song: is not audio of any known format"), /it is not audio/);
  assert.equal(failed("new_code", "x"), "The separation failed.");
  assert.equal(stateOf(job({ state: "failed" }), 1), "The separation failed.");
});

test("every code of docs/api.md that an upload or a job can meet has a sentence", () => {
  const codes = [
    "not_audio",
    "empty_audio",
    "too_large",
    "too_costly",
    "quota",
    "queue_full",
    "overloaded",
    "store_unavailable",
    "queue_unavailable",
    "disk_full",
    "no_memory",
    "unauthorized",
  ];
  for (const code of codes) {
    assert.doesNotMatch(texts.failure(new Failure(500, code, "")), /answered/, code);
  }
  const large = new Failure(413, "too_large", "at most 256000000 bytes are accepted");
  assert.equal(texts.failure(large), "The file is too large. At most 256 MB are accepted.");
});

test("every code of failed jobs in docs/api.md has a sentence", () => {
  const docs = readFileSync(join(web, "../../docs/api.md"), "utf8");
  const table = /<!-- job-codes:begin -->([^]*)<!-- job-codes:end -->/.exec(docs)?.[1] ?? "";
  const codes = [...table.matchAll(/^\| `(\w+)` \|/gm)].map((match) => match[1] ?? "");
  assert.ok(codes.length > 10);
  for (const code of codes) {
    const said = texts.jobFailure({ code, message: "" });
    assert.notEqual(said, texts.jobFailure(null), code);
  }
});

test("the frame in index.html says what the page says", () => {
  const html = readFileSync(join(web, "index.html"), "utf8");
  for (const text of Object.entries(texts.drop).flatMap(([key, value]) =>
    ["heading", "leadTouch", "choose", "lead", "formats"].includes(key) ? [String(value)] : [],
  )) {
    assert.ok(html.includes(text), text);
  }
  assert.ok(html.includes(`<title>${texts.title}</title>`));
});

test("a song is called as its file, without the ending", () => {
  assert.equal(songTitle("a.b.mp3"), "a.b");
  assert.equal(songTitle(".mp3"), ".mp3");
  assert.equal(songTitle(null), texts.unnamed);
});
