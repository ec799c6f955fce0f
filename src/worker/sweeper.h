/* What every worker does once an hour, on a thread of its own: it removes what killed processes
 * left in the store of objects that they did not finish. Several workers that do it at once harm
 * nobody: each thing is removed once. */
#ifndef MSAAS_WORKER_SWEEPER_H
#define MSAAS_WORKER_SWEEPER_H

#include "msaas/store.h"

struct ms_sweeper;
/* The strings of `store` are borrowed; its `cancel` is not used. */
MS_MUST_CHECK int ms_sweeper_new(const struct ms_store_options *store, struct ms_sweeper **out,
                                 struct ms_error *err);
/* Ends the thread; a sweep in progress is broken off. Accepts NULL. */
void ms_sweeper_free(struct ms_sweeper *sweeper);

#endif
