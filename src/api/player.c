/* What a player needs beside the stems: GET /apiv2/jobs/ID/preview/STEM-N.flac, the beginnings of
 * stems while their job is at work, and GET /apiv2/jobs/ID/peaks, for drawings of them. Workers put
 * both as small objects; one is read whole before its answer begins. On the threads of the slow
 * pool. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "handlers.h"
#include "job_reply.h"
#include "jobs.h"
#include "link.h"
#include "msaas/digest.h"
#include "msaas/http_range.h"
#include "reply.h"
#include "stems.h"

#define MOST_BYTES (2 << 20) /* 5 s of 16-bit FLAC are 882 kB at most, peaks of 10 stems 400 kB */
#define MOST_PIECE 9999

struct content {
    char *bytes;
    size_t size;
};

static int take_bytes(void *context, const void *bytes, size_t size, struct ms_error *err) {
    struct content *content = context;
    if (size > MOST_BYTES - content->size)
        return ms_error_set(err, MS_ECORRUPT, "the object is larger than %d bytes", MOST_BYTES);
    char *larger = realloc(content->bytes, content->size + size);
    if (larger == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for an object of the store");
    content->bytes = larger;
    memcpy(content->bytes + content->size, bytes, size);
    content->size += size;
    return 0;
}

/* False: problem; *missing: none, because the store has no such object. */
static bool read_object(struct ms_api *api, const char *key, struct content *content, bool *missing,
                        struct ms_problem *problem) {
    struct ms_error err = {0};
    struct ms_api_link *link = ms_api_borrow(api, problem);
    *missing = false;
    if (link == NULL)
        return false;
    const int rc =
        ms_store_get(link->store, MS_BUCKET_STEMS, key, 0, -1, take_bytes, content, NULL, &err);
    ms_api_give_back(api, link);
    *missing = rc == MS_ENOTFOUND;
    return rc == 0 || (!*missing && ms_problem_of_store(problem, &err));
}

/* ---- GET preview/STEM-N.flac ---- */

static bool no_preview(struct ms_problem *problem) {
    return ms_problem_set(problem, 404, "no_preview",
                          "this cannot be heard now; the job's preview_seconds says what can");
}

/* The key of the piece that the path names, if it is there by the job's record. */
static bool find_piece(const struct ms_job *job, const char *file, char key[MS_JOB_KEY_MAX],
                       struct ms_problem *problem) {
    char stem[MS_JOB_LABEL_MAX], again[MS_JOB_LABEL_MAX + 20];
    const char *dash = strrchr(file, '-');
    if (dash == NULL || (size_t)(dash - file) >= sizeof stem)
        return no_preview(problem);
    memcpy(stem, file, (size_t)(dash - file));
    stem[dash - file] = '\0';
    const long piece = strtol(dash + 1, NULL, 10);
    if (piece < 0 || piece > MOST_PIECE || !ms_job_label_is_valid(stem))
        return no_preview(problem);
    (void)snprintf(again, sizeof again, "%s-%ld.flac", stem, piece);
    if (strcmp(again, file) != 0 || (double)piece * MS_PREVIEW_PIECE_S >= job->preview_seconds)
        return no_preview(problem);
    ms_job_preview_key(job, stem, (int)piece, key);
    return true;
}

void ms_api_v2_preview(const struct ms_http_call *call) {
    struct ms_job job = {0};
    struct ms_problem problem;
    struct content content = {0};
    char key[MS_JOB_KEY_MAX];
    bool missing = false;
    bool ok = ms_api_find_asked(call, &job, &problem) &&
              find_piece(&job, call->params[1], key, &problem) &&
              read_object(call->context, key, &content, &missing, &problem);
    if (missing)
        ok = no_preview(&problem);
    if (ok) {
        ms_http_add_header(call, "Cache-Control", "private, no-store");
        ms_http_add_header(call, "X-Content-Type-Options", "nosniff");
        ms_http_reply(call, 200, ms_job_mime("flac"), content.bytes, content.size);
    } else {
        ms_api_reply_problem(call, &problem);
    }
    free(content.bytes);
    ms_job_fini(&job);
}

/* ---- GET peaks ---- */

static bool reply_peaks(const struct ms_http_call *call, const struct content *content,
                        struct ms_problem *problem) {
    char sha256[MS_SHA256_HEX], etag[MS_SHA256_HEX + 2];
    if (ms_sha256_of(content->bytes, content->size, sha256, NULL) != 0)
        return ms_problem_set(problem, 503, "no_memory", "the server is short of memory");
    (void)snprintf(etag, sizeof etag, "\"%s\"", sha256);
    if (!ms_api_tag_matches(call, etag, problem))
        return false;
    ms_http_add_header(call, "ETag", etag);
    ms_http_add_header(call, "Cache-Control", "private, no-cache");
    if (ms_http_etag_matches(ms_http_header(call, "If-None-Match"), etag))
        ms_http_reply(call, 304, NULL, NULL, 0);
    else
        ms_http_reply(call, 200, "application/json", content->bytes, content->size);
    return true;
}

void ms_api_v2_peaks(const struct ms_http_call *call) {
    struct ms_job job = {0};
    struct ms_problem problem;
    struct content content = {0};
    char key[MS_JOB_KEY_MAX];
    bool missing = false;
    bool ok = ms_api_find_asked(call, &job, &problem) && ms_api_is_finished(&job, &problem);
    if (ok) {
        ms_job_peaks_key(&job, key);
        ok = read_object(call->context, key, &content, &missing, &problem) &&
             reply_peaks(call, &content, &problem);
    }
    if (missing)
        ok = ms_problem_set(&problem, 404, "no_peaks", "the job has no peaks");
    if (!ok)
        ms_api_reply_problem(call, &problem);
    free(content.bytes);
    ms_job_fini(&job);
}
