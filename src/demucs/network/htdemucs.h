/* The room's inner contract between loading (network.c) and the formula (htdemucs.c): a
 * network's layers as tensors. Names follow the published state dict, so that a layer is found
 * in both. */
#ifndef MSAAS_DEMUCS_HTDEMUCS_H
#define MSAAS_DEMUCS_HTDEMUCS_H

#include "msaas/network.h"
#include "msaas/tensor.h"
#include "msaas/weights.h"

#define MS_MAX_DEPTH 8
#define MS_MAX_DCONV MS_RESIDUALS_MAX
#define MS_MAX_LAYERS 16

/* A decoder first rewrites what it gets, with the units, then grows it by a transposed
 * convolution, with GELU but for the last. An encoder's layer is the other way round: convolution
 * with GELU, units, and rewriting with GLU. */
struct decoder {
    struct ms_layer rewrite;
    const struct ms_filter *conv;
};

struct attention_layer { /* of the transformer */
    bool cross;          /* keys and values come from the other branch */
    /* Queries; of a layer that is not cross, with keys and values behind them. */
    const struct ms_filter *in_q, *in_kv, *out, *linear1, *linear2;
    struct ms_norm norm_q, norm_kv, norm_ff, norm_out;
    struct ms_tensor *gamma_1, *gamma_2;
};

struct branch { /* of one domain: frequency or time */
    struct ms_layer encoder[MS_MAX_DEPTH];
    struct decoder decoder[MS_MAX_DEPTH];
    const struct ms_filter *upsampler, *downsampler;
    struct ms_norm norm_in;
    struct attention_layer layers[MS_MAX_LAYERS];
    struct ms_tensor *position; /* [tokens][channels], already weighted */
};

struct ms_member {
    struct ms_hyper hyper;
    bool bf16;            /* products take bfloat16 */
    struct ms_pool *pool; /* owns every tensor and filter here */
    struct branch freq, time;
    struct ms_tensor *freq_embedding; /* [frequencies][1][channels], already scaled and weighted */
};

/* One forward pass. mix is [batch][2][segment_frames] on the pool's device; the result
 * [batch][sources * 2][segment_frames].
 * NULL, and an error in the pool, on failure. Adds to seconds, wall time by stage. */
struct ms_tensor *ms_htdemucs_forward(const struct ms_member *net, struct ms_pool *p,
                                      const struct ms_tensor *mix, double seconds[MS_STAGE_COUNT]);

/* Called with the output of each module, under its name in the published network; for tests.
 * NULL: off. The network's own function, of a process that runs one session. */
extern void (*ms_htdemucs_trace)(const char *module, struct ms_pool *p, const struct ms_tensor *x);

#endif
