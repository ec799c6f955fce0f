/* The published models that are known: read from the manifests built into the binary. Static data;
 * any thread. */
#include "msaas/manifest.h"

#include <stdio.h>
#include <string.h>

#include "bag.h"
#include "mapped.h"
#include "msaas/embedded.h"
#include "msaas/model_json.h"

#define MAX_FILE_BYTES (4 << 20)

const char *ms_manifest_name(int index) {
    static _Thread_local char name[MS_MODEL_NAME_MAX];
    const char *file = NULL;
    for (int i = 0; i <= index && (i == 0 || file != NULL); i++)
        file = ms_embedded_manifests[i].name;
    if (file == NULL)
        return NULL;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(file, "."), file);
    return name;
}

static bool copy_text(const struct ms_json *node, char *out, size_t capacity) {
    const char *text = ms_json_string(node);
    if (text == NULL || strlen(text) >= capacity)
        return false;
    memcpy(out, text, strlen(text) + 1);
    return true;
}

static bool is_digest(const char *text, size_t least) {
    const size_t length = strlen(text);
    return length >= least && length < MS_SHA256_HEX && strspn(text, "0123456789abcdef") == length;
}

static bool read_source(const struct ms_json *object, struct ms_manifest_source *source) {
    const struct ms_json *url = ms_json_get(object, "url");
    const struct ms_json *bytes = ms_json_get(object, "bytes");
    return copy_text(ms_json_get(object, "file"), source->file, sizeof source->file) &&
           ms_model_name_is_plain(source->file) &&
           (url == NULL || copy_text(url, source->url, sizeof source->url)) &&
           copy_text(ms_json_get(object, "sha256"), source->sha256, sizeof source->sha256) &&
           is_digest(source->sha256, 8) &&
           (bytes == NULL || (ms_json_int(bytes, &source->bytes) && source->bytes > 0));
}

static bool read_network(const struct ms_json *object, struct ms_manifest *out) {
    const int index = out->info.member_count;
    struct ms_manifest_network *network = &out->networks[index];
    const struct ms_json *sources = ms_json_get(object, "sources");
    const struct ms_json *weights = ms_json_get(object, "weights");
    const struct ms_json *digest = ms_json_get(object, "safetensors");
    network->tensors = ms_json_get(object, "tensors");
    if (ms_json_count(sources) < 1 || ms_json_count(sources) > MS_MANIFEST_MAX_SOURCES ||
        ms_json_count(weights) != (size_t)out->info.stem_count)
        return false;
    for (const struct ms_json *node = ms_json_first(sources); node != NULL;
         node = ms_json_next(node))
        if (!read_source(node, &network->sources[network->source_count++]))
            return false;
    int stem = 0;
    for (const struct ms_json *node = ms_json_first(weights); node != NULL;
         node = ms_json_next(node))
        if (!ms_json_double(node, &out->info.weights[index][stem++]))
            return false;
    if (digest != NULL && !(copy_text(digest, network->sha256, sizeof network->sha256) &&
                            is_digest(network->sha256, MS_SHA256_HEX - 1)))
        return false;
    out->info.member_count++;
    return true;
}

static bool read_manifest(const struct ms_json *root, struct ms_manifest *out) {
    const struct ms_json *stems = ms_json_get(root, "stems");
    const struct ms_json *networks = ms_json_get(root, "networks");
    if (!copy_text(ms_json_get(root, "name"), out->info.name, sizeof out->info.name) ||
        !ms_model_name_is_plain(out->info.name) ||
        !copy_text(ms_json_get(root, "licence"), out->info.licence, sizeof out->info.licence) ||
        ms_json_count(stems) < 1 || ms_json_count(stems) > MS_MODEL_MAX_STEMS ||
        ms_json_count(networks) < 1 || ms_json_count(networks) > MS_MODEL_MAX_MEMBERS)
        return false;
    for (const struct ms_json *node = ms_json_first(stems); node != NULL; node = ms_json_next(node))
        if (!copy_text(node, out->info.stems[out->info.stem_count++], sizeof out->info.stems[0]))
            return false;
    for (const struct ms_json *node = ms_json_first(networks); node != NULL;
         node = ms_json_next(node))
        if (!read_network(node, out))
            return false;
    return true;
}

static int parse(const char *text, size_t size, struct ms_manifest *out, struct ms_error *err) {
    const int rc = ms_json_parse(text, size, &out->document, err);
    if (rc != 0) {
        ms_error_prefix(err, "the manifest");
        return rc == MS_ENOMEM ? rc : MS_EMODEL;
    }
    if (!read_manifest(out->document, out)) {
        ms_manifest_close(out);
        return ms_error_set(err, MS_EMODEL, "the manifest is malformed");
    }
    return 0;
}

static bool ends_in(const char *name, const char *extension) {
    const size_t length = strlen(name), tail = strlen(extension);
    return length > tail && strcmp(name + length - tail, extension) == 0;
}

bool ms_manifest_is_bag(const char *path) {
    return ends_in(path, ".yaml");
}

/* A bag has the name of its file. */
static int parse_bag(const char *path, const char *text, size_t size, struct ms_manifest *out,
                     struct ms_error *err) {
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    const int rc = ms_bag_parse(text, size, out, err);
    if (rc != 0)
        return rc;
    (void)snprintf(out->info.name, sizeof out->info.name, "%.*s",
                   (int)(strlen(name) - strlen(".yaml")), name);
    (void)snprintf(out->info.licence, sizeof out->info.licence, "%s", MS_LICENCE_NOT_KNOWN);
    return ms_model_name_is_plain(out->info.name)
               ? 0
               : ms_error_set(err, MS_EMODEL,
                              "the name has characters other than letters, digits and ._-");
}

static int open_file(const char *path, struct ms_manifest *out, struct ms_error *err) {
    struct ms_mapped mapped;
    int rc = ms_mapped_open(&mapped, path, MAX_FILE_BYTES, err);
    if (rc != 0)
        return rc;
    const char *text = (const char *)mapped.bytes;
    rc = ms_manifest_is_bag(path) ? parse_bag(path, text, mapped.size, out, err)
                                  : parse(text, mapped.size, out, err);
    ms_mapped_close(&mapped);
    if (rc != 0)
        ms_error_prefix(err, "%s", path);
    return rc;
}

static const struct ms_embedded *find_published(const char *name) {
    const struct ms_embedded *file = ms_embedded_manifests;
    for (; file->name != NULL; file++) {
        const size_t length = strcspn(file->name, ".");
        if (strlen(name) == length && strncmp(name, file->name, length) == 0)
            return file;
    }
    return NULL;
}

/* "a, b, c" */
static void name_published(char *out, size_t capacity) {
    const char *name;
    size_t used = 0;
    for (int i = 0; (name = ms_manifest_name(i)) != NULL && used < capacity; i++)
        used += (size_t)snprintf(out + used, capacity - used, "%s%s", i > 0 ? ", " : "", name);
}

int ms_manifest_open(const char *name, struct ms_manifest *out, struct ms_error *err) {
    memset(out, 0, sizeof *out);
    if (strchr(name, '/') != NULL || ends_in(name, ".json") || ms_manifest_is_bag(name))
        return open_file(name, out, err);
    const struct ms_embedded *file = find_published(name);
    if (file != NULL)
        return parse((const char *)file->bytes, file->size, out, err);
    char published[200];
    name_published(published, sizeof published);
    return ms_error_set(err, MS_ENOTFOUND,
                        "'%.100s' is not a published model; 'msaas model pull' fetches %s, "
                        "'msaas model import' takes others",
                        name, published);
}

int ms_manifest_not_installed(const char *name, const char *folder, struct ms_error *err) {
    char published[200];
    name_published(published, sizeof published);
    if (find_published(name) != NULL)
        return ms_error_set(err, MS_ENOTFOUND,
                            "model '%s' is not in %s; 'msaas model pull %s' fetches it", name,
                            folder, name);
    return ms_error_set(err, MS_ENOTFOUND,
                        "there is no model '%.100s' in %s; 'msaas model pull' fetches %s, "
                        "'msaas model import' takes others",
                        name, folder, published);
}

void ms_manifest_close(struct ms_manifest *manifest) {
    ms_json_free(manifest->document);
    manifest->document = NULL;
}

/* ---- is it the published one? ---- */

bool ms_manifest_has_source(const struct ms_manifest *manifest, int network, const char *sha256) {
    for (int i = 0; i < manifest->networks[network].source_count; i++) {
        const struct ms_manifest_source *source = &manifest->networks[network].sources[i];
        if (strncmp(source->sha256, sha256, strlen(source->sha256)) == 0)
            return true;
    }
    return false;
}

int ms_manifest_check_digest(const struct ms_manifest *manifest, int network, const char *sha256,
                             struct ms_error *err) {
    const struct ms_manifest_network *known = &manifest->networks[network];
    if (ms_manifest_has_source(manifest, network, sha256))
        return 0;
    char expected[300];
    size_t used = 0;
    for (int i = 0; i < known->source_count; i++)
        used +=
            (size_t)snprintf(expected + used, sizeof expected - used, "%s%.12s (%.40s)",
                             i > 0 ? " or " : "", known->sources[i].sha256, known->sources[i].file);
    return ms_error_set(err, MS_ECORRUPT,
                        "not the published file, or damaged: its SHA-256 begins with %.12s, not %s",
                        sha256, expected);
}

int ms_manifest_check_source(const struct ms_manifest *manifest, int network, const char *path,
                             struct ms_error *err) {
    char sha256[MS_SHA256_HEX];
    int rc = ms_sha256_of_file(path, sha256, err);
    if (rc != 0)
        return rc;
    rc = ms_manifest_check_digest(manifest, network, sha256, err);
    if (rc != 0)
        ms_error_prefix(err, "%s", path);
    return rc;
}
