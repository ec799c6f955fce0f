/* Streaming separation: a mix comes in by blocks, stems go out by blocks, in order; memory does not
 * depend on length.
 *
 * The rules are Demucs' (demucs/apply.py and demucs/separate.py of Demucs v4):
 *  - the mix is normalised by mean and unbiased standard deviation of its whole mono mix (a
 *    first pass);
 *  - segments start every (1 - overlap) * segment frames and are joined by triangular weights;
 *  - a window longer than what is left of the song is centred on it: it reaches back into real
 *    audio on its left, zeros on its right;
 *  - shifts > 0: that many runs, each with the grid moved by a random part of half a second, are
 *    averaged.
 * Segments run on `lanes` threads, one session each, up to `batch` of them in one forward; the
 * result is the same, bit for bit, for any number of lanes and, on the CPU, any batch. */
#ifndef MSAAS_SEPARATE_H
#define MSAAS_SEPARATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "msaas/err.h"
#include "msaas/network.h"

#define MS_MIX_CHANNELS 2
#define MS_STEM_BLOCK_FRAMES 16384 /* the most that a read asks for or a write brings */

struct ms_separator; /* lanes and their sessions; one job at a time; reused from job to job */

/* lanes 1..256, batch 1..64. Makes the sessions (buffers, device streams) now, so that a job does
 * not wait for them. */
MS_MUST_CHECK int ms_separator_new(struct ms_network *network, int lanes, int batch,
                                   struct ms_separator **out, struct ms_error *err);
void ms_separator_free(struct ms_separator *separator);
int ms_separator_lanes(const struct ms_separator *separator);

/* Where the mix comes from: planar float at the model's rate. Called on the thread that called
 * ms_separator_run. */
struct ms_mix_source {
    void *context;
    /* Up to capacity frames; *frames == 0: the end. Both passes give the same frames. */
    int (*read)(void *context, float *const planes[MS_MIX_CHANNELS], size_t capacity,
                size_t *frames, struct ms_error *err);
    int (*rewind)(void *context, struct ms_error *err);
};

/* Where stems go, in order, each frame once, on the thread that called ms_separator_run.
 * stems[s] is the planar pair of stem s of the model, NULL where it was not asked for. mix is the
 * input at the same frames (the model's input before normalisation), for residuals. At most
 * MS_STEM_BLOCK_FRAMES frames a call. Valid during the call only. */
struct ms_stem_sink {
    void *context;
    int (*write)(void *context, const float *const (*stems)[MS_MIX_CHANNELS],
                 const float *const mix[MS_MIX_CHANNELS], size_t frames, struct ms_error *err);
};

struct ms_separate_options {
    double overlap;   /* 0 <= overlap < 1; Demucs: 0.25 */
    double segment_s; /* 0: the model's own; at most the model's own */
    int shifts;       /* 0..100 */
    uint64_t seed;    /* of the shifts' generator */
    /* which stems are needed; networks of a bag that serve none of them are not run */
    bool wanted[MS_MODEL_MAX_STEMS];
};

struct ms_separate_progress {
    int64_t segments_done, segments_total; /* total is known after the first pass; 0 before it */
    int64_t frames_done, frames_total;
};

struct ms_separate_hooks {
    void *context;
    /* may be NULL; called on the caller's thread */
    void (*progress)(void *context, const struct ms_separate_progress *progress);
    /* may be NULL; once it is true: MS_ECANCELED within one forward */
    const atomic_bool *cancel;
};

MS_MUST_CHECK int ms_separator_run(struct ms_separator *separator,
                                   const struct ms_mix_source *source,
                                   const struct ms_stem_sink *sink,
                                   const struct ms_separate_options *options,
                                   const struct ms_separate_hooks *hooks, struct ms_error *err);

#endif
