// The mixer of one job, without its looks: faders, waveforms, player, and what they are fed with.
// It lives from the first piece of the preview to the finished stems, and does not notice the
// change: only the addresses of its windows do.

import { batch, computed, effect, signal } from "@preact/signals";

import { ask } from "../api/client";
import type { Job } from "../api/types";
import { entryOf } from "../jobs/store";
import { keepMix, readMix, watchMixes, type Mix } from "./kept";
import {
  decibels,
  fadersOf,
  linear,
  peaksUrl,
  playableEnd,
  windowUrl,
  type Fader,
  type Faders,
} from "./mix";
import { emptyPeaks, fillPeaks, loudest, readPeaks, type Peaks } from "./peaks";
import { Player } from "./player";
import { RATE, SHORTEST, WINDOW, loopBetween, type Loop } from "./timeline";
import { Windows, type Trouble } from "./windows";

/** Whether the worker's peaks are there: of a job at work they are not yet, of an old one never. */
export type PeaksState = "later" | "asked" | "there" | "never";

/** Of a drag: it goes on, it is done, or the finger scrolled the page and meant none of it. */
export type Phase = "moves" | "done" | "off";

const NOTE_MS = 8000;
/** So long after its last change the mix is kept; at once when the page goes. */
const KEEP_MS = 300;

export class Desk {
  readonly faders = signal<Faders>({});
  readonly peaks = signal<Peaks>({ frames: 0, framesPerBin: 1, stems: new Map() });
  readonly loudest = computed(() => loudest(this.peaks.value));
  readonly peaksState = signal<PeaksState>("later");
  /** In frames. A loop that is set may be off. */
  readonly region = signal<Loop | null>(null);
  /** Of what is downloaded. */
  readonly format = signal("");
  /** A download has just been asked for: the server may take a while to begin it. */
  readonly rendering = signal(false);
  readonly windows: Windows;
  readonly player: Player;

  /** The region as it was before it is drawn anew. */
  private grabbed: Loop | null = null;
  private timer = 0;
  private keeping = 0;
  /** The mix as it was kept last, or found. */
  private kept: string;
  private seen = new Set<string>();
  private stops: (() => void)[];
  private online = () => this.windows.refresh();
  private left = () => this.keep();

  constructor(
    private job: Job,
    readonly stems: readonly string[],
  ) {
    this.faders.value = fadersOf(stems);
    this.format.value = job.options.format;
    this.peaks.value = emptyPeaks(stems, this.frames());
    this.windows = new Windows(
      stems,
      {
        url: (stem, window) => this.url(stem, window),
        scale: (stem) => 1 / this.keptGain(stem),
        unseen: () => this.unseen(),
        decoded: (stem, window, buffer) => this.decoded(stem, window, buffer),
      },
      () => this.player.tick(),
    );
    this.player = new Player(
      stems,
      this.windows,
      () => this.peaks.value.frames,
      () => playableEnd(this.job, this.peaks.value.frames),
    );
    this.kept = this.told();
    this.adopt();
    this.stops = [
      effect(() => {
        const faders = this.faders.value;
        for (const stem of stems)
          this.player.setLevel(stem, linear(decibels(faders, stem)), faders[stem]!.pan);
      }),
      this.keepChanges(),
      watchMixes(() => this.adopt()),
    ];
    window.addEventListener("online", this.online);
    window.addEventListener("pagehide", this.left);
    this.update(job);
  }

  /** The job as it is now. */
  update(job: Job): void {
    this.job = job;
    if (job.state === "succeeded" && this.peaksState.value === "later") void this.fetchPeaks();
    else if (this.frames() > this.peaks.value.frames && this.peaksState.value === "later")
      this.resize(this.frames());
    this.windows.refresh();
    this.player.tick();
  }

  setFader(stem: string, change: Partial<Fader>): void {
    const faders = this.faders.value;
    this.faders.value = { ...faders, [stem]: { ...faders[stem]!, ...change } };
  }

  downloading(): void {
    this.rendering.value = true;
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => (this.rendering.value = false), NOTE_MS);
  }

  // ---- the loop

  /** Sets the region to loop, between two frames in any order, and loops. One that is too short
   * changes nothing. */
  setRegion(a: number, b: number): void {
    const region = loopBetween(a, b, this.peaks.value.frames);
    if (!region) return;
    batch(() => {
      this.region.value = region;
      this.player.setLoop(region);
    });
  }

  /** Takes hold of the region to draw another one. Returns where the drag begins: `frame`, or the
   * other end of the region if that has an end within `reach`. */
  grabRegion(frame: number, reach: number): number {
    const region = (this.grabbed = this.region.value);
    if (region && Math.abs(frame - region.start) <= reach) return region.end;
    if (region && Math.abs(frame - region.end) <= reach) return region.start;
    return frame;
  }

  /** The region as it is drawn: looped when the drag is done. What is too short is none, and that
   * which was there comes back. */
  dragRegion(a: number, b: number, phase: Phase): void {
    const drawn = phase === "off" ? null : loopBetween(a, b, this.peaks.value.frames);
    this.region.value = drawn ?? this.grabbed;
    if (phase === "done" && drawn) this.player.setLoop(drawn);
  }

  /** Shows where one would be, and goes there when the drag is done, which may be told twice. */
  scrub(seconds: number, phase: Phase): void {
    if (phase === "done" && !this.player.held) return;
    this.player.hold(phase === "moves" ? seconds : null);
    if (phase === "done") this.player.seek(seconds);
  }

  /** Moves one end of the region to where the song is; the other one stays, or is the song's if too
   * little were left between them. */
  setEdge(edge: "start" | "end"): void {
    const { frames } = this.peaks.value;
    const at = Math.round(this.player.position.value * RATE);
    const { start, end } = this.region.value ?? { start: 0, end: frames };
    if (edge === "start") this.setRegion(at, end - at < SHORTEST ? frames : end);
    else this.setRegion(at - start < SHORTEST ? 0 : start, at);
  }

  /** Loops the region; where there is none, the next two windows, or the last two. */
  toggleLoop(): void {
    if (this.player.loop.value) return this.player.setLoop(null);
    if (this.region.value) return this.player.setLoop(this.region.value);
    const last = this.peaks.value.frames - 2 * WINDOW;
    const at = Math.max(0, Math.min(this.player.position.value * RATE, last));
    this.setRegion(at, at + 2 * WINDOW);
  }

  clearRegion(): void {
    this.region.value = null;
    this.player.setLoop(null);
  }

  close(): void {
    this.peaksState.value = "never";
    window.removeEventListener("online", this.online);
    window.removeEventListener("pagehide", this.left);
    for (const stop of this.stops) stop();
    this.keep();
    this.player.close();
  }

  // ---- the mix, as it will be found again

  private mix(): Mix {
    const loops = this.player.loop.value !== null;
    return { faders: this.faders.value, region: this.region.value, loops };
  }

  private told(): string {
    return JSON.stringify(this.mix());
  }

  /** Takes over what is kept of this song, unless a change made here is about to replace it. */
  private adopt(): void {
    const mix = readMix(this.job.id, this.stems);
    if (!mix || this.keeping) return;
    const { start, end } = mix.region ?? { start: 0, end: 0 };
    const region = loopBetween(start, end, this.peaks.value.frames);
    const loop = mix.loops ? region : null;
    const before = this.player.loop.value;
    batch(() => {
      this.faders.value = mix.faders;
      this.region.value = region;
      // The same loop once more would call the song back into it.
      if (loop?.start !== before?.start || loop?.end !== before?.end) this.player.setLoop(loop);
      this.kept = this.told();
    });
  }

  private keepChanges(): () => void {
    return effect(() => {
      const changed = this.told() !== this.kept;
      clearTimeout(this.keeping);
      this.keeping = changed ? window.setTimeout(() => this.keep(), KEEP_MS) : 0;
    });
  }

  /** Keeps what has changed since the last time; nothing of a song that was erased meanwhile. */
  private keep(): void {
    if (!this.keeping || !entryOf(this.job.id)) return;
    clearTimeout(this.keeping);
    this.keeping = 0;
    this.kept = this.told();
    keepMix(this.job.id, this.mix());
  }

  // ---- what the windows are made of

  private frames(): number {
    return Math.round((this.job.input.seconds ?? this.job.preview_seconds ?? 0) * RATE);
  }

  /** Whether the kept scale of a finished stem is to be had must be known first. */
  private url(stem: string, window: number): string | null {
    const scaled = this.peaksState.value === "there";
    const ready = scaled || this.peaksState.value === "never";
    if (this.job.state === "succeeded" && !ready) return null;
    return windowUrl(this.job, stem, window, scaled);
  }

  private keptGain(stem: string): number {
    return this.job.state === "succeeded" ? (this.peaks.value.stems.get(stem)?.gain ?? 1) : 1;
  }

  private unseen(): { stem: string; window: number } | null {
    if (this.job.state !== "running") return null;
    const end = playableEnd(this.job, this.peaks.value.frames);
    for (let window = 0; window * WINDOW < end; window++)
      for (const stem of this.stems)
        if (!this.seen.has(`${stem} ${window}`)) return { stem, window };
    return null;
  }

  private decoded(stem: string, window: number, buffer: AudioBuffer): void {
    if (this.peaksState.value === "there" || this.seen.has(`${stem} ${window}`)) return;
    this.seen.add(`${stem} ${window}`);
    const channels = [...Array(buffer.numberOfChannels).keys()];
    const bins = this.peaks.value.stems.get(stem)!.bins;
    fillPeaks(
      bins,
      window,
      channels.map((channel) => buffer.getChannelData(channel)),
    );
    this.peaks.value = { ...this.peaks.value };
  }

  private resize(frames: number): void {
    const peaks = emptyPeaks(this.stems, frames);
    for (const [stem, { bins }] of peaks.stems)
      bins.set(this.peaks.value.stems.get(stem)!.bins.subarray(0, bins.length));
    this.become(peaks);
  }

  /** Takes other peaks. They may know the song to be a few frames shorter than was thought, and a
   * loop that is to end behind the song never does. */
  private become(peaks: Peaks): void {
    this.peaks.value = peaks;
    const region = this.region.value;
    if (!region || region.end <= peaks.frames) return;
    const cut = loopBetween(region.start, region.end, peaks.frames);
    this.region.value = cut;
    if (this.player.loop.value) this.player.setLoop(cut);
  }

  private async fetchPeaks(): Promise<void> {
    this.peaksState.value = "asked";
    for (let tries = 1; this.peaksState.value === "asked"; tries++) {
      const answer = await askPeaks(this.job, this.stems);
      if (this.peaksState.value !== "asked") return;
      if (typeof answer === "object") {
        if (answer) this.become(answer);
        this.peaksState.value = answer ? "there" : "never";
      } else {
        // Without them nothing is heard: as with windows, one refusal is nothing to tell.
        if (tries >= 3) this.windows.trouble.value = answer;
        const wait = Math.min(250 * 2 ** tries, 8000);
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
    this.windows.refresh();
    this.player.tick();
  }
}

/** The peaks; null: there are none that can be read, and never will be; or what was in the way. */
async function askPeaks(job: Job, stems: readonly string[]): Promise<Peaks | null | Trouble> {
  let answer: Response;
  let text: string;
  try {
    answer = await ask(peaksUrl(job), {});
    text = await answer.text();
  } catch {
    return "lost";
  }
  if (answer.status === 404 || answer.status === 410) return null;
  if (!answer.ok) return answer.status;
  try {
    return readPeaks(text, stems);
  } catch {
    return null;
  }
}
