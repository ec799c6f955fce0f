/* The room's inner contract between loading (network.c) and the formula (htdemucs.c): a
 * network's layers as tensors. Names follow the published state dict, so that a layer is found
 * in both. */
#ifndef MSAAS_DEMUCS_HTDEMUCS_H
#define MSAAS_DEMUCS_HTDEMUCS_H

#include "msaas/network.h"
#include "msaas/tensor.h"
#include "msaas/weights.h"

_Static_assert(MS_HYPER_MAX_DCONV_DEPTH <= MS_RESIDUALS_MAX, "a layer holds all its units");

/* A decoder first rewrites what it gets, with the units, then grows it by a transposed
 * convolution, with GELU but for the last. An encoder's layer is the other way round: convolution
 * ([out][in][kernel][1]) with GELU, units, and rewriting ([2 * out][out][1][1]) with GLU. In the
 * time branch filters have no last dimension. */
struct decoder {
    struct ms_layer rewrite;      /* [2 * in][in][wide][wide], wide = 2 * context + 1 */
    const struct ms_filter *conv; /* [in][out][kernel][1] */
};

struct attention_layer { /* of the transformer */
    bool cross;          /* keys and values come from the other branch */
    /* Queries: [channels][channels] in a cross layer. Else keys and values follow them in one
     * filter: [3 * channels][channels]. */
    const struct ms_filter *in_q;
    const struct ms_filter *in_k, *in_v; /* [channels][channels]: of a cross layer only */
    const struct ms_filter *out;         /* [channels][channels] */
    const struct ms_filter *linear1;     /* [hidden][channels] */
    const struct ms_filter *linear2;     /* [channels][hidden] */
    struct ms_norm norm_q, norm_kv, norm_ff, norm_out;
    struct ms_tensor *gamma_1, *gamma_2; /* [channels] each */
};

struct branch { /* of one domain: frequency or time */
    struct ms_layer encoder[MS_HYPER_MAX_DEPTH];
    struct decoder decoder[MS_HYPER_MAX_DEPTH];
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
