/* The seam of the store: what a backend implements. msaas/store.h says what each operation means.
 * store.c checks bucket, key and range before it calls one. */
#ifndef MSAAS_STORE_OPS_H
#define MSAAS_STORE_OPS_H

#include <stddef.h>

#include "msaas/digest.h"
#include "msaas/store.h"

#define MS_STORE_BUCKET_MAX 64 /* with the final NUL */
#define MS_STORE_SWEEP_MAX 10000

/* Where the bytes of an object go. */
struct ms_store_sink {
    int (*write)(void *context, const void *bytes, size_t size, struct ms_error *err);
    void *context;
    struct ms_object_info *info; /* filled before the first write; never NULL */
};

/* What is to be stored: an open file or bytes in memory. */
struct ms_store_source {
    int fd; /* -1: bytes, or what read() gives */
    const char *bytes;
    int (*read)(void *context, int64_t offset, void *buffer, size_t size, struct ms_error *err);
    void *context;
    int64_t size;
    bool exclusive;
    const char *name;         /* of the file, for messages */
    const char *content_type; /* never NULL */
    const char *sha256;       /* NULL: unknown */
};

/* Operations of a backend. They return 0 or MS_E... and may be called again after any error.
 *
 * Blocking: each but close may wait for the network or the disk, with the timeouts and retries that
 * msaas/store.h states, and returns MS_ECANCELED within a second of store->cancel.
 * Ownership: arguments belong to the caller; a backend keeps none of them after it returns.
 * Errors that every operation may return: MS_ENET, MS_EDENIED, MS_EIO, MS_ENOMEM, MS_ECANCELED. The
 * comments below name the others. */
struct ms_store_ops {
    /* Frees the store, also a half-built one. Does not wait. */
    void (*close)(struct ms_store *store);
    /* Whether the store can be reached and takes our credentials. */
    int (*ping)(struct ms_store *store, struct ms_error *err);
    /* Stores an object; *info describes it. Atomic, also when the process is killed: the key shows
     * the old object until the call returns 0, and the new one from then on. Makes the bucket where
     * the options allow it. MS_ENOTFOUND: no bucket; MS_ECORRUPT: the bytes are not what
     * source->sha256 says; MS_ECONFLICT: source->exclusive, and there is one. */
    int (*put)(struct ms_store *store, const char *bucket, const char *key,
               const struct ms_store_source *source, struct ms_object_info *info,
               struct ms_error *err);
    /* Describes an object in *info; fd != NULL: and opens the file that it is (MS_EUNSUPPORTED:
     * objects are no local files). MS_ENOTFOUND. */
    int (*head)(struct ms_store *store, const char *bucket, const char *key,
                struct ms_object_info *info, int *fd, struct ms_error *err);
    /* Fills *sink->info, then writes the bytes [first, last] to the sink in order; first >= 0, last
     * >= first or -1 for the end. Checks the digest of a whole object. MS_ENOTFOUND; MS_EUSAGE: no
     * such bytes; MS_ECORRUPT: wrong digest; MS_ECONFLICT: the object was replaced meanwhile; and
     * what the sink returns. */
    int (*get)(struct ms_store *store, const char *bucket, const char *key, int64_t first,
               int64_t last, const struct ms_store_sink *sink, struct ms_error *err);
    /* Removes an object; 0 also where there is none. */
    int (*remove)(struct ms_store *store, const char *bucket, const char *key,
                  struct ms_error *err);
    /* As ms_store_list; *count is 0 before. */
    int (*list)(struct ms_store *store, const char *bucket, const char *prefix, const char *after,
                int max, struct ms_object_entry *entries, int *count, struct ms_error *err);
    /* As ms_store_sweep; *count is 0 before. */
    int (*sweep)(struct ms_store *store, const char *bucket, int64_t age_s, int *count,
                 struct ms_error *err);
    /* Makes *url, which the caller frees: anyone may GET the object by it for `seconds`, with this
     * Content-Disposition (NULL: none); bytes >= 0: PUT it once, with so many. Does not wait. NULL
     * where the backend has no URLs. */
    int (*presign)(struct ms_store *store, const char *bucket, const char *key,
                   const char *disposition, int64_t bytes, int seconds, char **url,
                   struct ms_error *err);
};

/* A backend's own object begins with this one. */
struct ms_store {
    const struct ms_store_ops *ops;
    const atomic_bool *cancel; /* may be NULL */
    char prefix[MS_STORE_BUCKET_MAX];
};

MS_MUST_CHECK int ms_store_fs_open(const struct ms_store_options *options, struct ms_store **out,
                                   struct ms_error *err);
MS_MUST_CHECK int ms_store_s3_open(const struct ms_store_options *options, struct ms_store **out,
                                   struct ms_error *err);

/* ---- shared by the backends ---- */

bool ms_store_canceled(const struct ms_store *store);
/* Sets *last to the last byte to read in an object of `bytes`: -1 and what lies past the end become
 * the object's last byte, which is -1 where it is empty. MS_EUSAGE: there is no byte `first`. */
MS_MUST_CHECK int ms_store_range(int64_t bytes, int64_t first, int64_t *last, struct ms_error *err);
/* Reads all of [offset, offset + size). MS_EIO: also where the file became shorter. */
MS_MUST_CHECK int ms_store_source_read(const struct ms_store_source *source, int64_t offset,
                                       void *buffer, size_t size, struct ms_error *err);
/* The digest of a part. Adds the bytes to `whole` too, which may be NULL. */
MS_MUST_CHECK int ms_store_source_sha256(const struct ms_store *store,
                                         const struct ms_store_source *source, int64_t offset,
                                         int64_t size, struct ms_sha256 *whole,
                                         char hex[MS_SHA256_HEX], struct ms_error *err);
/* MS_ECORRUPT: `what` has the digest `is` instead of `should`. */
int ms_store_corrupt(struct ms_error *err, const char *what, const char *is, const char *should);

#endif
