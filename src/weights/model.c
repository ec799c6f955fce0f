/* From a user's word for a model to its checked files on disk. Owns nothing; any thread. */
#include "msaas/model.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "msaas/manifest.h"
#include "msaas/model_json.h"
#include "msaas/sys.h"
#include "safetensors.h"

static bool ends_in_json(const char *name) {
    const size_t length = strlen(name);
    return length > 5 && name[0] != '.' && strcmp(name + length - 5, ".json") == 0;
}

/* The only model of a folder. */
static int only_json(const char *folder, char **out, struct ms_error *err) {
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return ms_error_about(err, MS_EIO, folder, "%s", strerror(errno));
    struct dirent *entry;
    int rc = 0;
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        if (!ends_in_json(entry->d_name))
            continue;
        if (*out != NULL) {
            rc =
                ms_error_about(err, MS_EMODEL, folder, "the folder holds several models; name one");
            break;
        }
        *out = ms_strdupf("%s/%s", folder, entry->d_name);
        if (*out == NULL)
            rc = ms_error_set(err, MS_ENOMEM, "no memory for a path");
    }
    closedir(dir);
    if (rc == 0 && *out == NULL)
        rc = ms_error_about(err, MS_ENOTFOUND, folder, "the folder holds no model");
    if (rc != 0) {
        free(*out);
        *out = NULL;
    }
    return rc;
}

int ms_model_find_json(const char *path, char **out, struct ms_error *err) {
    *out = NULL;
    struct stat status;
    if (stat(path, &status) != 0)
        return ms_error_about(err, errno == ENOENT || errno == ENOTDIR ? MS_ENOTFOUND : MS_EIO,
                              path, "%s", strerror(errno));
    if (S_ISDIR(status.st_mode))
        return only_json(path, out, err);
    *out = strdup(path);
    return *out != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "no memory for a path");
}

int ms_model_locate(const char *models_dir, const char *word, char **out, struct ms_error *err) {
    *out = NULL;
    if (strchr(word, '/') != NULL || ends_in_json(word))
        return ms_model_find_json(word, out, err);
    if (!ms_model_name_is_plain(word))
        return ms_error_set(err, MS_ENOTFOUND, "'%.100s' is neither a model's name nor a path",
                            word);
    char *path = ms_strdupf("%s/%s.json", models_dir, word);
    if (path == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a path");
    int rc = ms_model_find_json(path, out, err);
    if (rc == MS_ENOTFOUND)
        rc = ms_manifest_not_installed(word, models_dir, err);
    free(path);
    return rc;
}

int ms_model_describe(const char *path, struct ms_model_info *info, struct ms_error *err) {
    struct ms_model_json json;
    const int rc = ms_model_json_read(path, &json, err);
    if (rc == 0)
        *info = json.info;
    return rc;
}

int ms_model_verify(const char *path, struct ms_model_info *info, struct ms_error *err) {
    struct ms_model_json json;
    int rc = ms_model_json_read(path, &json, err);
    if (rc != 0)
        return rc;
    for (int i = 0; i < json.info.member_count && rc == 0; i++) {
        struct ms_weights *weights;
        rc = ms_model_json_map(path, &json, i, &weights, err);
        if (rc != 0)
            break;
        ms_weights_free(weights);
    }
    if (rc == 0 && info != NULL)
        *info = json.info;
    return rc;
}

int ms_manifest_check_model(const struct ms_manifest *manifest, const char *path,
                            struct ms_error *err) {
    struct ms_model_json json;
    int rc = ms_model_verify(path, NULL, err);
    if (rc == 0)
        rc = ms_model_json_read(path, &json, err);
    if (rc != 0)
        return rc;
    if (json.info.member_count != manifest->info.member_count)
        return ms_error_about(err, MS_ECORRUPT, path,
                              "is not the published %s: it has another number of networks",
                              manifest->info.name);
    for (int i = 0; i < json.info.member_count; i++)
        if (manifest->networks[i].sha256[0] != '\0' &&
            strcmp(manifest->networks[i].sha256, json.networks[i].sha256) != 0)
            return ms_error_about(err, MS_ECORRUPT, path,
                                  "is not the published %s: its weights are others",
                                  manifest->info.name);
    return 0;
}
