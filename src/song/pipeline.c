/* One song's way: decode -> separate -> encode. Owns the decoder, the encoders and the spools of
 * one run.
 *
 * Blocks of stems arrive on the caller's thread while the lanes work on the next segments. Where
 * the peak must be known first (MS_CLIP_RESCALE, kept_path) they are spooled; the encoders then run
 * on as many threads as there are lanes, which are idle by then. What is asked for and what is kept
 * of a stem are made of the same spool, in one pass. Every output is complete under a temporary
 * name before the first gets its own. */
#include "msaas/pipeline.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "msaas/fault.h"
#include "msaas/sys.h"
#include "msaas/thread.h"
#include "spool.h"

/* ---- what to write ---- */

struct plan {
    int count;
    struct {
        enum ms_stem_part part;
        int stem;
    } outputs[MS_PIPELINE_MAX_OUTPUTS];
};

static void plan_add(struct plan *plan, enum ms_stem_part part, int stem) {
    plan->outputs[plan->count].part = part;
    plan->outputs[plan->count].stem = stem;
    plan->count++;
}

static int make_plan(const struct ms_model_info *model, const struct ms_pipeline_options *options,
                     struct plan *plan, struct ms_error *err) {
    plan->count = 0;
    if (options->two_stems >= model->stem_count)
        return ms_error_set(err, MS_EUSAGE, "model %s has no stem number %d", model->name,
                            options->two_stems);
    if (options->two_stems >= 0) {
        plan_add(plan, MS_STEM_ITSELF, options->two_stems);
        if (options->other_method == MS_OTHER_ADD)
            plan_add(plan, MS_STEM_OTHERS, options->two_stems);
        else if (options->other_method == MS_OTHER_MINUS)
            plan_add(plan, MS_STEM_MIX_MINUS, options->two_stems);
        return 0;
    }
    for (int s = 0; s < model->stem_count; s++)
        if (options->stems[s])
            plan_add(plan, MS_STEM_ITSELF, s);
    if (plan->count == 0)
        return ms_error_set(err, MS_EUSAGE, "no stems to write");
    return 0;
}

int ms_pipeline_labels(const struct ms_model_info *model, const struct ms_pipeline_options *options,
                       struct ms_pipeline_output outputs[MS_PIPELINE_MAX_OUTPUTS], int *count,
                       struct ms_error *err) {
    struct plan plan;
    int rc = make_plan(model, options, &plan, err);
    if (rc != 0)
        return rc;
    for (int i = 0; i < plan.count; i++) {
        outputs[i].path = outputs[i].kept_path = NULL;
        ms_stem_label(plan.outputs[i].part, model->stems[plan.outputs[i].stem], outputs[i].label);
    }
    *count = plan.count;
    return 0;
}

/* ---- one run ---- */

struct output {
    struct ms_encoder *encoder;
    struct ms_encoder *keeper; /* NULL: the stem is not kept */
    struct ms_spool *spool;    /* NULL where all blocks go straight to the encoder */
    int published;             /* of encoder and keeper, in this order */
    struct ms_error err;       /* why it failed; code 0: it did not */
};

struct run {
    const struct ms_model_info *model;
    const struct ms_pipeline_options *options;
    const struct ms_separate_hooks *hooks;
    struct plan plan;
    struct ms_decoder *decoder;
    struct output outputs[MS_PIPELINE_MAX_OUTPUTS];
    float *scratch[MS_AUDIO_CHANNELS]; /* [MS_STEM_BLOCK_FRAMES] each */
    bool decoder_failed;
    struct ms_pipeline_stats stats;
    atomic_int next;    /* output to be finished next */
    atomic_int faulted; /* the first of the outputs that failed; plan.count: none */
    int64_t mix_frames; /* read in this pass */
};

static bool is_canceled(const struct run *run) {
    return run->hooks != NULL && run->hooks->cancel != NULL && atomic_load(run->hooks->cancel);
}

static int read_mix(void *context, float *const planes[MS_MIX_CHANNELS], size_t capacity,
                    size_t *frames, struct ms_error *err) {
    struct run *run = context;
    double begin_s = ms_monotonic_s();
    int rc = ms_decoder_read(run->decoder, planes, capacity, frames, err);
    run->stats.decode_s += ms_monotonic_s() - begin_s;
    run->decoder_failed = rc != 0;
    ms_fault_point("mid-decode");
    if (rc != 0)
        return rc;
    run->mix_frames += (int64_t)*frames;
    const double max_s = run->options->max_seconds;
    if (max_s > 0 && (double)run->mix_frames > max_s * run->model->sample_rate_hz)
        return ms_error_set(err, MS_EINPUT,
                            "is longer than %g minutes, the longest song that is accepted",
                            max_s / 60);
    return 0;
}

/* At most, of each frame in the files that are made of the spool. Those of the lossy formats are
 * far smaller than their spool, and FLAC is at its longest as long as WAV. */
static int made_bytes(const struct run *run, int number) {
    const struct ms_encode_options *encode = &run->options->encode;
    const bool lossless = encode->format == MS_FORMAT_WAV || encode->format == MS_FORMAT_FLAC;
    const int sample_bytes = encode->sample_type == MS_SAMPLE_INT16   ? 2
                             : encode->sample_type == MS_SAMPLE_INT24 ? 3
                                                                      : 4;
    int bytes = lossless && run->options->clip == MS_CLIP_RESCALE ? sample_bytes : 0;
    if (run->outputs[number].keeper != NULL)
        bytes += 3;
    return bytes * MS_AUDIO_CHANNELS;
}

/* Between the two passes: the song's length is known now. */
static int rewind_mix(void *context, struct ms_error *err) {
    struct run *run = context;
    const int64_t frames = run->mix_frames;
    int rc = ms_decoder_rewind(run->decoder, err);
    run->mix_frames = 0;
    run->decoder_failed = rc != 0;
    if (rc == 0 && run->options->admit != NULL)
        rc = run->options->admit(run->options->admit_context, frames, err);
    for (int i = 0; rc == 0 && i < run->plan.count; i++)
        if (run->outputs[i].spool != NULL)
            rc = ms_spool_reserve(run->outputs[i].spool, frames, made_bytes(run, i), err);
    return rc;
}

/* The planes of output `number`: a stem's own, or what is made of several in scratch. */
static void make_content(struct run *run, int number, const float *const (*stems)[MS_MIX_CHANNELS],
                         const float *const mix[MS_MIX_CHANNELS], size_t frames,
                         const float *planes[MS_MIX_CHANNELS]) {
    int stem = run->plan.outputs[number].stem;
    for (int c = 0; c < MS_MIX_CHANNELS; c++) {
        float *made = run->scratch[c];
        planes[c] = made;
        switch (run->plan.outputs[number].part) {
        case MS_STEM_ITSELF: planes[c] = stems[stem][c]; break;
        case MS_STEM_OTHERS:
            memset(made, 0, frames * sizeof *made);
            for (int s = 0; s < run->model->stem_count; s++)
                for (size_t i = 0; s != stem && i < frames; i++)
                    made[i] += stems[s][c][i];
            break;
        case MS_STEM_MIX_MINUS:
            for (size_t i = 0; i < frames; i++)
                made[i] = mix[c][i] - stems[stem][c][i];
            break;
        }
    }
}

static void clamp(struct run *run, const float *planes[MS_MIX_CHANNELS], size_t frames) {
    for (int c = 0; c < MS_MIX_CHANNELS; c++) {
        for (size_t i = 0; i < frames; i++)
            run->scratch[c][i] = fminf(fmaxf(planes[c][i], -0.99f), 0.99f);
        planes[c] = run->scratch[c];
    }
}

static int write_stems(void *context, const float *const (*stems)[MS_MIX_CHANNELS],
                       const float *const mix[MS_MIX_CHANNELS], size_t frames,
                       struct ms_error *err) {
    struct run *run = context;
    double begin_s = ms_monotonic_s();
    int rc = 0;
    for (int i = 0; rc == 0 && i < run->plan.count; i++) {
        const float *planes[MS_MIX_CHANNELS];
        make_content(run, i, stems, mix, frames, planes);
        if (run->options->on_block != NULL)
            run->options->on_block(run->options->on_block_context, i, planes, frames);
        if (run->outputs[i].spool != NULL)
            rc = ms_spool_write(run->outputs[i].spool, planes, frames, err);
        if (rc != 0 || run->options->clip == MS_CLIP_RESCALE)
            continue;
        if (run->options->clip == MS_CLIP_CLAMP)
            clamp(run, planes, frames);
        rc = ms_encoder_write(run->outputs[i].encoder, planes, frames, err);
    }
    run->stats.frames += (int64_t)frames;
    run->stats.encode_s += ms_monotonic_s() - begin_s;
    return rc;
}

/* ---- encoding what was spooled ---- */

/* Demucs' prevent_clip: where 1.01 times the peak is over full scale, divides by it. */
static int encode_spooled(struct run *run, int number, struct ms_error *err) {
    struct output *output = &run->outputs[number];
    float divisor = fmaxf(1.01f * ms_spool_peak(output->spool), 1.0f);
    struct ms_peaks *peaks =
        run->options->peaks != NULL && output->keeper != NULL ? &run->options->peaks[number] : NULL;
    int rc = ms_spool_rewind(output->spool, err);
    if (rc == 0 && peaks != NULL)
        rc = ms_peaks_init(peaks, run->stats.frames, err);
    run->stats.gains[number] = 1 / (double)divisor;
    while (rc == 0) {
        if (is_canceled(run) || atomic_load(&run->faulted) < number)
            return ms_error_set(err, MS_ECANCELED, "canceled");
        float *planes[MS_AUDIO_CHANNELS];
        size_t frames;
        rc = ms_spool_read(output->spool, planes, &frames, err);
        if (rc != 0 || frames == 0)
            break;
        if (peaks != NULL)
            ms_peaks_add(peaks, (const float *const[]){planes[0], planes[1]}, frames);
        for (int c = 0; divisor > 1.0f && c < MS_AUDIO_CHANNELS; c++)
            for (size_t i = 0; i < frames; i++)
                planes[c][i] /= divisor;
        const float *const scaled[MS_AUDIO_CHANNELS] = {planes[0], planes[1]};
        if (run->options->clip == MS_CLIP_RESCALE)
            rc = ms_encoder_write(output->encoder, scaled, frames, err);
        if (rc == 0 && output->keeper != NULL)
            rc = ms_encoder_write(output->keeper, scaled, frames, err);
    }
    return rc;
}

/* Only outputs after a failed one stop, so that the error reported does not depend on the threads'
 * order. */
static void note_fault(struct run *run, int number) {
    int first = atomic_load(&run->faulted);
    while (number < first && !atomic_compare_exchange_weak(&run->faulted, &first, number))
        continue;
}

/* Takes outputs, one at a time, until none is left. Afterwards each is complete under its temporary
 * name or has an error. */
static void *finish_outputs(void *context) {
    struct run *run = context;
    for (int i; (i = atomic_fetch_add(&run->next, 1)) < run->plan.count;) {
        struct output *output = &run->outputs[i];
        int rc = output->spool != NULL ? encode_spooled(run, i, &output->err) : 0;
        if (rc == 0)
            rc = ms_encoder_finish(output->encoder, &output->err);
        if (rc == 0 && output->keeper != NULL)
            rc = ms_encoder_finish(output->keeper, &output->err);
        if (rc != 0)
            note_fault(run, i);
        ms_spool_free(output->spool); /* frees the disk's space as early as possible */
        output->spool = NULL;
    }
    return NULL;
}

static int finish_all(struct run *run, int threads, struct ms_error *err) {
    atomic_store(&run->faulted, run->plan.count);
    pthread_t helpers[MS_PIPELINE_MAX_OUTPUTS];
    int helper_count = 0;
    /* A thread that cannot be started is no error: the others do its work. */
    while (helper_count + 1 < threads && helper_count + 1 < run->plan.count &&
           ms_thread_start(&helpers[helper_count], 0, finish_outputs, run) == 0)
        helper_count++;
    (void)finish_outputs(run);
    for (int i = 0; i < helper_count; i++)
        pthread_join(helpers[i], NULL);

    int faulted = atomic_load(&run->faulted);
    if (faulted == run->plan.count)
        return 0;
    return ms_error_copy(err, &run->outputs[faulted].err);
}

static int publish_all(struct run *run, const struct ms_pipeline_output *outputs,
                       struct ms_error *err) {
    int rc = 0;
    for (int i = 0; rc == 0 && i < run->plan.count; i++) {
        struct output *output = &run->outputs[i];
        rc = ms_encoder_publish(output->encoder, err);
        output->published += rc == 0;
        if (rc == 0 && output->keeper != NULL) {
            rc = ms_encoder_publish(output->keeper, err);
            output->published += rc == 0;
        }
    }
    for (int i = 0; rc != 0 && i < run->plan.count; i++) {
        if (run->outputs[i].published > 0)
            (void)unlink(outputs[i].path);
        if (run->outputs[i].published > 1)
            (void)unlink(outputs[i].kept_path);
    }
    return rc;
}

/* ---- the whole way ---- */

static int open_output(struct run *run, const struct ms_pipeline_output *to, const char *spool_dir,
                       struct output *output, struct ms_error *err) {
    static const struct ms_encode_options kept = {.format = MS_FORMAT_FLAC,
                                                  .sample_type = MS_SAMPLE_INT24};
    const int rate_hz = run->model->sample_rate_hz;
    const struct ms_audio_tags *tags = ms_decoder_tags(run->decoder);
    int rc = ms_encoder_open(to->path, rate_hz, &run->options->encode, tags, &output->encoder, err);
    if (rc == 0 && to->kept_path != NULL)
        rc = ms_encoder_open(to->kept_path, rate_hz, &kept, tags, &output->keeper, err);
    if (rc == 0 && (output->keeper != NULL || run->options->clip == MS_CLIP_RESCALE))
        rc = ms_spool_new(spool_dir, &output->spool, err);
    return rc;
}

/* Opens the encoders before the separation, so that a folder that cannot be written to is found at
 * once. */
static int open_all(struct run *run, const char *input, const struct ms_pipeline_output *outputs,
                    const char *spool_dir, struct ms_error *err) {
    int rc = ms_decoder_open(input, run->model->sample_rate_hz, &run->decoder, err);
    for (int i = 0; rc == 0 && i < run->plan.count; i++) {
        for (int k = 0; k < i; k++)
            if (strcmp(outputs[i].path, outputs[k].path) == 0)
                return ms_error_about(err, MS_EUSAGE, outputs[i].path,
                                      "both %s and %s would be written there", outputs[k].label,
                                      outputs[i].label);
        rc = open_output(run, &outputs[i], spool_dir, &run->outputs[i], err);
    }
    return rc;
}

static int separate_all(struct run *run, struct ms_separator *separator, const char *input,
                        struct ms_error *err) {
    struct ms_separate_options options = run->options->separate;
    for (int s = 0; s < MS_MODEL_MAX_STEMS; s++)
        options.wanted[s] = false;
    for (int i = 0; i < run->plan.count; i++) {
        options.wanted[run->plan.outputs[i].stem] = true;
        for (int s = 0; run->plan.outputs[i].part == MS_STEM_OTHERS && s < run->model->stem_count;
             s++)
            options.wanted[s] = true;
    }
    struct ms_mix_source source = {run, read_mix, rewind_mix};
    struct ms_stem_sink sink = {run, write_stems};
    double begin_s = ms_monotonic_s();
    int rc = ms_separator_run(separator, &source, &sink, &options, run->hooks, err);
    run->stats.separate_s = ms_monotonic_s() - begin_s - run->stats.decode_s - run->stats.encode_s;
    if (rc == MS_EINPUT && !run->decoder_failed && err != NULL)
        return ms_error_prefix(err, "%s", input);
    return rc;
}

int ms_pipeline_run(struct ms_separator *separator, const struct ms_model_info *model,
                    const char *input, const struct ms_pipeline_options *options,
                    const struct ms_pipeline_output *outputs, int output_count,
                    const char *spool_dir, const struct ms_separate_hooks *hooks,
                    struct ms_pipeline_stats *stats, struct ms_error *err) {
    double begin_s = ms_monotonic_s();
    struct run run = {.model = model, .options = options, .hooks = hooks};
    int rc = make_plan(model, options, &run.plan, err);
    if (rc != 0)
        return rc;
    if (run.plan.count != output_count)
        return ms_error_set(err, MS_EINTERNAL, "%d outputs named, %d planned", output_count,
                            run.plan.count);
    for (int c = 0; c < MS_AUDIO_CHANNELS; c++) {
        run.scratch[c] = malloc(MS_STEM_BLOCK_FRAMES * sizeof(float));
        if (run.scratch[c] == NULL) {
            rc = ms_error_set(err, MS_ENOMEM, "no memory for a song's buffers");
            goto out;
        }
    }
    rc = open_all(&run, input, outputs, spool_dir, err);
    if (rc == 0)
        rc = separate_all(&run, separator, input, err);
    if (rc != 0)
        goto out;
    double encode_begin_s = ms_monotonic_s();
    rc = finish_all(&run, ms_separator_lanes(separator), err);
    if (rc != 0)
        goto out;
    run.stats.encode_s += ms_monotonic_s() - encode_begin_s;
    run.stats.damaged = ms_decoder_was_damaged(run.decoder);
    rc = publish_all(&run, outputs, err);
    if (rc != 0)
        goto out;
    run.stats.total_s = ms_monotonic_s() - begin_s;
    if (stats != NULL)
        *stats = run.stats;
out:
    for (int i = 0; i < run.plan.count; i++) {
        ms_encoder_free(run.outputs[i].encoder);
        ms_encoder_free(run.outputs[i].keeper);
        ms_spool_free(run.outputs[i].spool);
    }
    ms_decoder_free(run.decoder);
    for (int c = 0; c < MS_AUDIO_CHANNELS; c++)
        free(run.scratch[c]);
    return rc;
}
