/* From the names of models to their descriptions for clients. Main thread. */
#include "offer.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/manifest.h"
#include "msaas/model.h"
#include "msaas/sys.h"

#define MAX_MODELS 64

static int add(struct ms_offer *offer, const struct ms_model_info *info, struct ms_error *err) {
    for (int i = 0; i < offer->count; i++)
        if (strcmp(offer->models[i].name, info->name) == 0)
            return 0;
    if (offer->count == MAX_MODELS)
        return ms_error_about(err, MS_EUSAGE, "--models", "at most %d models can be on offer",
                              MAX_MODELS);
    struct ms_api_model *model = &offer->models[offer->count++];
    *model = (struct ms_api_model){.stem_count = info->stem_count, .networks = info->member_count};
    (void)snprintf(model->name, sizeof model->name, "%s", info->name);
    (void)snprintf(model->licence, sizeof model->licence, "%s", info->licence);
    for (int i = 0; i < info->stem_count; i++)
        (void)snprintf(model->stems[i], sizeof model->stems[i], "%s", info->stems[i]);
    return 0;
}

/* The published model that a word names: NAME, or .../NAME.json of an object in s3://. */
static int add_published(struct ms_offer *offer, const char *word, struct ms_error *err) {
    const char *slash = strrchr(word, '/');
    const char *name = slash != NULL ? slash + 1 : word;
    size_t length = strlen(name);
    if (length > 5 && strcmp(name + length - 5, ".json") == 0)
        length -= 5;
    char *plain = strndup(name, length);
    struct ms_manifest manifest;
    int rc = plain == NULL ? ms_error_set(err, MS_ENOMEM, "no memory for a name")
                           : ms_manifest_open(plain, &manifest, err);
    free(plain);
    if (rc != 0)
        return rc;
    rc = add(offer, &manifest.info, err);
    ms_manifest_close(&manifest);
    return rc;
}

static int add_word(struct ms_offer *offer, const char *folder, const char *word,
                    struct ms_error *err) {
    char *path = NULL;
    int rc = MS_ENOTFOUND;
    if (strncmp(word, "s3://", 5) != 0)
        rc = ms_model_locate(folder, word, &path, err);
    struct ms_model_info info;
    if (rc == 0)
        rc = ms_model_describe(path, &info, err);
    if (rc == 0)
        rc = add(offer, &info, err);
    else if (rc == MS_ENOTFOUND && add_published(offer, word, NULL) == 0)
        rc = 0;
    else if (rc == MS_ENOTFOUND && strncmp(word, "s3://", 5) == 0)
        rc = ms_error_set(err, MS_EUSAGE,
                          "serve does not know the stems of %s: put its JSON file into the models' "
                          "folder (MSAAS_MODELS_DIR) and name the model by --models (MSAAS_MODELS)",
                          word);
    free(path);
    return rc;
}

static int add_list(struct ms_offer *offer, const char *folder, const char *list,
                    struct ms_error *err) {
    int rc = 0;
    for (const char *at = list; rc == 0 && at != NULL;) {
        size_t length = strcspn(at, ",");
        char *word = strndup(at, length);
        if (word == NULL)
            rc = ms_error_set(err, MS_ENOMEM, "no memory for a name");
        else if (length == 0)
            rc = ms_error_set(err, MS_EUSAGE, "--models (MSAAS_MODELS): a name is empty in \"%s\"",
                              list);
        else
            rc = add_word(offer, folder, word, err);
        free(word);
        at = at[length] == ',' ? at + length + 1 : NULL;
    }
    return rc;
}

static int is_model(const struct dirent *entry) {
    size_t length = strlen(entry->d_name);
    return entry->d_name[0] != '.' && length > 5 &&
           strcmp(entry->d_name + length - 5, ".json") == 0;
}

/* A file that cannot be read is skipped: nobody named it. */
static int add_folder(struct ms_offer *offer, const char *folder, struct ms_error *err) {
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, is_model, alphasort);
    int rc = 0;
    for (int i = 0; i < count; i++) {
        char *path = ms_strdupf("%s/%s", folder, entries[i]->d_name);
        if (rc == 0 && path == NULL)
            rc = ms_error_set(err, MS_ENOMEM, "no memory for a name");
        struct ms_model_info info;
        if (rc == 0 && ms_model_describe(path, &info, NULL) == 0)
            rc = add(offer, &info, err);
        free(path);
        free(entries[i]);
    }
    free(entries);
    return rc;
}

int ms_offer_gather(const struct ms_options *options, struct ms_offer *out, struct ms_error *err) {
    const char *list = ms_options_string(options, MS_OPTION_OFFER);
    char *folder = NULL;
    *out = (struct ms_offer){.models = calloc(MAX_MODELS, sizeof *out->models)};
    if (out->models == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the models");
    int rc = ms_models_dir(ms_options_string(options, MS_OPTION_MODELS_DIR), &folder, err);
    if (rc == 0 && list != NULL)
        rc = add_list(out, folder, list, err);
    else if (rc == 0)
        rc = add_word(out, folder, ms_options_string(options, MS_OPTION_MODEL), err);
    if (rc == 0 && list == NULL)
        rc = add_folder(out, folder, err);
    free(folder);
    return rc;
}

void ms_offer_fini(struct ms_offer *offer) {
    free(offer->models);
    *offer = (struct ms_offer){0};
}
