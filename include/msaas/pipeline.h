/* One song: decode -> separate -> encode. `msaas separate` and the worker walk this same way.
 * Runs on the caller's thread (lanes run inside the separator). */
#ifndef MSAAS_PIPELINE_H
#define MSAAS_PIPELINE_H

#include "msaas/audio.h"
#include "msaas/peaks.h"
#include "msaas/separate.h"
#include "msaas/stem.h"

enum ms_clip_mode { MS_CLIP_RESCALE, MS_CLIP_CLAMP, MS_CLIP_NONE };   /* Demucs' --clip-mode */
enum ms_other_method { MS_OTHER_ADD, MS_OTHER_MINUS, MS_OTHER_NONE }; /* Demucs' --other-method */

struct ms_pipeline_options {
    /* the pipeline sets `wanted` from stems or two_stems */
    struct ms_separate_options separate;
    struct ms_encode_options encode;
    enum ms_clip_mode clip;
    bool stems[MS_MODEL_MAX_STEMS]; /* which stems to write; ignored with two_stems */
    int two_stems;                  /* index of the stem kept apart from the rest; -1: off */
    enum ms_other_method other_method;
    double max_seconds; /* longer songs are MS_EINPUT; 0: any */
    /* Called when the song's length is known, before work on it begins; its error ends the run.
     * NULL: none. */
    int (*admit)(void *context, int64_t frames, struct ms_error *err);
    void *admit_context;
    /* Called with every block of every output as it was separated, before its level is changed: in
     * order, the outputs in turn, on the caller's thread. NULL: none. */
    void (*on_block)(void *context, int output, const float *const planes[MS_AUDIO_CHANNELS],
                     size_t frames);
    void *on_block_context;
    /* NULL, or one for each output: the peaks of those that are kept, as they were separated. The
     * caller frees them (ms_peaks_fini), also after a failure. */
    struct ms_peaks *peaks;
};

/* One output: its label ("vocals", "no_vocals", "minus_vocals") and where it goes. */
struct ms_pipeline_output {
    char label[MS_STEM_LABEL_BYTES];
    char *path; /* the file's final name; its folder exists */
    /* NULL, or the final name of the stem without loss, besides: 24-bit FLAC, scaled as
     * MS_CLIP_RESCALE does it, whatever options.clip says of the other. */
    char *kept_path;
};
#define MS_PIPELINE_MAX_OUTPUTS (MS_MODEL_MAX_STEMS)

/* The labels that `options` gives for this model, in the order of the outputs. Paths are NULL. */
MS_MUST_CHECK int ms_pipeline_labels(const struct ms_model_info *model,
                                     const struct ms_pipeline_options *options,
                                     struct ms_pipeline_output outputs[MS_PIPELINE_MAX_OUTPUTS],
                                     int *count, struct ms_error *err);

struct ms_pipeline_stats {
    int64_t frames; /* of the song at the model's rate */
    /* wall seconds on the caller's thread */
    double decode_s, separate_s, encode_s, total_s;
    bool damaged;                          /* parts of the source could not be decoded */
    double gains[MS_PIPELINE_MAX_OUTPUTS]; /* by which what was rescaled was multiplied, <= 1 */
};

/* Either every output stands under its final name, or none does: each is written to a temporary
 * name and all are renamed at the end. spool_dir: where the float stems wait for their peak
 * (MS_CLIP_RESCALE, kept_path); their space, and that of the files made of them, is claimed before
 * work begins. MS_EIO: there is too little. */
MS_MUST_CHECK int ms_pipeline_run(struct ms_separator *separator, const struct ms_model_info *model,
                                  const char *input, const struct ms_pipeline_options *options,
                                  const struct ms_pipeline_output *outputs, int output_count,
                                  const char *spool_dir, const struct ms_separate_hooks *hooks,
                                  struct ms_pipeline_stats *stats, struct ms_error *err);

#endif
