// Songs on their way to the server: one is sent at a time, so that the first can begin soon and
// the player keeps its connections. Each failure that may pass is tried again by itself.

import { computed, signal, type Signal } from "@preact/signals";
import { DetailedError, Upload } from "tus-js-client";

import { asking, connectionLost, request } from "../api/client";
import { Failure, failureOf, retryDelay } from "../api/failure";
import type { Job } from "../api/types";
import { isActive } from "../history/stored";
import { entryOf, take } from "../jobs/store";
import { account } from "../login/session";
import { isSettled, settled, type Wish } from "../options/choice";
import { knownModels } from "../options/store";
import { texts } from "../texts";
import { announce } from "../ui/announce";
import { songTitle } from "../ui/names";
import { tabsChannel } from "../ui/tabs";
import { dropRecord, putRecords, readRecords, sameFile, type UploadRecord } from "./record";
import { Speed } from "./speed";

export type Phase =
  | { name: "waiting" }
  | { name: "sending" }
  | { name: "paused" }
  /** Sent; becomes a job. */
  | { name: "starting" }
  /** Something that passes: tried again `at`. */
  | { name: "stalled"; failure: Failure; at: number }
  | { name: "failed"; failure: Failure }
  /** Of before a reload: the browser cannot read the file until it is chosen again. */
  | { name: "interrupted" };

export interface Item {
  key: string;
  title: string;
  size: number;
  phase: Signal<Phase>;
  offset: Signal<number>;
  rate: Signal<number | null>;
  file: File | null;
  record: UploadRecord;
  tus: Upload | null;
  attempt: number;
  timer: number | undefined;
  speed: Speed;
}

export const items = signal<Item[]>([]);
/** How many go on by themselves. */
export const sendingCount = computed(
  () =>
    items.value.filter(
      ({ phase }) => !["paused", "failed", "interrupted"].includes(phase.value.name),
    ).length,
);

/** Songs of this page's life, by job: so that one that failed can be sent again as it is. */
const files = new Map<string, File>();
export const fileOf = (jobId: string) => files.get(jobId);

const CHUNK_BYTES = 32 * 1024 * 1024;
const LONG_WAIT_S = 60;
const tab = Math.random().toString(36).slice(2);
let count = 0;

function makeItem(record: UploadRecord, file: File | null, phase: Phase): Item {
  return {
    key: record.key,
    title: songTitle(record.name),
    size: record.size,
    phase: signal(phase),
    offset: signal(record.offset),
    rate: signal(null),
    file,
    record,
    tus: null,
    attempt: 0,
    timer: undefined,
    speed: new Speed(),
  };
}

/** Adds files; one that was interrupted goes on where it was, with the options of then. */
export function addFiles(chosen: Iterable<File>, wish: Wish): number {
  let added = 0;
  const fresh: Item[] = [];
  for (const file of chosen) {
    added += 1;
    const old = items
      .peek()
      .find((item) => item.phase.peek().name === "interrupted" && sameFile(item.record, file));
    if (old !== undefined) {
      old.file = file;
      old.phase.value = { name: "waiting" };
      continue;
    }
    const record: UploadRecord = {
      key: `${tab}-${(count += 1)}`,
      name: file.name,
      size: file.size,
      modified: file.lastModified,
      url: "",
      offset: 0,
      wish,
      at: Date.now(),
    };
    fresh.push(makeItem(record, file, { name: "waiting" }));
  }
  items.value = [...items.peek(), ...fresh];
  putRecords(fresh.map((item) => item.record));
  sendNext();
  return added;
}

function occupies(item: Item): boolean {
  const phase = item.phase.peek();
  return (
    phase.name === "sending" || (phase.name === "stalled" && !isSent(item) && !isLong(phase.at))
  );
}

function isLong(at: number): boolean {
  return at - Date.now() > LONG_WAIT_S * 1000;
}

function sendNext(): void {
  if (items.peek().some(occupies)) return;
  for (const item of items.peek()) {
    if (item.phase.peek().name !== "waiting" || item.file === null) continue;
    send(item, item.file);
    return;
  }
}

const isSent = ({ record }: Item) => record.url !== "" && record.offset >= record.size;

/** After a reload its file would have to be chosen again. */
const needsPage = (item: Item) =>
  !isSent(item) && !["failed", "interrupted"].includes(item.phase.peek().name);

/** It is sent when its turn comes; what the browser cannot read has to be chosen again. */
function queue(item: Item): void {
  item.phase.value = { name: item.file === null ? "interrupted" : "waiting" };
  putRecords([item.record]);
  sendNext();
}

function send(item: Item, file: File): void {
  window.clearTimeout(item.timer);
  item.phase.value = { name: "sending" };
  item.speed.clear();
  const refused = asking();
  let keptAt = 0;
  const tus = new Upload(file, {
    endpoint: "/apiv2/uploads",
    uploadUrl: item.record.url === "" ? null : item.record.url,
    metadata: { filename: file.name },
    chunkSize: CHUNK_BYTES,
    storeFingerprintForResuming: false,
    retryDelays: null,
    onUploadUrlAvailable: () => {
      item.record.url = new URL(tus.url ?? "", location.href).pathname;
      putRecords([item.record]);
    },
    onProgress: (sent) => {
      if (item.tus !== tus) return;
      connectionLost.value = false;
      item.offset.value = sent;
      item.speed.add(performance.now(), sent);
      item.rate.value = item.speed.rate();
    },
    onChunkComplete: (_, accepted) => {
      item.attempt = 0;
      item.record.offset = accepted;
      if (performance.now() - keptAt < 1000) return;
      keptAt = performance.now();
      putRecords([item.record]);
    },
    onSuccess: () => {
      if (item.tus !== tus) return;
      item.record.offset = item.size;
      item.record.url = new URL(tus.url ?? item.record.url, location.href).pathname;
      item.offset.value = item.size;
      putRecords([item.record]);
      void begin(item);
      sendNext();
    },
    onError: (error) => {
      if (item.tus !== tus) return;
      item.rate.value = null;
      void whyFailed(error, file).then((failure) => {
        if (item.tus === tus) onFailure(item, failure, refused);
      });
    },
  });
  item.tus = tus;
  tus.start();
}

async function whyFailed(error: Error, file: File): Promise<Failure> {
  const answer = error instanceof DetailedError ? error.originalResponse : null;
  if (answer === null || answer === undefined || answer.getStatus() === 0) {
    // To a request, a file that the browser cannot read is no different from a lost connection.
    return file
      .slice(0, 1)
      .arrayBuffer()
      .then(() => new Failure(0, "network", error.message))
      .catch(() => new Failure(400, "unreadable_file", ""));
  }
  return failureOf(answer.getStatus(), answer.getBody(), answer.getHeader("Retry-After") ?? null);
}

function onFailure(item: Item, failure: Failure, refused: () => boolean): void {
  item.tus = null;
  if (!items.peek().includes(item)) return;
  if (failure.status === 0) connectionLost.value = true;
  if (failure.code === "unknown_upload" || failure.code === "upload_expired") {
    // The server keeps uploads for a while only: it is sent anew.
    item.record = { ...item.record, url: "", offset: 0 };
    item.offset.value = 0;
    if (item.file !== null && item.attempt === 0) {
      item.attempt += 1;
      queue(item);
      return;
    }
  }
  const untilLogin = () => (refused() ? 3600e3 : 0);
  const delay = failure.status === 401 ? untilLogin() : retryDelay(failure, item.attempt);
  if (delay === null) {
    item.phase.value = { name: "failed", failure };
    dropRecord(item.key);
    announce(texts.announce.interrupted(item.title));
    sendNext();
    return;
  }
  item.attempt += 1;
  item.phase.value = { name: "stalled", failure, at: Date.now() + delay };
  item.timer = window.setTimeout(() => tryNow(item), Math.min(delay, 2 ** 31 - 1));
  sendNext();
}

export function tryNow(item: Item): void {
  window.clearTimeout(item.timer);
  const phase = item.phase.peek();
  if (!["stalled", "paused", "failed"].includes(phase.name)) return;
  if (isSent(item)) void begin(item);
  else queue(item);
}

function halt(item: Item): void {
  window.clearTimeout(item.timer);
  void item.tus?.abort();
  item.tus = null;
}

export function pause(item: Item): void {
  halt(item);
  item.rate.value = null;
  item.phase.value = { name: "paused" };
  sendNext();
}

function leave(item: Item): void {
  window.clearTimeout(item.timer);
  dropRecord(item.key);
  items.value = items.peek().filter((other) => other !== item);
  sendNext();
}

async function removeUpload(url: string): Promise<void> {
  if (url === "") return;
  try {
    await request(url, { method: "DELETE", headers: { "Tus-Resumable": "1.0.0" } });
  } catch {
    // It expires by itself.
  }
}

export function cancel(item: Item): void {
  halt(item);
  leave(item);
  void removeUpload(item.record.url);
}

/** Ends all uploads, without a word to the server: whoever sent them is not logged in any more. */
export function abandonAll(): void {
  for (const item of items.peek()) {
    halt(item);
    dropRecord(item.key);
  }
  items.value = [];
}

/** Ends the job of an upload that was canceled while the server made it. */
async function discard(job: Job): Promise<void> {
  const known = entryOf(job.id)?.job.peek();
  // The same song had been sent before: that was not canceled.
  if (!isActive(job.state) || known?.created_at === job.created_at) return;
  try {
    await request(`/apiv2/jobs/${job.id}`, { method: "DELETE" });
  } catch {
    // It is shown, and can be canceled there.
    take(job, true);
  }
}

/** Makes the job of what is sent. */
async function begin(item: Item): Promise<void> {
  item.tus = null;
  item.phase.value = { name: "starting" };
  const id = item.record.url.split("/").pop() ?? "";
  const sender = account.peek();
  let { wish } = item.record;
  if (!isSettled(wish)) wish = settled(wish, await knownModels());
  if (!items.peek().includes(item)) return;
  const refused = asking();
  try {
    const { body } = await request<Job>("/apiv2/jobs", {
      method: "POST",
      json: { source: { upload: id }, name: item.record.name, ...wish },
    });
    if (!items.peek().includes(item)) {
      if (sender === account.peek()) await discard(body);
      return;
    }
    if (item.file !== null) files.set(body.id, item.file);
    take(body, true);
    announce(texts.announce.uploaded(item.title));
    leave(item);
    void removeUpload(item.record.url);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    onFailure(item, error, refused);
  }
}

function retryStalled(which: (failure: Failure) => boolean): void {
  for (const item of items.peek()) {
    const phase = item.phase.peek();
    if (phase.name === "stalled" && which(phase.failure)) tryNow(item);
  }
}

export const retryAfterLogin = () => retryStalled((failure) => failure.status === 401);

/** Takes up what a reload interrupted, unless another tab is at it. */
export function startUploads(): void {
  window.addEventListener("online", () => retryStalled((failure) => failure.status === 0));
  window.addEventListener("beforeunload", (event) => {
    if (items.peek().some(needsPage)) event.preventDefault();
  });
  const channel = tabsChannel("uploads");
  const taken = new Set<string>();
  channel?.addEventListener("message", (event: MessageEvent<{ ask?: true; keys?: string[] }>) => {
    event.data.keys?.forEach((key) => taken.add(key));
    if (event.data.ask) channel.postMessage({ keys: items.peek().map((item) => item.key) });
  });
  const records = readRecords();
  if (records.length === 0) return;
  channel?.postMessage({ ask: true });
  setTimeout(() => {
    const known = new Set([...taken, ...items.peek().map((item) => item.key)]);
    const found = records
      .filter((record) => !known.has(record.key))
      .map((record) => makeItem(record, null, { name: "interrupted" }));
    if (found.length === 0) return;
    items.value = [...items.peek(), ...found];
    for (const item of found) if (isSent(item)) void begin(item);
  }, 300);
}
