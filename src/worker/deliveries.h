/* Delivers the callbacks that are due, side by side, on threads of their own. Each origin is called
 * by one at a time. */
#ifndef MSAAS_WORKER_DELIVERIES_H
#define MSAAS_WORKER_DELIVERIES_H

#include "msaas/err.h"
#include "outage.h"

struct ms_deliveries_options {
    const char *queue_url;
    const char *webhook_secret, *callback_allow; /* see worker.h */
    struct ms_outage *outage;                    /* of the queue */
};

struct ms_deliveries;
/* MS_EUSAGE: the secret or the list of what is allowed is malformed. */
MS_MUST_CHECK int ms_deliveries_new(const struct ms_deliveries_options *options,
                                    struct ms_deliveries **out, struct ms_error *err);
/* Breaks off what is being delivered; another worker repeats it. Accepts NULL. */
void ms_deliveries_free(struct ms_deliveries *deliveries);
/* Says that a callback has just become due. */
void ms_deliveries_wake(struct ms_deliveries *deliveries);

#endif
