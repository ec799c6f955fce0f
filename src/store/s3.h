/* What the files of the S3 backend share. s3_call.c sends one signed request, s3_get.c reads
 * objects, s3_put.c stores them, s3_list.c lists them, s3_sweep.c removes what a killed s3_put.c
 * left, s3.c does the rest. */
#ifndef MSAAS_STORE_S3_H
#define MSAAS_STORE_S3_H

#include "msaas/http_client.h"
#include "store_ops.h"

/* Bytes kept of a reply that is not an object: XML with an id, a tag or an error. */
#define MS_S3_REPLY_MAX 8192
#define MS_S3_EXTRA_HEADERS 4

struct ms_s3 {
    struct ms_store store;
    struct ms_http_client *http;
    const char *scheme; /* "http", "https" */
    char *authority;    /* host:port of the endpoint, as in the Host header */
    char *base_path;    /* what the endpoint's URL has before the bucket: "" or "/..." */
    char *region, *access_key, *secret_key;
    char *session_token, *ca_file; /* may be NULL */
    bool foreign_endpoint;         /* not AWS itself */
    bool virtual_host, create_buckets;
    int attempts, backoff_ms, stall_timeout_s;
    uint32_t random; /* of the jitter */
};

/* One request and what became of it. Zero is a good default for every field. */
struct ms_s3_call {
    const char *method;
    const char *bucket, *key; /* NULL: the service itself, the bucket itself */
    const char *query;        /* encoded, each name with its '='; NULL: none */
    /* "name: value" in lower case, signed like all others; NULL where there are fewer. */
    const char *headers[MS_S3_EXTRA_HEADERS];
    const struct ms_store_source *body; /* NULL: none */
    int64_t body_first, body_bytes;
    const char *body_sha256; /* NULL only without body */
    /* Called for a reply with status 2xx: head() before the first byte, then write() with the
     * bytes, which then do not go to `reply`. Either may be NULL. */
    int (*head)(void *context, const struct ms_http_response *response, struct ms_error *err);
    int (*write)(void *context, const void *bytes, size_t size, struct ms_error *err);
    void *context;
    bool closing; /* cleans up after a failure: few attempts, cancel is ignored */

    int status;
    char etag[80];
    char reply[MS_S3_REPLY_MAX]; /* its beginning, NUL-terminated, perhaps not printable */
    size_t reply_bytes;
    char error[48]; /* S3's name of the error: "NoSuchKey"; "" none */

    /* From here on s3_call.c's own. */
    int64_t given;     /* bytes of the body sent so far */
    bool ours;         /* head(), write() or the body failed, not the network */
    bool may_retry;    /* another attempt may bring another result */
    int retry_after_s; /* what the server asked for */
};

/* One attempt. 0: S3 answered, with whatever status. call->may_retry says whether another attempt
 * may help. */
MS_MUST_CHECK int ms_s3_attempt(struct ms_s3 *s3, struct ms_s3_call *call, struct ms_error *err);
/* How long to wait after attempt `number` (the first is 1): longer each time, with jitter, and not
 * shorter than the server asked for; 20 s at most. */
int64_t ms_s3_pause_ms(struct ms_s3 *s3, const struct ms_s3_call *call, int number);
/* Waits before the next attempt. `number` attempts were made; the last returned `rc`. 0: try again.
 * Otherwise the attempts are over and this is their error. */
MS_MUST_CHECK int ms_s3_pause(struct ms_s3 *s3, const struct ms_s3_call *call, int number, int rc,
                              struct ms_error *err);
/* Tries as often as allowed. 0: S3 answered with a status that another attempt would not change. */
MS_MUST_CHECK int ms_s3_send(struct ms_s3 *s3, struct ms_s3_call *call, struct ms_error *err);
/* ms_s3_send; every status but 2xx is an error. */
MS_MUST_CHECK int ms_s3_do(struct ms_s3 *s3, struct ms_s3_call *call, struct ms_error *err);
/* The error that a call's status stands for; 0 for 2xx. */
MS_MUST_CHECK int ms_s3_status(const struct ms_s3_call *call, struct ms_error *err);

/* Host and path of an object; of a bucket where key is NULL, of the service where bucket is NULL.
 * The caller frees both. */
MS_MUST_CHECK int ms_s3_address(const struct ms_s3 *s3, const char *bucket, const char *key,
                                char **host, char **path, struct ms_error *err);
void ms_s3_date(char date[17]); /* now: "20130524T000000Z" */
/* What a reply's write() collects: room for the largest page of a list; what does not fit comes
 * with the next page. */
#define MS_S3_PAGE_BYTES ((size_t)512 << 10)
struct ms_s3_page {
    char *xml; /* MS_S3_PAGE_BYTES */
    size_t size;
};
int ms_s3_page_take(void *context, const void *bytes, size_t size, struct ms_error *err);
/* "2013-05-24T00:00:00.000Z", as S3's XML has it, in milliseconds; 0: it is no time. */
int64_t ms_s3_time_ms(const char *text);
/* Copies the text of the first element of that name. False: there is none, or it does not fit. */
bool ms_s3_xml(const char *xml, const char *element, char *out, size_t capacity);

MS_MUST_CHECK int ms_s3_head(struct ms_store *store, const char *bucket, const char *key,
                             struct ms_object_info *info, int *fd, struct ms_error *err);
MS_MUST_CHECK int ms_s3_get(struct ms_store *store, const char *bucket, const char *key,
                            int64_t first, int64_t last, const struct ms_store_sink *sink,
                            struct ms_error *err);
MS_MUST_CHECK int ms_s3_list(struct ms_store *store, const char *bucket, const char *prefix,
                             const char *after, int max, struct ms_object_entry *entries,
                             int *count, struct ms_error *err);
MS_MUST_CHECK int ms_s3_sweep(struct ms_store *store, const char *bucket, int64_t age_s, int *count,
                              struct ms_error *err);
MS_MUST_CHECK int ms_s3_put(struct ms_store *store, const char *bucket, const char *key,
                            const struct ms_store_source *source, struct ms_object_info *info,
                            struct ms_error *err);

#endif
