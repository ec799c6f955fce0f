/* What every worker removes, on a thread of its own: once an hour what killed processes left in the
 * store of objects that they did not finish, and clients' uploads that have expired; and, where
 * there is a retention time, once a minute the jobs that ended before it, with all their objects.
 * Several workers that do it at once harm nobody: each thing is removed once. */
#ifndef MSAAS_WORKER_SWEEPER_H
#define MSAAS_WORKER_SWEEPER_H

#include "msaas/store.h"

struct ms_sweeper_options {
    struct ms_store_options store; /* its `cancel` is not used */
    const char *queue_url;         /* not used where keep_ms is 0 */
    int64_t keep_ms;               /* jobs that ended so long ago are removed; 0: none are */
    int64_t upload_keep_s;         /* uploads that began so long ago; 0: MS_UPLOAD_KEEP_S */
};

struct ms_sweeper;
/* Strings are borrowed. */
MS_MUST_CHECK int ms_sweeper_new(const struct ms_sweeper_options *options, struct ms_sweeper **out,
                                 struct ms_error *err);
/* Ends the thread; a sweep in progress is broken off. Accepts NULL. */
void ms_sweeper_free(struct ms_sweeper *sweeper);

#endif
