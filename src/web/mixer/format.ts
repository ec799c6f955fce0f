// Numbers as people read them.

import { clock } from "../ui/time";
import { SILENCE } from "./mix";

/** A position in the song: 2:03.4, 1:02:03.4. */
export function position(seconds: number): string {
  const tenths = Math.floor(seconds * 10 + 1e-6);
  return `${clock(Math.floor(tenths / 10))}.${tenths % 10}`;
}

export function decibelText(volume: number): string {
  if (volume <= SILENCE) return "\u2212\u221e dB";
  const sign = volume > 0 ? "+" : volume < 0 ? "\u2212" : "";
  return `${sign}${Math.abs(volume)} dB`;
}

/** Seconds between the marks of a ruler that has room for `room` of them. */
export function markStep(seconds: number, room: number): number {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
  return steps.find((step) => seconds / step <= room) ?? 7200;
}

/** How far a slider has come, for its style. */
export function part(value: number, min: number, max: number): string {
  return max > min ? `${(100 * (value - min)) / (max - min)}%` : "0%";
}
