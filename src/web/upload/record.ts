// What of an upload outlives a reload: where it is on the server, how far it came, and what shall
// become of it. Pure but for localStorage: tested by record.test.ts.

import type { Wish } from "../options/choice";
import { isRecord, load, save } from "../ui/keep";

export const UPLOADS_KEY = "msaas.uploads";
/** The server keeps uploads for a day unless told otherwise. */
const KEPT_MS = 24 * 3600 * 1000;

export interface UploadRecord {
  key: string;
  name: string;
  size: number;
  /** Of the file, in ms: with name and size it tells whether a file is the same. */
  modified: number;
  /** Empty: nothing of it is on the server. */
  url: string;
  offset: number;
  wish: Wish;
  at: number;
}

export interface FileFacts {
  name: string;
  size: number;
  lastModified: number;
}

export function sameFile(record: UploadRecord, file: FileFacts): boolean {
  return (
    record.name === file.name && record.size === file.size && record.modified === file.lastModified
  );
}

function checkRecord(value: unknown): UploadRecord | null {
  if (!isRecord(value) || !isRecord(value.wish)) return null;
  const { key, name, url } = value;
  if (typeof key !== "string" || typeof name !== "string" || typeof url !== "string") return null;
  const numbers = [value.size, value.modified, value.offset, value.at];
  if (!numbers.every((n) => typeof n === "number" && Number.isFinite(n))) return null;
  const wish = Object.fromEntries(
    Object.entries(value.wish).map(([k, v]) => [k, Array.isArray(v) ? v.map(String) : String(v)]),
  );
  return { ...(value as unknown as UploadRecord), wish };
}

export function checkRecords(value: unknown, now: number): UploadRecord[] {
  if (!Array.isArray(value)) return [];
  return value
    .map(checkRecord)
    .filter((r): r is UploadRecord => r !== null && now - r.at < KEPT_MS);
}

export function readRecords(): UploadRecord[] {
  return load<UploadRecord[]>(UPLOADS_KEY, [], (value) => checkRecords(value, Date.now()));
}

/** Each tab changes its own records only, on top of what the others wrote. */
export function putRecords(records: UploadRecord[]): void {
  const keys = new Set(records.map((r) => r.key));
  save(UPLOADS_KEY, [...readRecords().filter((r) => !keys.has(r.key)), ...records]);
}

export function dropRecord(key: string): void {
  save(
    UPLOADS_KEY,
    readRecords().filter((r) => r.key !== key),
  );
}
