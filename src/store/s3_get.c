/* Objects of S3, read and described. A download continues where an attempt broke off. The digest of
 * an object is kept with it, as x-amz-meta-sha256. Owns nothing; runs on the caller's thread. */
#include "s3.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DIGEST_HEADER "x-amz-meta-sha256"
#define MAX_ATTEMPTS 100 /* of a download that makes some progress each time */

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
    // NOLINTNEXTLINE(cert-err34-c): what is too large makes a wrong date, of no harm
    if (text == NULL || sscanf(text, "%*3s, %2d %3s %4d %2d:%2d:%2d", &utc.tm_mday, month,
                               &utc.tm_year, &utc.tm_hour, &utc.tm_min, &utc.tm_sec) != 6)
        return 0;
    const char *found = strstr(months, month);
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
               : ms_error_set(err, MS_ENET, "S3's answer does not give the object's length");
}

int ms_s3_head(struct ms_store *store, const char *bucket, const char *key,
               // NOLINTNEXTLINE(readability-non-const-parameter): as in struct ms_store_ops
               struct ms_object_info *info, int *fd, struct ms_error *err) {
    if (fd != NULL)
        return ms_error_set(err, MS_EUNSUPPORTED, "the objects of S3 are no local files");
    struct ms_s3_call call = {
        .method = "HEAD", .bucket = bucket, .key = key, .head = see_info, .context = info};
    return ms_s3_do((struct ms_s3 *)store, &call, err);
}

/* A download over several attempts: each continues where the last broke off. */
struct download {
    const struct ms_store_sink *sink;
    int64_t first, last; /* as asked for; known to lie in the object once `known` */
    int64_t next;        /* the next byte that is wanted */
    bool known;          /* sink->info is filled */
    struct ms_sha256 *digest;
};

static int see_object(void *context, const struct ms_http_response *response,
                      struct ms_error *err) {
    struct download *download = context;
    const char *range = ms_http_response_header(response, "Content-Range");
    if (response->status == 206 && (range == NULL || strncmp(range, "bytes ", 6) != 0))
        return ms_error_set(err, MS_ENET, "S3 sent a part of an object without saying which");
    int64_t begin = 0;
    if (response->status == 206)
        begin = number_or(range + 6, -1);
    if (begin != download->next)
        return ms_error_set(err, MS_EUNSUPPORTED,
                            "the server sent another part of the object than was asked for");
    if (download->known)
        return 0;
    int rc = see_info(download->sink->info, response, err);
    if (rc == 0)
        rc = ms_store_range(download->sink->info->bytes, download->first, &download->last, err);
    download->known = rc == 0;
    return rc;
}

static int take_object(void *context, const void *bytes, size_t size, struct ms_error *err) {
    struct download *download = context;
    if ((int64_t)size > download->last - download->next + 1)
        return ms_error_set(err, MS_EUNSUPPORTED, "the server sent more bytes than were asked for");
    const int rc = download->sink->write(download->sink->context, bytes, size, err);
    if (rc != 0)
        return rc;
    ms_sha256_update(download->digest, bytes, size);
    download->next += (int64_t)size;
    return 0;
}

static int attempt_download(struct ms_s3 *s3, struct ms_s3_call *call, struct download *download,
                            struct ms_error *err) {
    memset(call->headers, 0, sizeof call->headers);
    char range[80];
    if (download->next > 0 || download->last >= 0) {
        if (download->last >= 0)
            snprintf(range, sizeof range, "range: bytes=%lld-%lld", (long long)download->next,
                     (long long)download->last);
        else
            snprintf(range, sizeof range, "range: bytes=%lld-", (long long)download->next);
        call->headers[0] = range;
    }
    char match[100];
    if (download->known && download->sink->info->etag[0] != '\0') {
        snprintf(match, sizeof match, "if-match: %s", download->sink->info->etag);
        call->headers[1] = match;
    }
    return ms_s3_attempt(s3, call, err);
}

int ms_s3_get(struct ms_store *store, const char *bucket, const char *key, int64_t first,
              int64_t last, const struct ms_store_sink *sink, struct ms_error *err) {
    struct ms_s3 *s3 = (struct ms_s3 *)store;
    struct download download = {.sink = sink, .first = first, .last = last, .next = first};
    struct ms_s3_call call = {.method = "GET",
                              .bucket = bucket,
                              .key = key,
                              .head = see_object,
                              .write = take_object,
                              .context = &download};
    int rc = ms_sha256_new(&download.digest, err);
    for (int number = 1, fruitless = 1; rc == 0; number++, fruitless++) {
        const int64_t before = download.next;
        rc = attempt_download(s3, &call, &download, err);
        if (download.known && download.next == download.last + 1)
            break; /* also where the connection broke after the last byte */
        if (rc == 0 && !call.may_retry) {
            if (call.status == 416 && first == 0) { /* the object is empty */
                rc = ms_s3_head(store, bucket, key, sink->info, NULL, err);
                break;
            }
            rc = ms_s3_status(&call, err);
            if (rc == 0)
                rc = ms_error_set(err, MS_ENET, "S3 sent fewer bytes than the object has");
            break;
        }
        if (download.next > before && number < MAX_ATTEMPTS)
            fruitless = 1;
        rc = ms_s3_pause(s3, &call, fruitless, rc, err);
    }
    if (download.known && download.next == download.last + 1 && !call.ours)
        rc = 0;
    char hex[MS_SHA256_HEX], what[MS_STORE_BUCKET_MAX + 520];
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
