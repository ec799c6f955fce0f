/* A worker's own folder for the files of the job at work. */
#ifndef MSAAS_WORKER_SCRATCH_H
#define MSAAS_WORKER_SCRATCH_H

#include "msaas/err.h"
#include "msaas/queue.h"

/* A lease, by the token that it is held under. */
struct ms_scratch_lease {
    char job[MS_JOB_ID_HEX], token[MS_TOKEN_HEX];
};

#define MS_SCRATCH_LEFT_MAX 64 /* more are left to the reapers */
struct ms_scratch {
    char *path;
    int lock; /* held as long as the worker lives; whoever gets it may remove the folder */
    /* What dead workers held: those whose folders were removed. */
    struct ms_scratch_lease left[MS_SCRATCH_LEFT_MAX];
    int left_count;
};

/* Makes a new folder in `parent`, which workers may share and which is made where it is missing.
 * Removes the folders of dead workers. */
MS_MUST_CHECK int ms_scratch_open(const char *parent, struct ms_scratch *out, struct ms_error *err);
/* Writes down the lease of the job that begins, until the folder is emptied: the next worker that
 * starts here gives it back if this one is killed. Where it cannot be written, it lapses. */
void ms_scratch_hold(const struct ms_scratch *scratch, const char *job, const char *token);
/* Whether it can be written to and has room for a short song. MS_EIO. */
MS_MUST_CHECK int ms_scratch_check(const struct ms_scratch *scratch, struct ms_error *err);
/* Removes what is in it, between jobs. */
void ms_scratch_empty(const struct ms_scratch *scratch);
void ms_scratch_close(struct ms_scratch *scratch); /* removes the folder */

#endif
