/* Arguments of the command line -> songs. Reads folders, but opens no song. Main thread. */
#include "inputs.h"

#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_INPUTS 100000

static bool looks_like_music(const char *extension) {
    static const char *const known[] = {
        "3gp", "aac", "ac3",  "aif", "aifc", "aiff", "alac", "ape", "au",  "avi",
        "caf", "dts", "flac", "flv", "m4a",  "m4b",  "m4v",  "mka", "mkv", "mov",
        "mp2", "mp3", "mp4",  "mpc", "mpeg", "mpg",  "oga",  "ogg", "ogv", "opus",
        "ts",  "tta", "w64",  "wav", "webm", "wma",  "wmv",  "wv",
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcasecmp(extension, known[i]) == 0)
            return true;
    return false;
}

/* "mp3" for "a/b.c.mp3"; "" for ".mp3" and "mp3". */
static const char *extension_of(const char *path) {
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    const char *dot = strrchr(name, '.');
    return dot == NULL || dot == name ? name + strlen(name) : dot + 1;
}

/* `named`: the part of path that names the track. */
static int add_file(struct ms_inputs *inputs, const char *path, const char *named,
                    const struct stat *status, struct ms_error *err) {
    if (inputs->count == MAX_INPUTS)
        return ms_error_set(err, MS_ETOOLARGE, "more than %d files at once", MAX_INPUTS);
    if (inputs->count == inputs->capacity) {
        int capacity = inputs->capacity == 0 ? 16 : 2 * inputs->capacity;
        void *grown = realloc(inputs->items, (size_t)capacity * sizeof *inputs->items);
        if (grown == NULL)
            return ms_error_set(err, MS_ENOMEM, "no memory for the list of files");
        inputs->items = grown;
        inputs->capacity = capacity;
    }
    const char *extension = extension_of(named);
    size_t length = (size_t)(extension - named) - (extension[0] != '\0');
    struct ms_input *item = &inputs->items[inputs->count++];
    *item = (struct ms_input){.path = strdup(path),
                              .track = strndup(named, length),
                              .extension = strdup(extension),
                              .device = status->st_dev,
                              .inode = status->st_ino};
    if (item->path == NULL || item->track == NULL || item->extension == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the list of files");
    return 0;
}

static void refuse(struct ms_inputs *inputs, const char *path, int code, const char *cause) {
    struct ms_error err = {0};
    (void)ms_error_about(&err, code, path, "%s", cause);
    inputs->refused(inputs->context, path, &err);
}

static void refuse_errno(struct ms_inputs *inputs, const char *path, int cause) {
    bool missing = cause == ENOENT || cause == ENOTDIR;
    refuse(inputs, path, missing ? MS_ENOTFOUND : MS_EIO, strerror(cause));
}

static int by_name(const FTSENT **a, const FTSENT **b) {
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* Links to folders are not followed, because they could form a circle. */
static int add_entry(struct ms_inputs *inputs, FTS *walk, FTSENT *entry, size_t root_length,
                     const struct stat *skip, struct ms_error *err) {
    bool hidden = entry->fts_level > 0 && entry->fts_name[0] == '.';
    const struct stat *status = entry->fts_statp;
    struct stat target;
    switch (entry->fts_info) {
    case FTS_D:
        if (hidden ||
            (skip != NULL && status->st_dev == skip->st_dev && status->st_ino == skip->st_ino))
            (void)fts_set(walk, entry, FTS_SKIP);
        return 0;
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS: refuse_errno(inputs, entry->fts_path, entry->fts_errno); return 0;
    case FTS_SL:
        if (stat(entry->fts_accpath, &target) != 0)
            return 0; /* a dangling link */
        status = &target;
        break;
    case FTS_F: break;
    default: return 0;
    }
    if (hidden || !S_ISREG(status->st_mode) || !looks_like_music(extension_of(entry->fts_name)))
        return 0;
    const char *named = entry->fts_path + root_length;
    return add_file(inputs, entry->fts_path, named + strspn(named, "/"), status, err);
}

static int add_folder(struct ms_inputs *inputs, const char *path, const struct stat *skip,
                      struct ms_error *err) {
    char *copy = strdup(path);
    if (copy == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the list of files");
    char *roots[] = {copy, NULL};
    int before = inputs->count;
    int rc = 0;
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, by_name);
    if (walk == NULL) {
        refuse_errno(inputs, path, errno);
        goto out;
    }
    for (FTSENT *entry; rc == 0 && (entry = fts_read(walk)) != NULL;)
        rc = add_entry(inputs, walk, entry, strlen(copy), skip, err);
    (void)fts_close(walk);
    if (rc == 0 && inputs->count == before)
        refuse(inputs, path, MS_EINPUT, "no audio or video files in this folder");
out:
    free(copy);
    return rc;
}

int ms_inputs_add(struct ms_inputs *inputs, const char *path, bool recursive,
                  const struct stat *skip, struct ms_error *err) {
    struct stat status;
    const char *slash = strrchr(path, '/');
    if (stat(path, &status) != 0) {
        refuse_errno(inputs, path, errno);
        return 0;
    }
    if (!S_ISDIR(status.st_mode))
        return add_file(inputs, path, slash == NULL ? path : slash + 1, &status, err);
    if (recursive)
        return add_folder(inputs, path, skip, err);
    refuse(inputs, path, MS_EINPUT, "is a folder; use -r to separate the files in it");
    return 0;
}

void ms_inputs_clear(struct ms_inputs *inputs) {
    for (int i = 0; i < inputs->count; i++) {
        free(inputs->items[i].path);
        free(inputs->items[i].track);
        free(inputs->items[i].extension);
    }
    free(inputs->items);
    inputs->items = NULL;
    inputs->count = inputs->capacity = 0;
}
