/* Answers with stems of a job as they are stored. */
#ifndef MSAAS_API_STEMS_H
#define MSAAS_API_STEMS_H

#include <stdbool.h>

#include "msaas/http_server.h"
#include "msaas/job.h"
#include "msaas/render.h"
#include "song_request.h"

/* NULL: the job has no stem of this name. */
const struct ms_job_stem *ms_api_stem_of(const struct ms_job *job, const char *name);
/* Whether the job has results; otherwise the problem is 409 with Retry-After, or 410. */
bool ms_api_is_finished(const struct ms_job *job, struct ms_problem *problem);
/* Answers with the object, with a part of it, or with 304. disposition: the header
 * Content-Disposition. may_redirect: the client may be sent to the store instead, if the server is
 * set to do so. */
void ms_api_reply_stem(const struct ms_http_call *call, const struct ms_job *job,
                       const struct ms_render_part *object, const char *disposition,
                       bool may_redirect);

#endif
