/* What every worker does besides its jobs, on threads of its own: it puts back the jobs of dead
 * workers, and delivers callbacks. */
#ifndef MSAAS_WORKER_CHORES_H
#define MSAAS_WORKER_CHORES_H

#include <stdint.h>

#include "msaas/err.h"
#include "outage.h"

struct ms_chores_options {
    const char *queue_url;
    int64_t lease_ms;
    const char *model;                           /* which the worker has */
    int64_t model_wait_ms;                       /* see ms_queue_reap */
    const char *webhook_secret, *callback_allow; /* see worker.h */
    struct ms_outage *outage;                    /* of the queue */
};

struct ms_chores;
/* MS_EUSAGE: the secret or the list of networks is malformed. */
MS_MUST_CHECK int ms_chores_new(const struct ms_chores_options *options, struct ms_chores **out,
                                struct ms_error *err);
/* Ends the threads. A delivery in progress is broken off; another worker repeats it. Accepts
 * NULL. */
void ms_chores_free(struct ms_chores *chores);
/* Says that a callback has just become due. */
void ms_chores_wake(struct ms_chores *chores);

#endif
