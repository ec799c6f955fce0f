/* The seam: what a backend of the store implements. store.c checks bucket, key and range first (see
 * the contract in msaas/store.h, which also says what each operation means), so that a backend only
 * gets good ones. */
#ifndef MSAAS_STORE_OPS_H
#define MSAAS_STORE_OPS_H

#include <stddef.h>

#include "msaas/digest.h"
#include "msaas/store.h"

#define MS_STORE_BUCKET_MAX 64 /* with the final NUL */

/* Where the bytes of an object go to. */
struct ms_store_sink {
    int (*write)(void *context, const void *bytes, size_t size, struct ms_error *err);
    void *context;
    struct ms_object_info *info; /* filled before the first write; never NULL */
};

/* What is to be stored: a file or bytes in memory, open for reading from anywhere. */
struct ms_store_source {
    int fd; /* -1: bytes */
    const char *bytes;
    int64_t size;
    const char *name;         /* of the file, for messages */
    const char *content_type; /* never NULL */
    const char *sha256;       /* NULL: unknown */
};

/* All block and return 0 or MS_E...; all but close obey store->cancel. */
struct ms_store_ops {
    /* Frees the backend's object, which may be half-built. */
    void (*close)(struct ms_store *store);
    int (*ping)(struct ms_store *store, struct ms_error *err);
    /* Atomic: until it returned 0 the key shows what it showed before, from then on the new object
     * (also after a crash). The source belongs to the caller. Makes the bucket when it may. */
    int (*put)(struct ms_store *store, const char *bucket, const char *key,
               const struct ms_store_source *source, struct ms_object_info *info,
               struct ms_error *err);
    int (*head)(struct ms_store *store, const char *bucket, const char *key,
                struct ms_object_info *info, struct ms_error *err);
    /* 0 <= first; last is -1 or >= first. Checks the digest of whole objects. */
    int (*get)(struct ms_store *store, const char *bucket, const char *key, int64_t first,
               int64_t last, const struct ms_store_sink *sink, struct ms_error *err);
    int (*remove)(struct ms_store *store, const char *bucket, const char *key,
                  struct ms_error *err);
    /* NULL: MS_EUNSUPPORTED. */
    int (*presign)(struct ms_store *store, const char *bucket, const char *key, int seconds,
                   char **url, struct ms_error *err);
};

/* A backend's own object begins with this one. */
struct ms_store {
    const struct ms_store_ops *ops;
    const atomic_bool *cancel; /* may be NULL */
    char prefix[MS_STORE_BUCKET_MAX];
};

int ms_store_fs_open(const struct ms_store_options *options, struct ms_store **out,
                     struct ms_error *err);
int ms_store_s3_open(const struct ms_store_options *options, struct ms_store **out,
                     struct ms_error *err);

/* ---- shared by the backends ---- */

bool ms_store_canceled(const struct ms_store *store);
/* Sets the last byte that [first, *last] means in an object of `bytes`; MS_EUSAGE where there are
 * none. That of nothing is -1. */
int ms_store_range(int64_t bytes, int64_t first, int64_t *last, struct ms_error *err);
/* All of [offset, offset + size): a file that became shorter is MS_EIO. */
int ms_store_source_read(const struct ms_store_source *source, int64_t offset, void *buffer,
                         size_t size, struct ms_error *err);
/* The digest of a part; the bytes also go into `whole`, where it isn't NULL. */
int ms_store_source_sha256(const struct ms_store *store, const struct ms_store_source *source,
                           int64_t offset, int64_t size, struct ms_sha256 *whole,
                           char hex[MS_SHA256_HEX], struct ms_error *err);
int ms_store_corrupt(struct ms_error *err, const char *what, const char *is, const char *should);

#endif
