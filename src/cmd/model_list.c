/* The models' folder and the manifests -> a list, for people or as JSON. Owns nothing. Main
 * thread. */
#include "model_list.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "msaas/cmd.h"
#include "msaas/json.h"
#include "msaas/manifest.h"
#include "msaas/sys.h"

static int is_model_json(const struct dirent *entry) {
    const size_t length = strlen(entry->d_name);
    return length > 5 && entry->d_name[0] != '.' &&
           strcmp(entry->d_name + length - 5, ".json") == 0;
}

int ms_model_list_each(const char *folder,
                       int (*visit)(void *context, const char *path, struct ms_error *err),
                       void *context, struct ms_error *err) {
    struct dirent **entries = NULL;
    const int count = scandir(folder, &entries, is_model_json, alphasort);
    int rc = 0;
    for (int i = 0; i < count; i++) {
        char *path = rc == 0 ? ms_strdupf("%s/%s", folder, entries[i]->d_name) : NULL;
        if (rc == 0)
            rc = path != NULL ? visit(context, path, err)
                              : ms_error_set(err, MS_ENOMEM, "no memory for a path");
        free(path);
        free(entries[i]);
    }
    free(entries); /* a folder that does not exist has no models */
    return rc;
}

void ms_model_print_stems(const struct ms_model_info *info) {
    for (int i = 0; i < info->stem_count; i++)
        printf("%s%s", i > 0 ? ", " : "", info->stems[i]);
}

void ms_model_print_json(const struct ms_model_info *info, const char *path) {
    struct ms_json_writer *writer = ms_json_writer_new();
    if (writer == NULL)
        return;
    ms_json_begin_object(writer, NULL);
    ms_json_put_string(writer, "name", info->name);
    ms_json_put_bool(writer, "installed", path != NULL);
    ms_json_put_string(writer, "path", path);
    ms_json_begin_array(writer, "stems");
    for (int i = 0; i < info->stem_count; i++)
        ms_json_put_string(writer, NULL, info->stems[i]);
    ms_json_end_array(writer);
    ms_json_put_int(writer, "networks", info->member_count);
    ms_json_put_string(writer, "licence", info->licence);
    ms_json_end_object(writer);
    const char *text = ms_json_writer_text(writer, NULL);
    if (text != NULL)
        (void)puts(text);
    ms_json_writer_free(writer);
}

/* path: NULL for one that could be fetched */
static void print_model(const struct ms_model_info *info, const char *path, bool json) {
    if (json) {
        ms_model_print_json(info, path);
        return;
    }
    printf("%s: ", info->name);
    ms_model_print_stems(info);
    printf("\n  %s%s\n  Licence: %s\n", path != NULL ? "" : "not installed; msaas model pull ",
           path != NULL ? path : info->name, info->licence);
}

static int print_installed(void *context, const char *path, struct ms_error *err) {
    const bool *json = context;
    struct ms_model_info info;
    if (ms_model_describe(path, &info, err) == 0)
        print_model(&info, path, *json);
    else
        (void)ms_cmd_failed("model", err); /* and goes on with the others */
    return 0;
}

static int print_published(const char *folder, bool json, struct ms_manifest *manifest,
                           struct ms_error *err) {
    int rc = 0;
    const char *name;
    for (int i = 0; rc == 0 && (name = ms_manifest_name(i)) != NULL; i++) {
        char *path = ms_strdupf("%s/%s.json", folder, name);
        rc = path != NULL ? ms_manifest_open(name, manifest, err)
                          : ms_error_set(err, MS_ENOMEM, "no memory for a path");
        if (rc == 0 && access(path, F_OK) != 0)
            print_model(&manifest->info, NULL, json);
        if (rc == 0)
            ms_manifest_close(manifest);
        free(path);
    }
    return rc;
}

int ms_model_list_print(const char *folder, bool json, struct ms_error *err) {
    int rc = ms_model_list_each(folder, print_installed, &json, err);
    struct ms_manifest *manifest = malloc(sizeof *manifest);
    if (manifest == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a manifest");
    if (rc == 0)
        rc = print_published(folder, json, manifest, err);
    free(manifest);
    return rc;
}
