/* NAME.json, read and written, and the files it names: the way from a folder on disk to checked
 * weights. Owns nothing; any thread. */
#include "msaas/model_json.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mapped.h"
#include "msaas/json.h"
#include "msaas/sys.h"
#include "safetensors.h"

#define MAX_JSON_BYTES (1 << 20)
#define MAX_NETWORK_BYTES (INT64_C(4) << 30)
#define FORMAT "msaas-model-1"
#define MEMBERS 9 /* of the description, besides its digest */

/* ---- the hyper-parameters' names in the JSON ---- */

static const struct {
    const char *name;
    size_t offset;
    enum { INT, DOUBLE, BOOL } type;
} fields[] = {
#define FIELD(name, type) {#name, offsetof(struct ms_hyper, name), type}
    FIELD(audio_channels, INT),
    FIELD(channels, INT),
    FIELD(growth, INT),
    FIELD(depth, INT),
    FIELD(nfft, INT),
    FIELD(kernel_size, INT),
    FIELD(stride, INT),
    FIELD(context, INT),
    FIELD(dconv_depth, INT),
    FIELD(dconv_comp, INT),
    FIELD(dconv_encoder, BOOL),
    FIELD(dconv_decoder, BOOL),
    FIELD(freq_emb, DOUBLE),
    FIELD(emb_scale, DOUBLE),
    FIELD(bottom_channels, INT),
    FIELD(t_layers, INT),
    FIELD(t_heads, INT),
    FIELD(t_hidden_scale, DOUBLE),
    FIELD(t_max_period, DOUBLE),
    FIELD(t_weight_pos_embed, DOUBLE),
#undef FIELD
};

static bool plain_int(const struct ms_json *node, int *out) {
    int64_t value;
    if (!ms_json_int(node, &value) || value < 0 || value > INT32_MAX)
        return false;
    *out = (int)value;
    return true;
}

static int read_hyper(const struct ms_json *object, struct ms_hyper *hyper, struct ms_error *err) {
    if (ms_json_count(object) != sizeof fields / sizeof *fields)
        return ms_error_set(err, MS_EMODEL, "hyperparameters has %zu members, but must have %zu",
                            ms_json_count(object), sizeof fields / sizeof *fields);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const struct ms_json *node = ms_json_get(object, fields[i].name);
        void *field = (char *)hyper + fields[i].offset;
        bool ok = false;
        switch (fields[i].type) {
        case INT: ok = plain_int(node, field); break;
        case DOUBLE: ok = ms_json_double(node, field); break;
        case BOOL: ok = ms_json_bool(node, field); break;
        }
        if (!ok)
            return ms_error_set(err, MS_EMODEL, "hyperparameters: %s is missing or of another type",
                                fields[i].name);
    }
    return 0;
}

bool ms_hyper_equal(const struct ms_hyper *a, const struct ms_hyper *b) {
    static const size_t sizes[] = {
        [INT] = sizeof(int), [DOUBLE] = sizeof(double), [BOOL] = sizeof(bool)};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (memcmp((const char *)a + fields[i].offset, (const char *)b + fields[i].offset,
                   sizes[fields[i].type]) != 0)
            return false;
    return a->sources == b->sources && a->samplerate == b->samplerate &&
           a->segment_frames == b->segment_frames;
}

static void write_hyper(struct ms_json_writer *writer, const struct ms_hyper *hyper) {
    ms_json_begin_object(writer, "hyperparameters");
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const void *field = (const char *)hyper + fields[i].offset;
        switch (fields[i].type) {
        case INT: ms_json_put_int(writer, fields[i].name, *(const int *)field); break;
        case DOUBLE: ms_json_put_double(writer, fields[i].name, *(const double *)field); break;
        case BOOL: ms_json_put_bool(writer, fields[i].name, *(const bool *)field); break;
        }
    }
    ms_json_end_object(writer);
}

/* ---- reading ---- */

bool ms_model_name_is_plain(const char *name) {
    if (name[0] == '\0' || name[0] == '.' || name[0] == '-')
        return false;
    for (const char *c = name; *c != '\0'; c++)
        if (!isascii(*c) || (!isalnum((unsigned char)*c) && strchr("._-", *c) == NULL))
            return false;
    return true;
}

static int read_name(const struct ms_json *node, const char *what, char *out, size_t capacity,
                     struct ms_error *err) {
    const char *name = ms_json_string(node);
    if (name == NULL || strlen(name) >= capacity || !ms_model_name_is_plain(name))
        return ms_error_set(err, MS_EMODEL,
                            "%s is missing, has more than %zu characters, or characters other than "
                            "letters, digits and ._-",
                            what, capacity - 1);
    memcpy(out, name, strlen(name) + 1);
    return 0;
}

/* Text for people: it reaches terminals, so control characters are refused. */
static int read_text(const struct ms_json *node, const char *what, char *out, size_t capacity,
                     struct ms_error *err) {
    const char *text = ms_json_string(node);
    if (text == NULL || strlen(text) >= capacity)
        return ms_error_set(err, MS_EMODEL, "%s is missing or longer than %zu bytes", what,
                            capacity - 1);
    for (const char *c = text; *c != '\0'; c++)
        if (iscntrl((unsigned char)*c))
            return ms_error_set(err, MS_EMODEL, "%s holds a control character", what);
    memcpy(out, text, strlen(text) + 1);
    return 0;
}

static int read_stems(const struct ms_json *array, struct ms_model_info *info,
                      struct ms_error *err) {
    if (!ms_json_is_array(array) || ms_json_count(array) < 1 ||
        ms_json_count(array) > MS_MODEL_MAX_STEMS)
        return ms_error_set(err, MS_EMODEL, "stems is not a list of 1 to %d names",
                            MS_MODEL_MAX_STEMS);
    for (const struct ms_json *node = ms_json_first(array); node != NULL;
         node = ms_json_next(node)) {
        char *stem = info->stems[info->stem_count];
        int rc = read_name(node, "a stem's name", stem, sizeof info->stems[0], err);
        if (rc != 0)
            return rc;
        for (int i = 0; i < info->stem_count; i++)
            if (strcmp(info->stems[i], stem) == 0)
                return ms_error_set(err, MS_EMODEL, "stem %s is named twice", stem);
        info->stem_count++;
    }
    return 0;
}

static bool is_sha256(const char *text) {
    return text != NULL && strlen(text) == MS_SHA256_HEX - 1 &&
           strspn(text, "0123456789abcdef") == MS_SHA256_HEX - 1;
}

static int read_network(const struct ms_json *object, struct ms_model_json *out,
                        struct ms_error *err) {
    const int index = out->info.member_count;
    const char *sha256 = ms_json_string(ms_json_get(object, "sha256"));
    const struct ms_json *weights = ms_json_get(object, "weights");
    const int rc = read_name(ms_json_get(object, "file"), "a network's file",
                             out->networks[index].file, sizeof out->networks[index].file, err);
    if (rc != 0)
        return rc;
    if (!is_sha256(sha256))
        return ms_error_set(err, MS_EMODEL, "a network's sha256 is not 64 hexadecimal digits");
    memcpy(out->networks[index].sha256, sha256, MS_SHA256_HEX);
    if (!ms_json_is_array(weights) || ms_json_count(weights) != (size_t)out->info.stem_count)
        return ms_error_set(err, MS_EMODEL, "a network does not have one weight for each stem");
    int stem = 0;
    for (const struct ms_json *node = ms_json_first(weights); node != NULL;
         node = ms_json_next(node)) {
        double *weight = &out->info.weights[index][stem++];
        if (!ms_json_double(node, weight) || !(*weight >= 0 && *weight <= 1000))
            return ms_error_set(err, MS_EMODEL,
                                "a network's weight is not a number from 0 to 1000");
    }
    out->info.member_count++;
    return 0;
}

static int read_networks(const struct ms_json *array, struct ms_model_json *out,
                         struct ms_error *err) {
    if (!ms_json_is_array(array) || ms_json_count(array) < 1 ||
        ms_json_count(array) > MS_MODEL_MAX_MEMBERS)
        return ms_error_set(err, MS_EMODEL, "networks is not a list of 1 to %d",
                            MS_MODEL_MAX_MEMBERS);
    for (const struct ms_json *node = ms_json_first(array); node != NULL;
         node = ms_json_next(node)) {
        int rc = read_network(node, out, err);
        if (rc != 0)
            return rc;
    }
    for (int stem = 0; stem < out->info.stem_count; stem++) {
        double sum = 0;
        for (int i = 0; i < out->info.member_count; i++)
            sum += out->info.weights[i][stem];
        if (!(sum > 0))
            return ms_error_set(err, MS_EMODEL, "no network has a weight above 0 for stem %s",
                                out->info.stems[stem]);
    }
    return 0;
}

/* digest: of the text without the digest; NULL: leave it out */
static struct ms_json_writer *compose(const struct ms_model_json *json, const char *digest) {
    const struct ms_model_info *info = &json->info;
    struct ms_json_writer *writer = ms_json_writer_new();
    if (writer == NULL)
        return NULL;
    ms_json_begin_object(writer, NULL);
    ms_json_put_string(writer, "format", FORMAT);
    ms_json_put_string(writer, "name", info->name);
    ms_json_put_string(writer, "licence", info->licence);
    ms_json_put_string(writer, "source", json->source);
    ms_json_begin_array(writer, "stems");
    for (int i = 0; i < info->stem_count; i++)
        ms_json_put_string(writer, NULL, info->stems[i]);
    ms_json_end_array(writer);
    ms_json_put_int(writer, "samplerate", json->hyper.samplerate);
    ms_json_put_int(writer, "segment_frames", json->hyper.segment_frames);
    write_hyper(writer, &json->hyper);
    ms_json_begin_array(writer, "networks");
    for (int i = 0; i < info->member_count; i++) {
        ms_json_begin_object(writer, NULL);
        ms_json_put_string(writer, "file", json->networks[i].file);
        ms_json_put_string(writer, "sha256", json->networks[i].sha256);
        ms_json_begin_array(writer, "weights");
        for (int j = 0; j < info->stem_count; j++)
            ms_json_put_double(writer, NULL, info->weights[i][j]);
        ms_json_end_array(writer);
        ms_json_end_object(writer);
    }
    ms_json_end_array(writer);
    if (digest != NULL)
        ms_json_put_string(writer, "digest", digest);
    ms_json_end_object(writer);
    return writer;
}

static int digest_of(const struct ms_model_json *json, char sha256[MS_SHA256_HEX],
                     struct ms_error *err) {
    struct ms_json_writer *writer = compose(json, NULL);
    const char *text = NULL;
    size_t size = 0;
    if (writer != NULL)
        text = ms_json_writer_text(writer, &size);
    const int rc = text != NULL
                       ? ms_sha256_of(text, size, sha256, err)
                       : ms_error_set(err, MS_ENOMEM, "no memory for a model's description");
    ms_json_writer_free(writer);
    return rc;
}

/* A file written by hand may have no digest. A digest that is there must match the rest of the
 * file. */
static int check_digest(const struct ms_json *root, const struct ms_model_json *json,
                        struct ms_error *err) {
    const struct ms_json *digest = ms_json_get(root, "digest");
    if (ms_json_count(root) != MEMBERS + (digest != NULL))
        return ms_error_set(err, MS_EMODEL, "it has members that are not known");
    if (digest == NULL)
        return 0;
    char sha256[MS_SHA256_HEX];
    int rc = digest_of(json, sha256, err);
    if (rc == 0 &&
        (!is_sha256(ms_json_string(digest)) || strcmp(ms_json_string(digest), sha256) != 0))
        rc = ms_error_set(
            err, MS_EMODEL,
            "damaged, or changed by hand: its digest does not fit; fetch the model again");
    return rc;
}

int ms_model_json_parse(const char *text, size_t size, struct ms_model_json *out,
                        struct ms_error *err) {
    memset(out, 0, sizeof *out);
    struct ms_json *root = NULL;
    int rc = ms_json_parse(text, size, &root, err);
    if (rc != 0)
        return ms_error_set(err, rc == MS_ENOMEM ? rc : MS_EMODEL, "%s",
                            err != NULL ? err->text : "");
    const char *format = ms_json_string(ms_json_get(root, "format"));
    if (format == NULL || strcmp(format, FORMAT) != 0) {
        rc = ms_error_set(err, MS_EMODEL, "its format is not %s: not a model", FORMAT);
        goto out;
    }
    rc = read_name(ms_json_get(root, "name"), "name", out->info.name, sizeof out->info.name, err);
    if (rc == 0)
        rc = read_text(ms_json_get(root, "licence"), "licence", out->info.licence,
                       sizeof out->info.licence, err);
    if (rc == 0)
        rc = read_text(ms_json_get(root, "source"), "source", out->source, sizeof out->source, err);
    if (rc == 0)
        rc = read_stems(ms_json_get(root, "stems"), &out->info, err);
    if (rc == 0)
        rc = read_networks(ms_json_get(root, "networks"), out, err);
    if (rc == 0)
        rc = read_hyper(ms_json_get(root, "hyperparameters"), &out->hyper, err);
    if (rc != 0)
        goto out;
    if (!plain_int(ms_json_get(root, "samplerate"), &out->hyper.samplerate) ||
        !plain_int(ms_json_get(root, "segment_frames"), &out->hyper.segment_frames)) {
        rc = ms_error_set(err, MS_EMODEL,
                          "samplerate or segment_frames is missing or not a whole number");
        goto out;
    }
    out->info.sample_rate_hz = out->hyper.samplerate;
    out->info.segment_frames = out->hyper.segment_frames;
    out->hyper.sources = out->info.stem_count;
    rc = ms_hyper_check(&out->hyper, err);
    if (rc == 0)
        rc = check_digest(root, out, err);
out:
    ms_json_free(root);
    return rc;
}

int ms_model_json_read(const char *path, struct ms_model_json *out, struct ms_error *err) {
    const char *slash = strrchr(path, '/');
    const char *base = slash != NULL ? slash + 1 : path;
    struct ms_mapped mapped;
    int rc = ms_mapped_open(&mapped, path, MAX_JSON_BYTES, err);
    if (rc != 0)
        return rc;
    rc = ms_model_json_parse((const char *)mapped.bytes, mapped.size, out, err);
    ms_mapped_close(&mapped);
    if (rc == 0 && (strncmp(base, out->info.name, strlen(out->info.name)) != 0 ||
                    strcmp(base + strlen(out->info.name), ".json") != 0))
        rc = ms_error_set(err, MS_EMODEL, "the model in it is called %s", out->info.name);
    if (rc != 0)
        ms_error_prefix(err, "%s", path);
    return rc;
}

int ms_model_json_write(const char *path, const struct ms_model_json *json, struct ms_error *err) {
    struct ms_json_writer *writer = NULL;
    char *temporary = ms_strdupf("%s.%ld.part", path, (long)getpid());
    char digest[MS_SHA256_HEX];
    const char *text = NULL;
    FILE *file = NULL;
    int rc = digest_of(json, digest, err);
    if (rc != 0)
        goto out;
    writer = compose(json, digest);
    size_t size;
    if (writer != NULL)
        text = ms_json_writer_text(writer, &size);
    if (text == NULL || temporary == NULL) {
        rc = ms_error_set(err, MS_ENOMEM, "no memory for a model's description");
        goto out;
    }
    file = fopen(temporary, "wbe");
    if (file == NULL) {
        rc = ms_error_about(err, MS_EIO, temporary, "%s", strerror(errno));
        goto out;
    }
    bool ok = fwrite(text, 1, size, file) == size && fputc('\n', file) != EOF &&
              fflush(file) == 0 && fsync(fileno(file)) == 0;
    ok = fclose(file) == 0 && ok;
    if (!ok || rename(temporary, path) != 0) {
        rc = ms_error_about(err, MS_EIO, path, "cannot write: %s", strerror(errno));
        unlink(temporary);
    }
out:
    free(temporary);
    ms_json_writer_free(writer);
    return rc;
}

/* ---- the files it names ---- */

int ms_model_json_map(const char *json_path, const struct ms_model_json *json, int member,
                      struct ms_weights **weights, struct ms_error *err) {
    const char *slash = strrchr(json_path, '/');
    const int folder = slash != NULL ? (int)(slash + 1 - json_path) : 0;
    const char *expected = json->networks[member].sha256;
    char *path = ms_strdupf("%.*s%s", folder, json_path, json->networks[member].file);
    *weights = NULL;
    if (path == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a path");
    struct ms_mapped mapped = {0};
    int rc = ms_mapped_open(&mapped, path, MAX_NETWORK_BYTES, err);
    if (rc != 0) {
        rc = ms_error_set(err, rc == MS_ENOTFOUND ? MS_EMODEL : rc, "model %s: %s", json->info.name,
                          err != NULL ? err->text : "");
        goto out;
    }
    char sha256[MS_SHA256_HEX];
    rc = ms_sha256_of(mapped.bytes, mapped.size, sha256, err);
    if (rc == 0 && strcmp(sha256, expected) != 0)
        rc = ms_error_set(
            err, MS_EMODEL,
            "damaged: its SHA-256 begins with %.12s, %s.json says %.12s; fetch the model again",
            sha256, json->info.name, expected);
    if (rc == 0)
        rc = ms_safetensors_parse(mapped.bytes, mapped.size, weights, err);
    if (rc == 0)
        rc = ms_weights_check(*weights, &json->hyper, err);
    if (rc != 0)
        ms_error_prefix(err, "%s", path);
    else
        ms_weights_own(*weights, &mapped);
    ms_mapped_rest(&mapped);
out:
    if (rc != 0) {
        ms_weights_free(*weights);
        *weights = NULL;
        ms_mapped_close(&mapped);
    }
    free(path);
    return rc;
}
