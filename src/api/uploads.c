/* Uploads after tus 1.0 (https://tus.io/protocols/resumable-upload): core, creation,
 * creation-with-upload, expiration, termination and checksum. All state lies in the store
 * (msaas/upload.h), so any replica takes up what another began. On the slow pool. */
#include "uploads.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "handlers.h"
#include "limits.h"
#include "link.h"
#include "msaas/base64.h"
#include "msaas/digest.h"
#include "msaas/http_range.h"
#include "msaas/sys.h"
#include "reply.h"

#define VERSION "1.0.0"
#define EXTENSIONS "creation,creation-with-upload,expiration,termination,checksum"
#define CONTENT_TYPE "application/offset+octet-stream"
/* A request with a checksum is stored whole or not at all. */
#define CHECKED_MAX_BYTES (INT64_C(64) << 20)

_Static_assert(MS_UPLOAD_OWNER_BYTES == MS_ACCOUNT_NAME_BYTES, "an account's name must fit");

/* ---- which upload ---- */

/* An upload of another account is none. */
static bool may_see(const struct ms_account *caller, const struct ms_upload *upload) {
    return caller == NULL || (caller->scopes & MS_SCOPE_ADMIN) != 0 ||
           (caller->name[0] != '\0' && strcmp(caller->name, upload->owner) == 0);
}

bool ms_api_find_upload(struct ms_store *store, const struct ms_account *caller, const char *id,
                        struct ms_upload *upload, struct ms_problem *problem) {
    struct ms_error err = {0};
    const int rc = ms_upload_find(store, id, upload, &err);
    if (rc == MS_ENOTFOUND || (rc == 0 && !may_see(caller, upload)))
        return ms_problem_set(problem, 404, "unknown_upload", "there is no such upload");
    if (rc != 0)
        return ms_problem_of_store(problem, &err);
    return ms_unix_ms() < upload->expires_ms ||
           ms_problem_set(problem, 410, "upload_expired",
                          "the upload was not finished and used in time: begin a new one");
}

void ms_api_upload_name(const struct ms_upload *upload, char out[MS_JOB_INPUT_NAME_BYTES]) {
    char name[MS_UPLOAD_METADATA_BYTES];
    (void)ms_upload_metadata_read(upload->metadata, "filename", name, sizeof name);
    ms_song_request_name(name, out);
}

/* ---- headers ---- */

static void put_int(const struct ms_http_call *call, const char *name, int64_t value) {
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRId64, value);
    ms_http_add_header(call, name, text);
}

static void put_expires(const struct ms_http_call *call, const struct ms_upload *upload) {
    const time_t seconds = (time_t)(upload->expires_ms / 1000);
    struct tm tm;
    char date[64];
    if (gmtime_r(&seconds, &tm) != NULL &&
        strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &tm) > 0)
        ms_http_add_header(call, "Upload-Expires", date);
}

static bool invalid(struct ms_problem *problem, const char *header, const char *must) {
    return ms_problem_set(problem, 400, "invalid_upload", "%s must be %s", header, must);
}

/* A header that is a number of bytes. */
static bool read_bytes(const struct ms_http_call *call, const char *name, int64_t *out,
                       struct ms_problem *problem) {
    const char *text = ms_http_header(call, name);
    const size_t digits = text != NULL ? strspn(text, "0123456789") : 0;
    if (digits == 0 || digits > 18 || text[digits] != '\0')
        return invalid(problem, name, "there, and a number of bytes");
    *out = strtoll(text, NULL, 10);
    return true;
}

static bool speaks_tus(const struct ms_http_call *call, struct ms_problem *problem) {
    const char *version = ms_http_header(call, "Tus-Resumable");
    if (version != NULL && strcmp(version, VERSION) == 0)
        return true;
    ms_http_add_header(call, "Tus-Version", VERSION);
    return ms_problem_set(problem, 412, "tus_version", "the header Tus-Resumable must be " VERSION);
}

static bool has_type(const struct ms_http_call *call, struct ms_problem *problem) {
    return ms_http_is_media_type(ms_http_header(call, "Content-Type"), CONTENT_TYPE) ||
           ms_problem_set(problem, 415, "unsupported_media_type",
                          "the Content-Type of bytes of an upload must be " CONTENT_TYPE);
}

static void reply_problem(const struct ms_http_call *call, const struct ms_problem *problem) {
    ms_http_add_header(call, "Tus-Resumable", VERSION);
    ms_api_reply_problem(call, problem);
}

/* ---- bytes that come ---- */

struct coming {
    struct ms_api *api;
    struct ms_upload upload;
    bool created;       /* by the same request */
    char algorithm[16]; /* "": without checksum */
    unsigned char checksum[MS_CHECKSUM_BYTES];
};

/* "sha1 BASE64" */
static bool read_checksum(const struct ms_http_call *call, struct coming *coming,
                          struct ms_problem *problem) {
    const char *text = ms_http_header(call, "Upload-Checksum");
    if (text == NULL)
        return true;
    const size_t name = strcspn(text, " ");
    char *value = text[name] == ' ' ? strdup(text + name + 1) : NULL;
    unsigned char none[MS_CHECKSUM_BYTES];
    size_t wanted = 0, size = 0;
    if (name < sizeof coming->algorithm)
        memcpy(coming->algorithm, text, name);
    struct ms_error err = {0};
    const bool ok =
        value != NULL && ms_checksum_of(coming->algorithm, "", 0, none, &wanted, &err) == 0 &&
        ms_base64_decode(value, strlen(value), sizeof coming->checksum, &size, &err) == 0 &&
        size == wanted;
    if (ok)
        memcpy(coming->checksum, value, size);
    free(value);
    return ok || invalid(problem, "Upload-Checksum", "sha1 or sha256, a blank, and its base64");
}

static bool is_checked(const struct coming *coming, const void *bytes, size_t size,
                       struct ms_problem *problem) {
    unsigned char raw[MS_CHECKSUM_BYTES];
    struct ms_error err = {0};
    size_t raw_size = 0;
    if (coming->algorithm[0] == '\0')
        return true;
    if (ms_checksum_of(coming->algorithm, bytes, size, raw, &raw_size, &err) != 0)
        return ms_problem_set(problem, 500, "internal", "the checksum cannot be computed");
    return memcmp(raw, coming->checksum, raw_size) == 0 ||
           ms_problem_set(problem, 460, "checksum_mismatch",
                          "the bytes are not those of the checksum; nothing of them is kept");
}

static bool append(struct coming *coming, const void *bytes, size_t size,
                   struct ms_problem *problem) {
    struct ms_error err = {0};
    struct ms_api_link *link = size > 0 ? ms_api_borrow(coming->api, problem) : NULL;
    if (link == NULL)
        return size == 0;
    const int rc = ms_upload_append(link->store, &coming->upload, bytes, size, &err);
    ms_api_give_back(coming->api, link);
    if (rc == MS_ECONFLICT)
        return ms_problem_set(problem, 409, "upload_conflict",
                              "another request sends the same bytes: ask how far the upload is");
    if (rc == MS_ETOOLARGE)
        return ms_problem_set(problem, 413, "too_large", "%.390s", err.text);
    return rc == 0 || ms_problem_of_store(problem, &err);
}

static void reply_created(const struct ms_http_call *call, const struct ms_upload *upload,
                          const char *put_url);

static void take(void *context, const struct ms_http_call *call, const void *bytes, size_t size,
                 enum ms_http_part part) {
    struct coming *coming = context;
    struct ms_problem problem;
    if (part == MS_HTTP_BROKEN && coming->algorithm[0] != '\0')
        return; /* it cannot be checked */
    if (!is_checked(coming, bytes, size, &problem) || !append(coming, bytes, size, &problem)) {
        reply_problem(call, &problem);
    } else if (part == MS_HTTP_LAST && coming->created) {
        reply_created(call, &coming->upload, NULL);
    } else if (part == MS_HTTP_LAST) {
        ms_http_add_header(call, "Tus-Resumable", VERSION);
        put_int(call, "Upload-Offset", coming->upload.offset);
        put_expires(call, &coming->upload);
        ms_http_reply(call, 204, NULL, NULL, 0);
    }
}

/* Takes the body of the request as bytes of the upload. Owns `coming` from now on. */
static void take_body(const struct ms_http_call *call, struct coming *coming) {
    const int64_t left = coming->upload.length - coming->upload.offset;
    struct ms_http_intake intake = {.most_bytes = left,
                                    .piece_bytes = MS_UPLOAD_PIECE_BYTES,
                                    .take = take,
                                    .close = free,
                                    .context = coming};
    if (coming->algorithm[0] != '\0') {
        intake.most_bytes = left < CHECKED_MAX_BYTES ? left : CHECKED_MAX_BYTES;
        intake.piece_bytes = CHECKED_MAX_BYTES + 1;
    }
    ms_http_take_body(call, &intake);
}

static struct coming *new_coming(const struct ms_http_call *call) {
    struct coming *coming = calloc(1, sizeof *coming);
    if (coming != NULL)
        coming->api = call->context;
    return coming; /* NULL: no answer, which is 500 */
}

/* ---- POST uploads ---- */

/* The upload as JSON, for clients that do not speak tus. put_url NULL: none. */
static void reply_upload(const struct ms_http_call *call, int status,
                         const struct ms_upload *upload, const char *put_url) {
    char name[MS_JOB_INPUT_NAME_BYTES];
    struct ms_json_writer *w = ms_json_writer_new();
    if (w == NULL)
        return; /* 500 */
    ms_api_upload_name(upload, name);
    ms_json_begin_object(w, NULL);
    ms_json_put_string(w, "id", upload->id);
    ms_json_put_string(w, "name", name[0] != '\0' ? name : NULL);
    ms_json_put_int(w, "length", upload->length);
    ms_json_put_int(w, "offset", upload->offset);
    ms_json_put_time(w, "created_at", upload->created_ms);
    ms_json_put_time(w, "expires_at", upload->expires_ms);
    if (status == 201)
        ms_json_put_string(w, "put_url", put_url);
    ms_json_end_object(w);
    ms_http_add_header(call, "Tus-Resumable", VERSION);
    put_int(call, "Upload-Offset", upload->offset);
    put_expires(call, upload);
    ms_api_reply_writer(call, status, w);
}

static void reply_created(const struct ms_http_call *call, const struct ms_upload *upload,
                          const char *put_url) {
    char location[80];
    (void)snprintf(location, sizeof location, "/apiv2/uploads/%s", upload->id);
    ms_http_add_header(call, "Location", location);
    reply_upload(call, 201, upload, put_url);
}

static bool read_creation(const struct ms_http_call *call, struct ms_upload *upload,
                          struct ms_problem *problem) {
    const struct ms_api *api = call->context;
    const char *metadata = ms_http_header(call, "Upload-Metadata");
    char value[8];
    if (!read_bytes(call, "Upload-Length", &upload->length, problem))
        return false;
    if (upload->length > api->options.max_song_bytes)
        return ms_problem_set(problem, 413, "too_large",
                              "the song is too large; at most %lld bytes are accepted",
                              (long long)api->options.max_song_bytes);
    if (metadata != NULL && (strlen(metadata) >= sizeof upload->metadata ||
                             !ms_upload_metadata_read(metadata, "", value, sizeof value)))
        return invalid(problem, "Upload-Metadata",
                       "pairs of a key and a value in base64, by commas, of at most 2 KB");
    if (metadata != NULL)
        memcpy(upload->metadata, metadata, strlen(metadata) + 1);
    const struct ms_account *caller = ms_api_caller(call->exchange);
    if (caller != NULL)
        memcpy(upload->owner, caller->name, sizeof upload->owner);
    upload->created_ms = ms_unix_ms();
    upload->expires_ms = upload->created_ms + api->options.upload_keep_s * 1000;
    return true;
}

/* Whether the client asks for a URL of the store, to put the song there itself. */
static bool wants_url(const struct ms_http_call *call, bool *wanted, struct ms_problem *problem) {
    char *text = NULL;
    const int rc = ms_http_query(call, "presign", &text);
    *wanted = text != NULL && strcmp(text, "true") == 0;
    const bool ok = rc == 0 && (text == NULL || *wanted || strcmp(text, "false") == 0);
    free(text);
    return ok || ms_problem_set(problem, 422, "invalid_option", "presign must be true or false");
}

static bool create(const struct ms_http_call *call, struct ms_upload *upload, char **put_url,
                   struct ms_problem *problem) {
    struct ms_api *api = call->context;
    bool presign;
    if (!wants_url(call, &presign, problem))
        return false;
    struct ms_api_link *link = ms_api_borrow(api, problem);
    if (link == NULL)
        return false;
    struct ms_api_limits limits = {0};
    struct ms_error err = {0};
    bool ok = ms_api_limits_read(link, ms_api_caller(call->exchange), &limits, problem) &&
              ms_api_limits_charge(link, upload, &limits, problem);
    ms_api_limits_tell(call, &limits);
    int rc = ok ? ms_upload_create(link->store, upload, &err) : 0;
    if (ok && rc == 0 && presign && api->options.presign_s > 0 && upload->length > 0)
        rc = ms_upload_presign(link->store, upload, api->options.presign_s, put_url, &err);
    ms_api_give_back(api, link);
    return ok && (rc == 0 || rc == MS_EUNSUPPORTED || ms_problem_of_store(problem, &err));
}

void ms_api_uploads_create(const struct ms_http_call *call) {
    const char *length = ms_http_header(call, "Content-Length");
    const bool has_body = ms_http_header(call, "Transfer-Encoding") != NULL ||
                          (length != NULL && strspn(length, "0") != strlen(length));
    struct coming *coming = new_coming(call);
    struct ms_problem problem;
    char *put_url = NULL;
    if (coming == NULL)
        return;
    coming->created = true;
    if (!speaks_tus(call, &problem) || (has_body && !has_type(call, &problem)) ||
        !read_creation(call, &coming->upload, &problem) ||
        (has_body && !read_checksum(call, coming, &problem)) ||
        !create(call, &coming->upload, &put_url, &problem)) {
        reply_problem(call, &problem);
        free(coming);
    } else if (has_body) {
        take_body(call, coming);
    } else {
        reply_created(call, &coming->upload, put_url);
        free(coming);
    }
    free(put_url);
}

void ms_api_uploads_options(const struct ms_http_call *call) {
    const struct ms_api *api = call->context;
    ms_http_add_header(call, "Tus-Resumable", VERSION);
    ms_http_add_header(call, "Tus-Version", VERSION);
    ms_http_add_header(call, "Tus-Extension", EXTENSIONS);
    ms_http_add_header(call, "Tus-Checksum-Algorithm", "sha1,sha256");
    put_int(call, "Tus-Max-Size", api->options.max_song_bytes);
    ms_http_reply(call, 204, NULL, NULL, 0);
}

/* ---- one upload ---- */

static bool find(const struct ms_http_call *call, struct ms_upload *upload,
                 struct ms_problem *problem) {
    struct ms_api_link *link = ms_api_borrow(call->context, problem);
    const bool ok = link != NULL && ms_api_find_upload(link->store, ms_api_caller(call->exchange),
                                                       call->params[0], upload, problem);
    ms_api_give_back(call->context, link);
    return ok;
}

void ms_api_upload_get(const struct ms_http_call *call) {
    const bool is_head = strcmp(call->method, "HEAD") == 0; /* which is tus'; GET is for people */
    struct ms_upload upload;
    struct ms_problem problem;
    if ((is_head && !speaks_tus(call, &problem)) || !find(call, &upload, &problem)) {
        reply_problem(call, &problem);
        return;
    }
    put_int(call, "Upload-Length", upload.length);
    if (upload.metadata[0] != '\0')
        ms_http_add_header(call, "Upload-Metadata", upload.metadata);
    reply_upload(call, 200, &upload, NULL);
}

static bool is_at(const struct ms_http_call *call, const struct ms_upload *upload, int64_t offset,
                  struct ms_problem *problem) {
    if (offset == upload->offset)
        return true;
    put_int(call, "Upload-Offset", upload->offset);
    return ms_problem_set(problem, 409, "upload_conflict",
                          "Upload-Offset is %lld, but the upload is at %lld", (long long)offset,
                          (long long)upload->offset);
}

void ms_api_upload_patch(const struct ms_http_call *call) {
    struct coming *coming = new_coming(call);
    struct ms_problem problem;
    int64_t offset = 0;
    if (coming == NULL)
        return;
    if (speaks_tus(call, &problem) && has_type(call, &problem) &&
        read_bytes(call, "Upload-Offset", &offset, &problem) &&
        read_checksum(call, coming, &problem) && find(call, &coming->upload, &problem) &&
        is_at(call, &coming->upload, offset, &problem)) {
        take_body(call, coming);
    } else {
        reply_problem(call, &problem);
        free(coming);
    }
}

void ms_api_upload_delete(const struct ms_http_call *call) {
    struct ms_upload upload;
    struct ms_problem problem;
    struct ms_error err = {0};
    bool ok = speaks_tus(call, &problem);
    struct ms_api_link *link = ok ? ms_api_borrow(call->context, &problem) : NULL;
    ok = link != NULL && ms_api_find_upload(link->store, ms_api_caller(call->exchange),
                                            call->params[0], &upload, &problem);
    if (ok && ms_upload_remove(link->store, upload.id, &err) != 0)
        ok = ms_problem_of_store(&problem, &err);
    ms_api_give_back(call->context, link);
    if (!ok) {
        reply_problem(call, &problem);
        return;
    }
    ms_http_add_header(call, "Tus-Resumable", VERSION);
    ms_http_reply(call, 204, NULL, NULL, 0);
}

/* For clients that can send nothing but GET and POST. */
void ms_api_upload_post(const struct ms_http_call *call) {
    const char *method = ms_http_header(call, "X-HTTP-Method-Override");
    if (method != NULL && strcmp(method, "PATCH") == 0)
        ms_api_upload_patch(call);
    else if (method != NULL && strcmp(method, "DELETE") == 0)
        ms_api_upload_delete(call);
    else
        ms_api_reply_method(call, "GET, HEAD, PATCH, DELETE, OPTIONS");
}
