/* A job: its states, its options and their rules, its id, the names of its objects. Owns nothing;
 * any thread. */
#include "msaas/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "msaas/digest.h"
#include "msaas/sys.h"
#include "msaas/url.h"

/* ---- states ---- */

static const char *const state_names[MS_JOB_STATES] = {
    [MS_JOB_QUEUED] = "queued", [MS_JOB_RUNNING] = "running",   [MS_JOB_SUCCEEDED] = "succeeded",
    [MS_JOB_FAILED] = "failed", [MS_JOB_CANCELED] = "canceled", [MS_JOB_EXPIRED] = "expired",
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
        "\"%.40s\" is not the state of a job: use queued, running, succeeded, failed, canceled or "
        "expired",
        name);
}

bool ms_job_state_is_final(enum ms_job_state state) {
    return state != MS_JOB_QUEUED && state != MS_JOB_RUNNING;
}

/* ---- names ---- */

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

/* ---- the id ---- */

enum { CANONICAL_MAX = 2048 }; /* all options at their longest need 900 */

static int compare_words(const void *a, const void *b) {
    return strcmp(a, b);
}

/* The same text for options that give the same stems: the order of stems does not count, nor a seed
 * without shifts. It is part of ids that clients keep: it must not change. So what was not an
 * option from the first is named only where it is not the default, and what was one, but is made of
 * the stems afterwards, always stands there as its default. */
static void canonical_options(const struct ms_job_options *options, char text[CANONICAL_MAX]) {
    char stems[MS_JOB_MAX_STEMS][sizeof options->stems[0]];
    memcpy(stems, options->stems, sizeof stems);
    qsort(stems, (size_t)options->stem_count, sizeof stems[0], compare_words);
    size_t used = (size_t)snprintf(text, CANONICAL_MAX, "model=%s\nstems=", options->model);
    for (int i = 0; i < options->stem_count; i++)
        used +=
            (size_t)snprintf(text + used, CANONICAL_MAX - used, "%s%s", i > 0 ? "," : "", stems[i]);
    used += (size_t)snprintf(
        text + used, CANONICAL_MAX - used,
        "\ntwo_stems=%s\nformat=mp3\nbitrate=0\nshifts=%lld\nseed=%lld\noverlap=%.6g\n"
        "clip=rescale\n",
        options->two_stems, (long long)options->shifts,
        options->shifts > 0 ? (long long)options->seed : 0, options->overlap);
    if (options->precision != MS_PRECISION_AUTO)
        (void)snprintf(text + used, CANONICAL_MAX - used, "precision=%s\n",
                       ms_precision_name(options->precision));
}

static int make_id(const char *digest, const struct ms_job_options *options,
                   const char *default_model, char id[MS_JOB_ID_HEX], struct ms_error *err) {
    struct ms_job_options standard;
    ms_job_options_default(default_model, &standard);
    char usual[CANONICAL_MAX];
    canonical_options(&standard, usual);
    char asked[CANONICAL_MAX];
    canonical_options(options, asked);
    if (strcmp(asked, usual) == 0) {
        memcpy(id, digest, MS_JOB_ID_HEX);
        return 0;
    }
    char text[MS_SHA224_HEX + CANONICAL_MAX];
    const int size = snprintf(text, sizeof text, "%s\n%s", digest, asked);
    return ms_sha224_of(text, (size_t)size, id, err);
}

/* ---- the owner ---- */

/* Where in an id. */
enum { MARK_AT = 40, MARK_DIGITS = MS_OWNER_MARK_BYTES - 1, CHECK_AT = MARK_AT + MARK_DIGITS };

int ms_owner_mark(const char *owner, char mark[MS_OWNER_MARK_BYTES], struct ms_error *err) {
    char digest[MS_SHA224_HEX] = "";
    int rc = owner[0] != '\0' ? ms_sha224_of(owner, strlen(owner), digest, err) : 0;
    (void)snprintf(mark, MS_OWNER_MARK_BYTES, "%.*s", MARK_DIGITS, digest);
    return rc;
}

int ms_job_set_owner(struct ms_job *job, const char *owner, struct ms_error *err) {
    char text[MS_ACCOUNT_NAME_BYTES + MS_JOB_ID_HEX], check[MS_SHA224_HEX];
    char mark[MS_OWNER_MARK_BYTES];
    if (!ms_account_name_is_valid(owner))
        return ms_error_set(err, MS_EUSAGE, "\"%.40s\" cannot be the name of an account", owner);
    const int size = snprintf(text, sizeof text, "%s\n%s", owner, job->id);
    (void)snprintf(job->owner, sizeof job->owner, "%s", owner);
    int rc = ms_sha224_of(text, (size_t)size, job->id, err);
    if (rc == 0)
        rc = ms_owner_mark(owner, mark, err);
    if (rc != 0)
        return rc;
    memcpy(job->id + MARK_AT, mark, MARK_DIGITS);
    rc = ms_sha224_of(job->id, CHECK_AT, check, err);
    memcpy(job->id + CHECK_AT, check, rc == 0 ? MARK_DIGITS : 0);
    return rc;
}

bool ms_job_id_has_mark(const char *id, const char *mark) {
    char check[MS_SHA224_HEX];
    if (mark[0] != '\0' && memcmp(id + MARK_AT, mark, MARK_DIGITS) != 0)
        return false;
    const bool is_marked = ms_sha224_of(id, CHECK_AT, check, NULL) == 0 &&
                           memcmp(id + CHECK_AT, check, MARK_DIGITS) == 0;
    return is_marked == (mark[0] != '\0');
}

/* ---- life ---- */

int ms_job_init(struct ms_job *job, const void *song, size_t song_bytes,
                const struct ms_job_options *options, const char *default_model,
                struct ms_error *err) {
    char digest[MS_SHA224_HEX];
    memset(job, 0, sizeof *job);
    const int rc = ms_sha224_of(song, song_bytes, digest, err);
    return rc != 0 ? rc
                   : ms_job_init_of_digest(job, digest, (int64_t)song_bytes, options, default_model,
                                           err);
}

int ms_job_init_of_digest(struct ms_job *job, const char sha224[MS_JOB_ID_HEX], int64_t song_bytes,
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
    job->input_bytes = song_bytes;
    job->eta_seconds = -1;
    job->position = -1;
    job->created_ms = ms_unix_ms();
    return make_id(sha224, &job->options, default_model, job->id, err);
}

/* ---- cost ---- */

#define MOST_COST_MS INT64_C(1000000000000000) /* sums of them stay exact in a double */

double ms_job_cost(const struct ms_job *job) {
    const double runs = job->options.shifts > 1 ? (double)job->options.shifts : 1;
    const double networks = job->networks > 1 ? job->networks : 1;
    return job->audio_seconds / 60 * runs * networks / (1 - job->options.overlap);
}

int64_t ms_job_cost_ms(const struct ms_job *job) {
    const double ms = ms_job_cost(job) * 60000;
    return ms < MOST_COST_MS ? (int64_t)(ms + 0.5) : MOST_COST_MS;
}

int ms_job_check_cost(const struct ms_job *job, double max_cost, struct ms_error *err) {
    const double cost = ms_job_cost(job);
    if (max_cost <= 0 || cost <= max_cost)
        return 0;
    return ms_error_set(
        err, MS_ETOOLARGE,
        "the job would cost %.1f minutes of separation, and at most %g are accepted "
        "(--max-cost): send a shorter song, or ask for fewer shifts or less overlap",
        cost, max_cost);
}

/* ---- what a job owns: its callbacks ---- */

static void callback_fini(struct ms_job_callback *callback) {
    free(callback->url);
    free(callback->data);
    *callback = (struct ms_job_callback){0};
}

static bool callback_copy(const struct ms_job_callback *from, struct ms_job_callback *to) {
    *to = *from;
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

bool ms_job_callback_url_is_valid(const char *url) {
    bool plain = strlen(url) <= MS_JOB_MAX_CALLBACK_URL;
    for (const char *c = url; plain && *c != '\0'; c++)
        plain = *c > 0x20 && *c < 0x7f;
    struct ms_url parts;
    return plain && (strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0) &&
           ms_url_parse(url, &parts, NULL) == 0 && parts.host[0] != '\0';
}

int ms_job_add_callback(struct ms_job *job, const struct ms_job_callback *callback,
                        struct ms_error *err) {
    for (int i = 0; i < job->callback_count; i++)
        if (ms_job_callback_equal(callback, &job->callbacks[i]))
            return 0;
    if (job->callback_count == MS_JOB_MAX_CALLBACKS)
        return ms_error_set(err, MS_ETOOLARGE, "%d callbacks wait for this song already",
                            MS_JOB_MAX_CALLBACKS);
    struct ms_job_callback *to = &job->callbacks[job->callback_count];
    if (!callback_copy(callback, to))
        return ms_error_set(err, MS_ENOMEM, "no memory for a callback");
    to->due_ms = 0;
    to->attempt = 0;
    job->callback_count++;
    return 0;
}

void ms_job_drop_callback(struct ms_job *job, int index) {
    callback_fini(&job->callbacks[index]);
    job->callback_count--;
    memmove(&job->callbacks[index], &job->callbacks[index + 1],
            (size_t)(job->callback_count - index) * sizeof job->callbacks[0]);
    job->callbacks[job->callback_count] = (struct ms_job_callback){0};
}

void ms_job_fini(struct ms_job *job) {
    if (job == NULL)
        return;
    for (int i = 0; i < job->callback_count; i++)
        callback_fini(&job->callbacks[i]);
    memset(job, 0, sizeof *job);
}

int ms_job_copy(const struct ms_job *from, struct ms_job *to, struct ms_error *err) {
    bool whole = true;
    *to = *from;
    for (to->callback_count = 0; whole && to->callback_count < from->callback_count;
         to->callback_count++)
        whole =
            callback_copy(&from->callbacks[to->callback_count], &to->callbacks[to->callback_count]);
    if (whole)
        return 0;
    ms_job_fini(to);
    return ms_error_set(err, MS_ENOMEM, "no memory for a copy of job %s", from->id);
}

/* ---- results ---- */

void ms_job_stem_key(const struct ms_job *job, const char *stem, char key[MS_JOB_KEY_MAX]) {
    (void)snprintf(key, MS_JOB_KEY_MAX, "%s-%s.%s", job->id, stem, job->options.format);
}

void ms_job_kept_key(const struct ms_job *job, const char *stem, char key[MS_JOB_KEY_MAX]) {
    (void)snprintf(key, MS_JOB_KEY_MAX, MS_JOB_KEPT_FOLDER "%s-%s.flac", job->id, stem);
}

void ms_job_peaks_key(const struct ms_job *job, char key[MS_JOB_KEY_MAX]) {
    (void)snprintf(key, MS_JOB_KEY_MAX, MS_JOB_KEPT_FOLDER "%s-peaks.json", job->id);
}

void ms_job_preview_key(const struct ms_job *job, const char *stem, int piece,
                        char key[MS_JOB_KEY_MAX]) {
    (void)snprintf(key, MS_JOB_KEY_MAX, MS_JOB_PREVIEW_FOLDER "%s/%s-%d.flac", job->id, stem,
                   piece);
}

bool ms_job_song_key(const struct ms_job *job, enum ms_job_song_name name,
                     char key[MS_JOB_SONG_KEY_BYTES]) {
    key[0] = '\0';
    switch (name) {
    case MS_JOB_SONG_NAMED: memcpy(key, job->song_key, sizeof job->song_key); break;
    case MS_JOB_SONG_ID: memcpy(key, job->id, sizeof job->id); break;
    case MS_JOB_SONG_COURSE: (void)snprintf(key, MS_JOB_SONG_KEY_BYTES, "%s.mp3", job->id); break;
    case MS_JOB_SONG_NAMES: break;
    }
    return key[0] != '\0';
}

int ms_job_labels(const struct ms_job_options *options, const char (*stems)[MS_STEM_NAME_BYTES],
                  int stem_count, char labels[MS_JOB_MAX_STEMS][MS_JOB_LABEL_MAX], int *count,
                  struct ms_error *err) {
    const char *two = options->two_stems;
    bool wanted[MS_JOB_MAX_STEMS] = {false};
    *count = 0;
    if (two[0] != '\0') {
        int rc = ms_stem_find(stems, stem_count, two, strlen(two), err);
        if (rc < 0)
            return rc;
        ms_stem_label(MS_STEM_ITSELF, two, labels[(*count)++]);
        ms_stem_label(MS_STEM_OTHERS, two, labels[(*count)++]);
        return 0;
    }
    for (int i = 0; i < options->stem_count; i++) {
        int rc = ms_stem_find(stems, stem_count, options->stems[i], strlen(options->stems[i]), err);
        if (rc < 0)
            return rc;
        wanted[rc] = true;
    }
    for (int i = 0; i < stem_count && i < MS_JOB_MAX_STEMS; i++)
        if (wanted[i] || options->stem_count == 0)
            ms_stem_label(MS_STEM_ITSELF, stems[i], labels[(*count)++]);
    return 0;
}
