// What went wrong with a request, and when to try it again. Pure: tested by failure.test.ts.

export class Failure extends Error {
  constructor(
    /** HTTP status; 0: no answer came. */
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly retryAfterS: number | null = null,
  ) {
    super(`${status} ${code}: ${detail}`);
  }
}

/** The failure that an answer stands for; `body` is problem+json where the service says it. */
export function failureOf(status: number, body: string, retryAfter: string | null): Failure {
  let code = status === 0 ? "network" : `status_${status}`;
  let detail = "";
  try {
    const problem = JSON.parse(body) as { code?: unknown; detail?: unknown; reason?: unknown };
    if (typeof problem.code === "string") code = problem.code;
    const text = problem.detail ?? problem.reason;
    if (typeof text === "string") detail = text;
  } catch {
    // A proxy's page, or nothing: the status has to do.
  }
  const seconds = retryAfter === null ? NaN : Number(retryAfter);
  return new Failure(status, code, detail, Number.isFinite(seconds) ? Math.max(0, seconds) : null);
}

const PASSING = new Set([0, 408, 409, 423, 425, 429, 500, 502, 503, 504]);

/**
 * Milliseconds until the request is worth another try; null: the same request will fail again.
 * `attempt` counts from 0 and begins anew whenever something went right.
 */
export function retryDelay(failure: Failure, attempt: number): number | null {
  if (!PASSING.has(failure.status)) return null;
  if (failure.status === 500 && attempt >= 3) return null;
  const backoff = Math.min(15000, 500 * 2 ** Math.min(attempt, 10));
  return failure.retryAfterS === null ? backoff : Math.max(backoff, failure.retryAfterS * 1000);
}
