/* Callbacks: one delivery attempt of one callback. Blocks; one object serves one thread. */
#ifndef MSAAS_WEBHOOK_H
#define MSAAS_WEBHOOK_H

#include <stdatomic.h>

#include "msaas/job.h"

struct ms_webhook;
/* secret: "whsec_BASE64" or plain text; NULL: v2 is sent without signature. allow: CIDR list or
 * NULL. MS_EUSAGE. */
MS_MUST_CHECK int ms_webhook_new(const char *secret, const char *allow, const atomic_bool *cancel,
                                 struct ms_webhook **out, struct ms_error *err);
void ms_webhook_free(struct ms_webhook *webhook);
/* Any 2xx is success; 410 and other permanent refusals: *give_up true. v1: POST of data as JSON, to
 * any address. v2: Standard Webhooks headers, the public job as body, private, loopback,
 * link-local, multicast... addresses refused at connect time (MS_EDENIED, give up). No redirects
 * are followed. */
MS_MUST_CHECK int ms_webhook_deliver(struct ms_webhook *webhook, const struct ms_callback_due *due,
                                     bool *give_up, struct ms_error *err);
/* How long after the failure of attempt number `attempt` (from 0) the next one comes: 5 s, 30 s, 2
 * min, 10 min, 1 h, 6 h, 24 h, less up to a fifth; < 0: give up. v1: three attempts within a
 * minute. */
int64_t ms_webhook_again_ms(int version, int attempt);

#endif
