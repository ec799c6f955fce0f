/* Asks the store every few seconds whether it answers, also while nothing else needs it: an idle
 * worker, or one in the middle of a long song. The queue is asked all the time by others. */
#ifndef MSAAS_WORKER_WATCH_H
#define MSAAS_WORKER_WATCH_H

#include "msaas/store.h"
#include "outage.h"

struct ms_watch;
/* store: as the worker's; its `cancel`, attempts and stall_timeout_s are not used. Borrows its
 * strings. */
MS_MUST_CHECK int ms_watch_new(const struct ms_store_options *store, struct ms_outage *outage,
                               struct ms_watch **out, struct ms_error *err);
/* Ends the thread; what it asks is broken off. Accepts NULL. */
void ms_watch_free(struct ms_watch *watch);

#endif
