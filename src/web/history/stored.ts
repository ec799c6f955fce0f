// The jobs of this browser, newest first, with what the page shows of them at once after a reload.
// Every tab has the same list: each
// writes what it changed, on top of what the others wrote, and takes over what they did.

import type { Job, JobOptions, JobState } from "../api/types";
import { isRecord, load, save } from "../ui/keep";

export const HISTORY_KEY = "msaas.jobs";
const MOST = 1000;

const STATES: JobState[] = ["queued", "running", "succeeded", "failed", "canceled", "expired"];

const text = (value: unknown) => (typeof value === "string" ? value : null);
const count = (value: unknown) =>
  typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : null;
const moment = (value: unknown) =>
  Number.isNaN(Date.parse(text(value) ?? "")) ? null : text(value);

function checkOptions(value: unknown): JobOptions {
  const { model, stems, two_stems, format } = isRecord(value) ? value : {};
  return {
    model: text(model) ?? "",
    stems: Array.isArray(stems) && stems.every((stem) => typeof stem === "string") ? stems : null,
    two_stems: text(two_stems),
    format: text(format) ?? "mp3",
  };
}

function checkError(value: unknown): Job["error"] {
  const { code, message } = isRecord(value) ? value : {};
  return typeof code === "string" ? { code, message: text(message) ?? "" } : null;
}

/** What is kept of a job, the rest unknown; and so is what has another type than it should. */
function checkJob(value: unknown): Job | null {
  if (!isRecord(value) || typeof value.id !== "string" || !isRecord(value.input)) return null;
  const state = STATES.find((name) => name === value.state);
  if (state === undefined) return null;
  const { name, bytes, seconds } = value.input;
  return {
    id: value.id,
    state,
    created_at: moment(value.created_at),
    finished_at: moment(value.finished_at),
    input: { name: text(name), bytes: count(bytes) ?? 0, seconds: count(seconds) },
    options: checkOptions(value.options),
    error: checkError(value.error),
    stems: [],
    attempts: 0,
    cost: null,
    started_at: null,
    receipt: null,
    position: null,
    progress: 0,
    eta_seconds: null,
  };
}

export function checkHistory(value: unknown): Job[] | null {
  if (!Array.isArray(value)) return null;
  return value.map(checkJob).filter((job): job is Job => job !== null);
}

/** What is kept of a job: enough to show it, not what only the server's answer should tell. */
export function keptOf(job: Job): Partial<Job> {
  const { id, state, created_at, finished_at, input, error } = job;
  const { model, stems, two_stems, format } = job.options;
  return {
    id,
    state,
    created_at,
    finished_at,
    input,
    error,
    options: { model, stems, two_stems, format },
  };
}

export function readHistory(): Job[] {
  return load<Job[]>(HISTORY_KEY, [], checkHistory);
}

/**
 * The list with the job. One that it does not have comes in only if it is `fresh`: else another tab
 * has erased it meanwhile, and this one does not know yet.
 */
export function withJob(jobs: Job[], job: Job, fresh: boolean): Job[] {
  const others = jobs.filter(({ id }) => id !== job.id);
  if (others.length === jobs.length && !fresh) return jobs;
  return [job, ...others].sort(newestFirst).slice(0, MOST);
}

/** False: the browser keeps nothing for this page. */
export function putHistory(job: Job, fresh: boolean): boolean {
  return save(HISTORY_KEY, withJob(readHistory(), job, fresh).map(keptOf));
}

export function dropHistory(ids: string[]): boolean {
  return save(
    HISTORY_KEY,
    readHistory()
      .filter(({ id }) => !ids.includes(id))
      .map(keptOf),
  );
}

/** Newest first; jobs of the same moment by id, so that the order never jumps. */
export function newestFirst(a: Job, b: Job): number {
  return (b.created_at ?? "").localeCompare(a.created_at ?? "") || a.id.localeCompare(b.id);
}

export function isActive(state: JobState): boolean {
  return state === "queued" || state === "running";
}
