import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { Windows } from "../mixer/windows";

const STEMS = ["vocals", "drums"];

/** A request for a window that the test answers, and a decoding that it ends. */
interface Asked {
  url: string;
  aborted: boolean;
  answer(): void;
  decode(): void;
}

let asked: Asked[] = [];
afterEach(() => (asked = []));

/** The few parts of a browser that windows are made with. */
function browser(): void {
  const decoding = new Map<string, () => void>();
  const fetch = (url: string, { signal }: { signal: AbortSignal }) =>
    new Promise((resolve, reject) => {
      const bytes = () => Promise.resolve(url);
      const one: Asked = {
        url,
        aborted: false,
        answer: () => resolve({ ok: true, arrayBuffer: bytes }),
        decode: () => decoding.get(url)!(),
      };
      signal.addEventListener("abort", () => {
        one.aborted = true;
        reject(signal.reason);
      });
      asked.push(one);
    });
  class OfflineAudioContext {
    decodeAudioData(url: string) {
      const buffer = { numberOfChannels: 2 };
      return new Promise((resolve) => decoding.set(url, () => resolve(buffer)));
    }
  }
  Object.assign(globalThis, { window: globalThis, fetch, OfflineAudioContext });
}

function windows(arrived: () => void): Windows {
  browser();
  const url = (stem: string, window: number) => `${stem} ${window}`;
  const source = { url, scale: () => 1, unseen: () => null, decoded: () => {} };
  return new Windows(STEMS, source, arrived);
}

const settled = () => new Promise((resolve) => setImmediate(resolve));
const urls = () => asked.map(({ url }) => url);

test("three are on their way at a time, until they are decoded", async () => {
  let arrivals = 0;
  const all = windows(() => arrivals++);
  all.want([4, 5]);
  assert.deepEqual(urls(), ["vocals 4", "drums 4", "vocals 5"]);
  for (const one of asked) one.answer();
  await settled();
  assert.equal(asked.length, 3);
  asked[0]!.decode();
  await settled();
  assert.deepEqual(urls().slice(3), ["drums 5"]);
  assert.equal(all.has(4), false);
  asked[1]!.decode();
  await settled();
  assert.equal(all.has(4), true);
  assert.equal(arrivals, 1);
  all.close();
});

test("what is not wanted any more makes room for what is", async () => {
  const all = windows(() => {});
  all.want([4, 5]);
  all.want([9]);
  await settled();
  assert.deepEqual(
    asked.slice(0, 3).map(({ aborted }) => aborted),
    [true, true, true],
  );
  assert.deepEqual(urls().slice(3), ["vocals 9", "drums 9"]);
  for (const one of asked.slice(3)) one.answer();
  await settled();
  all.want([]);
  for (const one of asked.slice(3)) one.decode();
  await settled();
  assert.equal(all.has(9), false);
  all.close();
});
