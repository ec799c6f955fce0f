/* Before a worker's first job: fetches the model from the store to this machine's disk. Owns only
 * what it writes. Runs on the caller's thread.
 *
 *     CACHE/lock        held by the worker that fetches; the others wait and then find the model
 *     CACHE/DIGEST/     a model, named by the SHA-256 of its NAME.json, which holds all other
 *                       digests
 *     CACHE/at-DIGEST   link to the model that was found last at a bucket and key, by their SHA-256
 *     CACHE/new-XXXXXX  a model that is being fetched; becomes DIGEST/ when it is complete */
#include "msaas/model_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "model_object.h"
#include "msaas/digest.h"
#include "msaas/model.h"
#include "msaas/sys.h"

#define LOCK_WAIT_S 3600.0
#define NEW "new-"
#define NAME_DIGITS 32 /* of a digest in a folder's name */

struct fetch {
    struct ms_store *store;
    const char *bucket, *key;
    const char *name; /* the last part of key: NAME.json */
    const char *cache;
    char *new_folder, *link; /* full paths */
};

/* ---- folders ---- */

/* Removes what dead workers left unfinished. We hold the lock, so nobody else works on it. */
static void remove_leftovers(const char *cache) {
    DIR *dir = opendir(cache);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char *path = strncmp(entry->d_name, NEW, strlen(NEW)) == 0
                         ? ms_strdupf("%s/%s", cache, entry->d_name)
                         : NULL;
        if (path != NULL && unlink(path) != 0)
            ms_model_object_remove_folder(path);
        free(path);
    }
    if (dir != NULL)
        (void)closedir(dir);
}

static int take_lock(const char *cache, const atomic_bool *cancel, int *lock,
                     struct ms_error *err) {
    const double until_s = ms_monotonic_s() + LOCK_WAIT_S;
    const struct timespec nap = {.tv_nsec = 100000000};
    char *path = ms_strdupf("%s/lock", cache);
    *lock = path != NULL ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666) : -1;
    free(path);
    if (*lock < 0)
        return ms_error_about(err, MS_EIO, cache, "%s", strerror(errno));
    while (flock(*lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return ms_error_set(err, MS_EIO, "%s/lock: %s", cache, strerror(errno));
        if (cancel != NULL && atomic_load(cancel))
            return ms_error_set(err, MS_ECANCELED, "canceled");
        if (ms_monotonic_s() > until_s)
            return ms_error_about(
                err, MS_EIO, cache,
                "another worker has been fetching a model for an hour; gave up waiting");
        (void)nanosleep(&nap, NULL);
    }
    return 0;
}

/* CACHE/PREFIX and the first digits of a digest. */
static char *cache_path(const struct fetch *fetch, const char *prefix, const char *digest) {
    return ms_strdupf("%s/%s%.*s", fetch->cache, prefix, NAME_DIGITS, digest);
}

/* The model in that folder, where it passes ms_model_verify; else NULL. */
static char *good_model(const struct fetch *fetch, const char *folder) {
    char *path = ms_strdupf("%s/%s", folder, fetch->name);
    if (path != NULL && ms_model_verify(path, NULL, NULL) == 0)
        return path;
    free(path);
    return NULL;
}

/* The link is only read while the store cannot be reached. Failing to make it is no error. */
static void set_link(const struct fetch *fetch, const char *folder) {
    char *temporary = ms_strdupf("%s/" NEW "link", fetch->cache);
    if (temporary != NULL && symlink(strrchr(folder, '/') + 1, temporary) == 0 &&
        rename(temporary, fetch->link) != 0)
        (void)unlink(temporary);
    free(temporary);
}

/* ---- fetching ---- */

/* Finds the model of the JSON in the new folder in the cache, or fetches it. */
static int complete(const struct fetch *fetch, char **out, struct ms_error *err) {
    char *json = ms_strdupf("%s/%s", fetch->new_folder, fetch->name);
    char digest[MS_SHA256_HEX];
    char *folder = NULL;
    int rc = json != NULL ? ms_sha256_of_file(json, digest, err)
                          : ms_error_set(err, MS_ENOMEM, "no memory for a path");
    if (rc != 0)
        goto out;
    folder = cache_path(fetch, "", digest);
    if (folder == NULL) {
        rc = ms_error_set(err, MS_ENOMEM, "no memory for a path");
        goto out;
    }
    *out = good_model(fetch, folder);
    if (*out == NULL) {
        rc = ms_model_object_networks(fetch->store, fetch->bucket, fetch->key, fetch->new_folder,
                                      err);
        if (rc != 0)
            goto out;
        ms_model_object_remove_folder(folder); /* it is damaged */
        if (rename(fetch->new_folder, folder) != 0) {
            rc = ms_error_about(err, MS_EIO, folder, "%s", strerror(errno));
            goto out;
        }
        *out = ms_strdupf("%s/%s", folder, fetch->name);
        if (*out == NULL)
            rc = ms_error_set(err, MS_ENOMEM, "no memory for a path");
    }
    set_link(fetch, folder);
out:
    free(json);
    free(folder);
    return rc;
}

static int prepare(struct fetch *fetch, struct ms_error *err) {
    char *where = ms_strdupf("%s/%s", fetch->bucket, fetch->key);
    char digest[MS_SHA256_HEX];
    int rc = where != NULL ? ms_sha256_of(where, strlen(where), digest, err)
                           : ms_error_set(err, MS_ENOMEM, "no memory for a name");
    free(where);
    if (rc != 0)
        return rc;
    fetch->link = cache_path(fetch, "at-", digest);
    fetch->new_folder = ms_strdupf("%s/" NEW "XXXXXX", fetch->cache);
    if (fetch->link == NULL || fetch->new_folder == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a path");
    if (mkdtemp(fetch->new_folder) == NULL || chmod(fetch->new_folder, 0755) != 0)
        return ms_error_about(err, MS_EIO, fetch->cache, "%s", strerror(errno));
    return 0;
}

int ms_model_cache_fetch(struct ms_store *store, const char *bucket, const char *key,
                         const char *cache_dir, const atomic_bool *cancel, char **path,
                         struct ms_error *err) {
    const char *slash = strrchr(key, '/');
    struct fetch fetch = {.store = store,
                          .bucket = bucket,
                          .key = key,
                          .name = slash != NULL ? slash + 1 : key,
                          .cache = cache_dir};
    int rc = ms_make_dirs(cache_dir, err);
    *path = NULL;
    int lock = -1;
    if (rc == 0)
        rc = take_lock(cache_dir, cancel, &lock, err);
    if (rc != 0)
        goto out;
    remove_leftovers(cache_dir);
    rc = prepare(&fetch, err);
    if (rc != 0)
        goto out;
    rc = ms_model_object_json(store, bucket, key, fetch.new_folder, err);
    if (rc == 0)
        rc = complete(&fetch, path, err);
    else if (rc == MS_ENET && (*path = good_model(&fetch, fetch.link)) != NULL)
        rc = 0;
out:
    if (fetch.new_folder != NULL)
        ms_model_object_remove_folder(fetch.new_folder);
    if (lock >= 0)
        (void)close(lock);
    free(fetch.new_folder);
    free(fetch.link);
    return rc;
}

/* ---- s3:// ---- */

bool ms_model_is_remote(const char *word) {
    return strncmp(word, "s3://", 5) == 0;
}

int ms_model_cache_get(const char *word, const struct ms_store_options *store,
                       const char *cache_dir, char **path, struct ms_error *err) {
    struct ms_store_options options = *store;
    const size_t length = strlen(word);
    *path = NULL;
    const char *key = ms_model_is_remote(word) ? strchr(word + 5, '/') : NULL;
    if (key == NULL || key == word + 5 || length < 6 || strcmp(word + length - 5, ".json") != 0)
        return ms_error_set(err, MS_EUSAGE,
                            "'%.200s' is not of the form s3://BUCKET/PATH/NAME.json", word);
    char *bucket = strndup(word + 5, (size_t)(key - word - 5));
    if (bucket == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a name");
    options.url = "s3://";
    options.create_buckets = false;
    struct ms_store *opened = NULL;
    int rc = ms_store_open(&options, &opened, err);
    if (rc == 0)
        rc = ms_model_cache_fetch(opened, bucket, key + 1, cache_dir, options.cancel, path, err);
    ms_store_close(opened);
    free(bucket);
    return rc;
}
