/* Ships log lines into the list `logging` of the queue, from where `msaas logs` and the course's
 * readers take them. */
#ifndef MSAAS_LOGSHIP_H
#define MSAAS_LOGSHIP_H

#include "msaas/err.h"

#define MS_LOGSHIP_LINES                                                                           \
    1000 /* that wait for a queue which does not answer; older ones are dropped */

struct ms_logship;
/* Does not connect: a thread of its own does, and goes on trying. MS_EUSAGE: the URL. */
MS_MUST_CHECK int ms_logship_new(const char *queue_url, struct ms_logship **out,
                                 struct ms_error *err);
/* After ms_log_set_shipper(NULL, NULL). Gives what waits two seconds to leave, and a call that is
 * under way its deadline. */
void ms_logship_free(struct ms_logship *ship);
/* For ms_log_set_shipper, with the object as context. Never waits for the queue, never fails. Any
 * thread. */
void ms_logship_line(void *context, const char *line);

#endif
