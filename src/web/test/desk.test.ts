import { keptElsewhere, pass } from "./browser";

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import type { Job } from "../api/types";
import { MIXES_KEY, dropMixes } from "../history/mixes";
import { forget, take } from "../jobs/store";
import { Desk } from "../mixer/desk";
import { RATE } from "../mixer/timeline";
import { job } from "./job";

const STEMS = ["bass", "drums"];
const INPUT = { name: "song.mp3", bytes: 5, seconds: 60 };
const DONE = {
  input: INPUT,
  state: "succeeded",
  stems: STEMS.map((name) => ({ name, url: "", bytes: 1, sha256: "" })),
} satisfies Partial<Job>;

/** The worker's document, of stems that were kept at half their level. */
function peaks(frames = 60 * RATE): string {
  const stems = STEMS.map((name) => ({ name, gain: 0.5, peaks: btoa("\0\xff") }));
  return JSON.stringify({ version: 1, sample_rate: RATE, frames, frames_per_bin: 882, stems });
}

/** The server gives these answers to requests for peaks, the last one again and again; null: no
 * answer. Windows are never had. */
function server(...answers: ([status: number, body: string] | null)[]) {
  const seen = { asked: 0, windows: [] as string[] };
  globalThis.fetch = ((url: string) => {
    if (!url.endsWith("/peaks")) {
      seen.windows.push(url);
      return new Promise(() => {});
    }
    const answer = answers[Math.min(seen.asked++, answers.length - 1)];
    if (!answer) return Promise.reject(new TypeError("no connection"));
    return Promise.resolve(new Response(answer[1], { status: answer[0] }));
  }) as typeof fetch;
  return seen;
}

const desks: Desk[] = [];
function open(change: Partial<Job> = {}): Desk {
  const opened = job({ state: "running", input: INPUT, ...change });
  take(opened);
  const desk = new Desk(opened, STEMS);
  desks.push(desk);
  return desk;
}

afterEach(() => {
  for (const desk of desks.splice(0)) desk.close();
  localStorage.removeItem(MIXES_KEY);
});

for (const first of [[429, ""], [401, ""], [409, ""], [503, ""], null] as const)
  test(`peaks are asked for again after ${first?.[0] ?? "no answer"}`, async () => {
    const seen = server(first && [...first], [200, peaks()]);
    const desk = open(DONE);
    await pass(60);
    assert.equal(desk.peaksState.value, "there");
    assert.equal(desk.peaks.value.stems.get("bass")?.gain, 0.5);
    assert.equal(seen.asked, 2);
    assert.match(seen.windows.join(), /clip=rescale/);
  });

const unreadable = {
  "of another version": peaks().replace('"version":1', '"version":2'),
  "without base64": peaks().replaceAll('"peaks":"', '"peaks":"*'),
  "without a stem": peaks().replace("drums", "piano"),
  "without gains": peaks().replaceAll('"gain":0.5', '"gain":0'),
  "that is none": "null",
  "of a proxy": "<html>",
};
for (const [what, text] of Object.entries(unreadable))
  test(`a document ${what} is not asked for again`, async () => {
    const seen = server([200, text]);
    const desk = open(DONE);
    await pass(60);
    assert.equal(desk.peaksState.value, "never");
    assert.equal(seen.asked, 1);
    // Without the scale of what is kept, the server has to take it back.
    assert.match(seen.windows.join(), /clip=clamp/);
  });

test("jobs without peaks are not asked for them again", async () => {
  for (const status of [404, 410]) {
    const seen = server([status, ""]);
    const desk = open(DONE);
    await pass(60);
    assert.equal(desk.peaksState.value, "never");
    assert.equal(seen.asked, 1);
  }
});

test("what keeps the peaks away for long is told", async () => {
  server([403, ""]);
  const desk = open(DONE);
  await pass(60);
  assert.equal(desk.windows.trouble.value, 403);
  server(null);
  await pass(60);
  assert.equal(desk.windows.trouble.value, "lost");
});

test("the end of a scrub may be told twice, and counts once", () => {
  server(null);
  const desk = open();
  desk.scrub(7, "moves");
  assert.equal(desk.player.held, true);
  desk.scrub(7, "done");
  assert.equal(desk.player.held, false);
  desk.scrub(9, "done");
  assert.equal(desk.player.position.value, 7);
});

test("a loop to the end of the song ends with it when the song is a little shorter", async () => {
  const frames = 60 * RATE - 700;
  for (const [loops, start, expected] of [
    [true, 50 * RATE, { start: 50 * RATE, end: frames }],
    [false, 50 * RATE, { start: 50 * RATE, end: frames }],
    [true, frames - 4000, null],
  ] as const) {
    server([200, peaks(frames)]);
    const desk = open();
    desk.setRegion(start, 60 * RATE);
    if (!loops) desk.toggleLoop();
    desk.update(job(DONE));
    await pass(1);
    assert.equal(desk.peaks.value.frames, frames);
    assert.deepEqual(desk.region.value, expected);
    assert.deepEqual(desk.player.loop.value, loops ? expected : null);
    desk.clearRegion();
  }
});

/** A drag on the ruler, through these seconds. */
function drag(desk: Desk, phase: "done" | "off", from: number, ...to: number[]): void {
  const begin = desk.grabRegion(from * RATE, 0);
  for (const at of [from, ...to]) desk.dragRegion(at * RATE, begin, "moves");
  desk.dragRegion([from, ...to].pop()! * RATE, begin, phase);
}

test("the region that is shown is the one that is looped", () => {
  server(null);
  const desk = open();
  const region = { start: 10 * RATE, end: 20 * RATE };
  drag(desk, "done", 10, 20);
  for (const [phase, ...through] of [
    ["done", 2],
    ["done", 2, 5, 2],
    ["done", 10, 19.99],
    ["off", 2, 5],
  ] as const) {
    const [from, ...to] = through;
    drag(desk, phase, from, ...to);
    assert.deepEqual(desk.region.value, region);
    assert.deepEqual(desk.player.loop.value, region);
  }
  drag(desk, "done", 20, 25);
  assert.deepEqual(desk.region.value, { start: 10 * RATE, end: 25 * RATE });
  assert.deepEqual(desk.player.loop.value, desk.region.value);
});

test("a region that is not looped outlives a drag that was none", () => {
  server(null);
  const desk = open();
  drag(desk, "off", 2, 5);
  assert.equal(desk.region.value, null);
  drag(desk, "done", 10, 20);
  desk.toggleLoop();
  drag(desk, "off", 2, 5);
  assert.deepEqual(desk.region.value, { start: 10 * RATE, end: 20 * RATE });
  assert.equal(desk.player.loop.value, null);
});

const REGION = { start: 10 * RATE, end: 20 * RATE };
const LOUD = { volume: 6, pan: 0, mute: false, solo: false };

/** As another tab of the song keeps it. */
const theirs = { faders: { bass: LOUD }, region: REGION, loops: true };

test("the mix that another tab has made is taken over, and not written back", async () => {
  server(null);
  const desk = open();
  keptElsewhere(MIXES_KEY, [["a", theirs]]);
  assert.deepEqual(desk.faders.value.bass, LOUD);
  assert.deepEqual(desk.region.value, REGION);
  assert.deepEqual(desk.player.loop.value, REGION);
  const kept = localStorage.getItem(MIXES_KEY);
  await pass(1);
  assert.equal(localStorage.getItem(MIXES_KEY), kept);

  // The next change here is made to theirs.
  desk.setFader("drums", { mute: true });
  await pass(1);
  const [[, mix]] = JSON.parse(localStorage.getItem(MIXES_KEY)!);
  assert.equal(mix.faders.bass.volume, 6);
  assert.equal(mix.faders.drums.mute, true);
  assert.deepEqual(mix.region, REGION);
});

test("what another tab does to other songs, or to faders, does not move this one", async () => {
  server(null);
  const desk = open();
  keptElsewhere(MIXES_KEY, [["a", theirs]]);
  desk.player.seek(30); // out of the loop
  keptElsewhere(MIXES_KEY, [["a", { ...theirs, faders: {} }]]);
  assert.equal(desk.faders.value.bass?.volume, 0);
  assert.equal(desk.player.position.value, 30);
  keptElsewhere(MIXES_KEY, [["b", { ...theirs, loops: false }]]);
  assert.deepEqual(desk.player.loop.value, REGION);
});

test("a change made here wins over what another tab kept meanwhile", async () => {
  server(null);
  const desk = open();
  desk.setFader("drums", { volume: -3 });
  keptElsewhere(MIXES_KEY, [["a", theirs]]);
  await pass(1);
  const [[, mix]] = JSON.parse(localStorage.getItem(MIXES_KEY)!);
  assert.deepEqual(mix, { faders: desk.faders.value, region: null, loops: false });
  assert.equal(desk.faders.value.drums?.volume, -3);
});

test("a closed desk hears of no other tab", () => {
  server(null);
  const desk = open();
  desk.close();
  keptElsewhere(MIXES_KEY, [["a", theirs]]);
  assert.equal(desk.region.value, null);
});

const songsKept = () => JSON.parse(localStorage.getItem(MIXES_KEY)!).map(([id]: [string]) => id);

test("an erased song leaves no mix, whatever was changed just before", async () => {
  server(null);
  const desk = open();
  desk.setFader("drums", { mute: true });
  await pass(1);
  const other = open({ id: "b" });
  other.setFader("drums", { mute: true });
  await pass(1);
  desk.setFader("bass", { mute: true });
  assert.deepEqual(songsKept(), ["b", "a"]);
  forget(["a"]);
  assert.deepEqual(songsKept(), ["b"]);
  desk.close();
  await pass(1);
  assert.deepEqual(songsKept(), ["b"]);
});

test("log-out drops all mixes, also of songs that the page does not list", () => {
  const rest = [1, ["c", null]];
  localStorage.setItem(MIXES_KEY, JSON.stringify([["a", theirs], ...rest]));
  dropMixes(["a", "b"]);
  assert.deepEqual(JSON.parse(localStorage.getItem(MIXES_KEY)!), rest);
  dropMixes();
  assert.equal(localStorage.getItem(MIXES_KEY), "[]");
});

/** The region in seconds, which is looped; null: there is none, and no loop. */
function looped(desk: Desk): [start: number, end: number] | null {
  const region = desk.region.value;
  assert.deepEqual(desk.player.loop.value, region);
  return region && [region.start / RATE, region.end / RATE];
}

test("without a region, the next ten seconds are looped, or the last ones", () => {
  server(null);
  for (const [at, expected] of [
    [20, [20, 30]],
    [55, [50, 60]],
    [59.95, [50, 60]],
    [60, [50, 60]],
  ] as const) {
    const desk = open();
    desk.player.seek(at);
    desk.toggleLoop();
    assert.deepEqual(looped(desk), expected);
    desk.clearRegion();
  }
  const short = open({ input: { ...INPUT, seconds: 7 } });
  short.player.seek(7);
  short.toggleLoop();
  assert.deepEqual(looped(short), [0, 7]);
});

test("an edge too near to the other one moves that to the end of the song", () => {
  server(null);
  for (const [edge, at, expected] of [
    ["start", 15, [15, 20]],
    ["start", 19.95, [19.95, 60]],
    ["start", 25, [25, 60]],
    ["start", 59.95, [10, 20]],
    ["end", 15, [10, 15]],
    ["end", 10.05, [0, 10.05]],
    ["end", 5, [0, 5]],
    ["end", 0.05, [10, 20]],
  ] as const) {
    const desk = open();
    desk.setRegion(10 * RATE, 20 * RATE);
    desk.player.seek(at);
    desk.setEdge(edge);
    assert.deepEqual(looped(desk), expected);
    desk.clearRegion();
  }
});
