/* Ships log lines into the queue's list `logging`, from which `msaas logs` and the course's readers
 * take them, ten times a second at most. */
#ifndef MSAAS_LOGSHIP_H
#define MSAAS_LOGSHIP_H

#include "msaas/err.h"

/* How many lines may wait for a queue that does not answer. Beyond, the oldest are dropped. */
#define MS_LOGSHIP_LINES 1000

struct ms_logship;
/* Does not wait for the queue: a thread connects and keeps trying. MS_EUSAGE: the URL is
 * malformed. */
MS_MUST_CHECK int ms_logship_new(const char *queue_url, struct ms_logship **out,
                                 struct ms_error *err);
/* Call ms_log_set_shipper(NULL, NULL) before. Waits up to two seconds for the remaining lines, and
 * for a call in progress up to its deadline. */
void ms_logship_free(struct ms_logship *ship);
/* For ms_log_set_shipper, with the object as context. Never waits for the queue, never fails. Any
 * thread. */
void ms_logship_line(void *context, const char *line);

#endif
