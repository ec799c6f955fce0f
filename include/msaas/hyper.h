/* Hyper-parameters of a network, and the tensors that a network of given hyper-parameters has. Pure
 * functions; any thread. */
#ifndef MSAAS_HYPER_H
#define MSAAS_HYPER_H

#include <stdbool.h>
#include <stdint.h>

#include "msaas/err.h"

#define MS_TENSOR_MAX_DIMS 4
#define MS_TENSOR_NAME_BYTES 96

/* Limits of what the network holds. Larger hyper-parameters are refused. */
#define MS_HYPER_MAX_DEPTH 4
#define MS_HYPER_MAX_DCONV_DEPTH 4
#define MS_HYPER_MAX_LAYERS 16

/* Hyper-parameters of one network, named as HTDemucs' constructor names them (demucs/htdemucs.py of
 * Demucs v4). What is not here is fixed to the published models' value; the importers refuse files
 * that differ. */
struct ms_hyper {
    int sources;               /* 4 */
    int audio_channels;        /* 2 */
    int samplerate;            /* 44100 */
    int segment_frames;        /* 343980 */
    int channels;              /* 48: of the outermost layer */
    int growth;                /* 2 */
    int depth;                 /* 4: layers of each encoder and decoder */
    int nfft;                  /* 4096; hop is nfft / 4 */
    int kernel_size;           /* 8 */
    int stride;                /* 4 */
    int context;               /* 1: decoders' rewrite convolutions are 2 * context + 1 wide */
    int dconv_depth;           /* 2 */
    int dconv_comp;            /* 8 */
    bool dconv_encoder;        /* dconv_mode & 1 */
    bool dconv_decoder;        /* dconv_mode & 2 */
    double freq_emb;           /* 0.2: weight of the frequency embedding */
    double emb_scale;          /* 10 */
    int bottom_channels;       /* 512; 0: the transformer works on the innermost layer's channels */
    int t_layers;              /* 5 */
    int t_heads;               /* 8 */
    double t_hidden_scale;     /* 4 */
    double t_max_period;       /* 10000 */
    double t_weight_pos_embed; /* 1 */
};

/* Refuses (MS_EMODEL, naming the hyper-parameter) what the network cannot be built of: values out
 * of range or that contradict each other, and sizes without reason. Whoever reads hyper-parameters
 * from outside calls it first. */
MS_MUST_CHECK int ms_hyper_check(const struct ms_hyper *hyper, struct ms_error *err);

/* Width of the transformer: bottom_channels or, where that is 0, the innermost layer's channels. */
int ms_hyper_transformer_channels(const struct ms_hyper *hyper);

/* Calls visit for every tensor that a network of these hyper-parameters has, in a fixed order.
 * Stops when visit returns other than 0 and returns that; 0 at the end. The published networks have
 * exactly these, 533 of them. */
int ms_hyper_visit_tensors(const struct ms_hyper *hyper,
                           int (*visit)(void *context, const char *name, int dims,
                                        const int64_t *shape),
                           void *context);

#endif
