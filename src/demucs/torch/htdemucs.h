/* The room's inner contract between loading (network.c) and the formula (htdemucs.c): a network's layers as tensors.
 * Names follow the published state dict, so that a layer is found in both. */
#ifndef MSAAS_DEMUCS_HTDEMUCS_H
#define MSAAS_DEMUCS_HTDEMUCS_H

#include "../weights.h"
#include "msaas/network.h"
#include "torch_shim.h"

#define MS_MAX_DEPTH 8
#define MS_MAX_DCONV 4
#define MS_MAX_LAYERS 16

struct affine { /* a convolution, a linear layer or a norm: y = f(x, weight) + bias */
    struct ms_tensor *weight, *bias;
};

struct dconv_layer { /* conv - group norm - GELU - conv - group norm - GLU - scale, a residual */
    struct affine conv_in, norm_in, conv_out, norm_out;
    struct ms_tensor *scale;
};

struct dconv {
    int depth; /* 0: there is none */
    struct dconv_layer layers[MS_MAX_DCONV];
};

struct conv_layer { /* of an encoder (conv is conv) or a decoder (conv is conv_tr) */
    struct affine conv, rewrite;
    struct dconv dconv;
};

struct
    attention_layer { /* of the transformer; norm_q and norm_k are norm1 and norm2 of a cross layer */
    struct affine in_proj, out_proj, norm_q, norm_k, norm_ff, linear1, linear2, norm_out;
    struct ms_tensor *gamma_1, *gamma_2;
};

struct branch { /* of one domain: frequency or time */
    struct conv_layer encoder[MS_MAX_DEPTH], decoder[MS_MAX_DEPTH];
    struct affine upsampler, downsampler, norm_in;
    struct attention_layer layers[MS_MAX_LAYERS];
    struct ms_tensor *position; /* [tokens][channels], already weighted */
};

struct ms_network {
    struct ms_hyper hyper;
    struct ms_pool *pool; /* owns every tensor here */
    struct branch freq, time;
    struct ms_tensor *freq_embedding; /* [channels][frequencies][1], already scaled and weighted */
};

/* One forward pass. mix is [2][segment_frames] on the pool's device; the result [sources * 2][segment_frames].
 * NULL, and an error in the pool, on failure. Adds to seconds, wall time by stage. */
struct ms_tensor *ms_htdemucs_forward(const struct ms_network *net, struct ms_pool *p,
                                      const struct ms_tensor *mix, double seconds[MS_STAGE_COUNT]);

/* Called with the output of each module, under its name in the published network; for tests. NULL: off.
 * The network's own function, of a process that runs one session. */
extern void (*ms_htdemucs_trace)(const char *module, struct ms_pool *p, const struct ms_tensor *x);

#endif
