// Which jobs are followed how. Pure: tested by choose.test.ts.

import type { Job, JobChange } from "../api/types";
import { isActive } from "../history/stored";

/** Answers overtake each other. A job that has ended stays so; the same song, sent again, has the
 * same id and was created later. */
function isOlder(job: Job, change: JobChange): boolean {
  const created = change.created_at ?? job.created_at;
  if (created !== job.created_at) return (created ?? "") < (job.created_at ?? "");
  return !isActive(job.state) && change.state !== undefined && isActive(change.state);
}

/** A job with a change of it; the job itself where the change is older than what is known. */
export function merge(job: Job, change: JobChange): Job {
  if (isOlder(job, change)) return job;
  const merged = { ...job, ...change, id: job.id };
  delete (merged as JobChange).erased;
  if (merged.state === "running") merged.position = null;
  return merged;
}

/**
 * The ids whose events are worth a connection: running jobs first, then those next in line.
 * A browser has six connections to a host in HTTP/1.1, for all tabs together, and the player needs
 * some of them: so few have a stream, and the rest is asked for.
 */
export function worthStreams(active: Job[], most: number): string[] {
  const rank = (job: Job) => (job.state === "running" ? -1 : (job.position ?? 1e9));
  return [...active]
    .sort((a, b) => rank(a) - rank(b) || (a.created_at ?? "").localeCompare(b.created_at ?? ""))
    .slice(0, most)
    .map((job) => job.id);
}
