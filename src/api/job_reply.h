/* A job as an answer, and its entity tag: If-Match and If-None-Match (RFC 9110, 13). */
#ifndef MSAAS_API_JOB_REPLY_H
#define MSAAS_API_JOB_REPLY_H

#include "msaas/http_server.h"
#include "msaas/job.h"
#include "song_request.h"

/* GET gets the tag, and 304 or 412 where the request's conditions say so. */
void ms_api_reply_job(const struct ms_http_call *call, int status, const struct ms_job *job);
/* Whether If-Match, if there is one, is fulfilled by the job as it is now. */
bool ms_api_job_matches(const struct ms_http_call *call, const struct ms_job *job,
                        struct ms_problem *problem);
/* 412, for a tag that may be "". */
bool ms_api_tag_matches(const struct ms_http_call *call, const char *etag,
                        struct ms_problem *problem);

#endif
