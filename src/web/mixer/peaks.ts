// Waveforms: from the worker's peaks, or from what has been decoded so far. A waveform is a row of
// bins, one byte each: the largest sample in it. Nothing here knows of a browser.

import { RATE, WINDOW } from "./timeline";

export interface Peaks {
  frames: number;
  framesPerBin: number;
  /** Of each stem: what its kept samples were multiplied by, and its bins. */
  stems: Map<string, { gain: number; bins: Uint8Array }>;
}

/** Bins of what is decoded here: as many as the worker makes at first, and a whole number of them
 * in a window. */
export const FRAMES_PER_BIN = RATE / 50;

interface PeaksDocument {
  version: number;
  frames: number;
  frames_per_bin: number;
  stems: { name: string; gain: number; peaks: string }[];
}

/** Throws if the document is none that can be used for all of `names`. */
export function readPeaks(text: string, names: readonly string[]): Peaks {
  const document = JSON.parse(text) as PeaksDocument;
  if (document.version !== 1) throw new Error(`peaks of version ${document.version}`);
  const stems = document.stems.map(({ name, gain, peaks }) => {
    const bins = Uint8Array.from(atob(peaks), (byte) => byte.charCodeAt(0));
    return [name, { gain, bins }] as const;
  });
  const { frames, frames_per_bin: framesPerBin } = document;
  const peaks = { frames, framesPerBin, stems: new Map(stems) };
  const gains = names.map((name) => peaks.stems.get(name)?.gain ?? 0);
  if (!(frames > 0 && gains.every((gain) => gain > 0)))
    throw new Error("peaks without their gains");
  return peaks;
}

export function emptyPeaks(stems: readonly string[], frames: number): Peaks {
  const bins = () => new Uint8Array(Math.ceil(frames / FRAMES_PER_BIN));
  return {
    frames,
    framesPerBin: FRAMES_PER_BIN,
    stems: new Map(stems.map((stem) => [stem, { gain: 1, bins: bins() }])),
  };
}

/** Puts the peaks of a decoded window into their place. */
export function fillPeaks(
  bins: Uint8Array,
  window: number,
  channels: readonly Float32Array[],
): void {
  const first = (window * WINDOW) / FRAMES_PER_BIN;
  const frames = channels[0]?.length ?? 0;
  for (let bin = first; bin < bins.length && (bin - first) * FRAMES_PER_BIN < frames; bin++) {
    const from = (bin - first) * FRAMES_PER_BIN;
    let peak = 0;
    for (const channel of channels)
      for (let i = from; i < Math.min(from + FRAMES_PER_BIN, frames); i++)
        peak = Math.max(peak, Math.abs(channel[i]!));
    bins[bin] = Math.round(255 * Math.min(1, peak));
  }
}

/** The largest bin of all stems: what a drawing of them needs height for. */
export function loudest(peaks: Peaks): number {
  let loudest = 0;
  for (const { bins } of peaks.stems.values())
    for (const bin of bins) loudest = Math.max(loudest, bin);
  return loudest;
}

/** The bars of a drawing that has room for `count`: the largest bin under each, as a part of
 * `full`, 0 to 1. */
export function bars(bins: Uint8Array, count: number, full: number): number[] {
  return Array.from({ length: count }, (_, bar) => {
    const from = Math.floor((bar * bins.length) / count);
    const to = Math.max(from + 1, Math.floor(((bar + 1) * bins.length) / count));
    let peak = 0;
    for (let i = from; i < Math.min(to, bins.length); i++) peak = Math.max(peak, bins[i]!);
    return full > 0 ? peak / full : 0;
  });
}

/** The bars as the path of an SVG: upright strokes, `step` apart, about the middle of `height`. */
export function barPath(heights: readonly number[], step: number, height: number): string {
  const middle = height / 2;
  return heights
    .map((part, bar) => {
      const half = Math.max(0.5, part * (middle - 1));
      const x = bar * step + step / 2;
      return `M${x} ${(middle - half).toFixed(1)}v${(2 * half).toFixed(1)}`;
    })
    .join("");
}
