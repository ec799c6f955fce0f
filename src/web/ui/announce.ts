// What screen readers are told: milestones, one at a time, never figures that run.

import { signal } from "@preact/signals";

export const announced = signal("");
const waiting: string[] = [];
let busy = false;

function next(): void {
  const text = waiting.shift();
  if (text === undefined) {
    busy = false;
    return;
  }
  announced.value = text;
  setTimeout(next, 1500);
}

export function announce(text: string): void {
  if (waiting.length > 4) waiting.splice(0, waiting.length - 4);
  waiting.push(text);
  if (busy) return;
  busy = true;
  next();
}
