// Windows of the stems: fetched, decoded and kept while the player wants them, and no longer, so
// that memory does not grow with the song. One window is there when it is there of every stem.

import { signal } from "@preact/signals";

import { ask } from "../api/client";
import { RATE } from "./timeline";

/** So many are on their way at a time, until they are decoded. Browsers open six connections to a
 * server; streams of events and the rest of the page need some of them. */
const REQUESTS = 3;
/** Bytes that nobody writes to, so that they cost no memory. But collectors of garbage count them,
 * and come in time for the buffers that are done with, of which they count too little: Chromium
 * does not count what decodeAudioData takes, and hundreds of megabytes of it would be kept. */
const UNWRITTEN = 16 << 20;
const RETRY_S = [0.25, 0.5, 1, 2, 4, 8];

export interface Source {
  /** Where the window is to be had; null: nowhere at the moment. Asked before each try. */
  url(stem: string, window: number): string | null;
  /** What the samples of that address are to be multiplied by. */
  scale(stem: string): number;
  /** A window that nobody wants to hear, but to see; null: none. */
  unseen(): { stem: string; window: number } | null;
  decoded(stem: string, window: number, buffer: AudioBuffer): void;
}

/** Why nothing comes: the connection is lost, the server refused with a status, or what it sent
 * cannot be decoded. */
export type Trouble = "lost" | "unreadable" | number;

interface Slot {
  buffer: AudioBuffer | null;
  /** Of the request at work. */
  abort: AbortController | null;
  failures: number;
  /** When to try again, on the clock of performance.now(). */
  retryAt: number;
}

class Refused extends Error {
  constructor(
    readonly status: number,
    readonly retryAfterMs: number,
  ) {
    super(`status ${status}`);
  }
}

async function load(url: string, abort: AbortSignal): Promise<ArrayBuffer> {
  // What a browser would cache of a song for playing it again is more than all that it plays.
  const answer = await ask(url, { signal: abort, cache: "no-store" });
  if (!answer.ok) {
    void answer.body?.cancel();
    throw new Refused(answer.status, Number(answer.headers.get("Retry-After") ?? 0) * 1000);
  }
  return answer.arrayBuffer();
}

function multiply(buffer: AudioBuffer, scale: number): void {
  if (scale === 1) return;
  for (let c = 0; c < buffer.numberOfChannels; c++) {
    const samples = buffer.getChannelData(c);
    for (let i = 0; i < samples.length; i++) samples[i]! *= scale;
  }
}

export class Windows {
  readonly trouble = signal<Trouble | null>(null);

  private slots = new Map<number, Map<string, Slot>>();
  private wanted: number[] = [];
  private requests = 0;
  private seeing: AbortController | null = null;
  /** Whether to look for what is unseen; not after a failure, until the source has changed. */
  private looking = true;
  private timer = 0;
  private closed = false;
  // Decodes without a gesture of the user, which a context that plays would need.
  private decoder = new OfflineAudioContext(2, 1, RATE);

  /** `arrived` is called when a window has become complete. */
  constructor(
    private readonly stems: readonly string[],
    private readonly source: Source,
    private readonly arrived: () => void,
  ) {}

  /** Sets what is wanted, the most urgent first. Whatever else is there or on its way goes. */
  want(windows: readonly number[]): void {
    if (windows.join() !== this.wanted.join()) {
      this.wanted = [...windows];
      for (const [window, slots] of this.slots) {
        if (this.wanted.includes(window)) continue;
        for (const slot of slots.values()) slot.abort?.abort();
        this.slots.delete(window);
      }
    }
    this.pump();
  }

  has(window: number): boolean {
    return this.buffers(window) !== null;
  }

  /** The window of every stem, in their order; null while one is missing. */
  buffers(window: number): AudioBuffer[] | null {
    const slots = this.slots.get(window);
    if (!slots) return null;
    const buffers = this.stems.map((stem) => slots.get(stem)?.buffer ?? null);
    return buffers.every((buffer) => buffer !== null) ? (buffers as AudioBuffer[]) : null;
  }

  /** Tries at once what waits for its next try: the source has changed, or a connection is back. */
  refresh(): void {
    for (const slots of this.slots.values()) for (const slot of slots.values()) slot.retryAt = 0;
    this.looking = true;
    this.pump();
  }

  close(): void {
    this.closed = true;
    this.want([]);
    this.seeing?.abort();
    clearTimeout(this.timer);
  }

  private pump(): void {
    clearTimeout(this.timer);
    const now = performance.now();
    let next = Infinity;
    for (const window of this.wanted) {
      for (const stem of this.stems) {
        const slot = this.slot(window, stem);
        if (slot.buffer || slot.abort || this.requests >= REQUESTS) continue;
        const url = this.source.url(stem, window);
        if (url === null) continue;
        if (slot.retryAt > now) next = Math.min(next, slot.retryAt);
        else void this.fill(slot, stem, window, url);
      }
    }
    if (next < Infinity) this.timer = window.setTimeout(() => this.pump(), next - now);
    else if (this.requests === 0 && !this.seeing) void this.see();
  }

  private slot(window: number, stem: string): Slot {
    let slots = this.slots.get(window);
    if (!slots) this.slots.set(window, (slots = new Map()));
    let slot = slots.get(stem);
    if (!slot) slots.set(stem, (slot = { buffer: null, abort: null, failures: 0, retryAt: 0 }));
    return slot;
  }

  private async fill(slot: Slot, stem: string, window: number, url: string): Promise<void> {
    const abort = (slot.abort = new AbortController());
    const scale = this.source.scale(stem);
    this.requests++;
    try {
      const buffer = await this.decode(await load(url, abort.signal));
      abort.signal.throwIfAborted();
      multiply(buffer, scale);
      slot.buffer = buffer;
      this.trouble.value = null;
      this.source.decoded(stem, window, buffer);
    } catch (error) {
      if (abort.signal.aborted) return;
      this.failed(slot, error);
    } finally {
      slot.abort = null;
      this.requests--;
      this.pump();
    }
    if (this.slots.get(window)?.get(stem) !== slot) return;
    if (this.has(window)) this.arrived();
  }

  private decode(bytes: ArrayBuffer): Promise<AudioBuffer> {
    void new ArrayBuffer(UNWRITTEN);
    return this.decoder.decodeAudioData(bytes);
  }

  private failed(slot: Slot, error: unknown): void {
    const wait = RETRY_S[Math.min(slot.failures++, RETRY_S.length - 1)]! * 1000;
    const asked = error instanceof Refused ? error.retryAfterMs : 0;
    slot.retryAt = performance.now() + Math.max(wait, asked);
    // One refusal is nothing to tell: a piece of the preview may just have gone, or the server
    // may have been busy.
    if (slot.failures < 3) return;
    if (error instanceof Refused) this.trouble.value = error.status;
    else this.trouble.value = error instanceof TypeError ? "lost" : "unreadable";
  }

  /** Decodes something for its waveform alone, while there is nothing else to do. */
  private async see(): Promise<void> {
    const unseen = this.looking && !this.closed ? this.source.unseen() : null;
    const url = unseen && this.source.url(unseen.stem, unseen.window);
    if (!unseen || !url) return;
    const abort = (this.seeing = new AbortController());
    let seen = false;
    try {
      const buffer = await this.decode(await load(url, abort.signal));
      this.source.decoded(unseen.stem, unseen.window, buffer);
      seen = true;
    } catch {
      this.looking = false;
    } finally {
      this.seeing = null;
    }
    if (seen && !this.closed) this.pump();
  }
}
