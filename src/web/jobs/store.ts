// The songs that this page knows: a signal per job, so that progress draws one card and not the
// list. History in localStorage follows whatever changes here.

import { computed, effect, signal, type Signal } from "@preact/signals";

import { request } from "../api/client";
import { Failure } from "../api/failure";
import type { Job, JobChange } from "../api/types";
import { dropMixes } from "../history/mixes";
import {
  dropHistory,
  HISTORY_KEY,
  isActive,
  newestFirst,
  putHistory,
  readHistory,
} from "../history/stored";
import { texts } from "../texts";
import { announce } from "../ui/announce";
import { watch } from "../ui/keep";
import { songTitle } from "../ui/names";
import { merge } from "./choose";

export interface Entry {
  id: string;
  job: Signal<Job>;
  /** The server does not know it any more. */
  gone: Signal<boolean>;
  /** It is being canceled or erased. */
  leaving: Signal<boolean>;
  /** What went wrong with that. */
  trouble: Signal<string | null>;
  /** When something was heard of it last, in ms of performance.now(). */
  heard: number;
  /** When it made progress last, in ms of Date.now(). */
  moved: number;
}

const known = new Map<string, Entry>();
/** Ids of this browser; with accounts the list holds the server's, too. */
const mine = new Set<string>();
export const entries = signal<Entry[]>([]);
export const activeCount = computed(
  () => entries.value.filter((entry) => isActive(entry.job.value.state)).length,
);
/** History could not be kept: the browser's storage is full or forbidden. */
export const historyLost = signal(false);

export const entryOf = (id: string) => known.get(id);

function sortEntries(): void {
  entries.value = [...known.values()].sort((a, b) => newestFirst(a.job.peek(), b.job.peek()));
}

function keep(job: Job, fresh: boolean): void {
  if (mine.has(job.id)) historyLost.value = !putHistory(job, fresh);
}

function insert(job: Job): Entry {
  const entry: Entry = {
    id: job.id,
    job: signal(job),
    gone: signal(false),
    leaving: signal(false),
    trouble: signal(null),
    heard: -Infinity,
    moved: Date.now(),
  };
  known.set(job.id, entry);
  return entry;
}

/** Takes what the server says of a job. `own`: it was sent by this browser. */
export function take(job: Job, own = false): void {
  if (own) mine.add(job.id);
  const entry = known.get(job.id);
  if (entry === undefined) {
    insert(job).heard = performance.now();
    sortEntries();
  } else {
    change(job.id, job);
  }
  if (own) keep(job, true);
}

export function change(id: string, news: JobChange): void {
  const entry = known.get(id);
  if (entry === undefined) return;
  entry.heard = performance.now();
  const before = entry.job.peek();
  const after = merge(before, news);
  if (after === before) return;
  if (before.state !== after.state || before.progress !== after.progress) entry.moved = Date.now();
  entry.gone.value = false;
  if (after.state === "canceled" && entry.leaving.peek()) {
    forget([id]);
    return;
  }
  entry.job.value = after;
  if (before.state !== after.state) {
    entry.trouble.value = null;
    // It ended before the worker heard of the cancel.
    if (!isActive(after.state)) entry.leaving.value = false;
    const title = songTitle(after.input.name);
    if (after.state !== "expired") announce(texts.announce[after.state](title));
  }
  if (before.state !== after.state || before.created_at !== after.created_at) {
    sortEntries();
    // What is canceled is about to go, from the list of the tab that did it as well.
    if (after.state !== "canceled") keep(after, false);
  }
}

export function forget(ids: string[]): void {
  for (const id of ids) {
    known.delete(id);
    mine.delete(id);
  }
  sortEntries();
  dropHistory(ids);
  dropMixes(ids);
}

/** What the server answers 404 to: kept by it no longer, or another account's. */
export function markGone(id: string): void {
  const entry = known.get(id);
  if (entry === undefined) return;
  entry.heard = performance.now();
  entry.trouble.value = null;
  if (entry.leaving.peek() || !mine.has(id)) forget([id]);
  else entry.gone.value = true;
}

/** Cancels what is queued or running, erases what has ended. */
export async function erase(id: string): Promise<void> {
  const entry = known.get(id);
  if (entry === undefined) return;
  entry.trouble.value = null;
  if (entry.gone.peek() || entry.job.peek().state === "canceled") {
    forget([id]);
    return;
  }
  entry.leaving.value = true;
  try {
    const { status } = await request(`/apiv2/jobs/${id}`, { method: "DELETE" });
    if (status === 204) forget([id]);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    if (error.code === "unknown_job") {
      forget([id]);
    } else {
      entry.leaving.value = false;
      const active = isActive(entry.job.peek().state);
      const tell = active ? texts.job.notCanceled : texts.job.notErased;
      entry.trouble.value = tell(texts.failure(error));
    }
  }
}

/** Erases all that has ended, two at a time. `onProgress` hears how many are done. */
export async function eraseAll(ids: string[], onProgress: (done: number) => void): Promise<void> {
  const left = [...ids];
  let done = 0;
  const work = async () => {
    for (let id = left.pop(); id !== undefined; id = left.pop()) {
      await erase(id);
      onProgress((done += 1));
    }
  };
  await Promise.all([work(), work()]);
}

function readOthers(): void {
  const jobs = readHistory();
  const ids = new Set(jobs.map((job) => job.id));
  const away = [...mine].filter((id) => !ids.has(id));
  for (const job of jobs) {
    mine.add(job.id);
    if (!known.has(job.id)) insert(job);
  }
  for (const id of away) {
    known.delete(id);
    mine.delete(id);
  }
  sortEntries();
}

export function startStore(): void {
  readOthers();
  watch(HISTORY_KEY, readOthers);
  effect(() => {
    const running = entries.value.find((entry) => entry.job.value.state === "running");
    document.title =
      running === undefined ? texts.title : texts.titleRunning(running.job.value.progress);
  });
}
