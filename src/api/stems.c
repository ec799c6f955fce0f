/* Downloads of stems: from the store, piece by piece as the client takes them, with ranges and
 * entity tags. Size and tag are in the record of the job, so a 304 needs no call to the
 * store. On the threads of the pool. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "expiry.h"
#include "link.h"
#include "msaas/http_range.h"
#include "reply.h"
#include "stems.h"

/* The size of a piece, which each download holds in memory: few requests to S3, little memory for
 * many slow clients. */
#define PIECE_BYTES ((size_t)256 << 10)

struct download {
    struct ms_api *api;
    char key[MS_JOB_KEY_MAX];
    /* of the first piece: the object in the store must not change during the download */
    char etag[80];
    int64_t object_bytes; /* as in the record of the job */
    int64_t next, end;    /* still to be read from the store: [next, end) */
    char *piece;
    size_t piece_bytes, piece_used, piece_wanted;
};

const struct ms_job_stem *ms_api_stem_of(const struct ms_job *job, const char *name) {
    for (int i = 0; i < job->stem_count; i++)
        if (strcmp(job->stems[i].name, name) == 0)
            return &job->stems[i];
    return NULL;
}

bool ms_api_is_finished(const struct ms_job *job, struct ms_problem *problem) {
    if (job->state == MS_JOB_SUCCEEDED || job->state == MS_JOB_EXPIRED)
        return true; /* the store says which stems are there */
    if (job->state == MS_JOB_FAILED)
        return ms_problem_set(problem, 410, "job_failed", "%.390s",
                              job->error_message[0] != '\0' ? job->error_message
                                                            : "the song could not be separated");
    if (job->state == MS_JOB_CANCELED)
        return ms_problem_set(problem, 410, "job_canceled", "the job was canceled");
    (void)ms_problem_set(problem, 409, "not_finished", "the job is %s; come back later",
                         ms_job_state_name(job->state));
    problem->retry_after_s = job->eta_seconds > 30  ? 30
                             : job->eta_seconds > 2 ? (int)job->eta_seconds
                                                    : 2;
    return false;
}

/* ---- pieces ---- */

static int take(void *context, const void *bytes, size_t size, struct ms_error *err) {
    struct download *d = context;
    if (size > d->piece_wanted - d->piece_bytes)
        return ms_error_set(err, MS_ECORRUPT, "%s became longer during the download", d->key);
    memcpy(d->piece + d->piece_bytes, bytes, size);
    d->piece_bytes += size;
    return 0;
}

static int get_piece(struct download *d, struct ms_store *store, struct ms_error *err) {
    struct ms_object_info info = {0};
    const int64_t left = d->end - d->next;
    d->piece_bytes = d->piece_used = 0;
    d->piece_wanted = left < (int64_t)PIECE_BYTES ? (size_t)left : PIECE_BYTES;
    const bool whole =
        (int64_t)d->piece_wanted == d->object_bytes; /* the whole object is verified */
    if (d->piece == NULL)
        d->piece = malloc(d->piece_wanted);
    if (d->piece == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a piece of %s", d->key);
    int rc = ms_store_get(store, MS_BUCKET_STEMS, d->key, d->next,
                          whole ? -1 : d->next + (int64_t)d->piece_wanted - 1, take, d, &info, err);
    if (rc != 0)
        return rc;
    if (d->piece_bytes != d->piece_wanted || info.bytes != d->object_bytes)
        return ms_error_set(err, MS_ECORRUPT,
                            "%s does not have the size that the job's record says", d->key);
    if (d->etag[0] == '\0')
        memcpy(d->etag, info.etag, sizeof d->etag);
    else if (strcmp(d->etag, info.etag) != 0)
        return ms_error_set(err, MS_ECONFLICT, "%s was replaced during the download", d->key);
    d->next += (int64_t)d->piece_bytes;
    return 0;
}

static int read_download(void *context, void *buffer, size_t capacity, size_t *size, int *again_ms,
                         struct ms_error *err) {
    struct download *d = context;
    *size = 0;
    *again_ms = 0;
    if (d->piece_used == d->piece_bytes && d->next < d->end) {
        struct ms_problem problem;
        struct ms_api_link *link = ms_api_borrow(d->api, &problem);
        if (link == NULL)
            return ms_error_set(err, MS_ENET, "%s", problem.text);
        const int rc = get_piece(d, link->store, err);
        ms_api_give_back(d->api, link);
        if (rc !=
            /* the status was sent already: the answer can only be broken off, with a line in the
             * log */
            0) {
            struct ms_error none = {0};
            (void)ms_problem_of_store(&problem, err != NULL ? err : &none);
            return rc;
        }
    }
    *size = d->piece_bytes - d->piece_used;
    if (*size > capacity)
        *size = capacity;
    memcpy(buffer, d->piece + d->piece_used, *size);
    d->piece_used += *size;
    return 0;
}

static void close_download(void *context) {
    struct download *d = context;
    free(d->piece);
    free(d);
}

/* The first piece is read before the answer begins, so that an error gets its status. */
static bool get_first(struct download *d, const struct ms_job *job, struct ms_problem *problem) {
    struct ms_error err = {0};
    struct ms_api_link *link = ms_api_borrow(d->api, problem);
    if (link == NULL)
        return false;
    const int rc = get_piece(d, link->store, &err);
    const bool ok = rc == 0 || (rc == MS_ENOTFOUND ? ms_api_expire(link, job, problem)
                                                   : ms_problem_of_store(problem, &err));
    ms_api_give_back(d->api, link);
    return ok;
}

/* For answers that read nothing from the store, but must not promise what is gone from it. */
static bool is_stored(struct ms_api *api, const struct ms_job *job, const char *key,
                      struct ms_problem *problem) {
    struct ms_error err = {0};
    struct ms_object_info info;
    struct ms_api_link *link = ms_api_borrow(api, problem);
    if (link == NULL)
        return false;
    const int rc = ms_store_head(link->store, MS_BUCKET_STEMS, key, &info, &err);
    const bool ok = rc == 0 || (rc == MS_ENOTFOUND ? ms_api_expire(link, job, problem)
                                                   : ms_problem_of_store(problem, &err));
    ms_api_give_back(api, link);
    return ok;
}

/* ---- answers ---- */

/* False: an answer is given already, or the download is not redirected. */
static bool redirect(const struct ms_http_call *call, struct ms_api *api, const char *key) {
    struct ms_problem problem;
    struct ms_error err = {0};
    char *url = NULL;
    struct ms_api_link *link = ms_api_borrow(api, &problem);
    if (link == NULL)
        return false;
    const int rc =
        ms_store_presign(link->store, MS_BUCKET_STEMS, key, api->options.presign_s, &url, &err);
    ms_api_give_back(api, link);
    if (rc != 0) /* this store cannot presign: the download goes through this server */
        return false;
    ms_http_add_header(call, "Location", url);
    ms_http_add_header(call, "Cache-Control", "no-store");
    ms_http_reply(call, 302, NULL, NULL, 0);
    free(url);
    return true;
}

static void add_headers(const struct ms_http_call *call, const struct ms_job *job,
                        const struct ms_job_stem *stem, const char *etag) {
    char disposition[200];
    (void)snprintf(disposition, sizeof disposition, "attachment; filename=\"%s-%s.%s\"", job->id,
                   stem->name, job->options.format);
    if (etag[0] != '\0')
        ms_http_add_header(call, "ETag", etag);
    ms_http_add_header(call, "Accept-Ranges", "bytes");
    ms_http_add_header(call, "Content-Disposition", disposition);
    ms_http_add_header(call, "Cache-Control", "private, no-cache");
    ms_http_add_header(call, "X-Content-Type-Options", "nosniff");
}

static void reply_bytes(const struct ms_http_call *call, const struct ms_job *job,
                        const struct ms_job_stem *stem, const char *etag) {
    struct ms_api *api = call->context;
    const char *wanted = ms_http_header(call, "Range");
    if (!ms_http_if_range_holds(ms_http_header(call, "If-Range"), etag))
        wanted = NULL;
    int64_t first;
    int64_t count;
    const enum ms_http_range range = ms_http_parse_range(wanted, stem->bytes, &first, &count);
    struct ms_problem problem;
    char text[80];
    if (range == MS_HTTP_RANGE_NONE) {
        (void)snprintf(text, sizeof text, "bytes */%lld", (long long)stem->bytes);
        ms_http_add_header(call, "Content-Range", text);
        (void)ms_problem_set(&problem, 416, "range_not_satisfiable", "the track has %lld bytes",
                             (long long)stem->bytes);
        ms_api_reply_problem(call, &problem);
        return;
    }
    struct download *d = calloc(1, sizeof *d);
    if (d == NULL)
        return; /* 500 */
    d->api = api;
    d->object_bytes = stem->bytes;
    d->next = first;
    d->end = first + count;
    ms_job_stem_key(job, stem->name, d->key);
    if (strcmp(call->method, "HEAD") != 0 && count > 0 && !get_first(d, job, &problem)) {
        close_download(d);
        ms_api_reply_problem(call, &problem);
        return;
    }
    if (range == MS_HTTP_RANGE_PART) {
        (void)snprintf(text, sizeof text, "bytes %lld-%lld/%lld", (long long)first,
                       (long long)(first + count - 1), (long long)stem->bytes);
        ms_http_add_header(call, "Content-Range", text);
    }
    add_headers(call, job, stem, etag);
    const struct ms_http_stream stream = {
        .length = count, .read = read_download, .close = close_download, .context = d};
    ms_http_reply_stream(call, range == MS_HTTP_RANGE_PART ? 206 : 200,
                         ms_job_mime(job->options.format), &stream);
}

void ms_api_reply_stem(const struct ms_http_call *call, const struct ms_job *job,
                       const struct ms_job_stem *stem, bool may_redirect) {
    struct ms_api *api = call->context;
    char etag[80] = "", key[MS_JOB_KEY_MAX];
    struct ms_problem problem;
    /* a presigned URL is valid for GET only */
    const bool redirects =
        may_redirect && api->options.presign_s > 0 && strcmp(call->method, "GET") == 0;
    ms_job_stem_key(job, stem->name, key);
    if ((redirects || strcmp(call->method, "HEAD") == 0 || job->state == MS_JOB_EXPIRED) &&
        !is_stored(api, job, key, &problem)) {
        ms_api_reply_problem(call, &problem);
        return;
    }
    if (stem->sha256[0] != '\0')
        (void)snprintf(etag, sizeof etag, "\"%s\"", stem->sha256);
    if (ms_http_etag_matches(ms_http_header(call, "If-None-Match"), etag)) {
        add_headers(call, job, stem, etag);
        ms_http_reply(call, 304, NULL, NULL, 0);
        return;
    }
    if (redirects && redirect(call, api, key))
        return;
    reply_bytes(call, job, stem, etag);
}
