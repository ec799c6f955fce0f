// What the faders say, and the addresses of what can be taken away. No browser is known here.

import type { Job } from "../api/types";
import { RATE, WINDOW, type Loop } from "./timeline";

export interface Fader {
  /** dB; SILENCE is no sound at all. */
  volume: number;
  /** -1, left, to 1, right. */
  pan: number;
  mute: boolean;
  solo: boolean;
}

export type Faders = Readonly<Record<string, Fader>>;

export const SILENCE = -48;
export const LOUDEST = 12;
export const REST: Fader = { volume: 0, pan: 0, mute: false, solo: false };
export const FORMATS = ["mp3", "wav", "flac", "opus", "m4a"] as const;

export function fadersOf(stems: readonly string[]): Faders {
  return Object.fromEntries(stems.map((stem) => [stem, REST]));
}

/** What is heard of a stem, in dB: -Infinity where it is muted, or others are soloed. */
export function decibels(faders: Faders, stem: string): number {
  const fader = faders[stem] ?? REST;
  const others = Object.values(faders).some((other) => other.solo);
  if (fader.mute || (others && !fader.solo) || fader.volume <= SILENCE) return -Infinity;
  return fader.volume;
}

export function linear(decibel: number): number {
  return 10 ** (decibel / 20);
}

/** The names of the job's stems, whether they are finished or not. `model` has all of the model's,
 * null: not known yet. */
export function stemsOf(job: Job, model: readonly string[] | null): readonly string[] {
  const { two_stems: two, stems } = job.options;
  if (job.stems.length > 0) return inOrder(job.stems.map((stem) => stem.name));
  if (two) return [two, `no_${two}`];
  return inOrder(stems ?? model ?? []);
}

/** Voices first, then what drives, then the rest: the same before and after the job's end. */
const ORDER = ["vocals", "drums", "bass", "guitar", "piano", "other"];

function inOrder(stems: readonly string[]): readonly string[] {
  const place = (stem: string) => (ORDER.indexOf(stem) + ORDER.length + 1) % (ORDER.length + 1);
  return [...stems].sort((a, b) => place(a) - place(b));
}

function path(job: Job, rest: string): string {
  return `/apiv2/jobs/${job.id}/${rest}`;
}

/** Decimals that name a frame exactly when the server rounds them to one. */
function seconds(frames: number): string {
  return String(Number((frames / RATE).toFixed(6)));
}

function query(fields: Record<string, string>): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== "")
    .map(([name, value]) => `${name}=${value}`)
    .join("&");
}

function part(loop: Loop | null): Record<string, string> {
  return loop ? { from: seconds(loop.start), seconds: seconds(loop.end - loop.start) } : {};
}

export function stemUrl(job: Job, stem: string, format: string): string {
  return path(job, `stems/${stem}.${format}`);
}

export function zipUrl(job: Job, format: string): string {
  return path(job, `stems.zip?format=${format}`);
}

export function mixUrl(job: Job, faders: Faders, format: string, loop: Loop | null = null): string {
  const stems = Object.keys(faders);
  const heard = (stem: string) => decibels(faders, stem);
  const gains = stems
    .filter((stem) => heard(stem) !== 0)
    .map((stem) => `${stem}:${heard(stem) === -Infinity ? "-inf" : heard(stem)}`);
  const pans = stems
    .filter((stem) => faders[stem]!.pan !== 0 && heard(stem) !== -Infinity)
    .map((stem) => `${stem}:${faders[stem]!.pan}`);
  return path(
    job,
    `mix?${query({
      gains: gains.join(","),
      pan: pans.join(","),
      format,
      ...part(loop),
    })}`,
  );
}

/** The stem file for DJ programs, of jobs that have just the four stems it holds. */
export function djUrl(job: Job): string | null {
  const names = job.stems.map((stem) => stem.name).sort();
  return names.join() === "bass,drums,other,vocals" ? path(job, "stem.mp4") : null;
}

export function peaksUrl(job: Job): string {
  return path(job, "peaks");
}

/** Where a window of a stem is to be had: of the finished stem, or of the preview while the job is
 * at work. null: not yet, or not any more. `scaled`: the scale of what is kept is known. */
export function windowUrl(job: Job, stem: string, window: number, scaled: boolean): string | null {
  if (job.state === "succeeded") {
    const loop = { start: window * WINDOW, end: (window + 1) * WINDOW };
    // As kept, under whatever scale: the player takes it back, and loses no peak. Without the scale
    // the peaks have to go, for the stems to be as loud as they are to each other.
    const how = { ...part(loop), clip: scaled ? "rescale" : "clamp", sample_type: "int16" };
    return path(job, `stems/${stem}.flac?${query(how)}`);
  }
  const heard = (job.preview_seconds ?? 0) * RATE;
  if (job.state === "running" && window * WINDOW + 1 < heard)
    return path(job, `preview/${stem}-${window}.flac`);
  return null;
}

/** The end of what can be played now, in frames; `end` is the song's. */
export function playableEnd(job: Job, end: number): number {
  if (job.state === "succeeded") return end;
  return Math.min(end, Math.round((job.preview_seconds ?? 0) * RATE));
}
