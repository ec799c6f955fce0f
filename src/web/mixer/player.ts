// The player: sample-exact by construction. All stems of a window are scheduled at one frame of the
// one clock that the audio hardware gives, or none is; so they cannot run apart, wherever and
// however often one seeks. What arrives too late stops all of them together.
//
// The hook of tests and of the console is window.msaasPlayer, see Hook.

import { signal } from "@preact/signals";

import { tabsChannel } from "../ui/tabs";
import {
  RATE,
  WINDOW,
  after,
  isReady,
  pieceLength,
  positionAt,
  replan,
  windowOf,
  windowsAhead,
  type Cursor,
  type Loop,
  type Piece,
} from "./timeline";
import type { Windows } from "./windows";

/** Windows that are kept at hand: the one that sounds and those after it. */
const WINDOWS = 3;
/** So far ahead is scheduled; timers of pages in the background come once a second. */
const HORIZON = 8 * RATE;
/** From deciding that something sounds to its first sound. */
const LEAD = RATE * 0.05;
/** With less than this scheduled, the sound is about to run dry. */
const DRY = RATE * 0.15;
/** Ramps against clicks. */
const RAMP = RATE * 0.01;
/** So much must be there to begin, and to go on after the sound has run dry. */
const ENOUGH_TO_BEGIN = RATE * 0.5;
const ENOUGH_TO_GO_ON = RATE * 5;
const TICK_MS = 100;

export type State = "paused" | "playing" | "buffering";

/** window.msaasPlayer of the mixer that was used last. */
export interface Hook {
  /** Seconds from the start of the song. */
  position(): number;
  /** Whether sound comes out now. */
  playing(): boolean;
  /** What is scheduled: the second `at` of the song sounds at the second `when` of the clock. */
  scheduled(): { stem: string; at: number; when: number }[];
  /** Root mean square of the last 2048 samples of a stem, after its fader, mute and solo. */
  level(stem: string): number;
}

declare global {
  interface Window {
    msaasPlayer?: Hook;
  }
}

interface Strip {
  gain: GainNode;
  pan: StereoPannerNode;
  meter: AnalyserNode;
}

interface Sounding extends Piece {
  sources: AudioBufferSourceNode[];
}

interface Output {
  context: AudioContext;
  /** Fades everything in and out. */
  fader: GainNode;
  strips: Map<string, Strip>;
}

let last: Player | null = null;

/** Of all tabs one sounds at a time: the last to play says so, and the others pause. */
const tabs = tabsChannel("player");
tabs?.addEventListener("message", () => last?.pause());

export class Player {
  readonly state = signal<State>("paused");
  /** Seconds; follows the sound while `state` is playing. */
  readonly position = signal(0);
  readonly loop = signal<Loop | null>(null);
  /** Another position is shown than that of the sound. */
  held = false;

  private output: Output | null = null;
  private levels = new Map<string, { gain: number; pan: number }>();
  private pieces: Sounding[] = [];
  /** What comes next; while nothing sounds, where to begin. */
  private cursor: Cursor = { at: 0, when: 0 };
  private enough = ENOUGH_TO_BEGIN;
  private timer = 0;
  private frame = 0;

  /** `end()` is the frame where the song ends, `playable()` where what can be heard now does. */
  constructor(
    private readonly stems: readonly string[],
    private readonly windows: Windows,
    private readonly end: () => number,
    private readonly playable: () => number,
  ) {
    this.expose();
    this.want();
  }

  /** Makes this the player of the page: of the keys, and of window.msaasPlayer. */
  expose(): void {
    last = this;
    window.msaasPlayer = {
      position: () => this.frameNow() / RATE,
      playing: () => this.state.value === "playing",
      scheduled: () =>
        this.pieces.flatMap(({ at, when }) =>
          this.stems.map((stem) => ({ stem, at: at / RATE, when: when / RATE })),
        ),
      level: (stem) => this.level(stem),
    };
  }

  get isLast(): boolean {
    return last === this;
  }

  play(): void {
    if (this.state.value !== "paused") return;
    if (last !== this) last?.pause();
    tabs?.postMessage("plays");
    this.expose();
    this.output ??= this.connect();
    void this.output.context.resume();
    const at = this.cursor.at;
    this.begin(at >= this.end() ? (this.loop.value?.start ?? 0) : at, ENOUGH_TO_BEGIN);
    this.timer = window.setInterval(() => this.tick(), TICK_MS);
    this.follow();
  }

  pause(): void {
    if (this.state.value === "paused") return;
    this.rest(this.frameNow());
  }

  seek(seconds: number): void {
    const at = Math.round(Math.min(Math.max(0, seconds * RATE), this.end()));
    this.position.value = at / RATE;
    if (this.state.value === "paused") {
      this.cursor = { at, when: 0 };
      this.want();
    } else if (at >= this.end()) {
      this.rest(at);
    } else {
      this.begin(at, ENOUGH_TO_BEGIN);
    }
  }

  /** Shows another position while a finger is on it, and the sound goes on; null: not any more. */
  hold(seconds: number | null): void {
    this.held = seconds !== null;
    this.position.value = seconds ?? this.frameNow() / RATE;
  }

  setLoop(loop: Loop | null): void {
    this.loop.value = loop;
    const at = this.frameNow();
    if (loop && (at >= loop.end || at < loop.start)) this.seek(loop.start / RATE);
    else if (this.pieces.length > 0) this.replan(loop);
    this.want();
  }

  /** How loud a stem is, linear, and where, from -1 to 1. */
  setLevel(stem: string, gain: number, pan: number): void {
    this.levels.set(stem, { gain, pan });
    const strip = this.output?.strips.get(stem);
    if (!this.output || !strip) return;
    const { currentTime } = this.output.context;
    strip.gain.gain.setTargetAtTime(gain, currentTime, RAMP / RATE / 2);
    strip.pan.pan.setTargetAtTime(pan, currentTime, RAMP / RATE / 2);
  }

  /** To be called when a window has arrived, or more of the song can be heard. */
  tick(): void {
    if (this.state.value === "paused") return;
    const now = this.now();
    this.pieces = this.pieces.filter(
      (piece, i) => i === this.pieces.length - 1 || piece.when + piece.length > now,
    );
    if (this.state.value === "buffering" && !this.goOn(now)) return this.want();
    this.schedule(now);
    this.want();
    if (this.state.value !== "playing" || this.cursor.when > now + DRY) return;
    if (this.cursor.at < this.end()) this.runDry();
    else if (this.cursor.when <= now) this.rest(this.end());
  }

  close(): void {
    this.pause();
    this.windows.close();
    void this.output?.context.close();
    this.output = null;
    if (last === this) {
      last = null;
      delete window.msaasPlayer;
    }
  }

  // ---- the clock

  private now(): number {
    return this.output ? this.output.context.currentTime * RATE : 0;
  }

  private frameNow(): number {
    return this.pieces.length > 0 ? positionAt(this.pieces, this.now()) : this.cursor.at;
  }

  private follow(): void {
    cancelAnimationFrame(this.frame);
    if (this.state.value === "paused") return;
    if (!this.held) this.position.value = this.frameNow() / RATE;
    this.frame = requestAnimationFrame(() => this.follow());
  }

  // ---- what sounds when

  private want(): void {
    const loop = this.loop.value;
    const at = this.frameNow();
    this.windows.want(windowsAhead(Math.floor(at), loop, this.end(), WINDOWS));
  }

  /** Silence at once, and sound from `at` on as soon as that is there. */
  private begin(at: number, enough: number): void {
    const silent = this.pieces.length > 0 ? this.fadeOut(this.now()) : 0;
    this.cancel(silent);
    this.cursor = { at, when: silent };
    this.enough = enough;
    this.state.value = "buffering";
    this.want();
    this.tick();
  }

  private rest(at: number): void {
    const silent = this.fadeOut(this.now());
    this.cancel(silent);
    this.cursor = { at: Math.floor(at), when: silent };
    this.position.value = at / RATE;
    this.state.value = "paused";
    clearInterval(this.timer);
    cancelAnimationFrame(this.frame);
    window.setTimeout(() => {
      if (this.state.value === "paused") void this.output?.context.suspend();
    }, 200);
  }

  /** Begins to sound if enough is there. */
  private goOn(now: number): boolean {
    const { at, when } = this.cursor;
    const playable = this.playable();
    const has = (window: number) => this.windows.has(window);
    if (!isReady(at, this.loop.value, playable, this.enough, has)) return false;
    if (this.output?.context.state !== "running") return false;
    if (when <= now) this.pieces = [];
    this.cursor = { at, when: Math.ceil(Math.max(now + LEAD, when)) };
    const { gain } = this.output.fader;
    gain.setValueAtTime(0, this.cursor.when / RATE);
    gain.linearRampToValueAtTime(1, (this.cursor.when + RAMP) / RATE);
    this.state.value = "playing";
    this.follow();
    return true;
  }

  private schedule(now: number): void {
    const loop = this.loop.value;
    while (this.cursor.when < now + HORIZON) {
      const { at, when } = this.cursor;
      const length = pieceLength(at, loop, this.playable());
      const buffers = length > 0 ? this.windows.buffers(windowOf(at)) : null;
      if (!buffers) return;
      const offset = at % WINDOW;
      const piece = { at, when, length };
      this.pieces.push({ ...piece, sources: this.sound(piece, offset, buffers) });
      this.cursor = after(piece, loop);
      // So late that the stems might have begun apart: once more, all together.
      if (this.now() >= when) return this.begin(at, ENOUGH_TO_BEGIN);
    }
  }

  private sound(piece: Piece, offset: number, buffers: AudioBuffer[]): AudioBufferSourceNode[] {
    const { context, strips } = this.output!;
    return buffers.map((buffer, i) => {
      const source = new AudioBufferSourceNode(context, { buffer });
      source.connect(strips.get(this.stems[i]!)!.gain);
      // A node keeps its samples until it is collected, which browsers do late.
      source.onended = () => {
        source.disconnect();
        source.buffer = null;
      };
      source.start(piece.when / RATE, offset / RATE);
      source.stop((piece.when + piece.length) / RATE);
      return source;
    });
  }

  /** The stems end by themselves, all at the same frame: there is no more. */
  private runDry(): void {
    const { when } = this.cursor;
    const { fader, context } = this.output!;
    const start = Math.max(when - RAMP, this.now());
    fader.gain.cancelScheduledValues(context.currentTime);
    fader.gain.setValueAtTime(1, start / RATE);
    fader.gain.linearRampToValueAtTime(0, Math.max(start + 1, when) / RATE);
    this.enough = ENOUGH_TO_GO_ON;
    this.state.value = "buffering";
  }

  /** Keeps what is right of the schedule under another loop. */
  private replan(loop: Loop | null): void {
    const { kept, cursor } = replan(this.pieces, loop, this.playable());
    if (cursor.when < this.now() + LEAD) return this.begin(cursor.at, ENOUGH_TO_BEGIN);
    const stop = cursor.when / RATE;
    for (const piece of this.pieces.slice(kept.length - 1))
      if (piece.when + piece.length > cursor.when)
        for (const source of piece.sources) source.stop(stop);
    this.pieces = kept.map((piece, i) => ({ ...piece, sources: this.pieces[i]!.sources }));
    this.cursor = cursor;
    this.tick();
  }

  /** Drops the schedule; what sounds goes on until the frame `until`. */
  private cancel(until: number): void {
    for (const { sources } of this.pieces) for (const source of sources) source.stop(until / RATE);
    this.pieces = [];
  }

  /** Returns the frame from which on there is silence. */
  private fadeOut(now: number): number {
    if (!this.output) return 0;
    const { gain } = this.output.fader;
    gain.cancelScheduledValues(now / RATE);
    gain.setValueAtTime(gain.value, now / RATE);
    gain.linearRampToValueAtTime(0, (now + RAMP) / RATE);
    return Math.ceil(now + RAMP);
  }

  // ---- the graph: sources, then for each stem gain, pan; then the fader of all

  private connect(): Output {
    const context = new AudioContext({ sampleRate: RATE, latencyHint: "balanced" });
    const fader = new GainNode(context, { gain: 0 });
    fader.connect(context.destination);
    const strips = new Map(
      this.stems.map((stem) => {
        const level = this.levels.get(stem) ?? { gain: 1, pan: 0 };
        const gain = new GainNode(context, { gain: level.gain });
        const pan = new StereoPannerNode(context, { pan: level.pan });
        const meter = new AnalyserNode(context, { fftSize: 2048 });
        gain.connect(pan).connect(fader);
        gain.connect(meter);
        return [stem, { gain, pan, meter }] as const;
      }),
    );
    context.onstatechange = () => this.tick();
    return { context, fader, strips };
  }

  private level(stem: string): number {
    const meter = this.output?.strips.get(stem)?.meter;
    if (!meter) return 0;
    const samples = new Float32Array(meter.fftSize);
    meter.getFloatTimeDomainData(samples);
    return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
  }
}
