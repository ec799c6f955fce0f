/* From published weights to a model on disk: check the file, read it, write the network, check what
 * was written, and only then give it its name. Owns the temporary files; runs on the caller's
 * thread. */
#include "msaas/model_import.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "import.h"
#include "mapped.h"
#include "msaas/model_json.h"
#include "msaas/sys.h"
#include "safetensors.h"

#define MAX_SOURCE_BYTES (INT64_C(4) << 30)

struct work {
    const struct ms_model_import *import;
    struct ms_model_json json;
    /* written and checked, waiting for their names; NULL: not there */
    char *temporary[MS_MODEL_MAX_MEMBERS];
};

static int no_memory(struct ms_error *err) {
    return ms_error_set(err, MS_ENOMEM, "no memory for a path");
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* A manifest that knows the file; *network is -1 where there is none. */
static int recognise(const char *sha256, struct ms_manifest *out, int *network,
                     struct ms_error *err) {
    *network = -1;
    const char *name;
    for (int i = 0; (name = ms_manifest_name(i)) != NULL; i++) {
        const int rc = ms_manifest_open(name, out, err);
        if (rc != 0)
            return rc;
        for (int j = 0; j < out->info.member_count; j++) {
            if (ms_manifest_has_source(out, j, sha256)) {
                *network = j;
                return 0;
            }
        }
        ms_manifest_close(out);
    }
    return 0;
}

/* Every tensor of the written file against its published digest. */
static int check_tensors(const struct ms_weights *weights, const struct ms_json *tensors,
                         struct ms_error *err) {
    for (size_t i = 0; i < ms_weights_count(weights); i++) {
        const struct ms_weight *weight = ms_weights_at(weights, i);
        const char *expected = ms_json_string(ms_json_get(tensors, weight->name));
        size_t bytes = 2;
        for (int j = 0; j < weight->dims; j++)
            bytes *= (size_t)weight->shape[j];
        char sha256[MS_SHA256_HEX];
        const int rc = ms_sha256_of(weight->data, weight->dtype == MS_DTYPE_F16 ? bytes : 2 * bytes,
                                    sha256, err);
        if (rc != 0)
            return rc;
        if (expected == NULL || strcmp(expected, sha256) != 0)
            return ms_error_set(err, MS_ECORRUPT, "tensor %s is not the published one",
                                weight->name);
    }
    if (ms_json_count(tensors) != ms_weights_count(weights))
        return ms_error_set(err, MS_ECORRUPT, "there are %zu tensors, not %zu",
                            ms_weights_count(weights), ms_json_count(tensors));
    return 0;
}

static int check_written(struct work *work, int index, const struct ms_manifest_network *known,
                         struct ms_error *err) {
    struct ms_weights *weights = NULL;
    struct ms_mapped mapped;
    int rc = ms_mapped_open(&mapped, work->temporary[index], MAX_SOURCE_BYTES, err);
    if (rc == 0)
        rc = ms_safetensors_parse(mapped.bytes, mapped.size, &weights, err);
    if (rc == 0)
        rc = ms_weights_check(weights, &work->json.hyper, err);
    if (rc == 0 && known != NULL && known->tensors != NULL)
        rc = check_tensors(weights, known->tensors, err);
    if (rc == 0 && known != NULL && known->sha256[0] != '\0' &&
        strcmp(known->sha256, work->json.networks[index].sha256) != 0)
        rc = ms_error_set(err, MS_ECORRUPT,
                          "the file made of the weights is not the published one: its SHA-256 "
                          "begins with %.12s, not %.12s",
                          work->json.networks[index].sha256, known->sha256);
    ms_weights_free(weights);
    ms_mapped_close(&mapped);
    return rc;
}

/* What upstream's NAME.yaml says of its networks. */
static int take_bag(struct work *work, int index, struct ms_error *err) {
    const struct ms_manifest *bag = work->import->manifest;
    struct ms_model_info *info = &work->json.info;
    if (bag->info.stem_count != 0 && bag->info.stem_count != info->stem_count)
        return ms_error_set(err, MS_EMODEL, "it has %d stems, but the bag has weights for %d",
                            info->stem_count, bag->info.stem_count);
    if (bag->segment_s > 0 && bag->segment_s * info->sample_rate_hz < info->segment_frames - 1)
        return ms_error_set(err, MS_EMODEL,
                            "the bag gives it segments of %g s, shorter than it was made for: that "
                            "is not supported",
                            bag->segment_s);
    for (int i = 0; i < info->stem_count; i++)
        info->weights[index][i] = bag->info.stem_count != 0 ? bag->info.weights[index][i] : 1;
    return 0;
}

/* Stems and hyper-parameters come with the first network; the others of a bag must have the same.
 */
static int take_form(struct work *work, int index, const struct ms_imported *imported,
                     struct ms_error *err) {
    const struct ms_hyper *hyper = &imported->tensors->hyper;
    struct ms_model_info *info = &work->json.info;
    const struct ms_manifest *manifest = work->import->manifest;
    if (index == 0) {
        work->json.hyper = *hyper;
        info->sample_rate_hz = hyper->samplerate;
        info->segment_frames = hyper->segment_frames;
        info->stem_count = hyper->sources;
        memcpy(info->stems, imported->stems, sizeof info->stems);
        for (int i = 0; i < info->stem_count; i++)
            if (!ms_model_name_is_plain(info->stems[i]))
                return ms_error_set(
                    err, MS_EMODEL,
                    "a stem's name has characters other than letters, digits and ._-");
    }
    if (!ms_hyper_equal(hyper, &work->json.hyper) ||
        memcmp(imported->stems, info->stems, sizeof info->stems) != 0)
        return ms_error_set(
            err, MS_EMODEL,
            "its hyper-parameters or stems differ from those of the bag's first network");
    if (manifest != NULL && manifest->is_bag)
        return take_bag(work, index, err);
    if (manifest != NULL && (info->stem_count != manifest->info.stem_count ||
                             memcmp(info->stems, manifest->info.stems, sizeof info->stems) != 0))
        return ms_error_set(err, MS_ECORRUPT, "its stems are not those of %s", manifest->info.name);
    for (int i = 0; i < info->stem_count; i++)
        info->weights[index][i] = manifest != NULL ? manifest->info.weights[index][i] : 1;
    return 0;
}

static int choose_name(struct work *work, const char *suggestion, struct ms_error *err) {
    const char *name = work->import->name != NULL ? work->import->name : suggestion;
    /* A suggestion is a file's name: its extension does not belong to the model's. */
    const size_t length = work->import->name != NULL ? strlen(name) : strcspn(name, ".");
    char *own = work->json.info.name;
    if (length < sizeof work->json.info.name) {
        memcpy(own, name, length);
        own[length] = '\0';
        if (ms_model_name_is_plain(own))
            return 0;
    }
    return ms_error_set(
        err, MS_EUSAGE,
        "'%.100s' cannot be a model's name; give one by --name, of letters, digits and ._- only",
        name);
}

static void note_source(struct work *work, const char *file, const char *sha256) {
    char *source = work->json.source;
    const size_t capacity = sizeof work->json.source;
    const size_t used = strlen(source);
    snprintf(source + used, capacity - used, "%s%.60s, SHA-256 %.16s", used > 0 ? "; " : "", file,
             sha256);
    for (char *c = source; *c != '\0'; c++)
        if (*c < 0x20 || *c >= 0x7f) /* a name cut off may end within a character */
            *c = '?';
}

static int write_network(struct work *work, int index, const struct ms_imported *imported,
                         struct ms_error *err) {
    struct ms_model_json *json = &work->json;
    const size_t capacity = sizeof json->networks[index].file;
    char name[sizeof json->info.name];
    memcpy(name, json->info.name, sizeof name);
    if (work->import->file_count == 1)
        snprintf(json->networks[index].file, capacity, "%s.safetensors", name);
    else
        snprintf(json->networks[index].file, capacity, "%s-%d.safetensors", name, index);
    work->temporary[index] = ms_strdupf("%s/.%s.%ld.part", work->import->folder,
                                        json->networks[index].file, (long)getpid());
    if (work->temporary[index] == NULL)
        return no_memory(err);
    return ms_safetensors_write(work->temporary[index], imported->tensors,
                                json->networks[index].sha256, err);
}

/* One file, from its digest to a checked network under a temporary name. */
static int import_file(struct work *work, int index, struct ms_error *err) {
    const char *path = work->import->files[index];
    const struct ms_manifest *manifest = work->import->manifest;
    struct ms_imported imported = {0};
    struct ms_mapped mapped;
    int network = index;
    int rc = ms_mapped_open(&mapped, path, MAX_SOURCE_BYTES, err);
    if (rc != 0)
        return rc; /* the text names the file */
    char sha256[MS_SHA256_HEX];
    rc = ms_sha256_of(mapped.bytes, mapped.size, sha256, err);
    struct ms_manifest recognised = {0};
    if (rc == 0 && manifest != NULL)
        rc = ms_manifest_check_digest(manifest, index, sha256, err);
    /* what is known of this file besides */
    const struct ms_manifest *published = manifest;
    if (rc == 0 && (manifest == NULL || manifest->is_bag)) {
        rc = recognise(sha256, &recognised, &network, err);
        published = network >= 0 ? &recognised : NULL;
    }
    if (rc != 0)
        goto out;
    if (index == 0) {
        const bool is_whole = manifest == NULL && published != NULL &&
                              published->info.member_count == 1 && work->import->file_count == 1;
        const char *name = manifest != NULL ? manifest->info.name
                           : is_whole       ? published->info.name
                                            : base_name(path);
        rc = choose_name(work, name, err);
        snprintf(work->json.info.licence, sizeof work->json.info.licence, "%s",
                 published != NULL ? published->info.licence : MS_LICENCE_NOT_KNOWN);
    }
    if (rc == 0)
        rc = ms_import_bytes(mapped.bytes, mapped.size, &imported, err);
    if (rc == 0)
        rc = take_form(work, index, &imported, err);
    if (rc == 0)
        rc = write_network(work, index, &imported, err);
    /* before it is checked: it is twice as large as what was written */
    ms_tensors_free(imported.tensors);
    if (rc == 0)
        rc = check_written(work, index, published != NULL ? &published->networks[network] : NULL,
                           err);
    if (rc == 0)
        note_source(work,
                    work->import->names != NULL ? work->import->names[index] : base_name(path),
                    sha256);
out:
    ms_mapped_close(&mapped);
    ms_manifest_close(&recognised);
    if (rc != 0 && rc != MS_EUSAGE)
        ms_error_prefix(err, "%s", path);
    return rc;
}

/* The description comes last: until then a model is not there. */
static int publish(struct work *work, struct ms_error *err) {
    const char *folder = work->import->folder;
    char *path = NULL;
    int rc = 0;
    for (int i = 0; i < work->import->file_count && rc == 0; i++) {
        path = ms_strdupf("%s/%s", folder, work->json.networks[i].file);
        if (path == NULL)
            return no_memory(err);
        if (rename(work->temporary[i], path) != 0)
            rc = ms_error_about(err, MS_EIO, path, "%s", strerror(errno));
        free(path);
        if (rc == 0) {
            free(work->temporary[i]);
            work->temporary[i] = NULL;
        }
    }
    if (rc != 0)
        return rc;
    path = ms_strdupf("%s/%s.json", folder, work->json.info.name);
    if (path == NULL)
        return no_memory(err);
    rc = ms_model_json_write(path, &work->json, err);
    free(path);
    return rc;
}

int ms_model_import(const struct ms_model_import *import, struct ms_model_info *info,
                    struct ms_error *err) {
    if (import->file_count < 1 || import->file_count > MS_MODEL_MAX_MEMBERS)
        return ms_error_set(err, MS_EUSAGE, "a model has 1 to %d networks; give one file for each",
                            MS_MODEL_MAX_MEMBERS);
    if (import->manifest != NULL && import->file_count != import->manifest->info.member_count)
        return ms_error_set(err, MS_EUSAGE, "%s is made of %d files, not %d",
                            import->manifest->info.name, import->manifest->info.member_count,
                            import->file_count);
    int rc = ms_make_dirs(import->folder, err);
    if (rc != 0)
        return rc;
    struct work *work = calloc(1, sizeof *work);
    if (work == NULL)
        return no_memory(err);
    work->import = import;
    work->json.info.member_count = import->file_count;
    for (int i = 0; i < import->file_count && rc == 0; i++)
        rc = import_file(work, i, err);
    if (rc == 0)
        rc = publish(work, err);
    if (rc == 0 && info != NULL)
        *info = work->json.info;
    for (int i = 0; i < import->file_count; i++) {
        if (work->temporary[i] != NULL)
            unlink(work->temporary[i]);
        free(work->temporary[i]);
    }
    free(work);
    return rc;
}
