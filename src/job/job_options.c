/* See job_options.h. Owns nothing; any thread. */
#include "msaas/job_options.h"

#include <stdio.h>
#include <string.h>

#include "msaas/json.h"
#include "msaas/value.h"

#define FIELD(name)                                                                                \
    .offset = offsetof(struct ms_job_options, name),                                               \
    .bytes = sizeof(((struct ms_job_options *)0)->name)

const struct ms_job_option ms_job_option_table[MS_JOB_OPTION_COUNT] = {
    [MS_JOB_OPTION_MODEL] = {"model", "model", MS_JOB_TYPE_NAME, "NAME", NULL, 0, 0,
                             "Model, one of those on offer; by default the server's.",
                             FIELD(model)},
    [MS_JOB_OPTION_STEMS] = {"stems", "stems", MS_JOB_TYPE_NAMES, "A,B,...", NULL, 0, 0,
                             "Only these stems; by default all that the model has.", FIELD(stems)},
    [MS_JOB_OPTION_TWO_STEMS] = {"two_stems", "two-stems", MS_JOB_TYPE_NAME, "STEM", NULL, 0, 0,
                                 "Only this stem and the rest (karaoke: vocals).",
                                 FIELD(two_stems)},
    [MS_JOB_OPTION_FORMAT] = {"format", NULL, MS_JOB_TYPE_CHOICE, "mp3|wav|flac|opus|m4a", "mp3", 0,
                              0, "Format of the stems.", FIELD(format)},
    [MS_JOB_OPTION_BITRATE] = {"bitrate", "bitrate", MS_JOB_TYPE_INTEGER, "KBPS", NULL, 0, 512,
                               "Bit rate in kbit/s of MP3 (by default 320), Opus (160) or M4A "
                               "(256).",
                               FIELD(bitrate_kbps)},
    [MS_JOB_OPTION_SHIFTS] = {"shifts", "shifts", MS_JOB_TYPE_INTEGER, "N", "0", 0,
                              MS_JOB_MAX_SHIFTS,
                              "Average N runs, each shifted at random by up to half a second: "
                              "slightly better stems, N times the work.",
                              FIELD(shifts)},
    [MS_JOB_OPTION_SEED] = {"seed", "seed", MS_JOB_TYPE_INTEGER, "S", "0", 0, 0x1p53,
                            "Seed of the random shifts; the same seed gives the same bytes.",
                            FIELD(seed)},
    [MS_JOB_OPTION_OVERLAP] = {"overlap", "overlap", MS_JOB_TYPE_REAL, "PART", "0.25", 0, 0.99,
                               "Part of a segment that overlaps the next one.", FIELD(overlap)},
    [MS_JOB_OPTION_CLIP] = {"clip", "clip-mode", MS_JOB_TYPE_CHOICE, "rescale|clamp|none",
                            "rescale", 0, 0,
                            "What to do with a stem that is too loud for its format: make it "
                            "quieter, cut its peaks, or nothing.",
                            FIELD(clip)},
    [MS_JOB_OPTION_PRECISION] = {"precision", "precision", MS_JOB_TYPE_ENUM, "auto|float32|bf16",
                                 NULL, 0, 0,
                                 "Number format that the network computes in; auto, the default: "
                                 "the worker's choice.",
                                 FIELD(precision)},
};

/* The same formats as in the room audio, which the API does not link. */
static const struct {
    const char *name, *mime;
    int min_kbps, max_kbps; /* 0: it has no bit rate to choose */
} formats[] = {
    {"mp3", "audio/mpeg", 32, 320}, {"wav", "audio/wav", 0, 0},    {"flac", "audio/flac", 0, 0},
    {"opus", "audio/ogg", 12, 510}, {"m4a", "audio/mp4", 32, 512},
};
enum { FORMAT_COUNT = sizeof formats / sizeof *formats };

static int find_format(const char *name) {
    for (int i = 0; i < FORMAT_COUNT; i++)
        if (strcmp(name, formats[i].name) == 0)
            return i;
    return -1;
}

const char *ms_job_mime(const char *format) {
    const int index = find_format(format);
    return index < 0 ? "application/octet-stream" : formats[index].mime;
}

const struct ms_job_option *ms_job_option_find(const char *name) {
    for (int i = 0; i < MS_JOB_OPTION_COUNT; i++)
        if (strcmp(name, ms_job_option_table[i].name) == 0)
            return &ms_job_option_table[i];
    return NULL;
}

void ms_job_options_default(const char *model, struct ms_job_options *out) {
    memset(out, 0, sizeof *out);
    for (int i = 0; i < MS_JOB_OPTION_COUNT; i++)
        if (ms_job_option_table[i].standard != NULL)
            (void)!ms_job_option_set(out, &ms_job_option_table[i], ms_job_option_table[i].standard,
                                     NULL);
    (void)snprintf(out->model, sizeof out->model, "%s", model);
}

/* ---- one option ---- */

static void *place_of(struct ms_job_options *options, const struct ms_job_option *option) {
    return (char *)options + option->offset;
}

static const void *value_of(const struct ms_job_options *options,
                            const struct ms_job_option *option) {
    return (const char *)options + option->offset;
}

static bool is_name(const struct ms_job_option *option, const char *text, size_t length,
                    size_t capacity) {
    const bool is_model = option == &ms_job_option_table[MS_JOB_OPTION_MODEL];
    const char *others = is_model ? "._-" : "_-";
    if (length == 0 || length >= capacity || text[0] == '.')
        return false;
    for (size_t i = 0; i < length; i++) {
        const char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              strchr(others, c) != NULL))
            return false;
    }
    return true;
}

static int set_name(char *out, const struct ms_job_option *option, const char *text, size_t length,
                    size_t capacity, struct ms_error *err) {
    if (!is_name(option, text, length, capacity))
        return ms_error_set(err, MS_EUSAGE,
                            "\"%.*s\" is not a name: use up to %zu letters, digits, \"_\" and "
                            "\"-\"",
                            length < 40 ? (int)length : 40, text, capacity - 1);
    memcpy(out, text, length);
    out[length] = '\0';
    return 0;
}

/* "vocals,drums" */
static int add_names(struct ms_job_options *options, const struct ms_job_option *option,
                     const char *text, struct ms_error *err) {
    for (const char *at = text;;) {
        const size_t length = strcspn(at, ",");
        if (options->stem_count == MS_JOB_MAX_STEMS)
            return ms_error_set(err, MS_EUSAGE, "at most %d can be named", MS_JOB_MAX_STEMS);
        int rc = set_name(options->stems[options->stem_count], option, at, length,
                          sizeof options->stems[0], err);
        if (rc != 0)
            return rc;
        options->stem_count++;
        if (at[length] == '\0')
            return 0;
        at += length + 1;
    }
}

/* Errors do not name the option. */
static int parse(struct ms_job_options *options, const struct ms_job_option *option,
                 const char *text, struct ms_error *err) {
    void *place = place_of(options, option);
    int choice = 0;
    int rc = 0;
    switch (option->type) {
    case MS_JOB_TYPE_NAME: return set_name(place, option, text, strlen(text), option->bytes, err);
    case MS_JOB_TYPE_NAMES: return add_names(options, option, text, err);
    case MS_JOB_TYPE_CHOICE:
        rc = ms_value_choice(text, option->value, &choice, err);
        if (rc == 0)
            (void)snprintf(place, option->bytes, "%s", text);
        return rc;
    case MS_JOB_TYPE_ENUM:
        rc = ms_value_choice(text, option->value, &choice, err);
        if (rc == 0)
            *(enum ms_precision *)place = (enum ms_precision)choice;
        return rc;
    case MS_JOB_TYPE_INTEGER:
        return ms_value_int(text, (int64_t)option->least, (int64_t)option->most, place, err);
    case MS_JOB_TYPE_REAL: return ms_value_real(text, option->least, option->most, place, err);
    }
    return 0;
}

int ms_job_option_check(const struct ms_job_option *option, const char *text,
                        struct ms_error *err) {
    struct ms_job_options scratch = {0};
    return parse(&scratch, option, text, err);
}

int ms_job_option_set(struct ms_job_options *options, const struct ms_job_option *option,
                      const char *text, struct ms_error *err) {
    int rc = text[0] != '\0' ? parse(options, option, text, err) : 0;
    if (rc != 0 && err != NULL)
        (void)ms_error_prefix(err, "%s", option->name);
    return rc;
}

/* ---- all options ---- */

/* The option as text, as ms_job_option_set reads it; "" for none. */
static void print(const struct ms_job_options *options, const struct ms_job_option *option,
                  char *out, size_t capacity) {
    const void *value = value_of(options, option);
    out[0] = '\0';
    switch (option->type) {
    case MS_JOB_TYPE_NAME:
    case MS_JOB_TYPE_CHOICE:
        (void)snprintf(out, capacity, "%.*s", (int)strnlen(value, option->bytes),
                       (const char *)value);
        break;
    case MS_JOB_TYPE_NAMES: break;
    case MS_JOB_TYPE_ENUM:
        ms_value_of_choice(option->value, (int)*(const enum ms_precision *)value, out, capacity);
        break;
    case MS_JOB_TYPE_INTEGER:
        (void)snprintf(out, capacity, "%lld", (long long)*(const int64_t *)value);
        break;
    case MS_JOB_TYPE_REAL: (void)snprintf(out, capacity, "%.17g", *(const double *)value); break;
    }
}

static int check_stems(const struct ms_job_options *options, struct ms_error *err) {
    const struct ms_job_option *option = &ms_job_option_table[MS_JOB_OPTION_STEMS];
    if (options->stem_count < 0 || options->stem_count > MS_JOB_MAX_STEMS)
        return ms_error_about(err, MS_EUSAGE, "stems", "at most %d can be named", MS_JOB_MAX_STEMS);
    if (options->stem_count > 0 && options->two_stems[0] != '\0')
        return ms_error_set(err, MS_EUSAGE, "stems and two_stems exclude each other");
    for (int i = 0; i < options->stem_count; i++) {
        const char *stem = options->stems[i];
        if (!is_name(option, stem, strnlen(stem, sizeof options->stems[i]),
                     sizeof options->stems[i]))
            return ms_error_about(err, MS_EUSAGE, "stems", "number %d is not the name of a stem",
                                  i + 1);
        for (int j = 0; j < i; j++)
            if (strcmp(stem, options->stems[j]) == 0)
                return ms_error_about(err, MS_EUSAGE, "stems", "\"%s\" is named twice", stem);
    }
    return 0;
}

int ms_job_bitrate_check(const char *format, int64_t kbps, struct ms_error *err) {
    const int index = find_format(format);
    if (kbps == 0 || index < 0)
        return 0;
    const int least = formats[index].min_kbps, most = formats[index].max_kbps;
    if (most == 0)
        return ms_error_about(err, MS_EUSAGE, "bitrate", "%s has no bit rate to choose", format);
    if (kbps < least || kbps > most)
        return ms_error_about(err, MS_EUSAGE, "bitrate", "must be from %d to %d for %s", least,
                              most, format);
    return 0;
}

int ms_job_options_check(const struct ms_job_options *options, struct ms_error *err) {
    int rc = check_stems(options, err);
    for (int i = 0; rc == 0 && i < MS_JOB_OPTION_COUNT; i++) {
        const struct ms_job_option *option = &ms_job_option_table[i];
        struct ms_job_options scratch = {0};
        char text[80];
        print(options, option, text, sizeof text);
        if (text[0] == '\0' && option->standard != NULL)
            return ms_error_about(err, MS_EUSAGE, option->name, "has no value");
        rc = ms_job_option_set(&scratch, option, text, err);
    }
    return rc == 0 ? ms_job_bitrate_check(options->format, options->bitrate_kbps, err) : rc;
}

/* ---- JSON ---- */

void ms_job_options_to_json(const struct ms_job_options *options, struct ms_json_writer *w) {
    for (int i = 0; i < MS_JOB_OPTION_COUNT; i++) {
        const struct ms_job_option *option = &ms_job_option_table[i];
        const void *value = value_of(options, option);
        char text[80];
        print(options, option, text, sizeof text);
        if (option->type == MS_JOB_TYPE_NAMES && options->stem_count > 0) {
            ms_json_begin_array(w, option->name);
            for (int s = 0; s < options->stem_count; s++)
                ms_json_put_string(w, NULL, options->stems[s]);
            ms_json_end_array(w);
        } else if (option->type == MS_JOB_TYPE_REAL) {
            ms_json_put_double(w, option->name, *(const double *)value);
        } else if (option->type == MS_JOB_TYPE_INTEGER) {
            const int64_t number = *(const int64_t *)value;
            if (number != 0 || option->standard != NULL)
                ms_json_put_int(w, option->name, number);
            else
                ms_json_put_null(w, option->name);
        } else {
            ms_json_put_string(w, option->name, text[0] != '\0' ? text : NULL);
        }
    }
}

static int wrong_type(const struct ms_job_option *option, const char *wanted,
                      struct ms_error *err) {
    return ms_error_about(err, MS_EUSAGE, option->name, "must be %s", wanted);
}

static int names_from_json(const struct ms_json *node, const struct ms_job_option *option,
                           struct ms_job_options *options, struct ms_error *err) {
    int rc = ms_json_is_array(node) ? 0 : wrong_type(option, "an array of names", err);
    for (const struct ms_json *at = ms_json_first(node); rc == 0 && at != NULL;
         at = ms_json_next(at)) {
        const char *name = ms_json_string(at);
        if (name == NULL || strchr(name, ',') != NULL)
            return wrong_type(option, "an array of names", err);
        rc = add_names(options, option, name, err);
        if (rc != 0)
            (void)ms_error_prefix(err, "%s", option->name);
    }
    return rc;
}

static int number_from_json(const struct ms_json *node, const struct ms_job_option *option,
                            void *place, struct ms_error *err) {
    int64_t integer = 0;
    double real = 0;
    const bool whole = option->type == MS_JOB_TYPE_INTEGER;
    if (whole ? !ms_json_int(node, &integer) : !ms_json_double(node, &real))
        return wrong_type(option, whole ? "a whole number" : "a number", err);
    int rc = ms_value_check_range(whole ? (double)integer : real, option->least, option->most, err);
    if (rc != 0) {
        (void)ms_error_prefix(err, "%s", option->name);
        return rc;
    }
    if (whole)
        *(int64_t *)place = integer;
    else
        *(double *)place = real;
    return 0;
}

int ms_job_options_from_json(const struct ms_json *object, struct ms_job_options *options,
                             struct ms_error *err) {
    int rc = 0;
    for (int i = 0; rc == 0 && i < MS_JOB_OPTION_COUNT; i++) {
        const struct ms_job_option *option = &ms_job_option_table[i];
        const struct ms_json *node = ms_json_get(object, option->name);
        if (node == NULL || ms_json_is_null(node))
            continue;
        if (option->type == MS_JOB_TYPE_NAMES)
            rc = names_from_json(node, option, options, err);
        else if (option->type == MS_JOB_TYPE_INTEGER || option->type == MS_JOB_TYPE_REAL)
            rc = number_from_json(node, option, place_of(options, option), err);
        else if (ms_json_string(node) == NULL)
            rc = wrong_type(option, "a string", err);
        else
            rc = ms_job_option_set(options, option, ms_json_string(node), err);
    }
    return rc;
}
