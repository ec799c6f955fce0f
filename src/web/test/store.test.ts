import assert from "node:assert/strict";
import { test } from "node:test";

import { change, entryOf, erase, markGone, take } from "../jobs/store";
import { job } from "./job";

/** The server's next answer. */
function answer(status: number, body: unknown): void {
  globalThis.fetch = () => Promise.resolve(new Response(JSON.stringify(body), { status }));
}

test("why a song was not canceled is not told of one that is gone", async () => {
  take(job({ id: "a", state: "running" }), true);
  answer(503, { code: "queue_unavailable" });
  await erase("a");
  assert.match(entryOf("a")?.trouble.value ?? "", /not canceled/);
  markGone("a");
  assert.equal(entryOf("a")?.gone.value, true);
  assert.equal(entryOf("a")?.trouble.value, null);
});

test("a song that ends before its cancel comes to the worker can be erased", async () => {
  take(job({ id: "b", state: "running" }), true);
  answer(202, { state: "canceling" });
  await erase("b");
  change("b", { state: "running", progress: 0.9 });
  assert.equal(entryOf("b")?.leaving.value, true);
  change("b", { state: "succeeded" });
  assert.equal(entryOf("b")?.leaving.value, false);
});

test("a song that was canceled goes", async () => {
  take(job({ id: "c", state: "running" }), true);
  answer(202, { state: "canceling" });
  await erase("c");
  change("c", { state: "canceled" });
  assert.equal(entryOf("c"), undefined);
});
