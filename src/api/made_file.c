/* A job as a stem file for DJ programs. It is made in a file without a name, because nobody knows
 * how long an MP4 is before it is complete, and then sent like a file of the store, with ranges and
 * an entity tag. On the threads of the slow pool. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disposition.h"
#include "downloads.h"
#include "handlers.h"
#include "job_reply.h"
#include "jobs.h"
#include "msaas/http_range.h"
#include "msaas/log.h"
#include "query.h"
#include "reply.h"
#include "stems.h"

#define MIME "audio/mp4"
#define MOST_FILES 16 /* at the same time: slow readers must not fill the disk */
#define BUSY_RETRY_S 10

struct made {
    struct ms_api *api;
    int fd;            /* -1: not made yet */
    int64_t next, end; /* still to be sent: [next, end) */
};

static int pass_made(void *context, struct ms_http_outlet *outlet, struct ms_error *err) {
    struct made *made = context;
    int64_t taken;
    const int rc =
        ms_http_outlet_file(outlet, made->fd, made->next, made->end - made->next, &taken, err);
    made->next += taken;
    return rc;
}

static void close_made(void *context) {
    struct made *made = context;
    if (made->fd >= 0)
        (void)close(made->fd);
    (void)atomic_fetch_sub(&made->api->made_files, 1);
    free(made);
}

/* NULL: problem. */
static struct made *new_made(struct ms_api *api, struct ms_problem *problem) {
    struct made *made = malloc(sizeof *made);
    if (made == NULL) {
        (void)ms_problem_set(problem, 503, "no_memory", "the server is short of memory");
        return NULL;
    }
    *made = (struct made){.api = api, .fd = -1};
    if (atomic_fetch_add(&api->made_files, 1) < MOST_FILES)
        return made;
    close_made(made);
    (void)ms_problem_set(problem, 503, "overloaded",
                         "%d stem files are being downloaded at the same time; come back later",
                         MOST_FILES);
    problem->retry_after_s = BUSY_RETRY_S;
    return NULL;
}

static bool disk_failed(const char *why, struct ms_problem *problem) {
    ms_log(MS_LOG_WARN, "a stem file cannot be made: %s", why);
    (void)ms_problem_set(problem, 503, "disk_full",
                         "the server has no room for the file now; try again later");
    problem->retry_after_s = BUSY_RETRY_S;
    return false;
}

/* Makes the whole file; *bytes: its size. */
static bool make_file(const struct ms_http_call *call, const struct ms_job *job,
                      const struct ms_render_stem_file *plan, struct made *made, int64_t *bytes,
                      struct ms_problem *problem) {
    struct ms_error err = {0};
    made->fd = ms_http_scratch_file(call);
    if (made->fd < 0)
        return disk_failed(strerror(errno), problem);
    const int rc = ms_render_stem_file(made->api->renders, plan, made->fd, bytes, &err);
    if (rc == MS_EIO)
        return disk_failed(err.text, problem);
    return rc == 0 || ms_api_refuse_render(made->api, job, &err, problem);
}

static bool tag_file(const struct ms_render_stem_file *plan, char etag[MS_API_TAG_BYTES],
                     struct ms_problem *problem) {
    const struct ms_render_plan *stems[MS_RENDER_STEMS];
    char more[40];
    for (int i = 0; i < MS_RENDER_STEMS; i++)
        stems[i] = &plan->stems[i];
    (void)snprintf(more, sizeof more, "%d,%d", plan->alac, plan->bitrate_kbps);
    return ms_api_tag_plans(stems, MS_RENDER_STEMS, more, etag, problem);
}

static void add_headers(const struct ms_http_call *call, const struct ms_job *job,
                        const char *etag) {
    char disposition[MS_DISPOSITION_BYTES];
    ms_api_disposition(job, "", "stem.mp4", disposition);
    ms_api_add_download_headers(call, disposition, etag, true);
}

static void add_content_range(const struct ms_http_call *call, int64_t first, int64_t count,
                              int64_t bytes) {
    char text[80];
    if (count > 0)
        (void)snprintf(text, sizeof text, "bytes %lld-%lld/%lld", (long long)first,
                       (long long)(first + count - 1), (long long)bytes);
    else
        (void)snprintf(text, sizeof text, "bytes */%lld", (long long)bytes);
    ms_http_add_header(call, "Content-Range", text);
}

static bool reply_made(const struct ms_http_call *call, const struct ms_job *job,
                       const struct ms_render_stem_file *plan, const char *etag,
                       struct ms_problem *problem) {
    struct made *made = new_made(call->context, problem);
    int64_t bytes = 0;
    if (made == NULL)
        return false;
    if (!make_file(call, job, plan, made, &bytes, problem)) {
        close_made(made);
        return false;
    }
    const bool holds = ms_http_if_range_holds(ms_http_header(call, "If-Range"), etag);
    int64_t count;
    const enum ms_http_range range = ms_http_parse_range(
        holds ? ms_http_header(call, "Range") : NULL, bytes, &made->next, &count);
    if (range != MS_HTTP_RANGE_WHOLE)
        add_content_range(call, made->next, count, bytes);
    if (range == MS_HTTP_RANGE_NONE) {
        close_made(made);
        return ms_problem_set(problem, 416, "range_not_satisfiable", "the file has %lld bytes",
                              (long long)bytes);
    }
    made->end = made->next + count;
    add_headers(call, job, etag);
    const struct ms_http_stream stream = {
        .length = count, .pass = pass_made, .close = close_made, .context = made};
    ms_http_reply_stream(call, range == MS_HTTP_RANGE_PART ? 206 : 200, MIME, &stream);
    return true;
}

/* Nothing is made for 304 and for HEAD, which therefore tells no length. */
static bool reply_headers(const struct ms_http_call *call, const struct ms_job *job,
                          const char *etag, int status) {
    add_headers(call, job, etag);
    const struct ms_http_stream nothing = {.length = -1};
    if (status == 304)
        ms_http_reply(call, status, NULL, NULL, 0);
    else
        ms_http_reply_stream(call, status, MIME, &nothing);
    return true;
}

static bool read_plan(const struct ms_http_call *call, const struct ms_job *job,
                      struct ms_render_stem_file *plan, struct ms_problem *problem) {
    static const char *const known[] = {"codec", "bitrate", NULL};
    struct ms_error err = {0};
    char *codec = NULL, *bitrate = NULL;
    bool ok = ms_api_query_has_only(call, known, problem) &&
              ms_api_query(call, "codec", &codec, problem) &&
              ms_api_query(call, "bitrate", &bitrate, problem);
    const int rc = ok ? ms_render_plan_stem_file(job, codec, bitrate, plan, &err) : 0;
    if (rc == MS_EUNSUPPORTED)
        ok = ms_problem_set(problem, 422, "not_four_stems", "%.390s", err.text);
    else if (rc != 0)
        ok = ms_api_refuse_plan(problem, &err);
    free(codec);
    free(bitrate);
    return ok;
}

static bool reply(const struct ms_http_call *call, const struct ms_job *job,
                  struct ms_problem *problem) {
    char etag[MS_API_TAG_BYTES];
    struct ms_render_stem_file *plan = malloc(sizeof *plan);
    if (plan == NULL)
        return ms_problem_set(problem, 503, "no_memory", "the server is short of memory");
    bool ok = read_plan(call, job, plan, problem) && tag_file(plan, etag, problem) &&
              ms_api_tag_matches(call, etag, problem);
    if (ok && ms_http_etag_matches(ms_http_header(call, "If-None-Match"), etag))
        ok = reply_headers(call, job, etag, 304);
    else if (ok && strcmp(call->method, "HEAD") == 0)
        ok = reply_headers(call, job, etag, 200);
    else
        ok = ok && reply_made(call, job, plan, etag, problem);
    free(plan);
    return ok;
}

void ms_api_v2_stem_file(const struct ms_http_call *call) {
    struct ms_job job = {0};
    struct ms_problem problem;
    if (!ms_api_find_asked(call, &job, &problem) || !ms_api_is_finished(&job, &problem) ||
        !reply(call, &job, &problem))
        ms_api_reply_problem(call, &problem);
    ms_job_fini(&job);
}
