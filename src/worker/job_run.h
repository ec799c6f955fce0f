/* One job's work, between reserve() and the change that ends it. */
#ifndef MSAAS_WORKER_JOB_RUN_H
#define MSAAS_WORKER_JOB_RUN_H

#include "lease.h"
#include "msaas/engine.h"
#include "msaas/job.h"
#include "msaas/store.h"
#include "outage.h"
#include "preview.h"

struct ms_job_work {
    struct ms_engine *engine;
    struct ms_store *store;
    struct ms_outage *store_outage;
    struct ms_lease *lease;
    struct ms_preview *preview; /* NULL: nothing can be heard before the end */
    const char *folder;         /* the worker's own, emptied by the caller */
    double max_song_s;          /* longer songs are MS_EINPUT; 0: any */
    double max_cost;            /* see ms_job_check_cost */
    /* Called before each long step: 0 while the job is still this worker's, else the error that
     * ends it. */
    int (*confirm)(void *context, struct ms_error *err);
    /* Called when the job has moved. Until the next call it may take `allow_s` seconds more than
     * usual. */
    void (*moved)(void *context, double allow_s);
    void *context;
};

struct ms_job_outcome {
    bool uploads; /* stems, or parts of them, may lie in the store, also after a failure */
    bool unwell;  /* it failed for a fault of the worker or of what it has, not of the job */
    double seconds;
};

/* Fetches the song, separates it, uploads the stems. Fills in job's stems, audio_seconds and
 * receipt, or its error as clients may read it; *err is for the operator. Clients see the stems
 * only after the caller has told the queue that the job succeeded. */
MS_MUST_CHECK int ms_job_run(const struct ms_job_work *work, struct ms_job *job,
                             struct ms_job_outcome *outcome, struct ms_error *err);
#endif
