// What a job's state is called. Pure: tested by words.test.ts.

import type { Job } from "../api/types";
import { texts } from "../texts";
import { percent } from "../ui/time";

const AWAY_AFTER_S = 30;
const STILL_AFTER_S = 60;

/** `waitedS`: seconds since it was sent; of one at work since it last made progress. */
export function stateOf(job: Job, waitedS: number): string {
  const words = texts.job;
  switch (job.state) {
    case "queued":
      if (job.workers === 0) return words.noWorker;
      if (job.error !== null) return words.givenBack(texts.jobFailure(job.error));
      if (job.position === null) return words.farBehind;
      if (job.position > 0) return words.behind(job.position);
      return waitedS > AWAY_AFTER_S && job.workers == null ? words.workerAway(waitedS) : words.next;
    case "running": {
      if (waitedS > STILL_AFTER_S) return words.still(waitedS);
      if (job.progress <= 0) return words.beginning;
      const parts = [`${words.running} · ${percent(job.progress)} %`];
      if (job.eta_seconds !== null) {
        parts.push(job.eta_seconds < 1 ? words.almost : words.left(job.eta_seconds));
      }
      return parts.join(" · ");
    }
    case "succeeded":
      return "";
    case "failed":
      return words.failed(job.error);
    case "canceled":
      return words.canceled;
    case "expired":
      return words.expired;
  }
}
