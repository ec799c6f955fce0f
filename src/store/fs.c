/* The store in a folder: DIR/BUCKET/KEY are the objects, plain files that any program can read.
 * SHA-256 and content type are attributes of the file itself (user.msaas.sha256, user.mime_type),
 * so that one rename replaces them with the bytes. A file system without attributes keeps neither;
 * objects read from it are not checked.
 *
 * Owns DIR/.tmp, where objects grow before they get their names. Several processes may use one DIR.
 * Runs on the caller's thread. Every folder of a path is opened by itself and must not be a
 * symbolic link, so that no key leads out of DIR. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "fs.h"
#include "msaas/sys.h"

#define BLOCK_BYTES (1 << 17)
#define TEMPORARY ".tmp"
#define TEMPORARY_MAX 33 /* of a name in it */
#define PLACE_ATTEMPTS 10
#define SHA256_ATTRIBUTE "user.msaas.sha256"
#define TYPE_ATTRIBUTE "user.mime_type"

struct fs {
    struct ms_store store;
    int root, temporary; /* descriptors of DIR and DIR/.tmp */
    bool create_buckets;
    char *path; /* DIR */
};

static int disk_error(const struct fs *fs, const char *bucket, const char *key,
                      struct ms_error *err) {
    return ms_error_set(err, MS_EIO, "%s/%s/%s: %s", fs->path, bucket, key, strerror(errno));
}

static int not_found(const char *bucket, const char *key, struct ms_error *err) {
    return ms_error_set(err, MS_ENOTFOUND, "there is no object %s/%s", bucket, key);
}

/* ---- the way to an object ---- */

/* Opens the folder that holds the object; *name is the object's name in it. On failure -1 and
 * errno. */
static int open_folder(const struct fs *fs, const char *bucket, const char *key, bool create,
                       const char **name) {
    char part[256]; /* store.c has checked the length */
    const char *rest = key;
    int folder = fs->root;
    size_t size = strlen(bucket);
    memcpy(part, bucket, size + 1);
    for (bool is_bucket = true;; is_bucket = false) {
        if (create && (!is_bucket || fs->create_buckets) && mkdirat(folder, part, 0750) == 0)
            (void)fsync(folder);
        const int next = openat(folder, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (folder != fs->root) {
            const int error = errno;
            (void)close(folder);
            errno = error;
        }
        folder = next;
        size = strcspn(rest, "/");
        if (folder < 0 || rest[size] == '\0')
            break;
        memcpy(part, rest, size);
        part[size] = '\0';
        rest += size + 1;
    }
    *name = rest;
    return folder;
}

static void describe(int fd, const struct stat *status, struct ms_object_info *info) {
    *info = (struct ms_object_info){
        .bytes = status->st_size,
        .modified_ms = (int64_t)status->st_mtim.tv_sec * 1000 + status->st_mtim.tv_nsec / 1000000,
    };
    const ssize_t size = fgetxattr(fd, SHA256_ATTRIBUTE, info->sha256, MS_SHA256_HEX - 1);
    info->sha256[size == MS_SHA256_HEX - 1 ? size : 0] = '\0';
    if (strspn(info->sha256, "0123456789abcdef") != MS_SHA256_HEX - 1)
        info->sha256[0] = '\0'; /* not written by this program */
    if (info->sha256[0] != '\0')
        snprintf(info->etag, sizeof info->etag, "\"%.32s\"", info->sha256);
    else
        snprintf(info->etag, sizeof info->etag, "\"%jx-%" PRIx64 "-%" PRIx64 "\"",
                 (uintmax_t)status->st_ino, info->bytes,
                 (int64_t)status->st_mtim.tv_sec * 1000000000 + status->st_mtim.tv_nsec);
}

static int open_object(const struct fs *fs, const char *bucket, const char *key, int *fd,
                       struct ms_object_info *info, struct ms_error *err) {
    const char *name;
    const int folder = open_folder(fs, bucket, key, false, &name);
    *fd = -1;
    if (folder < 0)
        return errno == ENOENT || errno == ENOTDIR ? not_found(bucket, key, err)
                                                   : disk_error(fs, bucket, key, err);
    *fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (*fd < 0) {
        const int error = errno;
        (void)close(folder);
        errno = error;
        return error == ENOENT ? not_found(bucket, key, err) : disk_error(fs, bucket, key, err);
    }
    (void)close(folder);
    struct stat status;
    if (fstat(*fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        (void)close(*fd);
        *fd = -1;
        return not_found(bucket, key, err); /* a folder is not an object */
    }
    describe(*fd, &status, info);
    return 0;
}

/* ---- writing ---- */

/* Returns the descriptor, or MS_E... */
static int open_temporary(const struct fs *fs, char name[TEMPORARY_MAX], struct ms_error *err) {
    const int rc = ms_random_hex(name, TEMPORARY_MAX - 1, err);
    if (rc != 0)
        return rc;
    const int fd = openat(fs->temporary, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd < 0)
        return ms_error_set(err, MS_EIO, "%s/" TEMPORARY ": %s", fs->path, strerror(errno));
    return fd;
}

static int copy(const struct fs *fs, const struct ms_store_source *source, int fd,
                char hex[MS_SHA256_HEX], struct ms_error *err) {
    char *block = malloc(BLOCK_BYTES);
    if (block == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory to store an object");
    struct ms_sha256 *digest = NULL;
    int rc = ms_sha256_new(&digest, err);
    for (int64_t done = 0; rc == 0 && done < source->size;) {
        const size_t size =
            source->size - done < BLOCK_BYTES ? (size_t)(source->size - done) : BLOCK_BYTES;
        if (ms_store_canceled(&fs->store))
            rc = ms_error_set(err, MS_ECANCELED, "canceled");
        else
            rc = ms_store_source_read(source, done, block, size, err);
        if (rc != 0)
            break;
        ms_sha256_update(digest, block, size);
        for (size_t written = 0; rc == 0 && written < size;) {
            const ssize_t some = write(fd, block + written, size - written);
            if (some >= 0)
                written += (size_t)some;
            else if (errno != EINTR)
                rc = ms_error_about(err, MS_EIO, fs->path, "%s", strerror(errno));
        }
        done += (int64_t)size;
    }
    if (rc == 0)
        ms_sha256_hex(digest, hex);
    if (rc == 0 && source->sha256 != NULL && strcmp(hex, source->sha256) != 0)
        rc = ms_store_corrupt(err, source->name, hex, source->sha256);
    ms_sha256_free(digest);
    free(block);
    return rc;
}

/* Gives a temporary file its name. Where that must be new, it is made by link(), which replaces
 * nothing. False: errno says why. */
static bool name_it(const struct fs *fs, char temporary[TEMPORARY_MAX], int folder,
                    const char *name, bool exclusive) {
    if (exclusive)
        return linkat(fs->temporary, temporary, folder, name, 0) == 0;
    if (renameat(fs->temporary, temporary, folder, name) != 0)
        return false;
    temporary[0] = '\0';
    return true;
}

/* Opens the folder of a new object and gives the temporary file its name in it. Somebody may remove
 * the folder meanwhile, because it was empty. */
static int place(const struct fs *fs, const char *bucket, const char *key,
                 char temporary[TEMPORARY_MAX], bool exclusive, struct ms_error *err) {
    for (int attempt = 1;; attempt++) {
        const char *name;
        const int folder = open_folder(fs, bucket, key, true, &name);
        if (folder < 0 && errno == ENOENT && attempt >= PLACE_ATTEMPTS)
            return ms_error_set(err, MS_ENOTFOUND, "there is no bucket %s", bucket);
        const bool placed =
            folder >= 0 && name_it(fs, temporary, folder, name, exclusive) && fsync(folder) == 0;
        const int error = errno;
        if (folder >= 0)
            (void)close(folder);
        errno = error;
        if (placed)
            return 0;
        if (error == EEXIST && exclusive)
            return ms_error_set(err, MS_ECONFLICT, "there is an object %s/%s already", bucket, key);
        if (error != ENOENT || attempt >= PLACE_ATTEMPTS)
            return disk_error(fs, bucket, key, err);
    }
}

/* False: the disk failed. True also where the file system has no attributes. */
static bool set_attribute(int fd, const char *name, const char *value) {
    return value[0] == '\0' || fsetxattr(fd, name, value, strlen(value), 0) == 0 ||
           errno == ENOTSUP || errno == EPERM;
}

static int fs_put(struct ms_store *store, const char *bucket, const char *key,
                  const struct ms_store_source *source, struct ms_object_info *info,
                  struct ms_error *err) {
    struct fs *fs = (struct fs *)store;
    char temporary[TEMPORARY_MAX];
    const int fd = open_temporary(fs, temporary, err);
    if (fd < 0)
        return fd;
    char hex[MS_SHA256_HEX];
    int rc = copy(fs, source, fd, hex, err);
    struct stat status;
    if (rc == 0 && (!set_attribute(fd, SHA256_ATTRIBUTE, hex) ||
                    !set_attribute(fd, TYPE_ATTRIBUTE, source->content_type) || fsync(fd) != 0 ||
                    fstat(fd, &status) != 0))
        rc = disk_error(fs, bucket, key, err);
    if (rc == 0)
        rc = place(fs, bucket, key, temporary, source->exclusive, err);
    if (rc == 0)
        describe(fd, &status, info);
    if (temporary[0] != '\0')
        (void)unlinkat(fs->temporary, temporary, 0);
    (void)close(fd);
    return rc;
}

/* ---- the other operations ---- */

static int fs_head(struct ms_store *store, const char *bucket, const char *key,
                   struct ms_object_info *info, int *fd, struct ms_error *err) {
    int opened;
    const int rc = open_object((struct fs *)store, bucket, key, &opened, info, err);
    if (fd != NULL)
        *fd = opened;
    else if (rc == 0)
        (void)close(opened);
    return rc;
}

static int fs_get(struct ms_store *store, const char *bucket, const char *key, int64_t first,
                  int64_t last, const struct ms_store_sink *sink, struct ms_error *err) {
    struct fs *fs = (struct fs *)store;
    char *block = NULL;
    int fd;
    int rc = open_object(fs, bucket, key, &fd, sink->info, err);
    if (rc != 0)
        return rc;
    rc = ms_store_range(sink->info->bytes, first, &last, err);
    struct ms_sha256 *digest = NULL;
    if (rc == 0)
        rc = ms_sha256_new(&digest, err);
    if (rc != 0)
        goto out;
    block = malloc(BLOCK_BYTES);
    if (block == NULL) {
        rc = ms_error_set(err, MS_ENOMEM, "no memory to read an object");
        goto out;
    }
    char what[MS_STORE_BUCKET_MAX + 520];
    snprintf(what, sizeof what, "%s/%s", bucket, key);
    for (int64_t at = first; at <= last;) {
        const int64_t left = last - at + 1;
        const ssize_t some = pread(fd, block, left < BLOCK_BYTES ? (size_t)left : BLOCK_BYTES, at);
        if (ms_store_canceled(store))
            rc = ms_error_set(err, MS_ECANCELED, "canceled");
        else if (some < 0 && errno == EINTR)
            continue;
        else if (some < 0)
            rc = disk_error(fs, bucket, key, err);
        else if (some == 0)
            rc = ms_error_set(err, MS_ECORRUPT, "%s became shorter while it was read", what);
        else
            rc = sink->write(sink->context, block, (size_t)some, err);
        if (rc != 0)
            goto out;
        ms_sha256_update(digest, block, (size_t)some);
        at += some;
    }
    char hex[MS_SHA256_HEX];
    if (first == 0 && last == sink->info->bytes - 1 && sink->info->sha256[0] != '\0') {
        ms_sha256_hex(digest, hex);
        if (strcmp(hex, sink->info->sha256) != 0)
            rc = ms_store_corrupt(err, what, hex, sink->info->sha256);
    }
out:
    ms_sha256_free(digest);
    free(block);
    (void)close(fd);
    return rc;
}

/* Those that held the object and are empty now, but never the bucket. */
static void remove_folders(const struct fs *fs, const char *bucket, const char *key) {
    char path[MS_STORE_KEY_BYTES];
    (void)snprintf(path, sizeof path, "%s", key);
    for (char *slash; (slash = strrchr(path, '/')) != NULL;) {
        *slash = '\0';
        const char *name;
        const int folder = open_folder(fs, bucket, path, false, &name);
        const bool removed = folder >= 0 && unlinkat(folder, name, AT_REMOVEDIR) == 0;
        if (folder >= 0)
            (void)close(folder);
        if (!removed)
            return;
    }
}

static int fs_remove(struct ms_store *store, const char *bucket, const char *key,
                     struct ms_error *err) {
    struct fs *fs = (struct fs *)store;
    const char *name;
    const int folder = open_folder(fs, bucket, key, false, &name);
    if (folder < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : disk_error(fs, bucket, key, err);
    int rc = 0;
    if (unlinkat(folder, name, 0) == 0) {
        if (fsync(folder) != 0)
            rc = disk_error(fs, bucket, key, err);
    } else if (errno != ENOENT && errno != EISDIR) {
        rc = disk_error(fs, bucket, key, err);
    }
    (void)close(folder);
    remove_folders(fs, bucket, key);
    return rc;
}

/* ---- lists ---- */

static int fs_list(struct ms_store *store, const char *bucket, const char *prefix,
                   // NOLINTNEXTLINE(readability-non-const-parameter): the list counts in it
                   const char *after, int max, struct ms_object_entry *entries, int *count,
                   struct ms_error *err) {
    const struct fs *fs = (struct fs *)store;
    const struct ms_fs_list list = {prefix, after, max, entries, count};
    char path[MS_STORE_KEY_BYTES + 1];
    const char *name;
    (void)snprintf(path, sizeof path, "%s*", prefix); /* a name in the folder that it leads to */
    const int folder = open_folder(fs, bucket, path, false, &name);
    if (folder < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : disk_error(fs, bucket, prefix, err);
    path[name - path] = '\0';
    return ms_fs_list_folder(&list, folder, path, err);
}

static int fs_sweep(struct ms_store *store, const char *bucket, int64_t age_s, int *count,
                    struct ms_error *err) {
    const struct fs *fs = (struct fs *)store;
    (void)bucket; /* a temporary file does not tell its bucket */
    const int folder = openat(fs->temporary, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = folder >= 0 ? fdopendir(folder) : NULL;
    if (entries == NULL) {
        if (folder >= 0)
            (void)close(folder);
        return ms_error_set(err, MS_EIO, "%s/" TEMPORARY ": %s", fs->path, strerror(errno));
    }
    const struct dirent *entry;
    struct stat status;
    while (*count < MS_STORE_SWEEP_MAX && !ms_store_canceled(store) &&
           (entry = readdir(entries)) != NULL) // NOLINT(concurrency-mt-unsafe)
        *count += fstatat(fs->temporary, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
                  S_ISREG(status.st_mode) && time(NULL) - status.st_mtime >= age_s &&
                  unlinkat(fs->temporary, entry->d_name, 0) == 0;
    (void)closedir(entries);
    return 0;
}

/* Makes a file, which shows that the disk is there, writable and not full. */
static int fs_ping(struct ms_store *store, struct ms_error *err) {
    struct fs *fs = (struct fs *)store;
    char name[TEMPORARY_MAX];
    const int fd = open_temporary(fs, name, err);
    if (fd < 0)
        return fd;
    (void)close(fd);
    if (unlinkat(fs->temporary, name, 0) != 0)
        return ms_error_set(err, MS_EIO, "%s/" TEMPORARY ": %s", fs->path, strerror(errno));
    return 0;
}

static void fs_close(struct ms_store *store) {
    struct fs *fs = (struct fs *)store;
    if (fs->root >= 0)
        (void)close(fs->root);
    if (fs->temporary >= 0)
        (void)close(fs->temporary);
    free(fs->path);
    free(fs);
}

/* ---- opening ---- */

int ms_store_fs_open(const struct ms_store_options *options, struct ms_store **out,
                     struct ms_error *err) {
    static const struct ms_store_ops ops = {
        .close = fs_close,
        .ping = fs_ping,
        .put = fs_put,
        .head = fs_head,
        .get = fs_get,
        .remove = fs_remove,
        .list = fs_list,
        .sweep = fs_sweep,
    };
    const char *path = ms_store_folder(options->url);
    if (path[0] == '\0' || strncmp(path, "//", 2) == 0)
        return ms_error_set(err, MS_EUSAGE, "the store's URL names no folder: write file:DIR");
    struct fs *fs = calloc(1, sizeof *fs);
    if (fs == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a store");
    fs->store.ops = &ops;
    fs->store.cancel = options->cancel;
    fs->root = fs->temporary = -1;
    fs->create_buckets = options->create_buckets;
    fs->path = strdup(path);
    int rc;
    if (fs->path == NULL) {
        rc = ms_error_set(err, MS_ENOMEM, "no memory for a store");
        goto out;
    }
    rc = ms_make_dirs(path, err);
    if (rc != 0)
        goto out;
    fs->root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fs->root >= 0 && (mkdirat(fs->root, TEMPORARY, 0750) == 0 || errno == EEXIST))
        fs->temporary =
            openat(fs->root, TEMPORARY, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fs->temporary < 0) {
        rc = ms_error_about(err, MS_EIO, path, "%s", strerror(errno));
        goto out;
    }
    *out = &fs->store;
    return 0;
out:
    fs_close(&fs->store);
    return rc;
}
