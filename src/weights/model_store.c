/* See model_store.h: between a folder of models and the store. Owns only the folder .store-XXXXXX,
 * in which a model lies until it is checked. */
#include "msaas/model_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model_object.h"
#include "msaas/job.h"
#include "msaas/model_json.h"
#include "msaas/sys.h"

#define FOLDER "models/"

static int no_memory(struct ms_error *err) {
    return ms_error_set(err, MS_ENOMEM, "no memory for a model");
}

/* ---- fetch ---- */

static int move(const char *from, const char *to, const char *name, struct ms_error *err) {
    char *source = ms_strdupf("%s/%s", from, name);
    char *target = ms_strdupf("%s/%s", to, name);
    int rc = source != NULL && target != NULL ? 0 : no_memory(err);
    if (rc == 0 && rename(source, target) != 0)
        rc = ms_error_about(err, MS_EIO, target, "%s", strerror(errno));
    free(source);
    free(target);
    return rc;
}

/* The JSON comes last: until then the model is not there. A file that is not called NAME... could
 * be another model's. */
static int publish(const char *from, const char *to, const char *name, struct ms_error *err) {
    char *path = ms_strdupf("%s/%s", from, name);
    struct ms_model_json *json = malloc(sizeof *json);
    const size_t length = strlen(name) - strlen(".json");
    int rc = path != NULL && json != NULL ? ms_model_json_read(path, json, err) : no_memory(err);
    for (int i = 0; rc == 0 && i < json->info.member_count; i++) {
        const char *file = json->networks[i].file;
        if (strncmp(file, name, length) != 0 || (file[length] != '.' && file[length] != '-') ||
            strcmp(file, name) == 0)
            rc = ms_error_about(err, MS_EMODEL, path, "names a file %s", file);
        else
            rc = move(from, to, file, err);
    }
    if (rc == 0)
        rc = move(from, to, name, err);
    free(path);
    free(json);
    return rc;
}

static int fetch(struct ms_store *store, const struct ms_manifest *manifest, const char *key,
                 const char *folder, struct ms_error *err) {
    char *path = ms_strdupf("%s/%s", folder, ms_model_object_name(key));
    if (path == NULL)
        return no_memory(err);
    int rc = ms_model_object_json(store, MS_BUCKET_SONGS, key, folder, err);
    if (rc == 0)
        rc = ms_model_object_networks(store, MS_BUCKET_SONGS, key, folder, err);
    if (rc == 0)
        rc = ms_manifest_check_model(manifest, path, err);
    free(path);
    return rc;
}

int ms_model_store_fetch(struct ms_store *store, const struct ms_manifest *manifest,
                         const char *folder, struct ms_error *err) {
    char *key = ms_strdupf(FOLDER "%s.json", manifest->info.name);
    char *unchecked = ms_strdupf("%s/.store-XXXXXX", folder);
    int rc = key != NULL && unchecked != NULL ? 0 : no_memory(err);
    if (rc == 0 && mkdtemp(unchecked) == NULL)
        rc = ms_error_about(err, MS_EIO, folder, "%s", strerror(errno));
    if (rc == 0) {
        rc = fetch(store, manifest, key, unchecked, err);
        if (rc == 0)
            rc = publish(unchecked, folder, ms_model_object_name(key), err);
        ms_model_object_remove_folder(unchecked);
    }
    free(key);
    free(unchecked);
    return rc;
}

/* ---- put ---- */

/* A file beside `path`. sha256: NULL where it is not known. */
static int put_one(struct ms_store *store, const char *path, const char *name, const char *sha256,
                   struct ms_error *err) {
    char *beside = ms_strdupf("%.*s%s", (int)(ms_model_object_name(path) - path), path, name);
    char *key = ms_strdupf(FOLDER "%s", name);
    const struct ms_object_source source = {.path = beside, .sha256 = sha256};
    int rc = beside != NULL && key != NULL
                 ? ms_store_put(store, MS_BUCKET_SONGS, key, &source, NULL, err)
                 : no_memory(err);
    free(beside);
    free(key);
    return rc;
}

int ms_model_store_put(struct ms_store *store, const char *path, struct ms_error *err) {
    struct ms_model_json *json = malloc(sizeof *json);
    int rc = json != NULL ? ms_model_json_read(path, json, err) : no_memory(err);
    for (int i = 0; rc == 0 && i < json->info.member_count; i++)
        rc = put_one(store, path, json->networks[i].file, json->networks[i].sha256, err);
    if (rc == 0)
        rc = put_one(store, path, ms_model_object_name(path), NULL, err);
    free(json);
    return rc;
}
