// Mixes that outlive a reload: of the songs that were mixed last, the faders and the region. Pure
// but for localStorage: tested by kept.test.ts.

import { MIXES_KEY } from "../history/mixes";
import { isRecord, load, save, watch } from "../ui/keep";
import { LOUDEST, REST, SILENCE, fadersOf, type Fader, type Faders } from "./mix";
import type { Loop } from "./timeline";

const MOST = 100;

export interface Mix {
  faders: Faders;
  region: Loop | null;
  /** Whether the region is looped. */
  loops: boolean;
}

/** Newest first. */
type Kept = [id: string, mix: Mix][];

function between(value: unknown, low: number, high: number, rest: number): number {
  return typeof value === "number" && value >= low && value <= high ? value : rest;
}

function checkFader(value: unknown): Fader {
  if (!isRecord(value)) return REST;
  return {
    volume: between(value.volume, SILENCE, LOUDEST, REST.volume),
    pan: between(value.pan, -1, 1, REST.pan),
    mute: value.mute === true,
    solo: value.solo === true,
  };
}

function checkRegion(value: unknown): Loop | null {
  if (!isRecord(value) || !Number.isSafeInteger(value.start) || !Number.isSafeInteger(value.end))
    return null;
  const region = { start: Number(value.start), end: Number(value.end) };
  return region.start >= 0 && region.start < region.end ? region : null;
}

function checkMix(value: unknown): Mix {
  const mix = isRecord(value) ? value : {};
  const faders = isRecord(mix.faders) ? Object.entries(mix.faders) : [];
  return {
    faders: Object.fromEntries(faders.map(([stem, fader]) => [stem, checkFader(fader)])),
    region: checkRegion(mix.region),
    loops: mix.loops === true,
  };
}

export function checkKept(value: unknown): Kept | null {
  if (!Array.isArray(value)) return null;
  return value
    .filter((pair) => Array.isArray(pair) && typeof pair[0] === "string")
    .map(([id, mix]) => [id, checkMix(mix)]);
}

const read = () => load<Kept>(MIXES_KEY, [], checkKept);

/** The mix of a song as it was left; null: nothing is kept of it. */
export function readMix(id: string, stems: readonly string[]): Mix | null {
  const pair = read().find(([other]) => other === id);
  if (!pair) return null;
  const { faders, ...mix } = pair[1];
  const kept = stems.filter((stem) => faders[stem]).map((stem) => [stem, faders[stem]!]);
  return { ...mix, faders: { ...fadersOf(stems), ...Object.fromEntries(kept) } };
}

/** Calls when another tab has kept or dropped mixes. Returns what ends that. */
export function watchMixes(onChange: () => void): () => void {
  return watch(MIXES_KEY, onChange);
}

export function keepMix(id: string, mix: Mix): void {
  const others = read().filter(([other]) => other !== id);
  save(MIXES_KEY, [[id, mix], ...others].slice(0, MOST));
}
