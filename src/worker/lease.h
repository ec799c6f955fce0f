/* The lease of the job at work: a thread renews it, carries the job's progress to the queue, and
 * learns why the work must end. Everything here may be called from the worker's thread while the
 * lease's own thread runs. */
#ifndef MSAAS_WORKER_LEASE_H
#define MSAAS_WORKER_LEASE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "msaas/queue.h"
#include "outage.h"

enum ms_lease_end {
    MS_LEASE_HELD,     /* go on */
    MS_LEASE_CANCELED, /* a client asked for it */
    MS_LEASE_LOST,     /* another worker may have the job: change nothing */
    MS_LEASE_STOPPED,  /* the worker was asked to stop, and its grace is over */
};

struct ms_lease_options {
    const char *queue_url;
    int64_t lease_ms;
    int64_t grace_ms;
    const atomic_bool *stop;
    struct ms_outage *outage; /* of the queue */
    bool (*is_alive)(void);   /* whether the job at work moves; see ms_worker_options.stall_s */
};

struct ms_lease;
MS_MUST_CHECK int ms_lease_new(const struct ms_lease_options *options, struct ms_lease **out,
                               struct ms_error *err);
void ms_lease_free(struct ms_lease *lease); /* ends the thread; accepts NULL */

/* Call it right after reserve(). Copies what it needs of the job. */
void ms_lease_begin(struct ms_lease *lease, const struct ms_job *job, const char *token);
/* Call it when the job is settled. A renewal still in progress does not affect the next job. */
void ms_lease_end(struct ms_lease *lease);

void ms_lease_progress(struct ms_lease *lease, double progress, double eta_seconds,
                       double audio_seconds);

/* So much of every stem lies in the store (any thread). The queue hears of it soon, not only with
 * the next renewal that would be due. */
void ms_lease_preview(struct ms_lease *lease, double preview_seconds);

/* True when work must end: the job's (ms_lease_why says why) or, while there is no job, all work.
 * Made for hooks and stores. Lives as long as the lease. */
const atomic_bool *ms_lease_halt(const struct ms_lease *lease);
enum ms_lease_end ms_lease_why(struct ms_lease *lease);
/* Notes what one of the worker's own changes of the job found out about the lease. */
void ms_lease_note(struct ms_lease *lease, enum ms_lease_end why);

#endif
