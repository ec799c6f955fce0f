/* A job: its states, its options and their rules, its id, the names of its objects. Owns nothing;
 * any thread. */
#include "msaas/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/digest.h"
#include "msaas/sys.h"

/* ---- states ---- */

static const char *const state_names[MS_JOB_STATES] = {
    [MS_JOB_QUEUED] = "queued", [MS_JOB_RUNNING] = "running",   [MS_JOB_SUCCEEDED] = "succeeded",
    [MS_JOB_FAILED] = "failed", [MS_JOB_CANCELED] = "canceled",
};

const char *ms_job_state_name(enum ms_job_state state) {
    return (unsigned)state < MS_JOB_STATES ? state_names[state] : "unknown";
}

int ms_job_state_parse(const char *name, enum ms_job_state *out, struct ms_error *err) {
    for (int i = 0; i < MS_JOB_STATES; i++) {
        if (strcmp(name, state_names[i]) == 0) {
            *out = (enum ms_job_state)i;
            return 0;
        }
    }
    return ms_error_set(
        err, MS_EUSAGE,
        "\"%.40s\" is no state; queued, running, succeeded, failed and canceled are", name);
}

bool ms_job_state_is_final(enum ms_job_state state) {
    return state == MS_JOB_SUCCEEDED || state == MS_JOB_FAILED || state == MS_JOB_CANCELED;
}

/* ---- options ---- */

/* As the encoder of the room `audio` has them, which front ends don't link. */
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

/* 1 to `size` - 1 letters, digits and characters of `others`. */
static bool is_word(const char *text, size_t size, const char *others) {
    const size_t length = strnlen(text, size);
    if (length == 0 || length >= size)
        return false;
    for (size_t i = 0; i < length; i++) {
        const char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              strchr(others, c) != NULL))
            return false;
    }
    return true;
}

bool ms_job_label_is_valid(const char *text) {
    return is_word(text, MS_JOB_LABEL_MAX, "_-");
}

bool ms_job_id_is_valid(const char *text) {
    return strnlen(text, MS_JOB_ID_HEX) == MS_JOB_ID_HEX - 1 &&
           strspn(text, "0123456789abcdef") == MS_JOB_ID_HEX - 1;
}

void ms_job_options_default(const char *model, struct ms_job_options *out) {
    memset(out, 0, sizeof *out);
    (void)snprintf(out->model, sizeof out->model, "%s", model);
    (void)snprintf(out->format, sizeof out->format, "mp3");
    (void)snprintf(out->clip, sizeof out->clip, "rescale");
    out->overlap = 0.25;
}

static int check_stems(const struct ms_job_options *options, struct ms_error *err) {
    if (options->stem_count < 0 || options->stem_count > MS_JOB_MAX_STEMS)
        return ms_error_set(err, MS_EUSAGE, "stems: at most %d can be named", MS_JOB_MAX_STEMS);
    if (options->stem_count > 0 && options->two_stems[0] != '\0')
        return ms_error_set(err, MS_EUSAGE, "stems and two_stems exclude each other");
    for (int i = 0; i < options->stem_count; i++) {
        if (!is_word(options->stems[i], sizeof options->stems[i], "_-"))
            return ms_error_set(err, MS_EUSAGE, "stems: number %d is no name of a stem", i + 1);
        for (int j = 0; j < i; j++)
            if (strcmp(options->stems[i], options->stems[j]) == 0)
                return ms_error_set(err, MS_EUSAGE, "stems: \"%s\" is named twice",
                                    options->stems[i]);
    }
    if (options->two_stems[0] != '\0' &&
        !is_word(options->two_stems, sizeof options->two_stems, "_-"))
        return ms_error_set(err, MS_EUSAGE, "two_stems: it names no stem; \"vocals\" would");
    return 0;
}

int ms_job_options_check(const struct ms_job_options *options, struct ms_error *err) {
    int rc;
    if (options->model[0] != '\0' &&
        (!is_word(options->model, sizeof options->model, "._-") || options->model[0] == '.'))
        return ms_error_set(err, MS_EUSAGE,
                            "model: it is no model's name; letters, digits, '.', '_', '-' are");
    rc = check_stems(options, err);
    if (rc != 0)
        return rc;
    const int format = find_format(options->format);
    if (format < 0)
        return ms_error_set(err, MS_EUSAGE, "format: mp3, wav, flac, opus and m4a are known");
    if (options->bitrate_kbps != 0 && formats[format].max_kbps == 0)
        return ms_error_set(err, MS_EUSAGE, "bitrate: %s has none to choose", options->format);
    if (options->bitrate_kbps != 0 && (options->bitrate_kbps < formats[format].min_kbps ||
                                       options->bitrate_kbps > formats[format].max_kbps))
        return ms_error_set(err, MS_EUSAGE, "bitrate: %d to %d kbit/s for %s, or 0 for its own",
                            formats[format].min_kbps, formats[format].max_kbps, options->format);
    if (options->shifts < 0 || options->shifts > 20)
        return ms_error_set(err, MS_EUSAGE, "shifts: 0 to 20");
    if (options->seed < 0 || options->seed > INT64_C(1) << 53)
        return ms_error_set(err, MS_EUSAGE, "seed: 0 to 2^53");
    if (!(options->overlap >= 0 && options->overlap <= 0.99))
        return ms_error_set(err, MS_EUSAGE, "overlap: 0 to 0.99");
    if (strcmp(options->clip, "rescale") != 0 && strcmp(options->clip, "clamp") != 0 &&
        strcmp(options->clip, "none") != 0)
        return ms_error_set(err, MS_EUSAGE, "clip: rescale, clamp or none");
    return 0;
}

/* ---- the id ---- */

enum { CANONICAL_MAX = 2048 }; /* all options at their longest need 900 */

static int compare_words(const void *a, const void *b) {
    return strcmp(a, b);
}

/* The same text for options that give the same result: the order of stems does not count, nor a
 * seed without shifts. It is part of ids that clients keep: it must not change. So what was not an
 * option from the first is named only where it is not the default. */
static void canonical_options(const struct ms_job_options *options, char text[CANONICAL_MAX]) {
    char stems[MS_JOB_MAX_STEMS][sizeof options->stems[0]];
    size_t used;
    memcpy(stems, options->stems, sizeof stems);
    qsort(stems, (size_t)options->stem_count, sizeof stems[0], compare_words);
    used = (size_t)snprintf(text, CANONICAL_MAX, "model=%s\nstems=", options->model);
    for (int i = 0; i < options->stem_count; i++)
        used +=
            (size_t)snprintf(text + used, CANONICAL_MAX - used, "%s%s", i > 0 ? "," : "", stems[i]);
    used += (size_t)snprintf(
        text + used, CANONICAL_MAX - used,
        "\ntwo_stems=%s\nformat=%s\nbitrate=%d\nshifts=%d\nseed=%lld\noverlap=%.6g\n"
        "clip=%s\n",
        options->two_stems, options->format, options->bitrate_kbps, options->shifts,
        options->shifts > 0 ? (long long)options->seed : 0, options->overlap, options->clip);
    if (options->precision != MS_PRECISION_AUTO)
        (void)snprintf(text + used, CANONICAL_MAX - used, "precision=%s\n",
                       ms_precision_name(options->precision));
}

static int make_id(const void *song, size_t song_bytes, const struct ms_job_options *options,
                   const char *default_model, char id[MS_JOB_ID_HEX], struct ms_error *err) {
    struct ms_job_options standard;
    char asked[CANONICAL_MAX], usual[CANONICAL_MAX];
    char digest[MS_SHA224_HEX], text[MS_SHA224_HEX + CANONICAL_MAX];
    int rc = ms_sha224_of(song, song_bytes, digest, err);
    if (rc != 0)
        return rc;
    ms_job_options_default(default_model, &standard);
    canonical_options(&standard, usual);
    canonical_options(options, asked);
    if (strcmp(asked, usual) == 0) {
        memcpy(id, digest, MS_JOB_ID_HEX);
        return 0;
    }
    const int size = snprintf(text, sizeof text, "%s\n%s", digest, asked);
    return ms_sha224_of(text, (size_t)size, id, err);
}

/* ---- life ---- */

int ms_job_init(struct ms_job *job, const void *song, size_t song_bytes,
                const struct ms_job_options *options, const char *default_model,
                struct ms_error *err) {
    memset(job, 0, sizeof *job);
    int rc = ms_job_options_check(options, err);
    if (rc != 0)
        return rc;
    job->options = *options;
    if (job->options.model[0] == '\0')
        (void)snprintf(job->options.model, sizeof job->options.model, "%s", default_model);
    job->state = MS_JOB_QUEUED;
    job->input_bytes = (int64_t)song_bytes;
    job->eta_seconds = -1;
    job->position = -1;
    job->created_ms = ms_unix_ms();
    return make_id(song, song_bytes, &job->options, default_model, job->id, err);
}

/* ---- what a job owns: its callbacks ---- */

static void callback_fini(struct ms_job_callback *callback) {
    free(callback->url);
    free(callback->data);
    *callback = (struct ms_job_callback){0};
}

static bool callback_copy(const struct ms_job_callback *from, struct ms_job_callback *to) {
    to->version = from->version;
    to->url = from->url != NULL ? strdup(from->url) : NULL;
    to->data = from->data != NULL ? strdup(from->data) : NULL;
    const bool whole =
        (to->url != NULL) == (from->url != NULL) && (to->data != NULL) == (from->data != NULL);
    if (!whole)
        callback_fini(to);
    return whole;
}

static bool same_text(const char *a, const char *b) {
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool ms_job_callback_equal(const struct ms_job_callback *a, const struct ms_job_callback *b) {
    return a->version == b->version && same_text(a->url, b->url) && same_text(a->data, b->data);
}

int ms_job_add_callback(struct ms_job *job, const struct ms_job_callback *callback,
                        struct ms_error *err) {
    if (callback->version == 0 || ms_job_callback_equal(callback, &job->callback))
        return 0;
    for (int i = 0; i < job->other_count; i++)
        if (ms_job_callback_equal(callback, &job->others[i]))
            return 0;
    const bool first = job->callback.version == 0;
    if (!first && job->other_count == MS_JOB_MAX_CALLBACKS - 1)
        return ms_error_set(err, MS_ETOOLARGE, "%d callbacks wait for this song already",
                            MS_JOB_MAX_CALLBACKS);
    if (!callback_copy(callback, first ? &job->callback : &job->others[job->other_count]))
        return ms_error_set(err, MS_ENOMEM, "no memory for a callback");
    job->other_count += !first;
    return 0;
}

bool ms_job_next_callback(struct ms_job *job) {
    if (job->other_count == 0)
        return false;
    callback_fini(&job->callback);
    job->callback = job->others[0];
    job->other_count--;
    memmove(&job->others[0], &job->others[1], (size_t)job->other_count * sizeof job->others[0]);
    job->others[job->other_count] = (struct ms_job_callback){0};
    return true;
}

void ms_job_fini(struct ms_job *job) {
    if (job == NULL)
        return;
    callback_fini(&job->callback);
    for (int i = 0; i < job->other_count; i++)
        callback_fini(&job->others[i]);
    memset(job, 0, sizeof *job);
}

int ms_job_copy(const struct ms_job *from, struct ms_job *to, struct ms_error *err) {
    *to = *from;
    bool whole = callback_copy(&from->callback, &to->callback);
    for (to->other_count = 0; whole && to->other_count < from->other_count; to->other_count++)
        whole = callback_copy(&from->others[to->other_count], &to->others[to->other_count]);
    if (whole)
        return 0;
    ms_job_fini(to);
    return ms_error_set(err, MS_ENOMEM, "no memory for a copy of job %s", from->id);
}

/* ---- results ---- */

void ms_job_stem_key(const struct ms_job *job, const char *stem, char key[MS_JOB_KEY_MAX]) {
    (void)snprintf(key, MS_JOB_KEY_MAX, "%s-%s.%s", job->id, stem, job->options.format);
}

static int no_such_stem(const char *stem, const char *const *model_stems, int model_stem_count,
                        struct ms_error *err) {
    char list[400] = "";
    size_t used = 0;
    for (int i = 0; i < model_stem_count && used < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "",
                                 model_stems[i]);
    return ms_error_set(err, MS_EUSAGE, "the model has no stem \"%s\"; it has %s", stem, list);
}

static bool contains(const char *stem, const char *const *stems, int count) {
    for (int i = 0; i < count; i++)
        if (strcmp(stem, stems[i]) == 0)
            return true;
    return false;
}

int ms_job_labels(const struct ms_job_options *options, const char *const *model_stems,
                  int model_stem_count, char labels[MS_JOB_MAX_STEMS][MS_JOB_LABEL_MAX], int *count,
                  struct ms_error *err) {
    const char *two = options->two_stems;
    *count = 0;
    if (two[0] != '\0') {
        if (!contains(two, model_stems, model_stem_count))
            return no_such_stem(two, model_stems, model_stem_count, err);
        (void)snprintf(labels[0], MS_JOB_LABEL_MAX, "%s", two);
        (void)snprintf(labels[1], MS_JOB_LABEL_MAX, "no_%s", two);
        *count = 2;
        return 0;
    }
    for (int i = 0; i < options->stem_count; i++)
        if (!contains(options->stems[i], model_stems, model_stem_count))
            return no_such_stem(options->stems[i], model_stems, model_stem_count, err);
    for (int m = 0; m < model_stem_count && *count < MS_JOB_MAX_STEMS; m++) {
        bool wanted = options->stem_count == 0;
        for (int i = 0; i < options->stem_count; i++)
            wanted = wanted || strcmp(options->stems[i], model_stems[m]) == 0;
        if (wanted)
            (void)snprintf(labels[(*count)++], MS_JOB_LABEL_MAX, "%s", model_stems[m]);
    }
    return 0;
}
