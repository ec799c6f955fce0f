/* What is asked for, in words -> a plan: which objects, with which gains, into which format. Pure;
 * any thread. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mix.h"
#include "msaas/audio.h"
#include "msaas/render.h"
#include "msaas/value.h"

static bool is_given(const char *text) {
    return text != NULL && text[0] != '\0';
}

/* ---- the file ---- */

static int read_sample_type(const char *text, struct ms_render_plan *plan, struct ms_error *err) {
    static const char *const choices[] = {"int16|int24|float32", "int16|int24"};
    const bool is_wav = strcmp(plan->format, "wav") == 0;
    int rc = is_wav || strcmp(plan->format, "flac") == 0
                 ? ms_value_choice(text, choices[is_wav ? 0 : 1], &plan->sample_type, err)
                 : ms_error_set(err, MS_EUSAGE, "only wav and flac have one, not %s", plan->format);
    return rc == 0 ? 0 : ms_error_prefix(err, "sample_type");
}

static int read_interval(const struct ms_render_options *options, struct ms_render_plan *plan,
                         struct ms_error *err) {
    double from_s = 0, seconds = 0;
    plan->end_frame = MS_RENDER_TO_END;
    if (is_given(options->from) &&
        ms_value_real(options->from, 0, MS_RENDER_MOST_S, &from_s, err) != 0)
        return ms_error_prefix(err, "from");
    if (is_given(options->seconds) &&
        ms_value_real(options->seconds, MS_RENDER_LEAST_S, MS_RENDER_MOST_S, &seconds, err) != 0)
        return ms_error_prefix(err, "seconds");
    plan->first_frame = llround(from_s * MS_RENDER_RATE_HZ);
    if (is_given(options->seconds))
        plan->end_frame = llround((from_s + seconds) * MS_RENDER_RATE_HZ);
    return 0;
}

bool ms_render_is_part(const struct ms_render_plan *plan) {
    return plan->first_frame > 0 || plan->end_frame != MS_RENDER_TO_END;
}

static int read_file(const struct ms_render_options *options, struct ms_render_plan *plan,
                     struct ms_error *err) {
    struct ms_job_options file;
    ms_job_options_default("", &file);
    int rc = 0;
    if (is_given(options->format))
        rc = ms_job_option_set(&file, ms_job_option_find("format"), options->format, err);
    if (rc == 0 && is_given(options->bitrate))
        rc = ms_job_option_set(&file, ms_job_option_find("bitrate"), options->bitrate, err);
    if (rc == 0)
        rc = ms_job_bitrate_check(file.format, file.bitrate_kbps, err);
    if (rc != 0)
        return rc;
    memcpy(plan->format, file.format, sizeof plan->format);
    plan->bitrate_kbps = (int)file.bitrate_kbps;
    plan->sample_type = MS_SAMPLE_INT16;
    if (is_given(options->sample_type))
        rc = read_sample_type(options->sample_type, plan, err);
    return rc == 0 ? read_interval(options, plan, err) : rc;
}

/* ---- the stems ---- */

/* What formats are made of, and the scale that it has. */
static double set_source(const struct ms_job *job, const struct ms_job_stem *stem,
                         struct ms_render_part *part) {
    const bool kept = stem->kept_sha256[0] != '\0';
    *part = (struct ms_render_part){.bytes = kept ? stem->kept_bytes : stem->bytes};
    if (kept)
        ms_job_kept_key(job, stem->name, part->key);
    else
        ms_job_stem_key(job, stem->name, part->key);
    (void)snprintf(part->format, sizeof part->format, "%s", kept ? "flac" : job->options.format);
    (void)snprintf(part->sha256, sizeof part->sha256, "%s",
                   kept ? stem->kept_sha256 : stem->sha256);
    return kept && stem->kept_gain > 0 ? stem->kept_gain : 1;
}

static int find_stem(const struct ms_job *job, const char *name, size_t length,
                     struct ms_error *err) {
    char known[MS_JOB_MAX_STEMS * (MS_JOB_LABEL_MAX + 2)] = "";
    size_t used = 0;
    for (int i = 0; i < job->stem_count; i++) {
        if (strlen(job->stems[i].name) == length && strncmp(job->stems[i].name, name, length) == 0)
            return i;
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "",
                                 job->stems[i].name);
    }
    return ms_error_set(err, MS_EUSAGE, "the job has no stem \"%.*s\"; it has %s",
                        length < 60 ? (int)length : 60, name, known);
}

struct list { /* of values of stems, "drums:0,vocals:-6" */
    const char *name, *example;
    double least, most;
    bool has_inf; /* "-inf" is a value, too */
};

static int read_value(const struct list *list, const char *text, double *out,
                      struct ms_error *err) {
    if (list->has_inf && strcmp(text, "-inf") == 0) {
        *out = -INFINITY;
        return 0;
    }
    const int rc = ms_value_real(text, list->least, list->most, out, err);
    if (rc != 0 && list->has_inf)
        ms_error_append(err, "; -inf mutes");
    return rc;
}

static int read_item(const struct ms_job *job, const struct list *list, const char *item,
                     size_t length, double *values, bool *given, struct ms_error *err) {
    const char *colon = memchr(item, ':', length);
    char value[40];
    if (colon == NULL || (size_t)(item + length - colon) > sizeof value)
        return ms_error_set(err, MS_EUSAGE, "must be like %s, not \"%.*s\"", list->example,
                            length < 60 ? (int)length : 60, item);
    const int index = find_stem(job, item, (size_t)(colon - item), err);
    if (index < 0)
        return index;
    if (given[index])
        return ms_error_set(err, MS_EUSAGE, "names %s twice", job->stems[index].name);
    given[index] = true;
    const size_t value_length = (size_t)(item + length - colon) - 1;
    memcpy(value, colon + 1, value_length);
    value[value_length] = '\0';
    const int rc = read_value(list, value, &values[index], err);
    if (rc != 0)
        (void)ms_error_prefix(err, "%s", job->stems[index].name);
    return rc;
}

static int read_list(const struct ms_job *job, const struct list *list, const char *text,
                     double values[MS_JOB_MAX_STEMS], struct ms_error *err) {
    bool given[MS_JOB_MAX_STEMS] = {false};
    if (!is_given(text))
        return 0;
    for (const char *at = text;; at++) {
        const size_t length = strcspn(at, ",");
        if (read_item(job, list, at, length, values, given, err) != 0)
            return ms_error_prefix(err, "%s", list->name);
        at += length;
        if (*at == '\0')
            return 0;
    }
}

int ms_render_plan_mix(const struct ms_job *job, const char *gains, const char *pan,
                       const struct ms_render_options *options, struct ms_render_plan *out,
                       struct ms_error *err) {
    static const struct list decibels = {"gains", "drums:0,vocals:-6", MS_RENDER_LEAST_DB,
                                         MS_RENDER_MOST_DB, true};
    static const struct list places = {"pan", "drums:-0.5,vocals:0.2", -1, 1, false};
    double db[MS_JOB_MAX_STEMS] = {0}, place[MS_JOB_MAX_STEMS] = {0};
    int clip = 0;
    *out = (struct ms_render_plan){0};
    if (job->stem_count < 1)
        return ms_error_set(err, MS_EUSAGE, "the job has no stems");
    int rc = read_file(options, out, err);
    if (rc == 0)
        rc = read_list(job, &decibels, gains, db, err);
    if (rc == 0)
        rc = read_list(job, &places, pan, place, err);
    if (rc == 0 && is_given(options->clip) &&
        ms_value_choice(options->clip, "clamp|none", &clip, err) != 0)
        rc = ms_error_prefix(err, "clip");
    if (rc != 0)
        return rc;
    out->clamp = clip == 0;
    out->part_count = job->stem_count;
    for (int i = 0; i < job->stem_count; i++) {
        struct ms_render_part *part = &out->parts[i];
        const double scale = set_source(job, &job->stems[i], part);
        ms_mix_matrix(db[i], place[i], 1 / scale, part->matrix);
    }
    return 0;
}

int ms_render_plan_stem(const struct ms_job *job, const struct ms_job_stem *stem,
                        const struct ms_render_options *options, struct ms_render_plan *out,
                        struct ms_error *err) {
    int clip;
    *out = (struct ms_render_plan){.part_count = 1};
    struct ms_render_part *part = &out->parts[0];
    int rc = read_file(options, out, err);
    if (rc == 0 && ms_value_choice(is_given(options->clip) ? options->clip : job->options.clip,
                                   "rescale|clamp|none", &clip, err) != 0)
        rc = ms_error_prefix(err, "clip");
    if (rc != 0)
        return rc;
    const double scale = set_source(job, stem, part);
    out->clamp = clip != 2;
    const bool plain = !is_given(options->bitrate) && !is_given(options->sample_type) &&
                       !is_given(options->clip) && !ms_render_is_part(out);
    if (plain && strcmp(out->format, job->options.format) == 0) {
        ms_job_stem_key(job, stem->name, part->key);
        memcpy(part->format, out->format, sizeof part->format);
        memcpy(part->sha256, stem->sha256, sizeof part->sha256);
        part->bytes = stem->bytes;
        out->as_stored = true;
    } else if (plain && strcmp(out->format, part->format) == 0) {
        out->as_stored = true;
    }
    ms_mix_matrix(0, 0, clip == 0 ? 1 : 1 / scale, part->matrix);
    return 0;
}

bool ms_render_plan_digest(const struct ms_render_plan *plan, struct ms_sha256 *digest) {
    char text[400];
    bool known = true;
    int size = snprintf(text, sizeof text, MSAAS_VERSION ",%d,%s,%d,%d,%d,%lld,%lld;",
                        plan->as_stored, plan->format, plan->bitrate_kbps, plan->sample_type,
                        plan->clamp, (long long)plan->first_frame, (long long)plan->end_frame);
    ms_sha256_update(digest, text, (size_t)size);
    for (int i = 0; i < plan->part_count; i++) {
        const struct ms_render_part *part = &plan->parts[i];
        size = snprintf(text, sizeof text, "%s,%a,%a,%a,%a;", part->sha256, part->matrix[0][0],
                        part->matrix[0][1], part->matrix[1][0], part->matrix[1][1]);
        ms_sha256_update(digest, text, (size_t)size);
        known = known && part->sha256[0] != '\0';
    }
    return known;
}
