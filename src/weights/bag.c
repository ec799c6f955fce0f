/* NAME.yaml of a bag, and the networks' files beside it. The text may be hostile: it is read once,
 * from left to right, into arrays of fixed size. Owns nothing; any thread. */
#include "bag.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "msaas/model_json.h"
#include "msaas/sys.h"
#include "msaas/value.h"

/* ---- YAML ---- */

struct reader {
    const char *text;
    size_t size, at;
    size_t line_start;
    int line;
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
    return ms_error_set(reader->err, MS_EMODEL, "line %d: %s", reader->line, text);
}

/* '\0' at the end of the text. */
static char peek(const struct reader *reader, size_t ahead) {
    if (reader->size - reader->at <= ahead)
        return '\0';
    return reader->text[reader->at + ahead];
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

static void skip_blanks(struct reader *reader) {
    while (is_blank(peek(reader, 0)))
        reader->at++;
    const bool apart = reader->at == reader->line_start || is_blank(reader->text[reader->at - 1]) ||
                       strchr("[],", reader->text[reader->at - 1]) != NULL;
    if (peek(reader, 0) == '#' && apart)
        while (reader->at < reader->size && reader->text[reader->at] != '\n')
            reader->at++;
}

/* To the next thing that is no blank, line break or comment. */
static void skip_space(struct reader *reader) {
    for (;;) {
        skip_blanks(reader);
        if (peek(reader, 0) != '\n')
            return;
        reader->line_start = ++reader->at;
        reader->line++;
    }
}

static size_t column(const struct reader *reader) {
    return reader->at - reader->line_start;
}

static bool at_dash(const struct reader *reader) {
    const char next = peek(reader, 1);
    return peek(reader, 0) == '-' && (is_blank(next) || next == '\n' || next == '\0');
}

/* A plain or quoted scalar. */
static int read_scalar(struct reader *reader, char *out, size_t capacity) {
    const char quote = peek(reader, 0);
    const bool quoted = quote == '\'' || quote == '"';
    size_t length = 0;
    reader->at += quoted;
    const char *begin = reader->text + reader->at;
    while (reader->at < reader->size &&
           strchr(quoted ? "'\"\\\n" : " \t\r\n,[]{}:", *(begin + length)) == NULL) {
        length++;
        reader->at++;
    }
    if (length == 0 || length >= capacity || (quoted && peek(reader, 0) != quote))
        return malformed(reader, "a name or number was expected, of at most %zu characters",
                         capacity - 1);
    reader->at += quoted;
    memcpy(out, begin, length);
    out[length] = '\0';
    return 0;
}

typedef int (*read_item)(struct reader *reader, int index);

/* [a, b], over any number of lines */
static int read_flow_list(struct reader *reader, int most, read_item read, int *count) {
    reader->at++;
    for (*count = 0;; ++*count) {
        skip_space(reader);
        if (peek(reader, 0) == ']') {
            reader->at++;
            return 0;
        }
        if (*count == most)
            return malformed(reader, "a list has more than %d items", most);
        const int rc = read(reader, *count);
        if (rc != 0)
            return rc;
        skip_space(reader);
        if (peek(reader, 0) == ',')
            reader->at++;
        else if (peek(reader, 0) != ']')
            return malformed(reader, "a list lacks a comma or its ']'");
    }
}

/* "- a" on lines of its own; the items' dashes stand below each other */
static int read_block_list(struct reader *reader, int most, read_item read, int *count) {
    const size_t margin = column(reader);
    for (*count = 0; at_dash(reader) && column(reader) == margin; ++*count) {
        if (*count == most)
            return malformed(reader, "a list has more than %d items", most);
        reader->at++;
        skip_blanks(reader);
        int rc = read(reader, *count);
        if (rc != 0)
            return rc;
        const int line = reader->line;
        skip_space(reader);
        if (reader->at < reader->size && reader->line == line && column(reader) > margin)
            return malformed(reader, "more follows an item of a list");
    }
    return 0;
}

static int read_list(struct reader *reader, int most, read_item read, int *count) {
    skip_space(reader);
    if (peek(reader, 0) == '[')
        return read_flow_list(reader, most, read, count);
    if (at_dash(reader))
        return read_block_list(reader, most, read, count);
    return malformed(reader, "a list was expected");
}

/* ---- what a bag says ---- */

static int read_number(struct reader *reader, double *out) {
    char text[40];
    const int rc = read_scalar(reader, text, sizeof text);
    if (rc != 0)
        return rc;
    return ms_value_real(text, 0, 1e6, out, NULL) == 0
               ? 0
               : malformed(reader, "%s is not a number from 0 to 1000000", text);
}

static int read_signature(struct reader *reader, int index) {
    struct ms_manifest_network *network = &reader->out->networks[index];
    char signature[64];
    const int rc = read_scalar(reader, signature, sizeof signature);
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
    int count;
    const int rc = read_list(reader, MS_MODEL_MAX_STEMS, read_weight, &count);
    if (rc != 0)
        return rc;
    if (count == 0 || (index > 0 && count != info->stem_count))
        return malformed(reader, "every network needs a weight for each stem");
    info->stem_count = count;
    reader->rows = index + 1;
    return 0;
}

static int read_segment(struct reader *reader) {
    skip_blanks(reader);
    return read_number(reader, &reader->out->segment_s);
}

static int read_member(struct reader *reader) {
    char key[32];
    int count;
    if (column(reader) != 0)
        return malformed(reader, "a key was expected at the left margin");
    int rc = read_scalar(reader, key, sizeof key);
    if (rc != 0)
        return rc;
    if (peek(reader, 0) != ':')
        return malformed(reader, "a key and ':' were expected");
    reader->at++;
    if (strcmp(key, "models") == 0 && reader->out->info.member_count == 0)
        rc = read_list(reader, MS_MODEL_MAX_MEMBERS, read_signature, &count);
    else if (strcmp(key, "weights") == 0 && reader->rows == 0)
        rc = read_list(reader, MS_MODEL_MAX_MEMBERS, read_row, &count);
    else if (strcmp(key, "segment") == 0)
        rc = read_segment(reader);
    else
        rc = malformed(reader, "the key %s is not known, or there twice", key);
    return rc;
}

int ms_bag_parse(const char *text, size_t size, struct ms_manifest *out, struct ms_error *err) {
    struct reader reader = {.text = text, .size = size, .line = 1, .out = out, .err = err};
    memset(out, 0, sizeof *out);
    out->is_bag = true;
    if (size >= 4 && memcmp(text, "---\n", 4) == 0)
        reader.at = 3;
    for (skip_space(&reader); reader.at < size; skip_space(&reader)) {
        const int rc = read_member(&reader);
        if (rc != 0)
            return rc;
    }
    if (out->info.member_count == 0)
        return malformed(&reader, "the bag names no models");
    if (reader.rows > 0 && reader.rows != out->info.member_count)
        return malformed(&reader, "there are weights for %d networks, but %d networks", reader.rows,
                         out->info.member_count);
    return 0;
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
