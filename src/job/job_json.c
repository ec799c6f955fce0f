/* Jobs as JSON: what queues store, and what clients see. Owns nothing; any thread. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/job.h"
#include "msaas/json.h"

#define MAX_INTEGER (INT64_C(1) << 53)

/* ---- writing ---- */

static int finish(struct ms_json_writer *writer, char **out, struct ms_error *err) {
    size_t size = 0;
    const char *text = writer != NULL ? ms_json_writer_text(writer, &size) : NULL;
    *out = text != NULL ? strdup(text) : NULL;
    ms_json_writer_free(writer);
    return *out != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "no memory for a job's JSON");
}

static const char *or_null(const char *text) {
    return text[0] != '\0' ? text : NULL;
}

static void put_options(struct ms_json_writer *w, const struct ms_job_options *options) {
    ms_json_begin_object(w, "options");
    ms_job_options_to_json(options, w);
    ms_json_end_object(w);
}

static void put_callback(struct ms_json_writer *w, const char *name,
                         const struct ms_job_callback *callback) {
    ms_json_begin_object(w, name);
    ms_json_put_int(w, "version", callback->version);
    ms_json_put_string(w, "url", callback->url);
    ms_json_put_string(w, "data", callback->data);
    ms_json_put_int(w, "due_ms", callback->due_ms);
    ms_json_put_int(w, "attempt", callback->attempt);
    ms_json_end_object(w);
}

/* The first apart from the others: earlier releases, whose jobs had one, read it there. */
static void put_callbacks(struct ms_json_writer *w, const struct ms_job *job) {
    if (job->callback_count > 0)
        put_callback(w, "callback", &job->callbacks[0]);
    else
        ms_json_put_null(w, "callback");
    ms_json_begin_array(w, "other_callbacks");
    for (int i = 1; i < job->callback_count; i++)
        put_callback(w, NULL, &job->callbacks[i]);
    ms_json_end_array(w);
}

static void put_receipt(struct ms_json_writer *w, const struct ms_job_receipt *receipt) {
    if (receipt->made_by[0] == '\0') {
        ms_json_put_null(w, "receipt");
        return;
    }
    ms_json_begin_object(w, "receipt");
    ms_json_put_string(w, "made_by", receipt->made_by);
    ms_json_put_string(w, "model_sha256", or_null(receipt->model_sha256));
    ms_json_put_string(
        w, "precision",
        receipt->precision != MS_PRECISION_AUTO ? ms_precision_name(receipt->precision) : NULL);
    ms_json_put_double(w, "seconds", receipt->seconds);
    ms_json_put_bool(w, "damaged", receipt->damaged);
    ms_json_end_object(w);
}

static void put_error(struct ms_json_writer *w, const struct ms_job *job) {
    if (job->error_code[0] == '\0') {
        ms_json_put_null(w, "error");
        return;
    }
    ms_json_begin_object(w, "error");
    ms_json_put_string(w, "code", job->error_code);
    ms_json_put_string(w, "message", job->error_message);
    ms_json_end_object(w);
}

static void put_if(struct ms_json_writer *w, const char *name, bool known, double value) {
    if (known)
        ms_json_put_double(w, name, value);
    else
        ms_json_put_null(w, name);
}

static void put_stem(struct ms_json_writer *w, const struct ms_job_stem *stem) {
    ms_json_begin_object(w, NULL);
    ms_json_put_string(w, "name", stem->name);
    ms_json_put_int(w, "bytes", stem->bytes);
    ms_json_put_string(w, "sha256", stem->sha256);
    if (stem->kept_sha256[0] != '\0') {
        ms_json_begin_object(w, "kept");
        ms_json_put_int(w, "bytes", stem->kept_bytes);
        ms_json_put_string(w, "sha256", stem->kept_sha256);
        ms_json_put_double(w, "gain", stem->kept_gain);
        ms_json_end_object(w);
    }
    ms_json_end_object(w);
}

int ms_job_to_json(const struct ms_job *job, char **out, struct ms_error *err) {
    struct ms_json_writer *w = ms_json_writer_new();
    *out = NULL;
    if (w == NULL)
        return finish(w, out, err);
    ms_json_begin_object(w, NULL);
    ms_json_put_string(w, "id", job->id);
    if (job->owner[0] != '\0') {
        ms_json_put_string(w, "owner", job->owner);
        ms_json_put_int(w, "charged_ms", job->charged_ms);
    }
    ms_json_put_string(w, "state", ms_job_state_name(job->state));
    ms_json_begin_object(w, "input");
    ms_json_put_string(w, "name", or_null(job->input_name));
    ms_json_put_int(w, "bytes", job->input_bytes);
    ms_json_put_double(w, "seconds", job->audio_seconds);
    if (job->song_key[0] != '\0')
        ms_json_put_string(w, "key", job->song_key);
    ms_json_end_object(w);
    put_options(w, &job->options);
    put_callbacks(w, job);
    ms_json_put_int(w, "created_ms", job->created_ms);
    ms_json_put_int(w, "started_ms", job->started_ms);
    ms_json_put_int(w, "finished_ms", job->finished_ms);
    ms_json_put_int(w, "not_before_ms", job->not_before_ms);
    ms_json_put_int(w, "attempts", job->attempts);
    ms_json_put_int(w, "failures", job->failures);
    ms_json_put_int(w, "crashes", job->crashes);
    ms_json_put_double(w, "reached", job->reached);
    ms_json_put_int(w, "networks", job->networks);
    ms_json_put_double(w, "progress", job->progress);
    put_if(w, "eta_seconds", job->eta_seconds >= 0, job->eta_seconds);
    ms_json_put_double(w, "preview_seconds", job->preview_seconds);
    ms_json_put_bool(w, "cancel_asked", job->cancel_asked);
    ms_json_begin_array(w, "stems");
    for (int i = 0; i < job->stem_count; i++)
        put_stem(w, &job->stems[i]);
    ms_json_end_array(w);
    put_error(w, job);
    put_receipt(w, &job->receipt);
    ms_json_end_object(w);
    return finish(w, out, err);
}

int ms_job_to_public_json(const struct ms_job *job, bool with_owner, char **out,
                          struct ms_error *err) {
    struct ms_json_writer *w = ms_json_writer_new();
    *out = NULL;
    if (w == NULL)
        return finish(w, out, err);
    ms_json_begin_object(w, NULL);
    ms_json_put_string(w, "id", job->id);
    if (with_owner)
        ms_json_put_string(w, "owner", or_null(job->owner));
    ms_json_put_string(w, "state", ms_job_state_name(job->state));
    if (job->state == MS_JOB_QUEUED && job->position >= 0)
        ms_json_put_int(w, "position", job->position);
    else
        ms_json_put_null(w, "position");
    ms_json_put_double(w, "progress", job->progress);
    put_if(w, "eta_seconds", job->eta_seconds >= 0 && !ms_job_state_is_final(job->state),
           job->eta_seconds);
    ms_json_put_double(w, "preview_seconds", job->preview_seconds);
    ms_json_put_int(w, "attempts", job->attempts);
    put_if(w, "cost", job->audio_seconds > 0, ms_job_cost(job));
    ms_json_put_time(w, "created_at", job->created_ms);
    ms_json_put_time(w, "started_at", job->started_ms);
    ms_json_put_time(w, "finished_at", job->finished_ms);
    ms_json_begin_object(w, "input");
    ms_json_put_string(w, "name", or_null(job->input_name));
    ms_json_put_int(w, "bytes", job->input_bytes);
    put_if(w, "seconds", job->audio_seconds > 0, job->audio_seconds);
    ms_json_end_object(w);
    put_options(w, &job->options);
    ms_json_begin_array(w, "stems");
    char url[256];
    for (int i = 0; i < job->stem_count; i++) {
        const struct ms_job_stem *stem = &job->stems[i];
        (void)snprintf(url, sizeof url, "/apiv2/jobs/%s/stems/%s.%s", job->id, stem->name,
                       job->options.format);
        ms_json_begin_object(w, NULL);
        ms_json_put_string(w, "name", stem->name);
        ms_json_put_string(w, "url", url);
        ms_json_put_int(w, "bytes", stem->bytes);
        ms_json_put_string(w, "sha256", or_null(stem->sha256));
        ms_json_end_object(w);
    }
    ms_json_end_array(w);
    put_error(w, job);
    put_receipt(w, &job->receipt);
    ms_json_end_object(w);
    return finish(w, out, err);
}

/* ---- reading ---- */

/* Keeps the name of the first member that is missing or wrong. */
struct reader {
    const char *bad;
};

static void refuse(struct reader *r, const char *name) {
    if (r->bad == NULL)
        r->bad = name;
}

/* null is read as "" if the member is optional. */
static void take_string(struct reader *r, const struct ms_json *object, const char *name,
                        bool optional, char *out, size_t capacity) {
    const struct ms_json *node = ms_json_get(object, name);
    const char *text = ms_json_string(node);
    out[0] = '\0';
    if (optional && ms_json_is_null(node))
        return;
    if (text == NULL || strlen(text) >= capacity)
        refuse(r, name);
    else
        memcpy(out, text, strlen(text) + 1);
}

static int64_t take_int(struct reader *r, const struct ms_json *object, const char *name,
                        int64_t most) {
    int64_t value = 0;
    if (!ms_json_int(ms_json_get(object, name), &value) || value < 0 || value > most) {
        refuse(r, name);
        return 0;
    }
    return value;
}

static double take_double(struct reader *r, const struct ms_json *object, const char *name,
                          double most) {
    double value = 0;
    if (!ms_json_double(ms_json_get(object, name), &value) || !(value >= 0 && value <= most)) {
        refuse(r, name);
        return 0;
    }
    return value;
}

static bool is_hex_digest(const char *text) {
    return strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

/* A SHA-256, or "". */
static void take_digest(struct reader *r, const struct ms_json *object, const char *name,
                        char out[65]) {
    take_string(r, object, name, true, out, 65);
    if (out[0] != '\0' && !is_hex_digest(out))
        refuse(r, name);
}

static char *take_copy(struct reader *r, const struct ms_json *object, const char *name,
                       bool optional, size_t most) {
    const struct ms_json *node = ms_json_get(object, name);
    const char *text = ms_json_string(node);
    if (optional && ms_json_is_null(node))
        return NULL;
    char *copy = text != NULL && strlen(text) <= most ? strdup(text) : NULL;
    if (copy == NULL)
        refuse(r, name);
    return copy;
}

/* Receipts of earlier releases have none. */
static enum ms_precision take_precision(struct reader *r, const struct ms_json *object) {
    const struct ms_json *node = ms_json_get(object, "precision");
    const char *text = ms_json_string(node);
    enum ms_precision precision = MS_PRECISION_AUTO;
    if (node != NULL && !ms_json_is_null(node) &&
        (text == NULL || ms_precision_parse(text, &precision, NULL) != 0))
        refuse(r, "precision");
    return precision;
}

/* Only jobs that an account sent have one. */
static void take_owner(struct reader *r, const struct ms_json *document, struct ms_job *job) {
    if (ms_json_get(document, "owner") == NULL)
        return;
    take_string(r, document, "owner", false, job->owner, sizeof job->owner);
    job->charged_ms = take_int(r, document, "charged_ms", MAX_INTEGER);
    if (!ms_account_name_is_valid(job->owner))
        refuse(r, "owner");
}

/* A missing option has its default: earlier releases had fewer options. */
static void take_options(struct reader *r, const struct ms_json *object,
                         struct ms_job_options *options) {
    ms_job_options_default("", options);
    if (!ms_json_is_object(object) || ms_job_options_from_json(object, options, NULL) != 0)
        refuse(r, "options");
}

/* Those of earlier releases have neither time nor attempts: ms_queue_update gives them a time. */
static void take_callback(struct reader *r, const struct ms_json *object, struct ms_job *job) {
    struct ms_job_callback *callback = &job->callbacks[job->callback_count++];
    callback->version = (int)take_int(r, object, "version", 2);
    callback->url = take_copy(r, object, "url", false, MS_JOB_MAX_CALLBACK_URL);
    callback->data = take_copy(r, object, "data", true, MS_JOB_MAX_CALLBACK_DATA);
    if (ms_json_get(object, "due_ms") != NULL) {
        callback->due_ms = take_int(r, object, "due_ms", MAX_INTEGER);
        callback->attempt = (int)take_int(r, object, "attempt", INT_MAX / 2);
    }
    if (callback->version == 0)
        refuse(r, "version");
}

static void take_callbacks(struct reader *r, const struct ms_json *first,
                           const struct ms_json *others, struct ms_job *job) {
    if (!ms_json_is_null(first))
        take_callback(r, first, job);
    if (others == NULL) /* a job of an earlier release */
        return;
    if (!ms_json_is_array(others) || ms_json_count(others) > MS_JOB_MAX_CALLBACKS - 1) {
        refuse(r, "other_callbacks");
        return;
    }
    for (const struct ms_json *at = ms_json_first(others); at != NULL; at = ms_json_next(at)) {
        if (!ms_json_is_object(at))
            refuse(r, "other_callbacks");
        take_callback(r, at, job);
    }
}

/* Jobs of earlier releases have none. */
static void take_kept(struct reader *r, const struct ms_json *kept, struct ms_job_stem *stem) {
    if (kept == NULL)
        return;
    stem->kept_bytes = take_int(r, kept, "bytes", MAX_INTEGER);
    stem->kept_gain = take_double(r, kept, "gain", 1);
    take_digest(r, kept, "sha256", stem->kept_sha256);
    if (stem->kept_sha256[0] == '\0' || !(stem->kept_gain > 0))
        refuse(r, "stems.kept");
}

static void take_stems(struct reader *r, const struct ms_json *array, struct ms_job *job) {
    if (!ms_json_is_array(array) || ms_json_count(array) > MS_JOB_MAX_STEMS) {
        refuse(r, "stems");
        return;
    }
    for (const struct ms_json *at = ms_json_first(array); at != NULL; at = ms_json_next(at)) {
        struct ms_job_stem *stem = &job->stems[job->stem_count++];
        take_string(r, at, "name", false, stem->name, sizeof stem->name);
        stem->bytes = take_int(r, at, "bytes", MAX_INTEGER);
        take_digest(r, at, "sha256", stem->sha256);
        take_kept(r, ms_json_get(at, "kept"), stem);
        if (!ms_job_label_is_valid(stem->name))
            refuse(r, "stems.name");
    }
}

static void take_outcome(struct reader *r, const struct ms_json *document, struct ms_job *job) {
    const struct ms_json *error = ms_json_get(document, "error");
    const struct ms_json *receipt = ms_json_get(document, "receipt");
    take_stems(r, ms_json_get(document, "stems"), job);
    if (!ms_json_is_null(error)) {
        take_string(r, error, "code", false, job->error_code, sizeof job->error_code);
        take_string(r, error, "message", false, job->error_message, sizeof job->error_message);
    }
    if (!ms_json_is_null(receipt)) {
        take_string(r, receipt, "made_by", false, job->receipt.made_by,
                    sizeof job->receipt.made_by);
        take_digest(r, receipt, "model_sha256", job->receipt.model_sha256);
        job->receipt.precision = take_precision(r, receipt);
        job->receipt.seconds = take_double(r, receipt, "seconds", 1e12);
        (void)ms_json_bool(ms_json_get(receipt, "damaged"), &job->receipt.damaged);
    }
}

static void take_progress(struct reader *r, const struct ms_json *document, struct ms_job *job) {
    const struct ms_json *eta = ms_json_get(document, "eta_seconds");
    job->created_ms = take_int(r, document, "created_ms", MAX_INTEGER);
    job->started_ms = take_int(r, document, "started_ms", MAX_INTEGER);
    job->finished_ms = take_int(r, document, "finished_ms", MAX_INTEGER);
    job->not_before_ms = take_int(r, document, "not_before_ms", MAX_INTEGER);
    job->attempts = (int)take_int(r, document, "attempts", INT_MAX / 2);
    job->failures = (int)take_int(r, document, "failures", INT_MAX / 2);
    job->crashes = (int)take_int(r, document, "crashes", INT_MAX / 2);
    if (ms_json_get(document, "reached") != NULL) /* earlier releases did not write it */
        job->reached = take_double(r, document, "reached", 1);
    if (ms_json_get(document, "networks") != NULL)
        job->networks = (int)take_int(r, document, "networks", INT_MAX / 2);
    job->progress = take_double(r, document, "progress", 1);
    job->eta_seconds = ms_json_is_null(eta) ? -1 : take_double(r, document, "eta_seconds", 1e12);
    if (ms_json_get(document, "preview_seconds") != NULL)
        job->preview_seconds = take_double(r, document, "preview_seconds", 1e12);
    if (!ms_json_bool(ms_json_get(document, "cancel_asked"), &job->cancel_asked))
        refuse(r, "cancel_asked");
}

int ms_job_from_json(const char *text, size_t size, struct ms_job *out, struct ms_error *err) {
    struct ms_json *document = NULL;
    struct reader r = {NULL};
    memset(out, 0, sizeof *out);
    out->position = -1;
    if (ms_json_parse(text, size, &document, err) != 0) {
        (void)ms_error_prefix(err, "a stored job");
        if (err != NULL)
            err->code = MS_ECORRUPT;
        return MS_ECORRUPT;
    }
    take_string(&r, document, "id", false, out->id, sizeof out->id);
    if (!ms_job_id_is_valid(out->id))
        refuse(&r, "id");
    take_owner(&r, document, out);
    char state[16];
    take_string(&r, document, "state", false, state, sizeof state);
    if (ms_job_state_parse(state, &out->state, NULL) != 0)
        refuse(&r, "state");
    const struct ms_json *input = ms_json_get(document, "input");
    take_string(&r, input, "name", true, out->input_name, sizeof out->input_name);
    out->input_bytes = take_int(&r, input, "bytes", MAX_INTEGER);
    if (ms_json_get(input, "key") != NULL)
        take_string(&r, input, "key", true, out->song_key, sizeof out->song_key);
    out->audio_seconds = take_double(&r, input, "seconds", 1e12);
    take_options(&r, ms_json_get(document, "options"), &out->options);
    if (r.bad == NULL && ms_job_options_check(&out->options, NULL) != 0)
        refuse(&r, "options");
    take_callbacks(&r, ms_json_get(document, "callback"), ms_json_get(document, "other_callbacks"),
                   out);
    take_progress(&r, document, out);
    take_outcome(&r, document, out);
    ms_json_free(document);
    if (r.bad != NULL) {
        ms_job_fini(out);
        return ms_error_set(err, MS_ECORRUPT, "stored job: member \"%s\" is missing or wrong",
                            r.bad);
    }
    return 0;
}
