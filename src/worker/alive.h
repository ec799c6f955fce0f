/* Whether the workers of this process move on, and whether they are ready: what the probes of
 * msaas/worker.h are told. Any thread. */
#ifndef MSAAS_WORKER_ALIVE_H
#define MSAAS_WORKER_ALIVE_H

#include "msaas/worker.h"
#include "outage.h"

struct ms_alive { /* of one worker; guarded by the lock of alive.c */
    double until_s;
    char unready[MS_WORKER_REASON_BYTES]; /* why; "": it is ready */
    struct ms_outage *outages[2];         /* borrowed */
    struct ms_alive *next;
};

/* From now on the probes look at it; it is to move within allow_s. */
void ms_alive_begin(struct ms_alive *alive, struct ms_outage *queue, struct ms_outage *store,
                    double allow_s);
void ms_alive_end(struct ms_alive *alive); /* also of one that has not begun */
/* It moves; the next time within allow_s. */
void ms_alive_allow(struct ms_alive *alive, double allow_s);
/* "": it is ready, as far as what it does itself goes. */
void ms_alive_set_unready(struct ms_alive *alive, const char *why);

#endif
