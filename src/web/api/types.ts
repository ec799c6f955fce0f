// The JSON of the API, as docs/api.md describes it. Field names are those of the wire.

export type JobState = "queued" | "running" | "succeeded" | "failed" | "canceled" | "expired";

export interface Stem {
  name: string;
  url: string;
  bytes: number;
  sha256: string;
}

export interface JobOptions {
  model: string;
  stems: string[] | null;
  two_stems: string | null;
  format: string;
  [name: string]: unknown;
}

export interface Job {
  id: string;
  owner?: string | null;
  state: JobState;
  position: number | null;
  progress: number;
  eta_seconds: number | null;
  /** Live workers that can take it; absent or null where the queue does not know. */
  workers?: number | null;
  /** So many seconds of every stem can be heard while it runs. */
  preview_seconds?: number;
  attempts: number;
  cost: number | null;
  created_at: string | null;
  started_at: string | null;
  finished_at: string | null;
  input: { name: string | null; bytes: number; seconds: number | null };
  options: JobOptions;
  stems: Stem[];
  error: { code: string; message: string } | null;
  receipt: unknown;
}

/** What an event may change of a job: a whole job has all of it. */
export type JobChange = Partial<Job> & { erased?: boolean };

export interface JobPage {
  jobs: Job[];
  next_cursor: string | null;
}

export interface Model {
  name: string;
  default: boolean;
  licence: string;
  stems: string[];
}

export interface Session {
  name: string;
  scopes: string;
  expires_at: string;
}

export interface Problem {
  status: number;
  code: string;
  detail: string;
}
