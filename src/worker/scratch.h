/* A worker's own folder for the files of the job at work. */
#ifndef MSAAS_WORKER_SCRATCH_H
#define MSAAS_WORKER_SCRATCH_H

#include "msaas/err.h"

struct ms_scratch {
    char *path;
    int lock; /* held as long as the worker lives: who finds it free may remove the folder */
};

/* A new folder in `parent` (made if need be), which may be shared by workers; those of dead ones
 * are removed. */
MS_MUST_CHECK int ms_scratch_open(const char *parent, struct ms_scratch *out, struct ms_error *err);
/* Removes what is in it, between jobs. */
void ms_scratch_empty(const struct ms_scratch *scratch);
void ms_scratch_close(struct ms_scratch *scratch); /* removes the folder */

#endif
