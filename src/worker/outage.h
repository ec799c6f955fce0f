/* Logs once when a server is lost and once when it is back. Any thread. */
#ifndef MSAAS_WORKER_OUTAGE_H
#define MSAAS_WORKER_OUTAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "msaas/err.h"
#include "msaas/metrics.h"

struct ms_outage {
    const char *what;         /* "the queue" */
    struct ms_metric *errors; /* counts failures */
    atomic_bool lost;
    _Atomic int64_t back_ms; /* the earliest time to report it as back */
};

/* Takes the result of a call. True: the server failed. False: it answered, be it with an error.
 * Logs and counts failures. */
bool ms_outage_note(struct ms_outage *outage, int rc, const struct ms_error *err);

/* 0.25 s, doubled each time, at most 10 s: how long to wait after failure number `failures` (from
 * 0). */
int64_t ms_outage_pause_ms(int failures);

#endif
