/* What every worker does besides its jobs, on threads of its own: puts back the jobs of dead
 * workers, and delivers callbacks, a few at a time, since some receivers take long. */
#ifndef MSAAS_WORKER_CHORES_H
#define MSAAS_WORKER_CHORES_H

#include <stdint.h>

#include "msaas/err.h"
#include "outage.h"

struct ms_chores_options {
    const char *queue_url;
    int64_t lease_ms;
    const char *webhook_secret, *callback_allow; /* see worker.h */
    struct ms_outage *outage;                    /* of the queue */
};

struct ms_chores;
/* MS_EUSAGE: a secret, a network. */
MS_MUST_CHECK int ms_chores_new(const struct ms_chores_options *options, struct ms_chores **out,
                                struct ms_error *err);
/* Ends the threads; a delivery under way is broken off and left to the next worker. Accepts NULL.
 */
void ms_chores_free(struct ms_chores *chores);
/* A callback has just become due. */
void ms_chores_wake(struct ms_chores *chores);

#endif
