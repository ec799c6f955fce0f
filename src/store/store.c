/* The door to the store: songs lie here before a worker takes them, stems afterwards. Checks names
 * and ranges, then calls the backend that the URL's scheme names. Runs on the caller's thread. */
#include "store_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "msaas/sys.h"
#include "msaas/text.h"

struct ms_metric ms_store_errors = {
    .name = "msaas_store_errors_total",
    .help = "Failed calls to the store.",
    .kind = MS_METRIC_COUNTER,
};

#define KEY_MAX_BYTES 512
#define PART_MAX_BYTES 255 /* between slashes: the limit of file systems */
#define WEEK_S 604800
#define REMOVE_PAGE 100

/* ---- names ---- */

static bool key_is_good(const char *key) {
    const size_t size = strnlen(key, KEY_MAX_BYTES + 1);
    if (size == 0 || size > KEY_MAX_BYTES)
        return false;
    for (size_t i = 0, bytes = 0; i < size; i += bytes) {
        uint32_t code;
        bytes = ms_utf8_read(key + i, size - i, &code);
        if (bytes == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0) || code == '\\')
            return false;
    }
    size_t part = 0;
    for (const char *at = key;; at += part + 1) {
        part = strcspn(at, "/");
        if (part == 0 || part > PART_MAX_BYTES || (part == 1 && at[0] == '.') ||
            (part == 2 && at[0] == '.' && at[1] == '.'))
            return false;
        if (at[part] == '\0')
            return true;
    }
}

/* A key, and a slash. */
static bool is_folder(const char *prefix) {
    char key[KEY_MAX_BYTES + 1];
    const size_t size = strlen(prefix);
    if (size == 0 || size > KEY_MAX_BYTES || prefix[size - 1] != '/')
        return false;
    memcpy(key, prefix, size - 1);
    key[size - 1] = '\0';
    return key_is_good(key);
}

static bool bucket_is_good(const char *bucket) {
    static const char ends[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    const size_t size = strlen(bucket);
    return size >= 3 && size < MS_STORE_BUCKET_MAX && strspn(bucket, ends) > 0 &&
           strchr(ends, bucket[size - 1]) != NULL &&
           strspn(bucket, "abcdefghijklmnopqrstuvwxyz0123456789.-") == size &&
           strstr(bucket, "..") == NULL;
}

/* The bucket as the backend knows it, prefix included. */
static int check_names(const struct ms_store *store, const char *bucket, const char *key,
                       char full[MS_STORE_BUCKET_MAX], struct ms_error *err) {
    const int size = snprintf(full, MS_STORE_BUCKET_MAX, "%s%s", store->prefix, bucket);
    if (size >= MS_STORE_BUCKET_MAX || !bucket_is_good(full))
        return ms_error_set(err, MS_EUSAGE,
                            "\"%.80s\" cannot be a bucket: 3 to 63 of a-z, 0-9, '.' and '-'", full);
    if (!key_is_good(key))
        return ms_error_set(
            err, MS_EUSAGE,
            "a key in bucket %s is malformed: 1 to 512 bytes of UTF-8, without "
            "control characters, backslashes, or parts that are empty, \".\" or \"..\"",
            full);
    return 0;
}

/* ---- the contract ---- */

int ms_store_open(const struct ms_store_options *options, struct ms_store **out,
                  struct ms_error *err) {
    *out = NULL;
    if (ms_store_folder(options->url) != NULL)
        return ms_store_fs_open(options, out, err);
    if (strncmp(options->url, "s3:", 3) == 0)
        return ms_store_s3_open(options, out, err);
    return ms_error_set(err, MS_EUSAGE, "the store's URL must be s3:// or file:DIR");
}

void ms_store_close(struct ms_store *store) {
    if (store != NULL)
        store->ops->close(store);
}

int ms_store_ping(struct ms_store *store, struct ms_error *err) {
    return store->ops->ping(store, err);
}

static int open_source(const struct ms_object_source *given, struct ms_store_source *source,
                       struct ms_error *err) {
    *source = (struct ms_store_source){
        .fd = -1,
        .bytes = given->bytes,
        .read = given->path == NULL ? given->read : NULL,
        .context = given->context,
        .size = given->size,
        .exclusive = given->exclusive,
        .name = given->path != NULL ? given->path : "bytes",
        .content_type = given->content_type != NULL ? given->content_type : "",
        .sha256 = given->sha256,
    };
    if (strpbrk(source->content_type, "\r\n") != NULL)
        return ms_error_set(err, MS_EUSAGE, "an object's content type holds a line break");
    if (given->sha256 != NULL && strlen(given->sha256) != MS_SHA256_HEX - 1)
        return ms_error_set(err, MS_EUSAGE, "an object's SHA-256 does not have %d digits",
                            MS_SHA256_HEX - 1);
    if (given->path == NULL)
        return given->size >= 0
                   ? 0
                   : ms_error_set(err, MS_EUSAGE, "an object cannot have a negative size");
    source->fd = open(given->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (source->fd < 0)
        return ms_error_about(err, errno == ENOENT ? MS_ENOTFOUND : MS_EIO, given->path, "%s",
                              strerror(errno));
    struct stat status;
    if (fstat(source->fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        (void)close(source->fd);
        source->fd = -1;
        return ms_error_about(err, MS_EUSAGE, given->path, "not a regular file");
    }
    source->size = status.st_size;
    return 0;
}

int ms_store_put(struct ms_store *store, const char *bucket, const char *key,
                 const struct ms_object_source *given, struct ms_object_info *info,
                 struct ms_error *err) {
    char full[MS_STORE_BUCKET_MAX];
    int rc = check_names(store, bucket, key, full, err);
    if (rc != 0)
        return rc;
    struct ms_store_source source;
    rc = open_source(given, &source, err);
    if (rc != 0)
        return rc;
    struct ms_object_info unused;
    rc = store->ops->put(store, full, key, &source, info != NULL ? info : &unused, err);
    if (source.fd >= 0)
        (void)close(source.fd);
    return rc;
}

int ms_store_head(struct ms_store *store, const char *bucket, const char *key,
                  struct ms_object_info *info, struct ms_error *err) {
    char full[MS_STORE_BUCKET_MAX];
    const int rc = check_names(store, bucket, key, full, err);
    return rc != 0 ? rc : store->ops->head(store, full, key, info, NULL, err);
}

int ms_store_get(struct ms_store *store, const char *bucket, const char *key, int64_t first,
                 int64_t last,
                 int (*write)(void *context, const void *bytes, size_t size, struct ms_error *err),
                 void *context, struct ms_object_info *info, struct ms_error *err) {
    struct ms_object_info unused;
    const struct ms_store_sink sink = {write, context, info != NULL ? info : &unused};
    char full[MS_STORE_BUCKET_MAX];
    const int rc = check_names(store, bucket, key, full, err);
    if (rc != 0)
        return rc;
    if (first < 0 || last < -1 || (last >= 0 && last < first))
        return ms_error_set(err, MS_EUSAGE, "bytes %lld to %lld are not a range", (long long)first,
                            (long long)last);
    return store->ops->get(store, full, key, first, last, &sink, err);
}

int ms_store_file(struct ms_store *store, const char *bucket, const char *key, int *fd,
                  struct ms_object_info *info, struct ms_error *err) {
    char full[MS_STORE_BUCKET_MAX];
    const int rc = check_names(store, bucket, key, full, err);
    *fd = -1;
    return rc != 0 ? rc : store->ops->head(store, full, key, info, fd, err);
}

int ms_store_remove(struct ms_store *store, const char *bucket, const char *key,
                    struct ms_error *err) {
    char full[MS_STORE_BUCKET_MAX];
    const int rc = check_names(store, bucket, key, full, err);
    return rc != 0 ? rc : store->ops->remove(store, full, key, err);
}

int ms_store_list(struct ms_store *store, const char *bucket, const char *prefix, const char *after,
                  int max, struct ms_object_entry *entries, int *count, struct ms_error *err) {
    char full[MS_STORE_BUCKET_MAX];
    *count = 0;
    const int rc = check_names(store, bucket, "any", full, err);
    if (rc != 0)
        return rc;
    if ((prefix[0] != '\0' && !key_is_good(prefix) && !is_folder(prefix)) ||
        (after[0] != '\0' && !key_is_good(after)) || max < 1 || max > MS_STORE_PAGE_MAX)
        return ms_error_set(err, MS_EUSAGE, "objects of bucket %s cannot be listed like this",
                            full);
    return store->ops->list(store, full, prefix, after, max, entries, count, err);
}

int ms_store_remove_all(struct ms_store *store, const char *bucket, const char *prefix,
                        struct ms_error *err) {
    char full[MS_STORE_BUCKET_MAX];
    int rc = check_names(store, bucket, prefix, full, err);
    if (rc != 0)
        return rc;
    struct ms_object_entry *page = calloc(REMOVE_PAGE, sizeof *page);
    if (page == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory to remove objects");
    char after[MS_STORE_KEY_BYTES] = "";
    for (int count = 1; rc == 0 && count > 0;) {
        rc = ms_store_list(store, bucket, prefix, after, REMOVE_PAGE, page, &count, err);
        for (int i = 0; rc == 0 && i < count; i++) {
            memcpy(after, page[i].key, sizeof after);
            rc = store->ops->remove(store, full, after, err);
        }
    }
    free(page);
    return rc;
}

int ms_store_sweep(struct ms_store *store, const char *bucket, int64_t age_s, int *count,
                   struct ms_error *err) {
    char full[MS_STORE_BUCKET_MAX];
    *count = 0;
    const int rc = check_names(store, bucket, "any", full, err);
    return rc != 0 ? rc : store->ops->sweep(store, full, age_s, count, err);
}

static int presign(struct ms_store *store, const char *bucket, const char *key,
                   const char *disposition, int64_t bytes, int seconds, char **url,
                   struct ms_error *err) {
    char full[MS_STORE_BUCKET_MAX];
    const int rc = check_names(store, bucket, key, full, err);
    *url = NULL;
    if (rc != 0)
        return rc;
    if (store->ops->presign == NULL)
        return ms_error_set(err, MS_EUNSUPPORTED, "presigned URLs need a store on S3");
    if (seconds < 1 || seconds > WEEK_S)
        return ms_error_set(err, MS_EUSAGE, "a URL can be valid for 1 to %d seconds, not %d",
                            WEEK_S, seconds);
    return store->ops->presign(store, full, key, disposition, bytes, seconds, url, err);
}

int ms_store_presign(struct ms_store *store, const char *bucket, const char *key,
                     const char *disposition, int seconds, char **url, struct ms_error *err) {
    return presign(store, bucket, key, disposition, -1, seconds, url, err);
}

int ms_store_presign_put(struct ms_store *store, const char *bucket, const char *key, int64_t bytes,
                         int seconds, char **url, struct ms_error *err) {
    return presign(store, bucket, key, NULL, bytes, seconds, url, err);
}

/* ---- into a file ---- */

struct file_sink {
    int fd;
    const char *path;
    int64_t left;
};

static int write_file(void *context, const void *bytes, size_t size, struct ms_error *err) {
    struct file_sink *sink = context;
    if ((int64_t)size > sink->left)
        return ms_error_about(err, MS_ETOOLARGE, sink->path, "the object is larger than allowed");
    sink->left -= (int64_t)size;
    for (size_t done = 0; done < size;) {
        const ssize_t some = write(sink->fd, (const char *)bytes + done, size - done);
        if (some < 0 && errno == EINTR)
            continue;
        if (some < 0)
            return ms_error_about(err, MS_EIO, sink->path, "%s", strerror(errno));
        done += (size_t)some;
    }
    return 0;
}

int ms_store_fetch(struct ms_store *store, const char *bucket, const char *key, const char *path,
                   int64_t max_bytes, struct ms_error *err) {
    struct file_sink sink = {.fd = -1, .path = path, .left = max_bytes};
    char *temporary = ms_strdupf("%s.XXXXXX", path);
    if (temporary == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory to fetch an object");
    sink.fd = mkostemp(temporary, O_CLOEXEC);
    int rc;
    if (sink.fd < 0) {
        rc = ms_error_about(err, MS_EIO, temporary, "%s", strerror(errno));
        goto out;
    }
    rc = ms_store_get(store, bucket, key, 0, -1, write_file, &sink, NULL, err);
    if (close(sink.fd) != 0 && rc == 0)
        rc = ms_error_about(err, MS_EIO, temporary, "%s", strerror(errno));
    if (rc == 0 && rename(temporary, path) != 0)
        rc = ms_error_about(err, MS_EIO, path, "%s", strerror(errno));
    if (rc != 0)
        (void)unlink(temporary);
out:
    free(temporary);
    return rc;
}
