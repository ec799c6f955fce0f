/* Whether a server answers: logs once when it is lost, again when the cause is another one, and
 * once when it is back. What fails again soon after that is back when it has not failed for 15 s.
 * Any thread. */
#ifndef MSAAS_WORKER_OUTAGE_H
#define MSAAS_WORKER_OUTAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "msaas/err.h"
#include "msaas/metrics.h"

#define MS_OUTAGE_CAUSE_BYTES 600

struct ms_outage {
    const char *what;         /* "the queue" */
    struct ms_metric *errors; /* counts failures */
    /* Of outage.c: */
    bool lost;
    bool partly;                       /* some calls work meanwhile */
    int64_t back_ms;                   /* the earliest time to report it as back */
    int64_t was_back_ms;               /* 0: never */
    char cause[MS_OUTAGE_CAUSE_BYTES]; /* the last one */
    char told[MS_OUTAGE_CAUSE_BYTES];  /* the one in the log */
    int64_t told_ms;
};

/* Takes the result of a call. True: the server failed. False: it answered, be it with an error.
 * Logs and counts failures. */
bool ms_outage_note(struct ms_outage *outage, int rc, const struct ms_error *err);

/* Why the last call failed; "": the server answered it. Whoever calls the server every few seconds
 * learns from it whether the server works now. */
void ms_outage_cause(struct ms_outage *outage, char cause[MS_OUTAGE_CAUSE_BYTES]);

/* Whether it is worth to try the call again: the server cannot serve now, or refuses until somebody
 * mends its configuration or ours. Else the call itself fails, and would again. */
bool ms_outage_may_end(int rc);

/* 0.25 s, doubled each time, at most 10 s: how long to wait after failure number `failures` (from
 * 0). */
int64_t ms_outage_pause_ms(int failures);

#endif
