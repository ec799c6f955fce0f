// Keeps what the page knows of its jobs fresh. Of all visible tabs of the browser one leads: it
// holds the streams of the few jobs that are worth one and tells the others what it hears. Whatever
// nothing was heard of for a while is asked for, so all this is only for speed.

import { effect, signal } from "@preact/signals";

import { connectionLost, loginNeeded, request } from "../api/client";
import { follow, type Stream } from "../api/events";
import { Failure, retryDelay } from "../api/failure";
import type { Job, JobChange, JobPage } from "../api/types";
import { isActive } from "../history/stored";
import { account } from "../login/session";
import { worthStreams } from "./choose";
import { change, entries, entryOf, markGone, take, type Entry } from "./store";

const POLL_MS = 2500;
const HIDDEN_POLL_MS = 15000;
const LIST_FROM = 5;
const SINGLE_MOST = 8;

const locks = navigator.locks as LockManager | undefined;
/** Without locks (no secure context) each visible tab leads, and takes less. */
const MOST_STREAMS = locks === undefined ? 1 : 2;

const channel = "BroadcastChannel" in window ? new BroadcastChannel("msaas.live") : null;
const streams = new Map<string, Stream>();
let resign: (() => void) | null = null;
let leading = false;

function heardOf(id: string, news: JobChange): void {
  change(id, news);
  channel?.postMessage({ id, news });
}

function adjustStreams(): void {
  const active = entries.value.map((e) => e.job.value).filter((job) => isActive(job.state));
  const wanted = new Set(leading && !loginNeeded.value ? worthStreams(active, MOST_STREAMS) : []);
  for (const [id, stream] of streams) {
    if (wanted.has(id)) continue;
    stream.close();
    streams.delete(id);
  }
  for (const id of wanted) {
    if (streams.has(id)) continue;
    streams.set(
      id,
      follow(
        id,
        (news) => heardOf(id, news),
        () => streams.delete(id),
      ),
    );
  }
}

function lead(): void {
  leading = true;
  adjustStreams();
}

function standDown(): void {
  leading = false;
  adjustStreams();
  resign?.();
  resign = null;
}

function onVisibility(): void {
  if (document.visibilityState === "hidden") {
    standDown();
    return;
  }
  void poll();
  if (locks === undefined) {
    lead();
    return;
  }
  if (resign !== null) return;
  const stop = new AbortController();
  const held = new Promise<void>((resolve) => {
    resign = () => {
      stop.abort();
      resolve();
    };
  });
  locks
    .request("msaas.live", { signal: stop.signal }, () => {
      lead();
      return held;
    })
    .catch(() => {
      // Given up while waiting for it: the tab was hidden.
    });
}

async function ask(id: string): Promise<void> {
  try {
    change(id, (await request<Job>(`/apiv2/jobs/${id}`)).body);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    if (error.code === "unknown_job") markGone(id);
    else if (error.status === 0 || error.status === 401) throw error;
  }
}

async function askLists(queries: string[], stale: Map<string, Entry>): Promise<void> {
  for (const query of queries) {
    const { body } = await request<JobPage>(`/apiv2/jobs?limit=200${query}`);
    for (const job of body.jobs) {
      if (stale.delete(job.id)) change(job.id, job);
    }
  }
}

async function askAll(stale: Map<string, Entry>, queries: string[], most: number): Promise<void> {
  if (stale.size >= LIST_FROM) await askLists(queries, stale);
  for (const id of [...stale.keys()].slice(0, most)) await ask(id);
}

let polling = false;
async function poll(): Promise<void> {
  if (polling || loginNeeded.peek()) return;
  polling = true;
  try {
    const now = performance.now();
    const stale = new Map<string, Entry>();
    for (const entry of entries.peek()) {
      const fresh = streams.has(entry.id) || now - entry.heard < POLL_MS * 0.8;
      const state = entry.job.peek().state;
      const ending = isActive(state) && !entry.gone.peek();
      if (ending && (!fresh || connectionLost.peek())) stale.set(entry.id, entry);
    }
    const oldest = [...stale].sort((a, b) => a[1].heard - b[1].heard);
    await askAll(new Map(oldest), ["&state=running", "&state=queued"], SINGLE_MOST);
    if (connectionLost.peek()) await request("/healthz");
  } catch (error) {
    // The connection is lost, or a token is needed: the next round finds out.
    if (!(error instanceof Failure)) throw error;
  } finally {
    polling = false;
  }
}

/** Asks the server for the whole history once: what ended, expired or went while nobody looked; and
 * for the first of the account's jobs. */
export async function refreshHistory(attempt = 0): Promise<void> {
  const stale = new Map(entries.peek().map((entry) => [entry.id, entry]));
  try {
    await askAll(stale, [""], Infinity);
    await moreOfAccount(null);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const delay = retryDelay(error, attempt);
    // After a login it is asked for anyway.
    if (delay !== null) setTimeout(() => void refreshHistory(attempt + 1), delay);
  }
}

/** Of the account's jobs that are not here yet; null: all are here. */
export const nextPage = signal<string | null>(null);

/** A page of the account's jobs from the server. */
export async function moreOfAccount(cursor: string | null): Promise<void> {
  const name = account.peek();
  if (name === null) return;
  const query = cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`;
  const { body } = await request<JobPage>(`/apiv2/jobs?limit=100${query}`);
  if (name !== account.peek()) return;
  for (const job of body.jobs) {
    if (job.owner === undefined || job.owner === name) take(job);
  }
  nextPage.value = body.next_cursor;
}

export function startLive(): void {
  channel?.addEventListener("message", (event: MessageEvent<{ id: string; news: JobChange }>) => {
    if (entryOf(event.data.id) !== undefined) change(event.data.id, event.data.news);
  });
  effect(adjustStreams);
  document.addEventListener("visibilitychange", onVisibility);
  window.addEventListener("online", () => void poll());
  window.addEventListener("pagehide", standDown);
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) onVisibility();
  });
  onVisibility();
  const again = () => {
    const every = document.visibilityState === "hidden" ? HIDDEN_POLL_MS : POLL_MS;
    setTimeout(() => void poll().finally(again), every);
  };
  again();
}
