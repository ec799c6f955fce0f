/* Whether a server can be reached, told once when it is lost and once when it is back. Any thread.
 */
#ifndef MSAAS_WORKER_OUTAGE_H
#define MSAAS_WORKER_OUTAGE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "msaas/err.h"
#include "msaas/metrics.h"

struct ms_outage {
    const char *what; /* "the queue" */
    enum ms_metric errors;
    atomic_bool lost;
    _Atomic int64_t back_ms; /* not told to be back before */
};

/* Of a call that returned rc: whether the server has failed, not the request. Logs and counts. */
bool ms_outage_note(struct ms_outage *outage, int rc, const struct ms_error *err);

/* 0.25 s, doubled each time, at most 10 s: how long to wait after failure number `failures` (from
 * 0). */
int64_t ms_outage_pause_ms(int failures);

#endif
