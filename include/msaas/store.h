/* The store of objects: a seam. ms_store_open chooses a backend by scheme: s3://, file:PATH. One
 * contract suite (test/contract) runs against every backend.
 *
 * Objects lie in buckets ("queue", "output"; made when missing and allowed). A store serves one
 * thread at a time; calls block, with connect and stall timeouts, and retry by themselves what may
 * succeed later (connection errors, 429, 500, 502, 503, 504; backoff with jitter, Retry-After
 * obeyed). Memory does not grow with the size of objects. Nothing half-written is ever seen under a
 * key.
 *
 * Names: a bucket as S3 has it (3 to 63 of a-z 0-9 . -, prefix included). A key is 1 to 512 bytes
 * of UTF-8 without control characters and backslashes; between its slashes stand 1 to 255 bytes,
 * neither "." nor "..". Others are MS_EUSAGE.
 *
 * MS_ENET: the store was not reached in all attempts; MS_EDENIED: 401/403; MS_ENOTFOUND: no such
 * object or bucket; MS_ECORRUPT: bytes are not what was stored, or not what `sha256` said; MS_EIO:
 * the local disk; MS_ECONFLICT: replaced while it was read. */
#ifndef MSAAS_STORE_H
#define MSAAS_STORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "msaas/err.h"
#include "msaas/metrics.h"

struct ms_store;

struct ms_store_options {
    /* "file:DIR"; "s3://" (buckets as named), "s3://PREFIX" puts PREFIX before their names */
    const char *url;
    const char *endpoint; /* s3: "http://host:port"; NULL: https://s3.REGION.amazonaws.com */
    const char *region;   /* NULL: us-east-1 */
    const char *access_key, *secret_key, *session_token; /* session_token may be NULL */
    bool virtual_host;   /* bucket in the host name; else in the path */
    const char *ca_file; /* private CA; NULL: the system's */
    bool create_buckets;
    int attempts;   /* of one request, the first included; 0: 6 */
    int backoff_ms; /* before the second, doubled from then on up to 20 s; 0: 250 */
    /* A request that moves no byte for so long is broken off; uploads get at least 10 s. 0: 30. */
    int stall_timeout_s;
    const atomic_bool *cancel; /* MS_ECANCELED within a second; may be NULL */
};
MS_MUST_CHECK int ms_store_open(const struct ms_store_options *options, struct ms_store **out,
                                struct ms_error *err);
void ms_store_close(struct ms_store *store);

/* The folder that a file: URL names, in it; NULL: the store is not on a disk of this machine. */
const char *ms_store_folder(const char *url);

/* Whether the store can be reached and accepts the credentials. */
MS_MUST_CHECK int ms_store_ping(struct ms_store *store, struct ms_error *err);

struct ms_object_info {
    int64_t bytes;
    char sha256[65]; /* "" unknown */
    char etag[80];   /* quoted */
    int64_t modified_ms;
};

/* Stores a local file, what read() gives, or bytes (path and read NULL) under bucket/key, over what
 * was there. */
struct ms_object_source {
    const char *path; /* a regular file, stored whole; `size` is ignored */
    /* Gives [offset, offset + size) of the object's `size` bytes; called in order, for each block
     * twice or more. */
    int (*read)(void *context, int64_t offset, void *buffer, size_t size, struct ms_error *err);
    void *context;
    const void *bytes;
    int64_t size;
    /* Only if there is none of this key: else MS_ECONFLICT. Of many at once, one stores. Where the
     * server's answer was lost, it may be the object of this very call. */
    bool exclusive;
    const char *content_type; /* NULL: none */
    const char *sha256;       /* lower-case hex, when the caller knows it; else NULL */
};
/* *info describes the new object; may be NULL. */
MS_MUST_CHECK int ms_store_put(struct ms_store *store, const char *bucket, const char *key,
                               const struct ms_object_source *source, struct ms_object_info *info,
                               struct ms_error *err);
MS_MUST_CHECK int ms_store_head(struct ms_store *store, const char *bucket, const char *key,
                                struct ms_object_info *info, struct ms_error *err);
/* Reads the bytes [first, last]. Where last is -1 or past the end, it reads to the end. MS_EUSAGE:
 * there are no such bytes; an empty object can be read from 0. *info describes the whole object and
 * is filled before the first write(); may be NULL. write() gets the bytes in order; its error ends
 * the call and is returned. A whole object is checked against its SHA-256 where that is known:
 * MS_ECORRUPT at the end. */
MS_MUST_CHECK int ms_store_get(struct ms_store *store, const char *bucket, const char *key,
                               int64_t first, int64_t last,
                               int (*write)(void *context, const void *bytes, size_t size,
                                            struct ms_error *err),
                               void *context, struct ms_object_info *info, struct ms_error *err);
/* *fd: the object as an open file, the caller's to close; *info describes it. MS_EUNSUPPORTED: s3,
 * whose objects are no files here. */
MS_MUST_CHECK int ms_store_file(struct ms_store *store, const char *bucket, const char *key,
                                int *fd, struct ms_object_info *info, struct ms_error *err);
/* Reads a whole object into a file: under a temporary name beside it, renamed at the end.
 * MS_ETOOLARGE: over max_bytes. */
MS_MUST_CHECK int ms_store_fetch(struct ms_store *store, const char *bucket, const char *key,
                                 const char *path, int64_t max_bytes, struct ms_error *err);
/* 0 also where there is no such object. */
MS_MUST_CHECK int ms_store_remove(struct ms_store *store, const char *bucket, const char *key,
                                  struct ms_error *err);
/* Removes all objects whose keys begin with `prefix`, which is a key itself: "folder/name-" means
 * those of folder/ that are called name-... 0 also where there are none. On S3 it needs the
 * permission to list the bucket. */
MS_MUST_CHECK int ms_store_remove_all(struct ms_store *store, const char *bucket,
                                      const char *prefix, struct ms_error *err);
/* At most `max` of the objects whose keys begin with `prefix` and come behind the key `after` (""
 * from the beginning), in the order of their bytes. entries: room for max. *count 0: there are no
 * more; a page may be short without being the last. 0 also where there is no such bucket. What is
 * stored or removed meanwhile may be on a page or not; all else is. */
#define MS_STORE_KEY_BYTES 513
#define MS_STORE_PAGE_MAX 500
struct ms_object_entry {
    char key[MS_STORE_KEY_BYTES];
    int64_t bytes, modified_ms;
};
MS_MUST_CHECK int ms_store_list(struct ms_store *store, const char *bucket, const char *prefix,
                                const char *after, int max, struct ms_object_entry *entries,
                                int *count, struct ms_error *err);
/* Removes what killed writers left of objects in the bucket that they did not finish, where they
 * began at least age_s ago: parts of uploads on S3, temporary files (of all buckets) in a folder.
 * *count: how many. Looks at 10,000 at most. 0 also where there is no such bucket. */
MS_MUST_CHECK int ms_store_sweep(struct ms_store *store, const char *bucket, int64_t age_s,
                                 int *count, struct ms_error *err);
/* A URL that anyone may GET for `seconds` (at most a week); caller frees. disposition: the
 * Content-Disposition of the answer, which is signed; NULL: none. MS_EUNSUPPORTED: file:. */
MS_MUST_CHECK int ms_store_presign(struct ms_store *store, const char *bucket, const char *key,
                                   const char *disposition, int seconds, char **url,
                                   struct ms_error *err);
/* The same for a PUT of exactly `bytes` bytes, once: the request must have the headers
 * Content-Length: BYTES and If-None-Match: *, which are signed. */
MS_MUST_CHECK int ms_store_presign_put(struct ms_store *store, const char *bucket, const char *key,
                                       int64_t bytes, int seconds, char **url,
                                       struct ms_error *err);

/* Metric: calls of the store that failed; counted by whoever makes them. */
extern struct ms_metric ms_store_errors;

#endif
