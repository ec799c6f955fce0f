/* One signed request to S3, repeated where that may help. Stands between the store's operations and
 * the HTTP client. Owns nothing beyond a call; runs on the caller's thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "msaas/sigv4.h"
#include "msaas/sys.h"
#include "msaas/url.h"
#include "s3.h"

#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define MAX_PAUSE_MS 20000
/* Uploads may stall for at least so long: a server writes everything to disk before it answers. */
#define UPLOAD_STALL_S 10
#define CLOSING_ATTEMPTS 2
#define CLOSING_TIMEOUT_S 10

/* ---- addresses ---- */

int ms_s3_address(const struct ms_s3 *s3, const char *bucket, const char *key, char **host,
                  char **path, struct ms_error *err) {
    const bool in_host = s3->virtual_host && bucket != NULL;
    char *encoded = ms_percent_encode(key != NULL ? key : "", true);
    *host = in_host ? ms_strdupf("%s.%s", bucket, s3->authority) : strdup(s3->authority);
    *path = NULL;
    if (encoded != NULL)
        *path = bucket == NULL || in_host ? ms_strdupf("%s/%s", s3->base_path, encoded)
                                          : ms_strdupf("%s/%s%s%s", s3->base_path, bucket,
                                                       key != NULL ? "/" : "", encoded);
    free(encoded);
    if (*host != NULL && *path != NULL)
        return 0;
    free(*host);
    free(*path);
    *host = *path = NULL;
    return ms_error_set(err, MS_ENOMEM, "no memory for a request to S3");
}

void ms_s3_date(char date[17]) {
    const time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    (void)strftime(date, 17, "%Y%m%dT%H%M%SZ", &utc);
}

bool ms_s3_xml(const char *xml, const char *element, char *out, size_t capacity) {
    static const struct {
        const char *entity;
        char byte;
    } entities[] = {{"&quot;", '"'}, {"&amp;", '&'},   {"&lt;", '<'},
                    {"&gt;", '>'},   {"&apos;", '\''}, {"&#34;", '"'}};
    char tag[64];
    snprintf(tag, sizeof tag, "<%s>", element);
    const char *at = strstr(xml, tag);
    if (at == NULL)
        return false;
    at += strlen(tag);
    snprintf(tag, sizeof tag, "</%s>", element);
    const char *end = strstr(at, tag);
    if (end == NULL)
        return false;
    size_t size = 0;
    while (at < end) {
        size_t step = 1;
        char byte = *at;
        for (size_t i = 0; i < sizeof entities / sizeof *entities; i++) {
            if (strncmp(at, entities[i].entity, strlen(entities[i].entity)) == 0) {
                byte = entities[i].byte;
                step = strlen(entities[i].entity);
                break;
            }
        }
        if (size + 1 >= capacity || (unsigned char)byte < 0x20)
            return false;
        out[size++] = byte;
        at += step;
    }
    out[size] = '\0';
    return size > 0;
}

int ms_s3_page_take(void *context, const void *bytes, size_t size, struct ms_error *err) {
    struct ms_s3_page *page = context;
    const size_t room = MS_S3_PAGE_BYTES - 1 - page->size;
    const size_t some = size < room ? size : room;
    (void)err;
    memcpy(page->xml + page->size, bytes, some);
    page->size += some;
    page->xml[page->size] = '\0';
    return 0;
}

int64_t ms_s3_time_ms(const char *text) {
    struct tm utc = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &utc);
    return rest != NULL ? (int64_t)timegm(&utc) * 1000 : 0;
}

/* ---- what the HTTP client calls ---- */

static int give_body(void *context, void *buffer, size_t capacity, size_t *size,
                     struct ms_error *err) {
    struct ms_s3_call *call = context;
    const int64_t left = call->body_bytes - call->given;
    const size_t some = (int64_t)capacity < left ? capacity : (size_t)left;
    const int rc =
        ms_store_source_read(call->body, call->body_first + call->given, buffer, some, err);
    if (rc != 0) {
        call->ours = true;
        return rc;
    }
    call->given += (int64_t)some;
    *size = some;
    return 0;
}

static bool rewind_body(void *context) {
    ((struct ms_s3_call *)context)->given = 0;
    return true;
}

static bool succeeded(const struct ms_s3_call *call) {
    return call->status >= 200 && call->status < 300;
}

static int see_head(void *context, const struct ms_http_response *response, struct ms_error *err) {
    struct ms_s3_call *call = context;
    const char *etag = ms_http_response_header(response, "ETag");
    const char *retry_after = ms_http_response_header(response, "Retry-After");
    call->status = response->status;
    if (etag != NULL && strlen(etag) < sizeof call->etag)
        memcpy(call->etag, etag, strlen(etag) + 1);
    if (retry_after != NULL) {
        const long seconds = strtol(retry_after, NULL, 10); /* 0 for a date */
        call->retry_after_s = seconds > 0 && seconds < 1000 ? (int)seconds : 0;
    }
    int rc = 0;
    if (succeeded(call) && call->head != NULL)
        rc = call->head(call->context, response, err);
    call->ours = rc != 0;
    return rc;
}

/* The beginning of a reply holds all that is read from S3's XML. */
static void keep_reply(struct ms_s3_call *call, const void *bytes, size_t size) {
    const size_t room = sizeof call->reply - 1 - call->reply_bytes;
    const size_t some = size < room ? size : room;
    memcpy(call->reply + call->reply_bytes, bytes, some);
    call->reply_bytes += some;
    call->reply[call->reply_bytes] = '\0';
}

static int take(void *context, const void *bytes, size_t size, struct ms_error *err) {
    struct ms_s3_call *call = context;
    int rc = 0;
    if (succeeded(call) && call->write != NULL)
        rc = call->write(call->context, bytes, size, err);
    else
        keep_reply(call, bytes, size);
    call->ours = rc != 0;
    return rc;
}

/* ---- one attempt ---- */

enum { MAX_HEADERS = MS_S3_EXTRA_HEADERS + 6 };

struct lines {
    char *own[5];
    const char *all[MAX_HEADERS + 1];
    size_t signed_count;
};

/* Makes the headers: first those that are signed, then the signature and the host. */
static int make_headers(const struct ms_s3 *s3, const struct ms_s3_call *call, const char *host,
                        const char *path, struct lines *lines, struct ms_error *err) {
    const char *payload = call->body_sha256 != NULL ? call->body_sha256 : EMPTY_SHA256;
    char date[17];
    struct ms_sigv4_request request = {
        .method = call->method,
        .host = host,
        .path = path,
        .query = call->query != NULL ? call->query : "",
        .headers = lines->all,
        .payload_sha256 = payload,
        .region = s3->region,
        .service = "s3",
        .access_key = s3->access_key,
        .secret_key = s3->secret_key,
        .session_token = s3->session_token,
        .amz_date = date,
    };
    ms_s3_date(date);
    size_t own = 0;
    lines->own[own++] = ms_strdupf("x-amz-date: %s", date);
    lines->own[own++] = ms_strdupf("x-amz-content-sha256: %s", payload);
    if (s3->session_token != NULL)
        lines->own[own++] = ms_strdupf("x-amz-security-token: %s", s3->session_token);
    size_t count = 0;
    for (size_t i = 0; i < own; i++) {
        if (lines->own[i] == NULL)
            goto no_memory;
        lines->all[count++] = lines->own[i];
    }
    for (size_t i = 0; i < MS_S3_EXTRA_HEADERS && call->headers[i] != NULL; i++)
        lines->all[count++] = call->headers[i];
    char authorization[MS_SIGV4_AUTHORIZATION_MAX];
    const int rc = ms_sigv4_authorization(&request, authorization, err);
    if (rc != 0)
        return rc;
    lines->own[3] = ms_strdupf("Authorization: %s", authorization);
    lines->own[4] = ms_strdupf("Host: %s", host);
    if (lines->own[3] == NULL || lines->own[4] == NULL)
        goto no_memory;
    lines->all[count++] = lines->own[3];
    lines->all[count++] = lines->own[4];
    /* No "Expect: 100-continue": a server that does not answer it costs a second. */
    lines->all[count] = "Expect:";
    return 0;
no_memory:
    return ms_error_set(err, MS_ENOMEM, "no memory for a request to S3");
}

/* Whether another attempt may get another answer. The end of an upload can fail with status 200. */
static bool passes(const struct ms_s3_call *call) {
    switch (call->status) {
    case 429:
    case 500:
    case 502:
    case 503:
    case 504: return true;
    case 200:
        return strcmp(call->error, "InternalError") == 0 || strcmp(call->error, "SlowDown") == 0 ||
               strcmp(call->error, "ServiceUnavailable") == 0;
    default: return false;
    }
}

static int stall_timeout_s(const struct ms_s3 *s3, const struct ms_s3_call *call, bool has_body) {
    if (call->closing)
        return CLOSING_TIMEOUT_S;
    return has_body && s3->stall_timeout_s < UPLOAD_STALL_S ? UPLOAD_STALL_S : s3->stall_timeout_s;
}

int ms_s3_attempt(struct ms_s3 *s3, struct ms_s3_call *call, struct ms_error *err) {
    char *url = NULL;
    struct lines lines = {0};
    const bool has_body = strcmp(call->method, "PUT") == 0 || strcmp(call->method, "POST") == 0;
    call->status = call->retry_after_s = 0;
    call->etag[0] = call->reply[0] = call->error[0] = '\0';
    call->reply_bytes = 0;
    call->given = 0;
    call->ours = call->may_retry = false;
    char *host = NULL, *path = NULL;
    int rc = ms_s3_address(s3, call->bucket, call->key, &host, &path, err);
    if (rc != 0)
        goto out;
    url = ms_strdupf("%s://%s%s%s%s", s3->scheme, host, path, call->query != NULL ? "?" : "",
                     call->query != NULL ? call->query : "");
    if (url == NULL) {
        rc = ms_error_set(err, MS_ENOMEM, "no memory for a request to S3");
        goto out;
    }
    rc = make_headers(s3, call, host, path, &lines, err);
    if (rc != 0)
        goto out;
    struct ms_http_response response;
    rc = ms_http_send(s3->http,
                      &(struct ms_http_request){
                          .method = call->method,
                          .url = url,
                          .headers = lines.all,
                          .body = has_body && call->body == NULL ? "" : NULL,
                          .read = call->body != NULL ? give_body : NULL,
                          .rewind = rewind_body,
                          .body_bytes = call->body != NULL ? call->body_bytes : 0,
                          .head = see_head,
                          .write = take,
                          .max_bytes = INT64_MAX,
                          .context = call,
                          .connect_timeout_s = s3->stall_timeout_s < 10 ? s3->stall_timeout_s : 10,
                          .stall_timeout_s = stall_timeout_s(s3, call, has_body),
                          .total_timeout_s = call->closing ? CLOSING_TIMEOUT_S : 0,
                          .ca_file = s3->ca_file,
                          .cancel = call->closing ? NULL : s3->store.cancel,
                      },
                      &response, err);
    if (call->write == NULL || !succeeded(call))
        (void)ms_s3_xml(call->reply, "Code", call->error, sizeof call->error);
    call->may_retry = rc == 0 ? passes(call) : rc == MS_ENET && !call->ours;
out:
    for (size_t i = 0; i < sizeof lines.own / sizeof *lines.own; i++)
        free(lines.own[i]);
    free(host);
    free(path);
    free(url);
    return rc;
}

/* ---- attempts ---- */

/* xorshift: enough to keep clients from returning all at once. */
static int random_below(struct ms_s3 *s3, int limit) {
    s3->random ^= s3->random << 13;
    s3->random ^= s3->random >> 17;
    s3->random ^= s3->random << 5;
    return (int)(s3->random % (uint32_t)limit);
}

int64_t ms_s3_pause_ms(struct ms_s3 *s3, const struct ms_s3_call *call, int number) {
    int64_t pause_ms = s3->backoff_ms;
    for (int i = 1; i < number && pause_ms < MAX_PAUSE_MS; i++)
        pause_ms *= 2;
    if (pause_ms > MAX_PAUSE_MS)
        pause_ms = MAX_PAUSE_MS;
    pause_ms = pause_ms / 2 + random_below(s3, (int)(pause_ms / 2 + 1));
    if (pause_ms < (int64_t)call->retry_after_s * 1000)
        pause_ms = (int64_t)call->retry_after_s * 1000;
    return pause_ms > MAX_PAUSE_MS ? MAX_PAUSE_MS : pause_ms;
}

int ms_s3_pause(struct ms_s3 *s3, const struct ms_s3_call *call, int number, int rc,
                struct ms_error *err) {
    const struct timespec slice = {.tv_nsec = 50000000};
    const int attempts = call->closing ? CLOSING_ATTEMPTS : s3->attempts;
    if (!call->may_retry)
        return rc;
    if (number >= attempts && rc != 0) {
        ms_error_append(err, " (after %d attempts)", number);
        return rc;
    }
    if (number >= attempts)
        return ms_error_set(err, MS_ENET, "S3 answered %d%s%s, %d times", call->status,
                            call->error[0] != '\0' ? " " : "", call->error, number);
    const double end = ms_monotonic_s() + (double)ms_s3_pause_ms(s3, call, number) / 1000;
    while (ms_monotonic_s() < end) {
        if (!call->closing && ms_store_canceled(&s3->store))
            return ms_error_set(err, MS_ECANCELED, "canceled");
        (void)nanosleep(&slice, NULL);
    }
    return 0;
}

int ms_s3_send(struct ms_s3 *s3, struct ms_s3_call *call, struct ms_error *err) {
    for (int number = 1;; number++) {
        int rc = ms_s3_attempt(s3, call, err);
        if (!call->may_retry)
            return rc;
        rc = ms_s3_pause(s3, call, number, rc, err);
        if (rc != 0)
            return rc;
    }
}

int ms_s3_do(struct ms_s3 *s3, struct ms_s3_call *call, struct ms_error *err) {
    const int rc = ms_s3_send(s3, call, err);
    return rc != 0 ? rc : ms_s3_status(call, err);
}

static bool error_is(const struct ms_s3_call *call, const char *name) {
    return strcmp(call->error, name) == 0;
}

int ms_s3_status(const struct ms_s3_call *call, struct ms_error *err) {
    char what[700];
    int rc = MS_EINTERNAL;
    snprintf(what, sizeof what, "%s%s%s", call->bucket != NULL ? call->bucket : "S3",
             call->key != NULL ? "/" : "", call->key != NULL ? call->key : "");
    if (succeeded(call) && call->error[0] == '\0')
        return 0;
    const char *remedy = "";
    if (call->status == 404) {
        rc = MS_ENOTFOUND;
    } else if (call->status == 401 || call->status == 403) {
        rc = MS_EDENIED;
        if (error_is(call, "RequestTimeTooSkewed"))
            remedy = ": set this machine's clock";
        else if (error_is(call, "SignatureDoesNotMatch") || error_is(call, "InvalidAccessKeyId"))
            remedy = ": check the access key and its secret";
        else if (error_is(call, "ExpiredToken"))
            remedy = ": the session token has expired";
    } else if (error_is(call, "XAmzContentSHA256Mismatch") || error_is(call, "BadDigest")) {
        rc = MS_ECORRUPT;
        remedy = ": the bytes that arrived are not those that were signed";
    } else if (call->status == 408 || error_is(call, "RequestTimeout") || succeeded(call)) {
        rc = MS_ENET;
    } else if (call->status == 409 || call->status == 412) {
        rc = MS_ECONFLICT;
    } else if (call->status == 413 || error_is(call, "EntityTooLarge")) {
        rc = MS_ETOOLARGE;
    } else if (call->status == 416) {
        rc = MS_EUSAGE;
        remedy = ": there are no such bytes";
    } else if (call->status / 100 == 3 || error_is(call, "AuthorizationHeaderMalformed")) {
        rc = MS_EUSAGE;
        remedy = ": the bucket may be in another region";
    }
    return ms_error_about(err, rc, what, "S3 answered %d%s%s%s", call->status,
                          call->error[0] != '\0' ? " " : "", call->error, remedy);
}
