/* A stem in any format, and mixes of stems: what is stored is sent as it lies in the store
 * (stems.c), all else is made while the client reads (msaas/render.h). On the threads of the slow
 * pool. */
#include "downloads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disposition.h"
#include "expiry.h"
#include "handlers.h"
#include "job_reply.h"
#include "jobs.h"
#include "msaas/http_range.h"
#include "query.h"
#include "reply.h"
#include "stems.h"

#define BUSY_RETRY_S 2

/* ---- what is wanted ---- */

bool ms_api_wanted_read(const struct ms_http_call *call, struct ms_api_wanted *out,
                        struct ms_problem *problem) {
    *out = (struct ms_api_wanted){0};
    return ms_api_query(call, "format", &out->format, problem) &&
           ms_api_query(call, "bitrate", &out->bitrate, problem) &&
           ms_api_query(call, "sample_type", &out->sample_type, problem) &&
           ms_api_query(call, "clip", &out->clip, problem) &&
           ms_api_query(call, "from", &out->from, problem) &&
           ms_api_query(call, "seconds", &out->seconds, problem);
}

void ms_api_wanted_fini(struct ms_api_wanted *wanted) {
    free(wanted->format);
    free(wanted->bitrate);
    free(wanted->sample_type);
    free(wanted->clip);
    free(wanted->from);
    free(wanted->seconds);
}

struct ms_render_options ms_api_wanted_options(const struct ms_api_wanted *wanted,
                                               const char *format) {
    return (struct ms_render_options){
        .format = wanted->format != NULL && wanted->format[0] != '\0' ? wanted->format : format,
        .bitrate = wanted->bitrate,
        .sample_type = wanted->sample_type,
        .clip = wanted->clip,
        .from = wanted->from,
        .seconds = wanted->seconds};
}

bool ms_api_refuse_plan(struct ms_problem *problem, const struct ms_error *err) {
    return ms_problem_set(problem, 422, "invalid_option", "%.390s", err->text);
}

/* ---- renders ---- */

bool ms_api_refuse_render(struct ms_api *api, const struct ms_job *job, const struct ms_error *err,
                          struct ms_problem *problem) {
    if (err->code == MS_EUSAGE) {
        (void)ms_api_refuse_plan(problem, err);
    } else if (err->code == MS_ETOOLARGE) {
        (void)ms_problem_set(problem, 503, "overloaded", "%.390s", err->text);
        problem->retry_after_s = BUSY_RETRY_S;
    } else if (err->code == MS_ENOTFOUND) {
        struct ms_api_link *link = ms_api_borrow(api, problem);
        if (link != NULL)
            (void)ms_api_expire(link, job, problem);
        ms_api_give_back(api, link);
    } else {
        (void)ms_problem_of_store(problem, err);
    }
    return false;
}

struct ms_render *ms_api_open_render(struct ms_api *api, const struct ms_job *job,
                                     const struct ms_render_plan *plan,
                                     struct ms_problem *problem) {
    struct ms_error err = {0};
    struct ms_render *render = NULL;
    if (ms_render_open(api->renders, plan, false, &render, &err) != 0)
        (void)ms_api_refuse_render(api, job, &err, problem);
    return render;
}

bool ms_api_tag_plans(const struct ms_render_plan *const *plans, int count, const char *more,
                      char etag[MS_API_TAG_BYTES], struct ms_problem *problem) {
    struct ms_sha256 *digest = NULL;
    char hex[MS_SHA256_HEX];
    bool known = true;
    etag[0] = '\0';
    if (ms_sha256_new(&digest, NULL) != 0)
        return ms_problem_set(problem, 503, "no_memory", "the server is short of memory");
    for (int i = 0; i < count; i++)
        known = ms_render_plan_digest(plans[i], digest) && known;
    ms_sha256_update(digest, more, strlen(more));
    ms_sha256_hex(digest, hex);
    ms_sha256_free(digest);
    if (known)
        (void)snprintf(etag, MS_API_TAG_BYTES, "\"%s\"", hex);
    return true;
}

void ms_api_part_name(const struct ms_render_plan *plan, const char *what,
                      char out[MS_API_PART_NAME_BYTES]) {
    const double from_s = (double)plan->first_frame / MS_RENDER_RATE_HZ;
    const double end_s = (double)plan->end_frame / MS_RENDER_RATE_HZ;
    if (!ms_render_is_part(plan))
        (void)snprintf(out, MS_API_PART_NAME_BYTES, "%s", what);
    else if (plan->end_frame == MS_RENDER_TO_END)
        (void)snprintf(out, MS_API_PART_NAME_BYTES, "%s (from %.8g s)", what, from_s);
    else
        (void)snprintf(out, MS_API_PART_NAME_BYTES, "%s (%.8g-%.8g s)", what, from_s, end_s);
}

static int read_render(void *context, void *buffer, size_t capacity, size_t *size, int *again_ms,
                       struct ms_error *err) {
    *again_ms = 0;
    return ms_render_read(context, buffer, capacity, size, err);
}

static void close_render(void *context) {
    ms_render_close(context);
}

bool ms_api_reply_render(const struct ms_http_call *call, const struct ms_job *job,
                         const struct ms_render_plan *plan, const char *disposition,
                         struct ms_problem *problem) {
    char etag[MS_API_TAG_BYTES];
    if (!ms_api_tag_plans(&plan, 1, "", etag, problem) || !ms_api_tag_matches(call, etag, problem))
        return false;
    /* Of a job that expired, the store must say what is there. */
    if (job->state == MS_JOB_SUCCEEDED &&
        ms_http_etag_matches(ms_http_header(call, "If-None-Match"), etag)) {
        ms_api_add_download_headers(call, disposition, etag, false);
        ms_http_reply(call, 304, NULL, NULL, 0);
        return true;
    }
    struct ms_render *render = ms_api_open_render(call->context, job, plan, problem);
    if (render == NULL)
        return false;
    ms_api_add_download_headers(call, disposition, etag, false);
    const struct ms_http_stream stream = {.length = ms_render_length(render),
                                          .read = read_render,
                                          .close = close_render,
                                          .context = render};
    ms_http_reply_stream(call, 200, ms_job_mime(plan->format), &stream);
    return true;
}

/* ---- GET stems ---- */

/* "vocals.flac" -> the stem; *format: "flac". NULL: problem. */
static const struct ms_job_stem *find_file(const struct ms_job *job, const char *file,
                                           const char **format, struct ms_problem *problem) {
    char name[MS_JOB_LABEL_MAX];
    const char *dot = strrchr(file, '.');
    const struct ms_job_stem *stem = NULL;
    if (dot != NULL && (size_t)(dot - file) < sizeof name) {
        memcpy(name, file, (size_t)(dot - file));
        name[dot - file] = '\0';
        *format = dot + 1;
        if (ms_job_option_check(ms_job_option_find("format"), *format, NULL) == 0)
            stem = ms_api_stem_of(job, name);
    }
    if (stem == NULL)
        (void)ms_problem_set(problem, 404, "unknown_stem",
                             "the job has no such stem; see its \"stems\" for their URLs");
    return stem;
}

static bool reply_file(const struct ms_http_call *call, const struct ms_job *job,
                       const struct ms_api_wanted *wanted, struct ms_problem *problem) {
    struct ms_error err = {0};
    struct ms_render_plan plan;
    const char *format;
    const struct ms_job_stem *stem = find_file(job, call->params[1], &format, problem);
    if (stem == NULL)
        return false;
    struct ms_render_options options = ms_api_wanted_options(wanted, format);
    options.format = format;
    if (ms_render_plan_stem(job, stem, &options, &plan, &err) != 0)
        return ms_api_refuse_plan(problem, &err);
    char disposition[MS_DISPOSITION_BYTES], what[MS_API_PART_NAME_BYTES];
    ms_api_part_name(&plan, stem->name, what);
    ms_api_disposition(job, what, plan.format, disposition);
    if (!plan.as_stored)
        return ms_api_reply_render(call, job, &plan, disposition, problem);
    ms_api_reply_stem(call, job, &plan.parts[0], disposition, true);
    return true;
}

void ms_api_v2_stem(const struct ms_http_call *call) {
    struct ms_job job = {0};
    struct ms_api_wanted wanted = {0};
    struct ms_problem problem;
    if (!ms_api_find_asked(call, &job, &problem) || !ms_api_is_finished(&job, &problem) ||
        !ms_api_wanted_read(call, &wanted, &problem) || !reply_file(call, &job, &wanted, &problem))
        ms_api_reply_problem(call, &problem);
    ms_api_wanted_fini(&wanted);
    ms_job_fini(&job);
}

/* ---- GET mix ---- */

static bool reply_mix(const struct ms_http_call *call, const struct ms_job *job,
                      const struct ms_api_wanted *wanted, struct ms_problem *problem) {
    struct ms_error err = {0};
    struct ms_render_plan plan;
    char *gains = NULL, *pan = NULL;
    const struct ms_render_options options = ms_api_wanted_options(wanted, "mp3");
    bool ok =
        ms_api_query(call, "gains", &gains, problem) && ms_api_query(call, "pan", &pan, problem);
    if (ok && ms_render_plan_mix(job, gains, pan, &options, &plan, &err) != 0)
        ok = ms_api_refuse_plan(problem, &err);
    char disposition[MS_DISPOSITION_BYTES], what[MS_API_PART_NAME_BYTES];
    if (ok) {
        ms_api_part_name(&plan, "mix", what);
        ms_api_disposition(job, what, plan.format, disposition);
    }
    ok = ok && ms_api_reply_render(call, job, &plan, disposition, problem);
    free(gains);
    free(pan);
    return ok;
}

void ms_api_v2_mix(const struct ms_http_call *call) {
    static const char *const known[] = {"gains", "pan",  "format",  "bitrate", "sample_type",
                                        "clip",  "from", "seconds", NULL};
    struct ms_job job = {0};
    struct ms_api_wanted wanted = {0};
    struct ms_problem problem;
    if (!ms_api_find_asked(call, &job, &problem) || !ms_api_is_finished(&job, &problem) ||
        !ms_api_query_has_only(call, known, &problem) ||
        !ms_api_wanted_read(call, &wanted, &problem) || !reply_mix(call, &job, &wanted, &problem))
        ms_api_reply_problem(call, &problem);
    ms_api_wanted_fini(&wanted);
    ms_job_fini(&job);
}
