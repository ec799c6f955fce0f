/* The network's arithmetic on the CPU, on one thread, without libtorch: products with all that
 * follows them, attention, norms. One source is compiled once for each kind of processor; which
 * of them is used is decided at run time.
 *
 * Activations lie with channels last: [rows][width][channels]. A row is one frequency of the
 * spectrogram, or the whole of the waveform; a position is one (row, column). Nothing here
 * allocates, fails or keeps state: sizes are checked by the caller. Tables are constant and may
 * be used on any thread. Results do not depend on what other threads do. */
#ifndef MSAAS_TENSOR_KERNELS_H
#define MSAAS_TENSOR_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "msaas/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MS_TAPS_MAX 128

/* Weights of a product as the kernels read them: [panels][taps][depth][outputs of a panel]; by
 * Winograd's way points stand for taps. Made once, shared, only read. With glu a panel holds as
 * many outputs of the first half as of the second, so that a tile has both. */
struct ms_packed {
    int64_t out, depth; /* outputs (both halves of a GLU), inputs of each tap */
    int taps;
    bool glu;
    bool winograd;     /* three columns wide, stride 1: packed for winograd.h */
    bool bf16;         /* weights, and what they are multiplied by, are bfloat16; sums are float */
    void *values;      /* ms_kernels.packed_bytes, aligned to 64 bytes */
    const void *zeros; /* depth floats of zero, for positions beyond the edge */
};

/* Else its input is float: Winograd's way rounds what comes of its transform. */
static inline bool ms_takes_bf16(const struct ms_packed *w) {
    return w->bf16 && !w->winograd;
}

/* Where weight (output o, tap t, input i) lies: data[o * out + t * tap + i * in]. */
struct ms_weight_layout {
    const float *data;
    int64_t out, tap, in;
};

struct ms_tap { /* the input position that it reads: output position * stride + this */
    int32_t row, column;
};

/* For every output position: v = activation(scale * sum over taps of x . w + shift), then y = v,
 * or y += gamma * v. A convolution, a linear layer, or one phase of a transposed convolution. */
struct ms_product {
    const void *x;    /* [rows][width][depth]; float, or bfloat16 where ms_takes_bf16(w) */
    int64_t x_column; /* values from one position to the next; 0: depth */
    const struct ms_packed *w;
    int64_t rows, width;
    int64_t out_rows, out_width;
    int64_t first_row; /* that y begins with, of all output rows */
    int64_t stride_row, stride_column;
    struct ms_tap tap[MS_TAPS_MAX];
    const float *scale, *shift; /* for each output; scale may be NULL: 1 */
    enum ms_activation activation;
    const float *gamma;      /* for each output after the activation; NULL: y = v */
    void *y;                 /* float */
    bool y_bf16;             /* bfloat16 instead; not with gamma */
    int64_t y_row, y_column; /* values from one output row, and position, to the next */
    /* [out_rows][2], added to: sum and sum of squares of v. Without activation. NULL: not
     * wanted. */
    double *sums;
    void *scratch; /* ms_kernels.product_bytes, aligned to 64 bytes; NULL where that is 0 */
};

/* softmax(q . k * scale) . v for each head. Token t of head h: q + t * q_stride + h * depth and
 * so on; y likewise. */
struct ms_attention {
    const float *q, *k, *v;
    int64_t q_stride, k_stride, v_stride, y_stride;
    int64_t queries, keys, heads, depth;
    float scale;
    bool bf16;
    float *y;
    void *scratch; /* ms_kernels.attention_bytes, aligned to 64 bytes */
};

struct ms_kernels {
    const char *name; /* "plain", "avx2", "avx512", "avx512_bf16" */
    bool fast_bf16;   /* has instructions for it: faster than float32 */
    size_t (*packed_bytes)(const struct ms_packed *w);
    void (*pack)(const struct ms_packed *w, const struct ms_weight_layout *from);
    size_t (*product_bytes)(const struct ms_packed *w);
    void (*product)(const struct ms_product *p);
    size_t (*attention_bytes)(const struct ms_attention *a);
    void (*attention)(const struct ms_attention *a);
    /* y[t][c] = (x - mean of the token) / deviation of the token * weight[c] + bias[c] */
    void (*layer_norm)(const float *x, int64_t tokens, int64_t channels, const float *weight,
                       const float *bias, float *y);
    /* x[p][c] = activation(x * scale[c] + shift[c]), in place; no GLU. */
    void (*affine)(float *x, int64_t positions, int64_t channels, const float *scale,
                   const float *shift, enum ms_activation activation);
    /* Sum and sum of squares of all values, added to sums. */
    void (*measure)(const float *x, int64_t count, double sums[2]);
    /* Of x [positions][channels], added to: the sum of each channel [channels], and of the products
     * of each two [channels][channels]. */
    void (*moments)(const float *x, int64_t positions, int64_t channels, double *sums,
                    double *products);
    void (*add)(float *x, const float *y, int64_t count);        /* x += y */
    void (*to_bf16)(const float *x, uint16_t *y, int64_t count); /* nearest, ties to even */
};

/* Those that this processor can run, the best first; NULL ends them. */
const struct ms_kernels *const *ms_kernels_list(void);
/* The best of them, or the one that MSAAS_KERNELS names; NULL: none of them, and no pool is
 * made. */
const struct ms_kernels *ms_kernels_get(void);
/* By name; NULL: not in this build, or this processor cannot run it. */
const struct ms_kernels *ms_kernels_find(const char *name);

#ifdef __cplusplus
}
#endif
#endif
