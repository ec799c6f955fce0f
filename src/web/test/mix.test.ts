import assert from "node:assert/strict";
import { test } from "node:test";

import {
  SILENCE,
  decibels,
  djUrl,
  fadersOf,
  mixUrl,
  playableEnd,
  stemsOf,
  windowUrl,
  type Fader,
} from "../mixer/mix";
import { RATE, WINDOW } from "../mixer/timeline";
import { job } from "./job";

const STEMS = ["vocals", "drums", "bass"];

function faders(changes: Record<string, Partial<Fader>>) {
  const rest = fadersOf(STEMS);
  return Object.fromEntries(STEMS.map((stem) => [stem, { ...rest[stem]!, ...changes[stem] }]));
}

function done(...names: string[]) {
  const stems = names.map((name) => ({ name, url: "", bytes: 1, sha256: "" }));
  return job({ state: "succeeded", stems });
}

test("solo silences the others, and mute wins", () => {
  const set = faders({ drums: { solo: true, volume: -3 }, bass: { solo: true, mute: true } });
  assert.equal(decibels(set, "drums"), -3);
  assert.equal(decibels(set, "bass"), -Infinity);
  assert.equal(decibels(set, "vocals"), -Infinity);
  assert.equal(decibels(faders({ bass: { volume: SILENCE } }), "bass"), -Infinity);
});

test("the mix is asked for as it is heard", () => {
  const plain = job({ state: "succeeded" });
  assert.equal(mixUrl(plain, faders({}), "mp3"), "/apiv2/jobs/a/mix?format=mp3");
  const set = faders({
    vocals: { mute: true, pan: 1 },
    drums: { volume: -6.5, pan: -0.3 },
    bass: { volume: 3 },
  });
  assert.equal(
    mixUrl(plain, set, "flac"),
    "/apiv2/jobs/a/mix?gains=vocals:-inf,drums:-6.5,bass:3&pan=drums:-0.3&format=flac",
  );
});

test("a loop's ends name its frames to the server's rounding", () => {
  const loop = { start: 44101, end: 44101 + 123457 };
  const url = new URL(mixUrl(job({}), faders({}), "wav", loop), "http://x");
  const number = (name: string) => Number(url.searchParams.get(name));
  assert.equal(Math.round(number("from") * RATE), loop.start);
  assert.equal(Math.round((number("from") + number("seconds")) * RATE), loop.end);
});

test("windows come from the preview first, then from the stems", () => {
  const running = job({ state: "running", preview_seconds: 12.5 });
  assert.equal(windowUrl(running, "bass", 1, true), "/apiv2/jobs/a/preview/bass-1.flac");
  assert.equal(windowUrl(running, "bass", 2, true), "/apiv2/jobs/a/preview/bass-2.flac");
  assert.equal(windowUrl(running, "bass", 3, true), null);
  assert.equal(windowUrl(job({ state: "running", preview_seconds: 10 }), "bass", 2, true), null);
  assert.equal(windowUrl(job({ state: "failed", preview_seconds: 10 }), "bass", 0, true), null);
  assert.equal(
    windowUrl(done("bass"), "bass", 3, true),
    "/apiv2/jobs/a/stems/bass.flac?from=15&seconds=5&clip=rescale&sample_type=int16",
  );
  assert.match(windowUrl(done("bass"), "bass", 3, false)!, /clip=clamp/);
  assert.equal(playableEnd(running, 10 * WINDOW), 2.5 * WINDOW);
  assert.equal(playableEnd(running, WINDOW), WINDOW);
  assert.equal(playableEnd(done("bass"), 10 * WINDOW), 10 * WINDOW);
});

test("stems have one order before and after the end", () => {
  const model = ["drums", "bass", "other", "vocals"];
  const order = ["vocals", "drums", "bass", "other"];
  assert.deepEqual(stemsOf(job({}), model), order);
  assert.deepEqual(stemsOf(done(...model), null), order);
  assert.deepEqual(stemsOf(job({}), null), []);
  const options = job({}).options;
  const karaoke = job({ options: { ...options, two_stems: "vocals" } });
  assert.deepEqual(stemsOf(karaoke, model), ["vocals", "no_vocals"]);
  assert.deepEqual(stemsOf(done("no_vocals", "vocals"), null), ["vocals", "no_vocals"]);
  const some = job({ options: { ...options, stems: ["bass", "vocals"] } });
  assert.deepEqual(stemsOf(some, model), ["vocals", "bass"]);
  assert.deepEqual(stemsOf(done("zither", "vocals"), null), ["vocals", "zither"]);
});

test("a stem file for DJs needs the four", () => {
  assert.equal(djUrl(done("vocals", "drums", "bass", "other")), "/apiv2/jobs/a/stem.mp4");
  assert.equal(djUrl(done("vocals", "no_vocals")), null);
});
