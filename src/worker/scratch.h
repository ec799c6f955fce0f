/* A worker's own folder for the files of the job at work. */
#ifndef MSAAS_WORKER_SCRATCH_H
#define MSAAS_WORKER_SCRATCH_H

#include "msaas/err.h"

struct ms_scratch {
    char *path;
    int lock; /* held as long as the worker lives; whoever gets it may remove the folder */
};

/* Makes a new folder in `parent`, which workers may share and which is made where it is missing.
 * Removes the folders of dead workers. */
MS_MUST_CHECK int ms_scratch_open(const char *parent, struct ms_scratch *out, struct ms_error *err);
/* Whether it can be written to and has room for a short song. MS_EIO. */
MS_MUST_CHECK int ms_scratch_check(const struct ms_scratch *scratch, struct ms_error *err);
/* Removes what is in it, between jobs. */
void ms_scratch_empty(const struct ms_scratch *scratch);
void ms_scratch_close(struct ms_scratch *scratch); /* removes the folder */

#endif
