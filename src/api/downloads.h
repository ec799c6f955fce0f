/* Answers that are made while they are read: what downloads.c and archive.c share. */
#ifndef MSAAS_API_DOWNLOADS_H
#define MSAAS_API_DOWNLOADS_H

#include "link.h"

/* What the query says of the file that is wanted; the texts are freed by _fini. */
struct ms_api_wanted {
    char *format, *bitrate, *sample_type, *clip, *from, *seconds;
};
bool ms_api_wanted_read(const struct ms_http_call *call, struct ms_api_wanted *out,
                        struct ms_problem *problem);
void ms_api_wanted_fini(struct ms_api_wanted *wanted);
/* As the room `render` has it. format: where the query has none. */
struct ms_render_options ms_api_wanted_options(const struct ms_api_wanted *wanted,
                                               const char *format);

/* Sets the problem of a plan that cannot be made. Always false. */
bool ms_api_refuse_plan(struct ms_problem *problem, const struct ms_error *err);
/* Sets the problem of a render that failed before its answer began; where the job's stems are gone,
 * tells the queue. Always false. */
bool ms_api_refuse_render(struct ms_api *api, const struct ms_job *job, const struct ms_error *err,
                          struct ms_problem *problem);
/* Begins a render, or tells the queue that the job's stems are gone. NULL: problem. */
struct ms_render *ms_api_open_render(struct ms_api *api, const struct ms_job *job,
                                     const struct ms_render_plan *plan, struct ms_problem *problem);
/* The entity tag of an answer that is made of these plans, the same for all replicas of this build;
 * more: what else decides its bytes. "": a stem has no digest, so there is no tag. False: problem.
 */
#define MS_API_TAG_BYTES (MS_SHA256_HEX + 2)
bool ms_api_tag_plans(const struct ms_render_plan *const *plans, int count, const char *more,
                      char etag[MS_API_TAG_BYTES], struct ms_problem *problem);
/* "vocals" -> "vocals (30-45 s)" where the plan is of that part. */
#define MS_API_PART_NAME_BYTES (MS_JOB_LABEL_MAX + 60)
void ms_api_part_name(const struct ms_render_plan *plan, const char *what,
                      char out[MS_API_PART_NAME_BYTES]);
/* Answers with a render, or 304 or 412; `disposition` is the header Content-Disposition. False:
 * problem. */
bool ms_api_reply_render(const struct ms_http_call *call, const struct ms_job *job,
                         const struct ms_render_plan *plan, const char *disposition,
                         struct ms_problem *problem);

#endif
