/* The limits of an account, for the requests that send songs: 429 where one is reached, and
 * RateLimit headers (draft-ietf-httpapi-ratelimit-headers, in its form since -08) that say what is
 * left. The queue counts, see queue.h. */
#ifndef MSAAS_API_LIMITS_H
#define MSAAS_API_LIMITS_H

#include "link.h"
#include "msaas/account.h"
#include "msaas/upload.h"

struct ms_api_limits {
    const struct ms_account *account; /* NULL: it has no limits */
    struct ms_quota quota;
    struct ms_usage usage;
};

/* caller: NULL or borrowed. Asks the queue what the account has used, if it has limits. */
bool ms_api_limits_read(struct ms_api_link *link, const struct ms_account *caller,
                        struct ms_api_limits *out, struct ms_problem *problem);
/* Whether they allow one more job, which is charged so many bytes: 429 with Retry-After, or 413 and
 * 422 for what never fits. */
bool ms_api_limits_allow(const struct ms_api_limits *limits, const struct ms_job *job,
                         int64_t bytes, struct ms_problem *problem);
/* Charges an upload that is about to begin to its owner, who is the caller, if it has one. Refuses
 * as above. */
bool ms_api_limits_charge(struct ms_api_link *link, const struct ms_upload *upload,
                          struct ms_api_limits *limits, struct ms_problem *problem);
/* RateLimit-Policy and RateLimit. */
void ms_api_limits_tell(const struct ms_http_call *call, const struct ms_api_limits *limits);

#endif
