/* From a bucket to a folder, checked. Owns only what it writes; the caller's thread. */
#include "model_object.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "msaas/model_json.h"
#include "msaas/sys.h"

#define MAX_JSON_BYTES (1 << 20)
#define MAX_NETWORK_BYTES (INT64_C(16) << 30)

const char *ms_model_object_name(const char *key) {
    const char *slash = strrchr(key, '/');
    return slash != NULL ? slash + 1 : key;
}

void ms_model_object_remove_folder(const char *path) {
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir != NULL)
        (void)closedir(dir);
    (void)rmdir(path);
}

/* The object `name` beside the key. */
static int fetch_one(struct ms_store *store, const char *bucket, const char *key, const char *name,
                     const char *folder, int64_t max_bytes, struct ms_error *err) {
    char *beside = ms_strdupf("%.*s%s", (int)(ms_model_object_name(key) - key), key, name);
    char *path = ms_strdupf("%s/%s", folder, name);
    int rc =
        beside != NULL && path != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "no memory for a name");
    if (rc == 0)
        rc = ms_store_fetch(store, bucket, beside, path, max_bytes, err);
    if (rc != 0 && beside != NULL)
        ms_error_prefix(err, "model %s/%s", bucket, beside);
    free(beside);
    free(path);
    return rc;
}

int ms_model_object_json(struct ms_store *store, const char *bucket, const char *key,
                         const char *folder, struct ms_error *err) {
    return fetch_one(store, bucket, key, ms_model_object_name(key), folder, MAX_JSON_BYTES, err);
}

int ms_model_object_networks(struct ms_store *store, const char *bucket, const char *key,
                             const char *folder, struct ms_error *err) {
    struct ms_model_json *json = malloc(sizeof *json);
    char *path = ms_strdupf("%s/%s", folder, ms_model_object_name(key));
    int rc = json != NULL && path != NULL ? ms_model_json_read(path, json, err)
                                          : ms_error_set(err, MS_ENOMEM, "no memory for a model");
    for (int i = 0; rc == 0 && i < json->info.member_count; i++)
        rc = fetch_one(store, bucket, key, json->networks[i].file, folder, MAX_NETWORK_BYTES, err);
    if (rc == 0)
        rc = ms_model_verify(path, NULL, err);
    free(json);
    free(path);
    return rc;
}
