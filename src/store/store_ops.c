/* See store_ops.h: what backends share, and ms_store_folder. Owns nothing; any thread. */
#include "store_ops.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_BYTES (1 << 16)

const char *ms_store_folder(const char *url) {
    if (strncmp(url, "file:", 5) != 0)
        return NULL;
    return strncmp(url + 5, "///", 3) == 0 ? url + 7 : url + 5; /* file:///DIR */
}

bool ms_store_canceled(const struct ms_store *store) {
    return store->cancel != NULL && atomic_load(store->cancel);
}

int ms_store_range(int64_t bytes, int64_t first, int64_t *last, struct ms_error *err) {
    if (*last < 0 || *last >= bytes)
        *last = bytes - 1;
    if (first > *last && first > 0)
        return ms_error_set(err, MS_EUSAGE,
                            "byte %lld was asked for, but the object has %lld bytes",
                            (long long)first, (long long)bytes);
    return 0;
}

int ms_store_corrupt(struct ms_error *err, const char *what, const char *is, const char *should) {
    return ms_error_about(err, MS_ECORRUPT, what, "is damaged: its SHA-256 is %s, it should be %s",
                          is, should);
}

int ms_store_source_read(const struct ms_store_source *source, int64_t offset, void *buffer,
                         size_t size, struct ms_error *err) {
    if (source->read != NULL)
        return source->read(source->context, offset, buffer, size, err);
    if (source->fd < 0) {
        memcpy(buffer, source->bytes + offset, size);
        return 0;
    }
    for (size_t done = 0; done < size;) {
        const ssize_t some =
            pread(source->fd, (char *)buffer + done, size - done, offset + (off_t)done);
        if (some < 0 && errno == EINTR)
            continue;
        if (some <= 0)
            return ms_error_about(err, MS_EIO, source->name, "%s",
                                  some == 0 ? "the file became shorter while it was stored"
                                            : strerror(errno));
        done += (size_t)some;
    }
    return 0;
}

int ms_store_source_sha256(const struct ms_store *store, const struct ms_store_source *source,
                           int64_t offset, int64_t size, struct ms_sha256 *whole,
                           char hex[MS_SHA256_HEX], struct ms_error *err) {
    struct ms_sha256 *digest = NULL;
    char block[BLOCK_BYTES];
    int rc = ms_sha256_new(&digest, err);
    for (int64_t done = 0; rc == 0 && done < size;) {
        const size_t some =
            size - done < (int64_t)sizeof block ? (size_t)(size - done) : sizeof block;
        if (ms_store_canceled(store))
            rc = ms_error_set(err, MS_ECANCELED, "canceled");
        else
            rc = ms_store_source_read(source, offset + done, block, some, err);
        if (rc != 0)
            break;
        ms_sha256_update(digest, block, some);
        if (whole != NULL)
            ms_sha256_update(whole, block, some);
        done += (int64_t)some;
    }
    if (rc == 0)
        ms_sha256_hex(digest, hex);
    ms_sha256_free(digest);
    return rc;
}
