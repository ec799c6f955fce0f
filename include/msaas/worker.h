/* The worker: reserve, run, finish, retry, requeue, heartbeat; one job at a time, lanes inside.
 * Runs on the thread that calls ms_worker_run, with helper threads of its own: one that renews the
 * lease (and learns of a cancel), one that delivers callbacks, one that reaps. */
#ifndef MSAAS_WORKER_H
#define MSAAS_WORKER_H

#include <stdatomic.h>

#include "msaas/engine.h"
#include "msaas/job.h"
#include "msaas/metrics.h"
#include "msaas/store.h"

/* Exit codes of a process whose worker cannot go on. */
#define MS_WORKER_UNFIT 69
#define MS_WORKER_STALLED 70

struct ms_worker_options {
    const char *queue_url;
    struct ms_store_options store;
    /* The model that the worker serves: it takes jobs that ask for it, or for none. For a job that
     * asks for another precision the model is loaded in it. */
    struct ms_engine *engine;
    /* folder for the song, spools and stems of the job at work; leftovers of dead workers are
     * removed */
    const char *scratch_dir;
    int64_t lease_ms; /* renewed every third of it */
    /* When a job has not moved for so long (longer where much is to be read or sent), the process
     * ends with exit code MS_WORKER_STALLED, because a thread that hangs in a library cannot be
     * ended. The same happens when a job does not end long after grace_ms. */
    double stall_s;
    int64_t model_wait_ms; /* see ms_queue_reap */
    int64_t upload_keep_s; /* older uploads are removed; 0: MS_UPLOAD_KEEP_S */
    double preview_s;  /* so much of every stem can be heard while the job is at work; 0: nothing */
    double max_cost;   /* jobs that cost more fail with code "too_large"; 0: any */
    double max_song_s; /* longer songs fail with code "input" */
    int64_t give_up_ms;         /* see ms_worker_run */
    int64_t keep_ms;            /* jobs that ended so long ago are removed; 0: none are */
    int64_t grace_ms;           /* after `stop`: the time to finish the job before it is put back */
    const char *webhook_secret; /* of v2 callbacks; NULL: not signed */
    /* hosts and CIDRs, by commas, that callbacks may reach though they are not public; NULL: none
     * */
    const char *callback_allow;
    const atomic_bool *stop; /* SIGTERM */
};
/* Returns 0 after `stop`. Waits for the queue as long as it takes.
 *
 * A worker that is unwell (its scratch folder, memory, device, model or store failed) gives its job
 * back, is not ready, and takes no other for a while: a second, doubled each time up to a
 * minute, and until folder, store and model are found to work. *unfit: it has paused for give_up_ms
 * in all without finishing a job, and the error is the last reason. */
MS_MUST_CHECK int ms_worker_run(const struct ms_worker_options *options, bool *unfit,
                                struct ms_error *err);

/* For /readyz of the worker's listener: "" if the process takes jobs, else why not. */
#define MS_WORKER_REASON_BYTES 400
void ms_worker_why_unready(char reason[MS_WORKER_REASON_BYTES]);

/* For /metrics and /healthz of the worker's listener: whether the loop has moved within stall_s (a
 * job's progress counts). */
bool ms_worker_is_alive(void);

/* Metrics of this worker. */
extern struct ms_metric ms_worker_finished, ms_worker_in_flight, ms_worker_audio_seconds,
    ms_worker_work_seconds, ms_worker_speed, ms_worker_retries, ms_worker_reaped,
    ms_worker_callbacks, ms_worker_junk, ms_worker_unwell;

#endif
