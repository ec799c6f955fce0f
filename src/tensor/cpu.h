/* The operators of tensor.h on the CPU, on plain memory: what the kernels (kernels/) are put
 * together to. One thread a call; owns nothing but filters. Shapes are checked by the caller;
 * scratch memory is the caller's, aligned to 64 bytes. */
#ifndef MSAAS_TENSOR_CPU_H
#define MSAAS_TENSOR_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"
#include "msaas/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MS_PHASES_MAX 16

static inline int64_t ms_divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* Memory is handed out in pieces of whole lines of the cache. */
static inline size_t ms_aligned(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

/* A piece of the scratch memory at `base`, NULL while only `used` is wanted: its size so far. */
static inline void *ms_piece(char *base, size_t *used, size_t bytes) {
    char *piece = base != NULL ? base + *used : NULL;
    *used += ms_aligned(bytes);
    return piece;
}

/* Channels of what comes out: a GLU joins two to one. */
static inline int64_t ms_filter_results(const struct ms_filter_shape *s) {
    return s->activation == MS_ACTIVATION_GLU ? s->out / 2 : s->out;
}

/* What sums over the results W x + b need to know of W [out][in] and b. */
struct ms_cpu_moments {
    double *products; /* [in][in]: W'W */
    double *biased;   /* [in]: 2 W'b */
    double *columns;  /* [in]: sums over the outputs of W */
    double bias_sum, bias_squares;
};

/* Packed weights. A transposed convolution is `stride` products, phases, each of which gives
 * every stride-th output. */
struct ms_cpu_filter {
    struct ms_filter_shape shape;
    const struct ms_kernels *kernels;
    int phases;
    struct ms_packed phase[MS_PHASES_MAX];
    float *bias;
    struct ms_cpu_moments moments; /* of a measured filter */
    void *memory;                  /* of all this */
};

/* weight [out][in][rows][columns], transposed [in][out][...]; bias [out]. False: no memory. */
bool ms_cpu_filter_init(struct ms_cpu_filter *f, const struct ms_filter_shape *shape,
                        const float *weight, const float *bias);
void ms_cpu_filter_fini(struct ms_cpu_filter *f);

/* The product of a filter that is not transposed: x [rows][width][in] -> y [out_rows][out_width]
 * [results]. What it does not say may be added: gamma, sums, scratch, other distances. */
struct ms_product ms_cpu_product(const struct ms_cpu_filter *f, const void *x, int64_t rows,
                                 int64_t width, void *y, int64_t out_rows, int64_t out_width);

/* What f takes of `count` values: x itself, or x in bfloat16, which goes to `room`. */
static inline const void *ms_cpu_taken(const struct ms_cpu_filter *f, const float *x, int64_t count,
                                       void *room) {
    if (!ms_takes_bf16(&f->phase[0]))
        return x;
    f->kernels->to_bf16(x, (uint16_t *)room, count);
    return room;
}

/* x [rows][width][in] -> y [out_rows][out_width][results], y += gamma * result where gamma is
 * not NULL. */
size_t ms_cpu_convolve_scratch(const struct ms_cpu_filter *f, int64_t rows, int64_t width);
void ms_cpu_convolve(const struct ms_cpu_filter *f, const float *x, int64_t rows, int64_t width,
                     const float *gamma, float *y, int64_t out_rows, int64_t out_width,
                     void *scratch);

/* linear.c: operators of positions, x [positions][channels], that go by blocks of them, so that
 * what lies between two products stays in the cache. */
/* Of each position over its channels, before a linear layer. */
struct ms_cpu_norm {
    const float *weight, *bias; /* [channels] each */
};
/* y [positions][results] = f(norm(x)), f a linear layer. */
size_t ms_cpu_linear_scratch(const struct ms_cpu_filter *f);
void ms_cpu_linear(const struct ms_cpu_norm *norm, const struct ms_cpu_filter *f, const float *x,
                   int64_t positions, float *y, void *scratch);
/* x += gamma * second(first(norm(x))), both linear layers; gamma [channels]. */
size_t ms_cpu_feed_forward_scratch(const struct ms_cpu_filter *first,
                                   const struct ms_cpu_filter *second);
void ms_cpu_feed_forward(const struct ms_cpu_norm *norm, const struct ms_cpu_filter *first,
                         const struct ms_cpu_filter *second, const float *gamma, float *x,
                         int64_t positions, void *scratch);

/* layer.c: the layer of tensor.h, row by row of its result, for the same reason.
 * x [rows][width][in] -> y [out_rows][out_width][results of the last filter]. */
/* See struct ms_residual. */
struct ms_cpu_unit {
    const struct ms_cpu_filter *in, *out;       /* [hidden][channels][3], [2 * channels][hidden] */
    const float *norm_in_weight, *norm_in_bias; /* [hidden] each */
    const float *norm_out_weight, *norm_out_bias; /* [2 * channels] each */
    const float *scale;                           /* [channels] */
};
struct ms_cpu_layer {
    const struct ms_cpu_filter *filter, *then; /* then may be NULL */
    const struct ms_cpu_unit *units;
    int unit_count;
};
size_t ms_cpu_layer_scratch(const struct ms_cpu_layer *l, int64_t rows, int64_t width,
                            int64_t out_width);
void ms_cpu_run_layer(const struct ms_cpu_layer *l, const float *x, int64_t rows, int64_t width,
                      float *y, int64_t out_rows, int64_t out_width, void *scratch);

/* Of a norm over values with these sums: x -> x * scale + shift, by channel. */
void ms_cpu_norm_of(const double sums[2], double count, const float *weight, const float *bias,
                    int64_t channels, float *scale, float *shift);
/* x [positions][channels], in place: over all of it to mean 0 and variance 1, then weighted.
 * scratch: 2 * channels floats. */
void ms_cpu_group_norm(float *x, int64_t positions, int64_t channels, const float *weight,
                       const float *bias, float *scratch);
/* Mean and unbiased standard deviation. */
void ms_cpu_levels(const float *x, int64_t count, double *mean, double *std);

/* Spectra, spectrum.c; see tensor.h. NULL: no memory. One thread at a time. */
struct ms_fourier;
struct ms_fourier *ms_fourier_new(int nfft);
void ms_fourier_free(struct ms_fourier *f);
int ms_fourier_size(const struct ms_fourier *f); /* nfft */
size_t ms_fourier_scratch(int nfft, int64_t channels);
/* x [channels][frames] -> y [nfft / 2][times][channels * 2 (re, im)] */
void ms_cpu_spectrum(struct ms_fourier *f, const float *x, int64_t channels, int64_t frames,
                     float *y, void *scratch);
/* x [nfft / 2][times][channels * 2], each value times scale plus offset -> added to y
 * [channels][frames] */
void ms_cpu_waveform(struct ms_fourier *f, const float *x, int64_t channels, int64_t frames,
                     float scale, float offset, float *y, void *scratch);

#ifdef __cplusplus
}
#endif
#endif
