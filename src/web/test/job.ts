// A job to change for a test.

import type { Job } from "../api/types";

export function job(change: Partial<Job>): Job {
  return {
    id: "a",
    state: "queued",
    position: 0,
    progress: 0,
    eta_seconds: null,
    attempts: 0,
    cost: null,
    created_at: "2026-11-28T10:00:00.000Z",
    started_at: null,
    finished_at: null,
    input: { name: "song.mp3", bytes: 5, seconds: null },
    options: { model: "htdemucs", stems: null, two_stems: null, format: "mp3" },
    stems: [],
    error: null,
    receipt: null,
    ...change,
  };
}
