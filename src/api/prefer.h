/* Prefer: wait=N (RFC 7240): an answer that comes when the job has ended, or after N seconds. */
#ifndef MSAAS_API_PREFER_H
#define MSAAS_API_PREFER_H

#include "link.h"

#define MS_API_MAX_WAIT_S 60

/* How long the client would wait, at most MS_API_MAX_WAIT_S; 0: it asks for an answer at once. */
int ms_api_wait_s(const struct ms_http_call *call);

/* Answers with the job when it has ended, 200, or as it is after wait_s, with `otherwise` as the
 * status. No thread waits for it. */
void ms_api_reply_job_later(const struct ms_http_call *call, const char *id, int wait_s,
                            int otherwise);

#endif
