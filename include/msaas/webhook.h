/* Callbacks: one attempt to deliver one callback. Blocks; any thread, and several at once. */
#ifndef MSAAS_WEBHOOK_H
#define MSAAS_WEBHOOK_H

#include <stdatomic.h>

#include "msaas/job.h"

struct ms_webhook;
/* secret: "whsec_BASE64" or plain text; NULL: callbacks of version 2 are not signed. allow: a list
 * of hosts, addresses and CIDR blocks that callbacks may reach though they are not public, or NULL.
 * cancel: breaks off deliveries (MS_ECANCELED); may be NULL. MS_EUSAGE: secret or list is
 * malformed. */
MS_MUST_CHECK int ms_webhook_new(const char *secret, const char *allow, const atomic_bool *cancel,
                                 struct ms_webhook **out, struct ms_error *err);
void ms_webhook_free(struct ms_webhook *webhook);
/* Any status 2xx is success. *give_up: another attempt cannot help. Version 1 posts the callback's
 * data as JSON. Version 2 posts the public job with the headers of Standard Webhooks. MS_EDENIED
 * with *give_up: all its addresses are private, loopback, link-local, multicast and the like, and
 * not allowed; judged is the address of each connection. Redirects are not followed, and proxies
 * not used. */
MS_MUST_CHECK int ms_webhook_deliver(const struct ms_webhook *webhook,
                                     const struct ms_callback_due *due, bool *give_up,
                                     struct ms_error *err);
/* How long to wait after attempt number `attempt` (from 0) failed: 5 s, 30 s, 2 min, 10 min, 1 h, 6
 * h, 24 h, less a random part of up to a fifth; < 0: give up. Version 1 has three attempts within a
 * minute. */
int64_t ms_webhook_again_ms(int version, int attempt);

#endif
