/* A job's stems as answers. */
#ifndef MSAAS_API_STEMS_H
#define MSAAS_API_STEMS_H

#include <stdbool.h>

#include "msaas/http_server.h"
#include "msaas/job.h"
#include "song_request.h"

/* NULL: the job has none of this name. */
const struct ms_job_stem *ms_api_stem_of(const struct ms_job *job, const char *name);
/* Whether there are results; else 409 with Retry-After, or 410. */
bool ms_api_is_finished(const struct ms_job *job, struct ms_problem *problem);
/* Answers with the stem: whole, in part, or that the client has it already. may_redirect: to the
 * store, when the server is told to. */
void ms_api_reply_stem(const struct ms_http_call *call, const struct ms_job *job,
                       const struct ms_job_stem *stem, bool may_redirect);

#endif
