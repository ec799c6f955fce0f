/* One job's work, between reserve() and the change that ends it. */
#ifndef MSAAS_WORKER_JOB_RUN_H
#define MSAAS_WORKER_JOB_RUN_H

#include "lease.h"
#include "msaas/engine.h"
#include "msaas/job.h"
#include "msaas/store.h"
#include "outage.h"

struct ms_job_work {
    struct ms_engine *engine;
    struct ms_store *store;
    struct ms_outage *store_outage;
    struct ms_lease *lease;
    const char *folder; /* the worker's own, emptied by the caller */
    double max_song_s;  /* longer songs are MS_EINPUT; 0: any */
    /* Whether the job is still this worker's: 0, or what ended it. Before each stem's upload. */
    int (*confirm)(void *context, struct ms_error *err);
    /* Work goes on; it may be this many seconds until it can be seen to. */
    void (*moved)(void *context, double allow_s);
    void *context;
};

struct ms_job_outcome {
    int uploaded;      /* of job->stems, also where it failed */
    bool store_failed; /* the error is the store's: wait for it before the next job */
    double seconds;
};

/* Fetches the song, separates it, uploads the stems. Fills in job's stems, audio_seconds and
 * receipt. Nobody sees the stems before the job has succeeded, which is the caller's to declare. */
MS_MUST_CHECK int ms_job_run(const struct ms_job_work *work, struct ms_job *job,
                             struct ms_job_outcome *outcome, struct ms_error *err);
/* Removes the first `stems` of the job's objects, and the song where `song` says so; as far as it
 * goes. */
void ms_job_discard(struct ms_store *store, const struct ms_job *job, int stems, bool song);

#endif
