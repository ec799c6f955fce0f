/* NAME.yaml of a bag, and the networks' files beside it. libyaml reads the text, which may be
 * hostile: event by event, into arrays of fixed size. Owns nothing; any thread. */
#include "bag.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <yaml.h>

#include "msaas/model_json.h"
#include "msaas/sys.h"
#include "msaas/value.h"

#define MAX_TEXT_BYTES (64 << 10)

/* ---- YAML ---- */

/* Every read_... below begins at the event that is there, and ends at the last one of what it
 * read. */
struct reader {
    yaml_parser_t parser;
    yaml_event_t event;
    int rows; /* of weights, the one being read not counted */
    struct ms_manifest *out;
    struct ms_error *err;
};

static int malformed(struct reader *reader, const char *fmt, ...) MS_PRINTF(2, 3);

static int malformed(struct reader *reader, const char *fmt, ...) {
    char text[200];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return ms_error_set(reader->err, MS_EMODEL, "line %zu: %s", reader->event.start_mark.line + 1,
                        text);
}

static bool is(const struct reader *reader, yaml_event_type_t type) {
    return reader->event.type == type;
}

static int next(struct reader *reader) {
    const yaml_parser_t *parser = &reader->parser;
    yaml_event_delete(&reader->event);
    if (yaml_parser_parse(&reader->parser, &reader->event))
        return 0;
    if (parser->error == YAML_MEMORY_ERROR)
        return ms_error_set(reader->err, MS_ENOMEM, "no memory for a bag");
    /* Where bytes are no text there is no problem_mark. */
    reader->event.start_mark =
        parser->error == YAML_READER_ERROR ? parser->mark : parser->problem_mark;
    return malformed(reader, "this is not YAML: %s", parser->problem);
}

static int expect(struct reader *reader, yaml_event_type_t type) {
    const int rc = next(reader);
    return rc != 0 || is(reader, type)
               ? rc
               : malformed(reader, "keys with their values were expected, and nothing else");
}

/* *out is valid until the next event. */
static int read_scalar(struct reader *reader, size_t most, const char **out) {
    const size_t length = is(reader, YAML_SCALAR_EVENT) ? reader->event.data.scalar.length : 0;
    bool good = length > 0 && length <= most;
    *out = good ? (const char *)reader->event.data.scalar.value : "";
    for (size_t i = 0; good && i < length; i++) /* messages quote it */
        good = (*out)[i] > ' ' && (*out)[i] <= '~';
    return good ? 0
                : malformed(reader, "a name or number was expected, of at most %zu characters",
                            most);
}

typedef int (*read_item)(struct reader *reader, int index);

/* Returns how many items there are, or an error. */
static int read_list(struct reader *reader, int most, read_item read) {
    if (!is(reader, YAML_SEQUENCE_START_EVENT))
        return malformed(reader, "a list was expected");
    for (int count = 0;; count++) {
        int rc = next(reader);
        if (rc != 0)
            return rc;
        if (is(reader, YAML_SEQUENCE_END_EVENT))
            return count;
        if (count == most)
            return malformed(reader, "a list has more than %d items", most);
        rc = read(reader, count);
        if (rc != 0)
            return rc;
    }
}

/* ---- what a bag says ---- */

static int read_number(struct reader *reader, double *out) {
    const char *text;
    const int rc = read_scalar(reader, 39, &text);
    if (rc != 0)
        return rc;
    return ms_value_real(text, 0, 1e6, out, NULL) == 0
               ? 0
               : malformed(reader, "%s is not a number from 0 to 1000000", text);
}

static int read_signature(struct reader *reader, int index) {
    struct ms_manifest_network *network = &reader->out->networks[index];
    const char *signature;
    const int rc = read_scalar(reader, 63, &signature);
    if (rc != 0)
        return rc;
    if (!ms_model_name_is_plain(signature))
        return malformed(reader, "the name of a network has characters other than letters, digits "
                                 "and ._-");
    (void)snprintf(network->sources[0].file, sizeof network->sources[0].file, "%s.safetensors",
                   signature);
    (void)snprintf(network->sources[1].file, sizeof network->sources[1].file, "%s.th", signature);
    network->source_count = 2;
    reader->out->info.member_count = index + 1;
    return 0;
}

static int read_weight(struct reader *reader, int index) {
    return read_number(reader, &reader->out->info.weights[reader->rows][index]);
}

static int read_row(struct reader *reader, int index) {
    struct ms_model_info *info = &reader->out->info;
    const int count = read_list(reader, MS_MODEL_MAX_STEMS, read_weight);
    if (count < 0)
        return count;
    if (count == 0 || (index > 0 && count != info->stem_count))
        return malformed(reader, "every network needs a weight for each stem");
    info->stem_count = count;
    reader->rows = index + 1;
    return 0;
}

/* A key and its value. */
static int read_member(struct reader *reader) {
    const char *key;
    int rc = read_scalar(reader, 31, &key);
    if (rc != 0)
        return rc;
    const bool models = strcmp(key, "models") == 0 && reader->out->info.member_count == 0;
    const bool weights = strcmp(key, "weights") == 0 && reader->rows == 0;
    if (!models && !weights && strcmp(key, "segment") != 0)
        return malformed(reader, "the key %s is not known, or there twice", key);
    rc = next(reader);
    if (rc != 0)
        return rc;
    if (!models && !weights)
        return read_number(reader, &reader->out->segment_s);
    rc = read_list(reader, MS_MODEL_MAX_MEMBERS, models ? read_signature : read_row);
    return rc < 0 ? rc : 0;
}

static int read_document(struct reader *reader) {
    int rc = expect(reader, YAML_STREAM_START_EVENT);
    if (rc == 0)
        rc = expect(reader, YAML_DOCUMENT_START_EVENT);
    if (rc == 0)
        rc = expect(reader, YAML_MAPPING_START_EVENT);
    while (rc == 0 && (rc = next(reader)) == 0 && !is(reader, YAML_MAPPING_END_EVENT))
        rc = read_member(reader);
    if (rc == 0)
        rc = expect(reader, YAML_DOCUMENT_END_EVENT);
    return rc == 0 ? expect(reader, YAML_STREAM_END_EVENT) : rc;
}

int ms_bag_parse(const char *text, size_t size, struct ms_manifest *out, struct ms_error *err) {
    struct reader reader = {.out = out, .err = err};
    memset(out, 0, sizeof *out);
    out->is_bag = true;
    if (size > MAX_TEXT_BYTES)
        return ms_error_set(err, MS_EMODEL, "a bag has at most %d KiB", MAX_TEXT_BYTES >> 10);
    if (!yaml_parser_initialize(&reader.parser))
        return ms_error_set(err, MS_ENOMEM, "no memory for a bag");
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)(size > 0 ? text : ""),
                                 size);
    int rc = read_document(&reader);
    const int networks = out->info.member_count;
    if (rc == 0 && networks == 0)
        rc = malformed(&reader, "the bag names no models");
    if (rc == 0 && reader.rows > 0 && reader.rows != networks)
        rc = malformed(&reader, "there are weights for %d networks, but %d networks", reader.rows,
                       networks);
    yaml_event_delete(&reader.event);
    yaml_parser_delete(&reader.parser);
    return rc;
}

/* ---- the files beside it ---- */

/* SIGNATURE-CHECKSUM.th, as upstream's own folders hold it; the checksum is the beginning of the
 * file's SHA-256. False: there is none, or nothing that could be one. */
static bool find_checked(const char *folder, const char *signature, size_t length,
                         struct ms_manifest_source *source) {
    DIR *dir = opendir(folder);
    struct dirent *entry;
    bool found = false;
    while (dir != NULL && !found && (entry = readdir(dir)) != NULL) {
        const char *rest = entry->d_name + length;
        if (strncmp(entry->d_name, signature, length) != 0 || *rest != '-')
            continue;
        const size_t digits = strspn(++rest, "0123456789abcdef");
        found = digits >= 8 && digits < sizeof source->sha256 &&
                strcmp(rest + digits, ".th") == 0 && strlen(entry->d_name) < sizeof source->file;
        if (found) {
            (void)snprintf(source->file, sizeof source->file, "%s", entry->d_name);
            (void)snprintf(source->sha256, sizeof source->sha256, "%.*s", (int)digits, rest);
        }
    }
    if (dir != NULL)
        (void)closedir(dir);
    return found;
}

static int find_one(const char *folder, struct ms_manifest_network *network, char **out,
                    struct ms_error *err) {
    const char *name = network->sources[0].file;
    const size_t length = strlen(name) - strlen(".safetensors");
    for (int i = 0; i < network->source_count; i++) {
        char *path = ms_strdupf("%s/%s", folder, network->sources[i].file);
        if (path == NULL)
            return ms_error_set(err, MS_ENOMEM, "no memory for a path");
        if (access(path, F_OK) == 0) {
            *out = path;
            return 0;
        }
        free(path);
    }
    struct ms_manifest_source checked = {0};
    if (!find_checked(folder, name, length, &checked))
        return ms_error_set(err, MS_ENOTFOUND,
                            "%s holds neither %s nor %.*s.th, which the bag needs", folder, name,
                            (int)length, name);
    network->sources[0] = checked;
    network->source_count = 1;
    *out = ms_strdupf("%s/%s", folder, checked.file);
    return *out != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "no memory for a path");
}

int ms_manifest_find_beside(struct ms_manifest *bag, const char *path, char **files,
                            struct ms_error *err) {
    const char *slash = strrchr(path, '/');
    char *folder = slash != NULL ? ms_strdupf("%.*s", (int)(slash - path), path) : ms_strdupf(".");
    if (folder == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a path");
    int rc = 0;
    for (int i = 0; i < bag->info.member_count && rc == 0; i++)
        rc = find_one(slash == path ? "/" : folder, &bag->networks[i], &files[i], err);
    free(folder);
    return rc;
}
