/* The room's inner contract between loading (network.c) and the formula (htdemucs.c): a
 * network's layers as tensors. Names follow the published state dict, so that a layer is found
 * in both. */
#ifndef MSAAS_DEMUCS_HTDEMUCS_H
#define MSAAS_DEMUCS_HTDEMUCS_H

#include "msaas/network.h"
#include "msaas/tensor.h"
#include "msaas/weights.h"

struct dconv {
    int depth; /* 0: there is none */
    struct ms_residual layers[MS_HYPER_MAX_DCONV_DEPTH];
};

struct conv_layer { /* of an encoder, or of a decoder, where conv is transposed */
    /* Encoder: [out][in][kernel][1], decoder: [in][out][kernel][1]; the time branch has no last
     * dimension. */
    const struct ms_filter *conv;
    /* Encoder: [2 * out][out][1][1], decoder: [2 * in][in][wide][wide], wide = 2 * context + 1;
     * the time branch has no last dimension. Ends in a GLU, which halves the channels. */
    const struct ms_filter *rewrite;
    struct dconv dconv;
};

struct attention_layer { /* of the transformer */
    bool cross;          /* keys and values come from the other branch */
    /* Queries: [channels][channels] in a cross layer. Else keys and values follow them in one
     * filter: [3 * channels][channels]. */
    const struct ms_filter *in_q;
    const struct ms_filter *in_kv;   /* [2 * channels][channels]: of a cross layer only */
    const struct ms_filter *out;     /* [channels][channels] */
    const struct ms_filter *linear1; /* [hidden][channels] */
    const struct ms_filter *linear2; /* [channels][hidden] */
    struct ms_norm norm_q, norm_kv, norm_ff, norm_out;
    struct ms_tensor *gamma_1, *gamma_2; /* [channels] each */
};

struct branch { /* of one domain: frequency or time */
    struct conv_layer encoder[MS_HYPER_MAX_DEPTH], decoder[MS_HYPER_MAX_DEPTH];
    const struct ms_filter *upsampler;   /* [transformer's channels][inner][1] */
    const struct ms_filter *downsampler; /* [inner][transformer's channels][1] */
    struct ms_norm norm_in;
    struct attention_layer layers[MS_HYPER_MAX_LAYERS];
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
