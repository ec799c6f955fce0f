/* decode -> SEPARATE -> encode: the mix comes in by blocks, segments go through the lanes, stems go
 * out by blocks.
 *
 * Everything but the forwards happens on the caller's thread, in the order of the grid: what comes
 * out does not depend on the number of lanes or on their batches. Owns the stretch of the mix that
 * is still needed (history) and, for every stem, the one segment that later chunks still add to
 * (tail). Their sizes depend on the model and the lanes, not on the song. */
#include "msaas/separate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "grid.h"
#include "lanes.h"
#include "normalise.h"

/* Louder, stems could exceed what a float holds. */
#define MAX_LEVEL 1e30f

struct ms_separator {
    const struct ms_model_info *info;
    struct ms_lanes *lanes;
    float *history[MS_MIX_CHANNELS]; /* [history_capacity] frames of the mix, not normalised */
    int64_t history_capacity;
    /* [stem_count][2][segment_frames]; its first frame is the position of the oldest chunk */
    float *tail;
    float *gain;   /* [segment_frames] */
    double *cover; /* [segment_frames], the grid's */
};

struct job {
    struct ms_separator *separator;
    const struct ms_mix_source *source;
    const struct ms_stem_sink *sink;
    const struct ms_separate_options *options;
    const atomic_bool *cancel;
    struct ms_grid grid;
    int64_t song_frames;
    float mean, deviation;
    int64_t history_first, history_end; /* frames of the song that history holds */
    int64_t tail_first;                 /* song frame of the tail's first frame */
};

static float *tail_plane(const struct ms_separator *separator, int stem, int channel) {
    return separator->tail + ((size_t)stem * MS_MIX_CHANNELS + (size_t)channel) *
                                 (size_t)separator->info->segment_frames;
}

static int check_cancel(const struct job *job, struct ms_error *err) {
    if (job->cancel != NULL && atomic_load(job->cancel))
        return ms_error_set(err, MS_ECANCELED, "canceled");
    return 0;
}

/* ---- the first pass ---- */

static int measure(struct job *job, struct ms_error *err) {
    struct ms_separator *separator = job->separator;
    struct ms_level level = {0};
    for (;;) {
        int rc = check_cancel(job, err);
        if (rc != 0)
            return rc;
        size_t frames = 0;
        rc = job->source->read(job->source->context, separator->history, MS_STEM_BLOCK_FRAMES,
                               &frames, err);
        if (rc != 0)
            return rc;
        if (frames == 0)
            break;
        ms_level_add(&level, separator->history[0], separator->history[1], frames);
    }
    if (level.frames == 0)
        return ms_error_set(err, MS_EINPUT, "the audio has no samples");
    job->song_frames = level.frames;
    job->mean = (float)level.mean;
    job->deviation = (float)ms_level_deviation(&level);
    if (!(fabsf(job->mean) < MAX_LEVEL && job->deviation < MAX_LEVEL))
        return ms_error_set(err, MS_EINPUT, "the audio is too loud to be separated");
    return job->source->rewind(job->source->context, err);
}

/* ---- the mix: what was read and is still needed ---- */

/* Reads on until history holds the frames before `end`, dropping those before `first`. */
static int read_until(struct job *job, int64_t first, int64_t end, struct ms_error *err) {
    struct ms_separator *separator = job->separator;
    if (end <= job->history_end)
        return 0;
    if (end - job->history_first > separator->history_capacity) {
        size_t kept = (size_t)(job->history_end - first);
        for (int c = 0; c < MS_MIX_CHANNELS; c++)
            memmove(separator->history[c], separator->history[c] + (first - job->history_first),
                    kept * sizeof(float));
        job->history_first = first;
    }
    while (job->history_end < end) {
        int rc = check_cancel(job, err);
        if (rc != 0)
            return rc;
        float *planes[MS_MIX_CHANNELS];
        for (int c = 0; c < MS_MIX_CHANNELS; c++)
            planes[c] = separator->history[c] + (job->history_end - job->history_first);
        int64_t missing = end - job->history_end;
        size_t frames = 0;
        size_t capacity = missing < MS_STEM_BLOCK_FRAMES ? (size_t)missing : MS_STEM_BLOCK_FRAMES;
        rc = job->source->read(job->source->context, planes, capacity, &frames, err);
        if (rc != 0)
            return rc;
        if (frames == 0)
            return ms_error_set(err, MS_EINPUT,
                                "the audio had %lld frames when it was read first, now it has %lld",
                                (long long)job->song_frames, (long long)job->history_end);
        job->history_end += (int64_t)frames;
    }
    return 0;
}

/* At the song's end: the second pass must not have more frames than the first. */
static int check_end(struct job *job, struct ms_error *err) {
    size_t frames = 0;
    int rc = job->source->read(job->source->context, job->separator->history, 1, &frames, err);
    if (rc == 0 && frames > 0)
        rc = ms_error_set(err, MS_EINPUT,
                          "the audio had %lld frames when it was read first, now it has more",
                          (long long)job->song_frames);
    return rc;
}

/* window [2][segment_frames of the model]: the normalised mix from chunk->window on; zeros
 * before the song, after it and, where the grid's segment is shorter than the model's, after the
 * segment. */
static void fill_window(const struct job *job, const struct ms_chunk *chunk, float *window) {
    const struct ms_separator *separator = job->separator;
    int64_t frames = separator->info->segment_frames;
    int64_t end = chunk->window + job->grid.segment_frames;
    int64_t from = chunk->window > 0 ? chunk->window : 0;
    int64_t to = end < job->song_frames ? end : job->song_frames;
    float mean = job->mean, scale = job->deviation + 1e-8f;
    memset(window, 0, (size_t)(MS_MIX_CHANNELS * frames) * sizeof *window);
    for (int c = 0; c < MS_MIX_CHANNELS; c++) {
        const float *mix = separator->history[c] + (from - job->history_first);
        float *plane = window + c * frames + (from - chunk->window);
        for (int64_t i = 0; i < to - from; i++)
            plane[i] = (mix[i] - mean) / scale;
    }
}

/* Keeps the lanes fed: fills and submits segments until all slots are in flight or the grid
 * ends. */
static int feed(struct job *job, bool *more, struct ms_error *err) {
    struct ms_lanes *lanes = job->separator->lanes;
    struct ms_slot *slot;
    while (*more && (slot = ms_lanes_claim(lanes)) != NULL) {
        if (!(*more = ms_grid_next(&job->grid, &slot->chunk))) {
            ms_lanes_flush(lanes);
            break;
        }
        /* Windows start in the order of their chunks, even those that reach back. Stems from
         * tail_first on are not yet handed out. */
        int64_t first = slot->chunk.window, end = slot->chunk.position + slot->chunk.length;
        if (first > job->tail_first)
            first = job->tail_first;
        int rc = read_until(job, first > 0 ? first : 0, end, err);
        if (rc != 0)
            return rc;
        fill_window(job, &slot->chunk, slot->window);
        ms_lanes_submit(lanes);
    }
    return 0;
}

/* ---- the stems ---- */

static void multiply_add(float *restrict to, const float *restrict gain, const float *restrict from,
                         int64_t frames) {
    for (int64_t i = 0; i < frames; i++)
        to[i] += gain[i] * from[i];
}

/* Adds a chunk to the tail, which begins at the chunk's first frame. The chunk is the middle of its
 * window's output. */
static void accumulate(struct job *job, const struct ms_slot *slot) {
    struct ms_separator *separator = job->separator;
    int64_t frames = separator->info->segment_frames;
    int64_t skip = slot->chunk.position - slot->chunk.window;
    ms_grid_gain(&job->grid, &slot->chunk, separator->gain);
    for (int s = 0; s < separator->info->stem_count; s++)
        for (int c = 0; job->options->wanted[s] && c < MS_MIX_CHANNELS; c++)
            multiply_add(tail_plane(separator, s, c), separator->gain,
                         slot->stems + (s * MS_MIX_CHANNELS + c) * frames + skip,
                         slot->chunk.length);
}

/* Hands out the frames before `end`, to which no later chunk adds. Leaves out those before the
 * song. */
static int emit(struct job *job, int64_t end, struct ms_error *err) {
    struct ms_separator *separator = job->separator;
    int64_t at = job->tail_first > 0 ? job->tail_first : 0;
    for (int64_t count; at < end; at += count) {
        count = end - at < MS_STEM_BLOCK_FRAMES ? end - at : MS_STEM_BLOCK_FRAMES;
        const float *stems[MS_MODEL_MAX_STEMS][MS_MIX_CHANNELS] = {{NULL}};
        for (int s = 0; s < separator->info->stem_count; s++)
            for (int c = 0; job->options->wanted[s] && c < MS_MIX_CHANNELS; c++) {
                float *plane = tail_plane(separator, s, c) + (at - job->tail_first);
                for (int64_t i = 0; i < count; i++)
                    plane[i] = plane[i] * job->deviation + job->mean;
                stems[s][c] = plane;
            }
        const float *mix[MS_MIX_CHANNELS];
        for (int c = 0; c < MS_MIX_CHANNELS; c++)
            mix[c] = separator->history[c] + (at - job->history_first);
        int rc = check_cancel(job, err);
        if (rc == 0)
            rc = job->sink->write(job->sink->context, (const float *const(*)[MS_MIX_CHANNELS])stems,
                                  mix, (size_t)count, err);
        if (rc != 0)
            return rc;
    }

    size_t gone = (size_t)(end - job->tail_first);
    size_t kept = (size_t)separator->info->segment_frames - gone;
    for (int s = 0; s < separator->info->stem_count; s++)
        for (int c = 0; job->options->wanted[s] && c < MS_MIX_CHANNELS; c++) {
            float *plane = tail_plane(separator, s, c);
            memmove(plane, plane + gone, kept * sizeof *plane);
            memset(plane + kept, 0, gone * sizeof *plane);
        }
    job->tail_first = end;
    return 0;
}

/* Collects the oldest segment in flight and hands out its frames, while the lanes work on the
 * next. */
static int finish_oldest(struct job *job, bool *more, struct ms_error *err) {
    struct ms_lanes *lanes = job->separator->lanes;
    struct ms_slot *slot;
    int rc = ms_lanes_collect(lanes, job->cancel, &slot, err);
    if (rc != 0)
        return rc;
    accumulate(job, slot);
    ms_lanes_release(lanes);
    rc = feed(job, more, err);
    if (rc != 0)
        return rc;
    const struct ms_slot *next = ms_lanes_oldest(lanes);
    return emit(job, next != NULL ? next->chunk.position : job->song_frames, err);
}

static int separate(struct job *job, const struct ms_separate_hooks *hooks, struct ms_error *err) {
    struct ms_separate_progress progress = {.segments_total = ms_grid_chunks(&job->grid),
                                            .frames_total = job->song_frames};
    bool more = true;
    int rc = feed(job, &more, err);
    while (rc == 0) {
        if (hooks != NULL && hooks->progress != NULL)
            hooks->progress(hooks->context, &progress);
        if (progress.segments_done == progress.segments_total)
            break;
        rc = finish_oldest(job, &more, err);
        progress.segments_done++;
        progress.frames_done = job->tail_first > 0 ? job->tail_first : 0;
    }
    return rc;
}

/* ---- a job ---- */

static int check_options(const struct ms_model_info *info,
                         const struct ms_separate_options *options, int64_t *segment_frames,
                         int64_t *stride_frames, struct ms_error *err) {
    double longest_s = (double)info->segment_frames / info->sample_rate_hz;
    if (!(options->overlap >= 0.0 && options->overlap < 1.0))
        return ms_error_about(err, MS_EUSAGE, "overlap", "%g is not in 0 <= overlap < 1",
                              options->overlap);
    if (!(options->segment_s >= 0.0 && options->segment_s <= longest_s))
        return ms_error_about(err, MS_EUSAGE, "segment", "%g s; model %s takes at most %g s",
                              options->segment_s, info->name, longest_s);
    if (options->shifts < 0 || options->shifts > MS_GRID_MAX_RUNS)
        return ms_error_about(err, MS_EUSAGE, "shifts", "%d is not in 0..%d", options->shifts,
                              MS_GRID_MAX_RUNS);
    *segment_frames = options->segment_s > 0.0
                          ? (int64_t)(options->segment_s * info->sample_rate_hz)
                          : info->segment_frames;
    if (*segment_frames < 1)
        return ms_error_about(err, MS_EUSAGE, "segment", "%g s is less than one frame",
                              options->segment_s);
    *stride_frames = (int64_t)((1.0 - options->overlap) * (double)*segment_frames);
    if (*stride_frames < 1)
        *stride_frames = 1;
    return 0;
}

int ms_separator_run(struct ms_separator *separator, const struct ms_mix_source *source,
                     const struct ms_stem_sink *sink, const struct ms_separate_options *options,
                     const struct ms_separate_hooks *hooks, struct ms_error *err) {
    const struct ms_model_info *info = separator->info;
    struct job job = {.separator = separator,
                      .source = source,
                      .sink = sink,
                      .options = options,
                      .cancel = hooks != NULL ? hooks->cancel : NULL};
    int64_t segment_frames = 0, stride_frames = 0;
    int rc = check_options(info, options, &segment_frames, &stride_frames, err);
    if (rc != 0 || (rc = ms_lanes_want(separator->lanes, options->wanted, err)) != 0 ||
        (rc = measure(&job, err)) != 0)
        return rc;
    ms_grid_init(&job.grid, job.song_frames, segment_frames, stride_frames, options->shifts,
                 info->sample_rate_hz / 2, options->seed, separator->cover);
    job.tail_first = ms_grid_first(&job.grid);
    memset(separator->tail, 0,
           (size_t)(info->stem_count * MS_MIX_CHANNELS) * (size_t)info->segment_frames *
               sizeof(float));
    rc = separate(&job, hooks, err);
    ms_lanes_drain(separator->lanes);
    return rc != 0 ? rc : check_end(&job, err);
}

int ms_separator_new(struct ms_network *network, int lanes, int batch, struct ms_separator **out,
                     struct ms_error *err) {
    *out = NULL;
    struct ms_separator *made = calloc(1, sizeof *made);
    if (made == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a separator");
    made->info = &network->info;
    int rc = ms_lanes_new(network, lanes, batch, &made->lanes, err);
    if (rc != 0)
        goto out;
    /* From the oldest chunk, whose stems are not yet handed out, to the end of the newest in
     * flight. */
    size_t segment = (size_t)made->info->segment_frames;
    made->history_capacity =
        (int64_t)segment * (ms_lanes_slots(made->lanes) + 2) + MS_STEM_BLOCK_FRAMES;
    for (int c = 0; c < MS_MIX_CHANNELS; c++)
        made->history[c] = malloc((size_t)made->history_capacity * sizeof(float));
    made->tail =
        malloc((size_t)(made->info->stem_count * MS_MIX_CHANNELS) * segment * sizeof(float));
    made->gain = malloc(segment * sizeof(float));
    made->cover = malloc(segment * sizeof(double));
    if (made->history[0] == NULL || made->history[1] == NULL || made->tail == NULL ||
        made->gain == NULL || made->cover == NULL) {
        rc = ms_error_set(err, MS_ENOMEM, "no memory for a separator's buffers");
        goto out;
    }
    *out = made;
    made = NULL;
out:
    ms_separator_free(made);
    return rc;
}

void ms_separator_free(struct ms_separator *separator) {
    if (separator == NULL)
        return;
    ms_lanes_free(separator->lanes);
    for (int c = 0; c < MS_MIX_CHANNELS; c++)
        free(separator->history[c]);
    free(separator->tail);
    free(separator->gain);
    free(separator->cover);
    free(separator);
}

int ms_separator_lanes(const struct ms_separator *separator) {
    return ms_lanes_count(separator->lanes);
}
