/* Downloads of stems: from the store to the client's socket, as fast as the client reads, with
 * ranges and entity tags. A file is sent by the kernel. An object of S3 is read in pieces, each no
 * larger than what the client took of the one before: so no thread and no connection to S3 waits
 * for a client, and the kernel's buffers hold all that is not taken yet. Size and tag are in the
 * record of the job, so headers and 304 need no call to the store. On the threads of the pool. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disposition.h"
#include "expiry.h"
#include "job_reply.h"
#include "link.h"
#include "msaas/http_range.h"
#include "reply.h"
#include "stems.h"

/* Of S3. The first piece is read before the answer begins, and waits in memory. */
#define FIRST_BYTES (16 << 10)
#define LEAST_PIECE_BYTES (INT64_C(64) << 10)
#define MOST_PIECE_BYTES (INT64_C(1) << 20)

struct download {
    struct ms_api *api;
    char key[MS_JOB_KEY_MAX];
    /* the object in the store must not change during the download */
    char etag[80];
    int64_t object_bytes; /* as in the record of the job */
    int64_t next, end;    /* still to be sent: [next, end) */
    bool is_file;
    int64_t piece_bytes;
    char *first; /* [first_bytes], of which first_sent are sent; NULL: all */
    size_t first_bytes, first_sent;
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

/* ---- from the store ---- */

static int check_object(struct download *d, const struct ms_object_info *info,
                        struct ms_error *err) {
    if (info->bytes != d->object_bytes)
        return ms_error_set(err, MS_ECORRUPT,
                            "%s does not have the size that the job's record says", d->key);
    if (d->etag[0] == '\0')
        memcpy(d->etag, info->etag, sizeof d->etag);
    else if (strcmp(d->etag, info->etag) != 0)
        return ms_error_set(err, MS_ECONFLICT, "%s was replaced during the download", d->key);
    return 0;
}

static int open_file(struct download *d, struct ms_store *store, int *fd, struct ms_error *err) {
    struct ms_object_info info;
    int rc = ms_store_file(store, MS_BUCKET_STEMS, d->key, fd, &info, err);
    if (rc != 0)
        return rc;
    rc = check_object(d, &info, err);
    if (rc != 0)
        (void)close(*fd);
    return rc;
}

static int pass_file(struct download *d, struct ms_store *store, struct ms_http_outlet *outlet,
                     struct ms_error *err) {
    int fd;
    int rc = open_file(d, store, &fd, err);
    if (rc != 0)
        return rc;
    int64_t taken;
    rc = ms_http_outlet_file(outlet, fd, d->next, d->end - d->next, &taken, err);
    (void)close(fd);
    d->next += taken;
    return rc;
}

struct piece {
    struct download *download;
    struct ms_http_outlet *outlet;
    struct ms_object_info info;
    bool checked, full; /* full: the client takes no more now; what else comes is dropped */
    int64_t taken;
};

static int pass_bytes(void *context, const void *bytes, size_t size, struct ms_error *err) {
    struct piece *piece = context;
    if (!piece->checked) {
        const int rc = check_object(piece->download, &piece->info, err);
        if (rc != 0)
            return rc;
        piece->checked = true;
    }
    if (piece->full)
        return 0;
    const size_t taken = ms_http_outlet_write(piece->outlet, bytes, size);
    piece->taken += (int64_t)taken;
    piece->full = taken < size;
    if (ms_http_outlet_is_gone(piece->outlet))
        return ms_error_set(err, MS_ECANCELED, "the client is gone");
    return 0;
}

static int pass_piece(struct download *d, struct ms_store *store, struct ms_http_outlet *outlet,
                      struct ms_error *err) {
    struct piece piece = {.download = d, .outlet = outlet};
    const int64_t left = d->end - d->next;
    const int64_t wanted = left < d->piece_bytes ? left : d->piece_bytes;
    const int rc = ms_store_get(store, MS_BUCKET_STEMS, d->key, d->next, d->next + wanted - 1,
                                pass_bytes, &piece, &piece.info, err);
    d->next += piece.taken;
    if (piece.full)
        d->piece_bytes = piece.taken > LEAST_PIECE_BYTES ? piece.taken : LEAST_PIECE_BYTES;
    else if (d->piece_bytes < MOST_PIECE_BYTES)
        d->piece_bytes += d->piece_bytes / 4;
    return rc;
}

/* False: the client takes no more now. */
static bool pass_first(struct download *d, struct ms_http_outlet *outlet) {
    const size_t left = d->first_bytes - d->first_sent;
    const size_t taken = ms_http_outlet_write(outlet, d->first + d->first_sent, left);
    d->first_sent += taken;
    if (taken < left)
        return false;
    free(d->first);
    d->first = NULL;
    return true;
}

static int pass_download(void *context, struct ms_http_outlet *outlet, struct ms_error *err) {
    struct download *d = context;
    struct ms_problem problem;
    if (d->first != NULL && (!pass_first(d, outlet) || d->next == d->end))
        return 0;
    struct ms_api_link *link = ms_api_borrow(d->api, &problem);
    if (link == NULL)
        return ms_error_set(err, MS_ENET, "%s", problem.text);
    const int rc = d->is_file ? pass_file(d, link->store, outlet, err)
                              : pass_piece(d, link->store, outlet, err);
    ms_api_give_back(d->api, link);
    /* the status was sent already: the answer can only be broken off, with a line in the log */
    if (rc != 0 && !ms_http_outlet_is_gone(outlet))
        (void)ms_problem_of_store(&problem, err);
    return rc;
}

static void close_download(void *context) {
    struct download *d = context;
    free(d->first);
    free(d);
}

static int keep_first(void *context, const void *bytes, size_t size, struct ms_error *err) {
    struct download *d = context;
    if (size > FIRST_BYTES - d->first_bytes)
        return ms_error_set(err, MS_ECORRUPT, "%s became longer during the download", d->key);
    memcpy(d->first + d->first_bytes, bytes, size);
    d->first_bytes += size;
    return 0;
}

static int get_first(struct download *d, struct ms_store *store, struct ms_error *err) {
    struct ms_object_info info = {0};
    const int64_t left = d->end - d->next;
    const int64_t wanted = left < FIRST_BYTES ? left : FIRST_BYTES;
    d->first = malloc((size_t)wanted);
    if (d->first == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a piece of %s", d->key);
    /* a whole object is verified */
    const int64_t last = wanted == d->object_bytes ? -1 : d->next + wanted - 1;
    int rc = ms_store_get(store, MS_BUCKET_STEMS, d->key, d->next, last, keep_first, d, &info, err);
    if (rc == 0)
        rc = check_object(d, &info, err);
    if (rc == 0 && (int64_t)d->first_bytes != wanted)
        rc = ms_error_set(err, MS_ECORRUPT, "%s became shorter during the download", d->key);
    d->next += wanted;
    d->piece_bytes = LEAST_PIECE_BYTES;
    return rc;
}

/* Looks at the object before the answer begins, so that an error gets its status. */
static bool begin_download(struct download *d, const struct ms_job *job,
                           struct ms_problem *problem) {
    struct ms_error err = {0};
    struct ms_api_link *link = ms_api_borrow(d->api, problem);
    if (link == NULL)
        return false;
    int fd;
    int rc = open_file(d, link->store, &fd, &err);
    if (rc == 0) {
        (void)close(fd);
        d->is_file = true;
    } else if (rc == MS_EUNSUPPORTED) {
        rc = get_first(d, link->store, &err);
    }
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
static bool redirect(const struct ms_http_call *call, struct ms_api *api, const char *key,
                     const char *disposition) {
    struct ms_problem problem;
    struct ms_error err = {0};
    char *url = NULL;
    struct ms_api_link *link = ms_api_borrow(api, &problem);
    if (link == NULL)
        return false;
    const int rc = ms_store_presign(link->store, MS_BUCKET_STEMS, key, disposition,
                                    api->options.presign_s, &url, &err);
    ms_api_give_back(api, link);
    if (rc != 0) /* this store cannot presign: the download goes through this server */
        return false;
    ms_http_add_header(call, "Location", url);
    ms_http_add_header(call, "Cache-Control", "no-store");
    ms_http_reply(call, 302, NULL, NULL, 0);
    free(url);
    return true;
}

struct answer {
    const struct ms_http_call *call;
    const struct ms_job *job;
    const struct ms_render_part *object;
    const char *disposition;
    char etag[80]; /* "": none */
};

static void add_headers(const struct answer *answer) {
    ms_api_add_download_headers(answer->call, answer->disposition, answer->etag, true);
}

static void reply_bytes(const struct answer *answer) {
    const struct ms_http_call *call = answer->call;
    const struct ms_render_part *object = answer->object;
    const char *wanted = ms_http_header(call, "Range");
    if (!ms_http_if_range_holds(ms_http_header(call, "If-Range"), answer->etag))
        wanted = NULL;
    int64_t first;
    int64_t count;
    const enum ms_http_range range = ms_http_parse_range(wanted, object->bytes, &first, &count);
    struct ms_problem problem;
    char text[80];
    if (range == MS_HTTP_RANGE_NONE) {
        (void)snprintf(text, sizeof text, "bytes */%lld", (long long)object->bytes);
        ms_http_add_header(call, "Content-Range", text);
        (void)ms_problem_set(&problem, 416, "range_not_satisfiable", "the track has %lld bytes",
                             (long long)object->bytes);
        ms_api_reply_problem(call, &problem);
        return;
    }
    struct download *d = calloc(1, sizeof *d);
    if (d == NULL)
        return; /* 500 */
    d->api = call->context;
    d->object_bytes = object->bytes;
    d->next = first;
    d->end = first + count;
    memcpy(d->key, object->key, sizeof d->key);
    if (strcmp(call->method, "HEAD") != 0 && count > 0 &&
        !begin_download(d, answer->job, &problem)) {
        close_download(d);
        ms_api_reply_problem(call, &problem);
        return;
    }
    if (range == MS_HTTP_RANGE_PART) {
        (void)snprintf(text, sizeof text, "bytes %lld-%lld/%lld", (long long)first,
                       (long long)(first + count - 1), (long long)object->bytes);
        ms_http_add_header(call, "Content-Range", text);
    }
    add_headers(answer);
    const struct ms_http_stream stream = {
        .length = count, .pass = pass_download, .close = close_download, .context = d};
    ms_http_reply_stream(call, range == MS_HTTP_RANGE_PART ? 206 : 200, ms_job_mime(object->format),
                         &stream);
}

void ms_api_reply_stem(const struct ms_http_call *call, const struct ms_job *job,
                       const struct ms_render_part *object, const char *disposition,
                       bool may_redirect) {
    struct ms_api *api = call->context;
    struct answer answer = {.call = call, .job = job, .object = object, .disposition = disposition};
    struct ms_problem problem;
    /* a presigned URL is valid for GET only */
    const bool redirects =
        may_redirect && api->options.presign_s > 0 && strcmp(call->method, "GET") == 0;
    if ((redirects || strcmp(call->method, "HEAD") == 0 || job->state == MS_JOB_EXPIRED) &&
        !is_stored(api, job, object->key, &problem)) {
        ms_api_reply_problem(call, &problem);
        return;
    }
    if (object->sha256[0] != '\0')
        (void)snprintf(answer.etag, sizeof answer.etag, "\"%s\"", object->sha256);
    if (!ms_api_tag_matches(call, answer.etag, &problem)) {
        ms_api_reply_problem(call, &problem);
        return;
    }
    if (ms_http_etag_matches(ms_http_header(call, "If-None-Match"), answer.etag)) {
        add_headers(&answer);
        ms_http_reply(call, 304, NULL, NULL, 0);
        return;
    }
    if (!redirects || !redirect(call, api, object->key, disposition))
        reply_bytes(&answer);
}
