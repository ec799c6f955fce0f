import assert from "node:assert/strict";
import { test } from "node:test";

import {
  RATE,
  WINDOW,
  after,
  isReady,
  loopBetween,
  pieceLength,
  positionAt,
  replan,
  windowsAhead,
  type Loop,
  type Piece,
} from "../mixer/timeline";

const END = 20 * WINDOW + 1000;

/** The first `count` pieces from `at` on, the clock being `at` the frame 0. */
function pieces(at: number, loop: Loop | null, count: number): Piece[] {
  const made: Piece[] = [];
  for (let cursor = { at, when: 0 }; made.length < count;) {
    const length = pieceLength(cursor.at, loop, END);
    if (length === 0) break;
    const piece = { ...cursor, length };
    made.push(piece);
    cursor = after(piece, loop);
  }
  return made;
}

test("pieces end where windows do, and the last where the song does", () => {
  const all = pieces(100, null, 100);
  assert.equal(all.length, 21);
  assert.deepEqual(all[0], { at: 100, when: 0, length: WINDOW - 100 });
  assert.deepEqual(all[20], { at: 20 * WINDOW, when: 20 * WINDOW - 100, length: 1000 });
});

test("a loop goes round without a frame too many or too few", () => {
  const loop = { start: WINDOW - 7, end: WINDOW + 13 };
  const all = pieces(WINDOW - 10, loop, 7);
  const heard = all.flatMap((piece) =>
    Array.from({ length: piece.length }, (_, i) => [piece.when + i, piece.at + i]),
  );
  heard.forEach(([when], i) => assert.equal(when, i));
  const song = heard.map(([, at]) => at! - WINDOW);
  const round = Array.from({ length: 20 }, (_, i) => i - 7);
  assert.deepEqual(song.slice(0, 43), [-10, -9, -8, ...round, ...round]);
});

test("a loop behind the position does not hold it", () => {
  const loop = { start: 0, end: 1000 };
  assert.equal(pieceLength(1000, loop, END), WINDOW - 1000);
});

test("the windows ahead, also across the end of a loop and of the song", () => {
  assert.deepEqual(windowsAhead(WINDOW + 1, null, END, 4), [1, 2, 3, 4]);
  assert.deepEqual(windowsAhead(19 * WINDOW, null, END, 4), [19, 20]);
  const loop = { start: 2 * WINDOW + 5, end: 4 * WINDOW + 5 };
  assert.deepEqual(windowsAhead(3 * WINDOW, loop, END, 4), [3, 4, 2]);
  assert.deepEqual(windowsAhead(10, { start: 0, end: RATE / 10 }, END, 4), [0]);
  assert.deepEqual(windowsAhead(END, null, END, 4), []);
});

test("enough is there when all that sounds next is", () => {
  const has = (...windows: number[]) => windows.includes.bind(windows) as (n: number) => boolean;
  assert.equal(isReady(0, null, END, RATE, has(0)), true);
  assert.equal(isReady(WINDOW - 10, null, END, RATE, has(0)), false);
  assert.equal(isReady(WINDOW - 10, null, END, RATE, has(0, 1)), true);
  const loop = { start: 0, end: WINDOW };
  assert.equal(isReady(WINDOW - 10, loop, END, RATE, has(0)), true);
  // To the end of what can be played is enough, but nothing at all is not.
  assert.equal(isReady(20 * WINDOW, null, END, RATE, has(20)), true);
  assert.equal(isReady(2 * WINDOW, null, 2 * WINDOW, RATE, has(0, 1)), false);
});

test("the position follows the clock, and waits before and after the pieces", () => {
  const loop = { start: WINDOW, end: 2 * WINDOW };
  const all = pieces(2 * WINDOW - 50, loop, 2);
  assert.equal(positionAt(all, -5), 2 * WINDOW - 50);
  assert.equal(positionAt(all, 49.5), 2 * WINDOW - 0.5);
  assert.equal(positionAt(all, 50), WINDOW);
  assert.equal(positionAt(all, 1e9), 2 * WINDOW);
});

test("another loop keeps what is right of the schedule", () => {
  const plain = pieces(0, null, 3);
  assert.deepEqual(replan(plain, null, END), {
    kept: plain,
    cursor: { at: 3 * WINDOW, when: 3 * WINDOW },
  });
  const loop = { start: 100, end: WINDOW + 100 };
  assert.deepEqual(replan(plain, loop, END), {
    kept: [plain[0], { at: WINDOW, when: WINDOW, length: 100 }],
    cursor: { at: 100, when: WINDOW + 100 },
  });
  // Without the loop the song goes on where the loop would have gone back.
  const looped = pieces(0, loop, 4);
  assert.deepEqual(replan(looped, null, END), {
    kept: looped.slice(0, 2),
    cursor: { at: WINDOW + 100, when: WINDOW + 100 },
  });
  // A loop that ends with a scheduled piece goes back after it.
  assert.deepEqual(replan(plain, { start: 5, end: WINDOW }, END), {
    kept: plain.slice(0, 1),
    cursor: { at: 5, when: WINDOW },
  });
});

test("loops lie inside the song and can be heard", () => {
  assert.deepEqual(loopBetween(2 * RATE, RATE, END), { start: RATE, end: 2 * RATE });
  assert.deepEqual(loopBetween(-5, 2 * END, END), { start: 0, end: END });
  assert.equal(loopBetween(1000, 1010, END), null);
});
