/* The worker: reserve, run, finish, retry, requeue, heartbeat; one job at a time, lanes inside.
 * Runs on the thread that calls ms_worker_run, with helper threads of its own: one that renews the
 * lease (and learns of a cancel), one that delivers callbacks, one that reaps. */
#ifndef MSAAS_WORKER_H
#define MSAAS_WORKER_H

#include <stdatomic.h>

#include "msaas/engine.h"
#include "msaas/job.h"
#include "msaas/store.h"

#define MS_WORKER_STALLED 70

struct ms_worker_options {
    const char *queue_url;
    struct ms_store_options store;
    /* The model that it serves: a job that asks for another is `failed`, code "model"; one that
     * asks for another precision has it loaded in that. */
    struct ms_engine *engine;
    /* for songs, spools and stems of the job at work; emptied of leftovers of its own */
    const char *scratch_dir;
    int64_t lease_ms; /* renewed every third of it */
    /* A job that has not moved for so long (longer where much is to be read or sent) ends the
     * process, with the code MS_WORKER_STALLED: what hangs in another's code cannot be ended alone.
     * Past grace_ms by much, a job that does not end does so too. */
    double stall_s;
    double max_song_s; /* longer songs are `failed`, code "input" */
    int64_t grace_ms;  /* after `stop`: finish the job if it can within so long, else put it back */
    const char *webhook_secret; /* of v2 callbacks; NULL: not signed */
    /* comma separated CIDRs that v2 callbacks may reach though private; NULL: none */
    const char *callback_allow;
    const atomic_bool *stop; /* SIGTERM */
    /* tests: name of a point where the process kills itself (SIGKILL): "after-claim", "mid-decode",
     * "mid-inference", "between-uploads", "before-publish", "after-publish", "before-callback";
     * from MSAAS_FAULT, only in builds with tests. NULL */
    const char *fault;
};
/* Until stop; 0 then. Waits for ever for queue and store (backoff, log lines). */
MS_MUST_CHECK int ms_worker_run(const struct ms_worker_options *options, struct ms_error *err);

/* For /metrics and /healthz of the worker's listener: whether the loop has moved within stall_s (a
 * job's progress counts). */
bool ms_worker_is_alive(void);

#endif
