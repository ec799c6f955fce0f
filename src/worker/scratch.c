/* Folders for songs, spools and stems. Each worker has one and holds a lock on it. The kernel
 * releases the lock when the worker dies, and the next worker that starts removes the folder, and
 * learns from it which lease the dead one held. No name, process number or time is compared: who
 * holds the lock lives, whatever it is called, and who does not is dead. */
#include "scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "msaas/sys.h"

#define PREFIX "msaas-work-"
#define LEASE "lease" /* the job's id and the token, each with its NUL */
#define ROOM_BYTES (INT64_C(64) << 20)

/* A worker's folder holds files only. */
static void empty(const char *path) {
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        (void)unlinkat(dirfd(dir), entry->d_name, 0); /* "." and ".." stay: they are folders */
    if (dir != NULL)
        (void)closedir(dir);
}

/* folder: that of a dead worker. */
static void read_lease(int folder, struct ms_scratch *out) {
    char text[MS_JOB_ID_HEX + MS_TOKEN_HEX];
    struct ms_scratch_lease *lease = &out->left[out->left_count];
    const int fd = out->left_count < MS_SCRATCH_LEFT_MAX
                       ? openat(folder, LEASE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
                       : -1;
    if (fd < 0)
        return;
    if (read(fd, text, sizeof text) == (ssize_t)sizeof text) {
        memcpy(lease->job, text, sizeof lease->job);
        memcpy(lease->token, text + sizeof lease->job, sizeof lease->token);
        out->left_count += memchr(lease->job, '\0', sizeof lease->job) != NULL &&
                           memchr(lease->token, '\0', sizeof lease->token) != NULL;
    }
    (void)close(fd);
}

static void remove_leftovers(const char *parent, struct ms_scratch *out) {
    DIR *dir = opendir(parent);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (strncmp(entry->d_name, PREFIX, sizeof PREFIX - 1) != 0)
            continue;
        char *path = ms_strdupf("%s/%s", parent, entry->d_name);
        const int lock =
            path != NULL ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
        if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0) {
            read_lease(lock, out);
            empty(path);
            (void)rmdir(path);
        }
        if (lock >= 0)
            (void)close(lock);
        free(path);
    }
    if (dir != NULL)
        (void)closedir(dir);
}

int ms_scratch_open(const char *parent, struct ms_scratch *out, struct ms_error *err) {
    *out = (struct ms_scratch){.lock = -1};
    int rc = ms_make_dirs(parent, err);
    if (rc != 0)
        return rc;
    out->path = ms_strdupf("%s/" PREFIX "XXXXXX", parent);
    if (out->path == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a path");
    /* Locks the parent until the new folder is locked, so that no other worker takes it for a
     * leftover. */
    const int whole = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (whole < 0 || flock(whole, LOCK_EX) != 0) {
        rc = ms_error_about(err, MS_EIO, parent, "%s", strerror(errno));
        goto out;
    }
    remove_leftovers(parent, out);
    if (mkdtemp(out->path) == NULL) {
        rc = ms_error_about(err, MS_EIO, parent, "cannot make a folder in it: %s", strerror(errno));
        goto out;
    }
    out->lock = open(out->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (out->lock < 0 || flock(out->lock, LOCK_EX | LOCK_NB) != 0)
        rc = ms_error_about(err, MS_EIO, out->path, "%s", strerror(errno));
out:
    if (whole >= 0)
        (void)close(whole);
    if (rc != 0)
        ms_scratch_close(out);
    return rc;
}

void ms_scratch_hold(const struct ms_scratch *scratch, const char *job, const char *token) {
    struct ms_scratch_lease lease = {0};
    char text[MS_JOB_ID_HEX + MS_TOKEN_HEX];
    (void)snprintf(lease.job, sizeof lease.job, "%s", job);
    (void)snprintf(lease.token, sizeof lease.token, "%s", token);
    memcpy(text, lease.job, sizeof lease.job);
    memcpy(text + sizeof lease.job, lease.token, sizeof lease.token);
    const int fd =
        openat(scratch->lock, LEASE, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    (void)!write(fd, text, sizeof text);
    (void)close(fd);
}

int ms_scratch_check(const struct ms_scratch *scratch, struct ms_error *err) {
    const int fd = openat(scratch->lock, "check", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int cause = fd < 0 ? errno : posix_fallocate(fd, 0, ROOM_BYTES);
    if (fd >= 0 && close(fd) != 0 && cause == 0)
        cause = errno;
    (void)unlinkat(scratch->lock, "check", 0);
    return cause == 0 ? 0 : ms_error_about(err, MS_EIO, scratch->path, "%s", strerror(cause));
}

void ms_scratch_empty(const struct ms_scratch *scratch) {
    empty(scratch->path);
}

void ms_scratch_close(struct ms_scratch *scratch) {
    if (scratch->path != NULL && scratch->lock >= 0)
        empty(scratch->path);
    if (scratch->path != NULL)
        (void)rmdir(scratch->path);
    if (scratch->lock >= 0)
        (void)close(scratch->lock);
    free(scratch->path);
    *scratch = (struct ms_scratch){.lock = -1};
}
