// The arithmetic of playing: which part of the song sounds when. All positions are whole frames of
// 44.1 kHz, so that nothing is ever a sample off. Nothing here knows of a browser.

export const RATE = 44100;
/** Frames of a window: what is fetched, decoded and scheduled as one. */
export const WINDOW = 5 * RATE;

/** Frames of the shortest loop that is heard as one. */
export const SHORTEST = RATE / 10;

/** A region of the song, [start, end). */
export interface Loop {
  start: number;
  end: number;
}

/** The frame `at` of the song sounds at the frame `when` of the clock. */
export interface Cursor {
  at: number;
  when: number;
}

export interface Piece extends Cursor {
  length: number;
}

export function windowOf(at: number): number {
  return Math.floor(at / WINDOW);
}

/** How long the piece that begins at `at` is: to the end of its window, of the loop or of the
 * song, whichever is first. 0: the song is over. */
export function pieceLength(at: number, loop: Loop | null, end: number): number {
  let stop = Math.min(end, (windowOf(at) + 1) * WINDOW);
  if (loop && at < loop.end) stop = Math.min(stop, loop.end);
  return Math.max(0, stop - at);
}

/** Where the song goes on when it has come to `at`. */
export function wrap(at: number, loop: Loop | null): number {
  return loop && at === loop.end ? loop.start : at;
}

export function after(piece: Piece, loop: Loop | null): Cursor {
  return { at: wrap(piece.at + piece.length, loop), when: piece.when + piece.length };
}

/** The next `count` windows that will sound from `at` on, the most urgent first. */
export function windowsAhead(at: number, loop: Loop | null, end: number, count: number): number[] {
  const windows = new Set<number>();
  for (let step = 0; step < 4 * count && windows.size < count; step++) {
    const length = pieceLength(at, loop, end);
    if (length === 0) break;
    windows.add(windowOf(at));
    at = wrap(at + length, loop);
  }
  return [...windows];
}

/** For how many frames from `at` on the sound is there, given which windows are; at most about
 * `enough`. It counts the end of what there is to play as enough. */
export function isReady(
  at: number,
  loop: Loop | null,
  end: number,
  enough: number,
  has: (window: number) => boolean,
): boolean {
  for (let frames = 0; frames < enough;) {
    const length = pieceLength(at, loop, end);
    if (length === 0) return frames > 0;
    if (!has(windowOf(at))) return false;
    frames += length;
    at = wrap(at + length, loop);
  }
  return true;
}

/** Where the song is at the frame `now` of the clock. `pieces` is not empty. */
export function positionAt(pieces: readonly Piece[], now: number): number {
  let current = pieces[0]!;
  for (const piece of pieces) if (piece.when <= now) current = piece;
  return current.at + Math.min(Math.max(0, now - current.when), current.length);
}

/** What of `pieces`, the first of which sounds now, is still right when the loop has become
 * `loop`: the pieces to keep, the last perhaps shortened, and where to go on from. */
export function replan(
  pieces: readonly Piece[],
  loop: Loop | null,
  end: number,
): { kept: Piece[]; cursor: Cursor } {
  const kept: Piece[] = [];
  let cursor: Cursor = { at: pieces[0]!.at, when: pieces[0]!.when };
  for (const piece of pieces) {
    if (piece.at !== cursor.at) break;
    const length = Math.min(piece.length, pieceLength(piece.at, loop, end));
    const part = { at: piece.at, when: piece.when, length };
    kept.push(part);
    cursor = after(part, loop);
    if (length < piece.length) break;
  }
  return { kept, cursor };
}

/** A loop between two frames in any order, inside the song and long enough to be heard as one;
 * null: there is none. */
export function loopBetween(a: number, b: number, end: number): Loop | null {
  const start = Math.max(0, Math.round(Math.min(a, b)));
  const stop = Math.min(end, Math.round(Math.max(a, b)));
  return stop - start < SHORTEST ? null : { start, end: stop };
}
