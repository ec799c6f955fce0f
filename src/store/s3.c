/* The store on S3, and on whatever speaks its language: objects are read, described, removed and shown by presigned URLs here;
 * s3_put.c stores them. Owns the HTTP client and a copy of the settings; runs on the caller's thread.
 *
 * The digest of an object is kept with it, as x-amz-meta-sha256. */
#include "s3.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "msaas/sigv4.h"
#include "msaas/sys.h"

#define DIGEST_HEADER "x-amz-meta-sha256"
#define MAX_ATTEMPTS 100 /* of a download that goes on a bit each time */

/* ---- reading ------------------------------------------------------------------------------------------------- */

static int64_t number_or(const char *text, int64_t otherwise) {
    char *end;
    const long long value = text != NULL ? strtoll(text, &end, 10) : 0;

    return text != NULL && end != text && value >= 0 ? value : otherwise;
}

/* "Fri, 24 May 2013 00:00:00 GMT" in milliseconds; 0: none. */
static int64_t http_date_ms(const char *text) {
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm utc = {0};
    char month[4] = "";
    const char *found;

    // NOLINTNEXTLINE(cert-err34-c): what is too large makes a wrong date, of no harm
    if (text == NULL || sscanf(text, "%*3s, %2d %3s %4d %2d:%2d:%2d", &utc.tm_mday, month,
                               &utc.tm_year, &utc.tm_hour, &utc.tm_min, &utc.tm_sec) != 6)
        return 0;
    found = strstr(months, month);
    if (found == NULL || strlen(month) != 3 || (found - months) % 3 != 0)
        return 0;
    utc.tm_mon = (int)(found - months) / 3;
    utc.tm_year -= 1900;
    return (int64_t)timegm(&utc) * 1000;
}

static void describe(const struct ms_http_response *response, struct ms_object_info *info) {
    const char *etag = ms_http_response_header(response, "ETag");
    const char *digest = ms_http_response_header(response, DIGEST_HEADER);
    const char *range = ms_http_response_header(response, "Content-Range");
    const char *total = range != NULL ? strchr(range, '/') : NULL;

    *info = (struct ms_object_info){
        .bytes = total != NULL ? number_or(total + 1, -1)
                               : number_or(ms_http_response_header(response, "Content-Length"), -1),
        .modified_ms = http_date_ms(ms_http_response_header(response, "Last-Modified")),
    };
    if (etag != NULL && strlen(etag) < sizeof info->etag)
        memcpy(info->etag, etag, strlen(etag) + 1);
    if (digest != NULL && strlen(digest) == MS_SHA256_HEX - 1 &&
        strspn(digest, "0123456789abcdef") == MS_SHA256_HEX - 1)
        memcpy(info->sha256, digest, MS_SHA256_HEX);
}

static int see_info(void *context, const struct ms_http_response *response, struct ms_error *err) {
    struct ms_object_info *info = context;

    describe(response, info);
    return info->bytes >= 0
               ? 0
               : ms_error_set(err, MS_ENET, "S3's answer does not say how long the object is");
}

int ms_s3_head(struct ms_store *store, const char *bucket, const char *key,
               struct ms_object_info *info, struct ms_error *err) {
    struct ms_s3_call call = {
        .method = "HEAD", .bucket = bucket, .key = key, .head = see_info, .context = info};

    return ms_s3_do((struct ms_s3 *)store, &call, err);
}

/* A download, over several attempts: each goes on where the last broke off. */
struct download {
    const struct ms_store_sink *sink;
    int64_t first, last; /* as asked for; known to lie in the object once `known` */
    int64_t next;        /* the next byte that is wanted */
    bool known;          /* sink->info is there */
    struct ms_sha256 *digest;
};

static int see_object(void *context, const struct ms_http_response *response,
                      struct ms_error *err) {
    struct download *download = context;
    const char *range = ms_http_response_header(response, "Content-Range");
    int64_t begin = 0;
    int rc;

    if (response->status == 206 && (range == NULL || strncmp(range, "bytes ", 6) != 0))
        return ms_error_set(err, MS_ENET, "S3 sent a part of an object without saying which");
    if (response->status == 206)
        begin = number_or(range + 6, -1);
    if (begin != download->next)
        return ms_error_set(err, MS_EUNSUPPORTED, "the server sent another part than asked for");
    if (download->known)
        return 0;
    rc = see_info(download->sink->info, response, err);
    if (rc == 0)
        rc = ms_store_range(download->sink->info->bytes, download->first, &download->last, err);
    download->known = rc == 0;
    return rc;
}

static int take_object(void *context, const void *bytes, size_t size, struct ms_error *err) {
    struct download *download = context;
    int rc;

    if ((int64_t)size > download->last - download->next + 1)
        return ms_error_set(err, MS_EUNSUPPORTED, "the server sent more than was asked for");
    rc = download->sink->write(download->sink->context, bytes, size, err);
    if (rc != 0)
        return rc;
    ms_sha256_update(download->digest, bytes, size);
    download->next += (int64_t)size;
    return 0;
}

static int attempt_download(struct ms_s3 *s3, struct ms_s3_call *call, struct download *download,
                            struct ms_error *err) {
    char range[80], match[100];

    memset(call->headers, 0, sizeof call->headers);
    if (download->next > 0 || download->last >= 0) {
        if (download->last >= 0)
            snprintf(range, sizeof range, "range: bytes=%lld-%lld", (long long)download->next,
                     (long long)download->last);
        else
            snprintf(range, sizeof range, "range: bytes=%lld-", (long long)download->next);
        call->headers[0] = range;
    }
    if (download->known && download->sink->info->etag[0] != '\0') {
        snprintf(match, sizeof match, "if-match: %s", download->sink->info->etag);
        call->headers[1] = match;
    }
    return ms_s3_attempt(s3, call, err);
}

static int s3_get(struct ms_store *store, const char *bucket, const char *key, int64_t first,
                  int64_t last, const struct ms_store_sink *sink, struct ms_error *err) {
    struct ms_s3 *s3 = (struct ms_s3 *)store;
    struct download download = {.sink = sink, .first = first, .last = last, .next = first};
    struct ms_s3_call call = {.method = "GET",
                              .bucket = bucket,
                              .key = key,
                              .head = see_object,
                              .write = take_object,
                              .context = &download};
    char hex[MS_SHA256_HEX], what[MS_STORE_BUCKET_MAX + 520];
    int rc = ms_sha256_new(&download.digest, err);

    for (int number = 1, fruitless = 1; rc == 0; number++, fruitless++) {
        const int64_t before = download.next;

        rc = attempt_download(s3, &call, &download, err);
        if (download.known && download.next == download.last + 1)
            break; /* also where the connection broke behind the last byte */
        if (rc == 0 && !call.may_retry) {
            if (call.status == 416 && first == 0) { /* no byte of it exists: it is empty */
                rc = ms_s3_head(store, bucket, key, sink->info, err);
                break;
            }
            rc = ms_s3_status(&call, err);
            if (rc == 0)
                rc = ms_error_set(err, MS_ENET, "S3 sent less than the object has");
            break;
        }
        if (download.next > before && number < MAX_ATTEMPTS)
            fruitless = 1;
        rc = ms_s3_pause(s3, &call, fruitless, rc, err);
    }
    if (download.known && download.next == download.last + 1 && !call.ours)
        rc = 0;
    if (rc == 0 && download.first == 0 && download.last == sink->info->bytes - 1 &&
        sink->info->sha256[0] != '\0') {
        ms_sha256_hex(download.digest, hex);
        snprintf(what, sizeof what, "%s/%s", bucket, key);
        if (strcmp(hex, sink->info->sha256) != 0)
            rc = ms_store_corrupt(err, what, hex, sink->info->sha256);
    }
    ms_sha256_free(download.digest);
    return rc;
}

/* ---- the other operations ------------------------------------------------------------------------------------ */

/* Lists the buckets. Credentials that may not do that are accepted all the same. */
static int s3_ping(struct ms_store *store, struct ms_error *err) {
    struct ms_s3_call call = {.method = "GET"};
    const int rc = ms_s3_send((struct ms_s3 *)store, &call, err);

    if (rc != 0 || (call.status == 403 && strcmp(call.error, "AccessDenied") == 0))
        return rc;
    return ms_s3_status(&call, err);
}

static int s3_remove(struct ms_store *store, const char *bucket, const char *key,
                     struct ms_error *err) {
    struct ms_s3_call call = {.method = "DELETE", .bucket = bucket, .key = key};
    const int rc = ms_s3_do((struct ms_s3 *)store, &call, err);

    return rc == MS_ENOTFOUND ? 0 : rc;
}

static int s3_presign(struct ms_store *store, const char *bucket, const char *key, int seconds,
                      char **url, struct ms_error *err) {
    const struct ms_s3 *s3 = (const struct ms_s3 *)store;
    char *host = NULL, *path = NULL, *query = NULL, date[17];
    int rc = ms_s3_address(s3, bucket, key, &host, &path, err);

    if (rc != 0)
        return rc;
    ms_s3_date(date);
    rc = ms_sigv4_presign(&(struct ms_sigv4_request){.method = "GET",
                                                     .host = host,
                                                     .path = path,
                                                     .query = "",
                                                     .payload_sha256 = "UNSIGNED-PAYLOAD",
                                                     .region = s3->region,
                                                     .service = "s3",
                                                     .access_key = s3->access_key,
                                                     .secret_key = s3->secret_key,
                                                     .session_token = s3->session_token,
                                                     .amz_date = date},
                          seconds, &query, err);
    if (rc == 0) {
        *url = ms_strdupf("%s://%s%s?%s", s3->scheme, host, path, query);
        if (*url == NULL)
            rc = ms_error_set(err, MS_ENOMEM, "no memory for a URL");
    }
    free(host);
    free(path);
    free(query);
    return rc;
}

static void s3_close(struct ms_store *store) {
    struct ms_s3 *s3 = (struct ms_s3 *)store;

    ms_http_client_free(s3->http);
    free(s3->authority);
    free(s3->base_path);
    free(s3->region);
    free(s3->access_key);
    if (s3->secret_key != NULL)
        explicit_bzero(s3->secret_key, strlen(s3->secret_key));
    free(s3->secret_key);
    free(s3->session_token);
    free(s3->ca_file);
    free(s3);
}

/* ---- opening ------------------------------------------------------------------------------------------------- */

/* "http://host:port/path": the port is left out where it is the scheme's own, as in the Host header. */
static int set_endpoint(struct ms_s3 *s3, const char *endpoint, struct ms_error *err) {
    const char *host, *own_port;
    size_t size, path;

    if (strncasecmp(endpoint, "http://", 7) == 0) {
        s3->scheme = "http";
        own_port = ":80";
        host = endpoint + 7;
    } else if (strncasecmp(endpoint, "https://", 8) == 0) {
        s3->scheme = "https";
        own_port = ":443";
        host = endpoint + 8;
    } else {
        return ms_error_set(err, MS_EUSAGE,
                            "the endpoint of S3 must be an http:// or https:// URL");
    }
    size = strcspn(host, "/?#");
    path = strlen(host + size);
    while (path > 0 && host[size + path - 1] == '/')
        path--;
    if (size == 0 ||
        strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"
                     ":[]") != size ||
        strpbrk(host + size, "?#%\\ \r\n\t") != NULL)
        return ms_error_set(err, MS_EUSAGE,
                            "the endpoint of S3 must be a URL of host and port, such as "
                            "https://s3.example.org:9000, without user and query");
    s3->base_path = strndup(host + size, path);
    if (size > strlen(own_port) &&
        strncmp(host + size - strlen(own_port), own_port, strlen(own_port)) == 0)
        size -= strlen(own_port);
    s3->authority = strndup(host, size);
    return s3->base_path != NULL && s3->authority != NULL
               ? 0
               : ms_error_set(err, MS_ENOMEM, "no memory for a store");
}

static int copy(const char *text, char **out, struct ms_error *err) {
    if (text == NULL || text[0] == '\0')
        return 0;
    if (strpbrk(text, "\r\n") != NULL)
        return ms_error_set(err, MS_EUSAGE, "a setting of S3 holds a line break");
    *out = strdup(text);
    return *out != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "no memory for a store");
}

static int copy_settings(struct ms_s3 *s3, const struct ms_store_options *options,
                         struct ms_error *err) {
    const struct {
        const char *from;
        char **to;
    } settings[] = {
        {options->region != NULL && options->region[0] != '\0' ? options->region : "us-east-1",
         &s3->region},
        {options->access_key, &s3->access_key},
        {options->secret_key, &s3->secret_key},
        {options->session_token, &s3->session_token},
        {options->ca_file, &s3->ca_file},
    };

    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        const int rc = copy(settings[i].from, settings[i].to, err);

        if (rc != 0)
            return rc;
    }
    if (s3->access_key == NULL || s3->secret_key == NULL)
        return ms_error_set(err, MS_EUSAGE,
                            "S3 needs credentials: set AWS_ACCESS_KEY_ID and "
                            "AWS_SECRET_ACCESS_KEY");
    return 0;
}

int ms_store_s3_open(const struct ms_store_options *options, struct ms_store **out,
                     struct ms_error *err) {
    static const struct ms_store_ops ops = {
        .close = s3_close,
        .ping = s3_ping,
        .put = ms_s3_put,
        .head = ms_s3_head,
        .get = s3_get,
        .remove = s3_remove,
        .presign = s3_presign,
    };
    const char *prefix = options->url + strlen("s3:");
    char *amazon = NULL;
    struct ms_s3 *s3;
    struct timespec now;
    int rc;

    if (strncmp(prefix, "//", 2) != 0 || strlen(prefix) > MS_STORE_BUCKET_MAX ||
        strspn(prefix + 2, "abcdefghijklmnopqrstuvwxyz0123456789.-") != strlen(prefix + 2))
        return ms_error_set(err, MS_EUSAGE,
                            "the store's URL must be s3:// or s3://PREFIX, where PREFIX begins "
                            "the buckets' names");
    s3 = calloc(1, sizeof *s3);
    if (s3 == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a store");
    s3->store.ops = &ops;
    s3->store.cancel = options->cancel;
    snprintf(s3->store.prefix, sizeof s3->store.prefix, "%s", prefix + 2);
    s3->virtual_host = options->virtual_host;
    s3->create_buckets = options->create_buckets;
    s3->attempts = options->attempts > 0 ? options->attempts : 6;
    s3->backoff_ms = options->backoff_ms > 0 ? options->backoff_ms : 250;
    s3->stall_timeout_s = options->stall_timeout_s > 0 ? options->stall_timeout_s : 30;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    s3->random = ((uint32_t)now.tv_nsec ^ (uint32_t)getpid() << 16) | 1;
    rc = copy_settings(s3, options, err);
    if (rc != 0)
        goto out;
    if (options->endpoint == NULL || options->endpoint[0] == '\0') {
        amazon = ms_strdupf("https://s3.%s.amazonaws.com", s3->region);
        rc = amazon != NULL ? set_endpoint(s3, amazon, err)
                            : ms_error_set(err, MS_ENOMEM, "no memory for a store");
    } else {
        rc = set_endpoint(s3, options->endpoint, err);
    }
    if (rc == 0)
        rc = ms_http_client_new(&s3->http, err);
    s3->foreign_endpoint = s3->authority != NULL && strstr(s3->authority, ".amazonaws.com") == NULL;
    if (rc != 0)
        goto out;
    *out = &s3->store;
    s3 = NULL;
out:
    if (s3 != NULL)
        s3_close(&s3->store);
    free(amazon);
    return rc;
}
