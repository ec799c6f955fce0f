/* A C tensor API on libtorch: the operators that the network needs, each joined with what follows
 * it.
 *
 * tensor.cpp keeps the tensors, operators.cpp computes: the only C++. On the CPU the operators are
 * our own (cpu.h), elsewhere they are put together from libtorch's. Both do what stands here, and a
 * test compares them.
 *
 * A pool owns the tensors made in it and latches the first error: an operator given a NULL
 * tensor, or a pool that has failed, does nothing and returns NULL, so that a network reads as a
 * formula and is checked once at its end. Results belong to the pool: ms_tensor_drop frees one
 * early, ms_pool_clear all. Inputs may come from other pools (weights). A pool serves one thread
 * at a time; tensors that nobody writes may be read by any thread. Every C++ exception is caught
 * and becomes the pool's error. All values are float32. A trailing underscore works in place and
 * returns x.
 *
 * Activations are [batch][rows][width][channels], contiguous: rows are frequencies, or one for
 * the waveform. Songs of a batch are separate: norms and attention never mix them. */
#ifndef MSAAS_TENSOR_H
#define MSAAS_TENSOR_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "msaas/err.h"

enum ms_activation {
    MS_ACTIVATION_NONE,
    MS_ACTIVATION_GELU, /* exact: x * P(normal <= x) */
    MS_ACTIVATION_GLU   /* first half of the channels * sigmoid(second half) */
};

struct ms_tensor;
struct ms_pool;

/* Once per process, before any other call: one thread an operator, no autograd. Safe to repeat. */
void ms_torch_init(void);
const char *ms_torch_version(void);

/* device: "cpu", "cuda", "cuda:1". MS_EUNSUPPORTED where it is not there; MS_EUSAGE where there
 * is no such thing, or MSAAS_KERNELS names kernels that this processor cannot run. own: the
 * operators of the CPU are our own (false: libtorch's, for the test that compares them). */
MS_MUST_CHECK int ms_pool_new(const char *device, bool own, struct ms_pool **out,
                              struct ms_error *err);
/* An empty pool on the same device, for the calling thread: operators of CPU pools will run on
 * it alone. */
MS_MUST_CHECK int ms_pool_new_like(const struct ms_pool *pool, struct ms_pool **out,
                                   struct ms_error *err);
void ms_pool_free(struct ms_pool *pool);
/* Whether filters of bfloat16 are faster than those of float32: on CPUs with instructions for them
 * yes, elsewhere it is not known. */
bool ms_pool_has_fast_bf16(const struct ms_pool *pool);
void ms_pool_clear(struct ms_pool *pool); /* drops all tensors and the error */
MS_MUST_CHECK int ms_pool_status(const struct ms_pool *pool, struct ms_error *err);
/* What was made since the mark is dropped by ms_pool_release, but not keep (may be NULL, may be
 * older); returns keep. */
int64_t ms_pool_mark(const struct ms_pool *pool);
struct ms_tensor *ms_pool_release(struct ms_pool *pool, int64_t mark, struct ms_tensor *keep);

/* ---- in, out, shape ---- */
void ms_tensor_drop(struct ms_pool *p, struct ms_tensor *x); /* NULL is fine; only of this pool */
struct ms_tensor *ms_tensor_from_f32(struct ms_pool *p, const float *data, int dims,
                                     const int64_t *shape); /* copies */
struct ms_tensor *ms_tensor_from_f16(struct ms_pool *p, const void *data, int dims,
                                     const int64_t *shape); /* widens */
/* C order, all elements. */
void ms_tensor_to_f32(struct ms_pool *p, const struct ms_tensor *x, float *out);
int ms_tensor_dims(const struct ms_tensor *x);
int64_t ms_tensor_size(const struct ms_tensor *x, int dim); /* negative dim: from the end */
struct ms_tensor *ms_tensor_reshape(struct ms_pool *p, const struct ms_tensor *x, int dims,
                                    const int64_t *shape);
/* Dimensions in another order, contiguous. */
struct ms_tensor *ms_tensor_permute(struct ms_pool *p, const struct ms_tensor *x, int dims,
                                    const int64_t *order);
/* A view. */
struct ms_tensor *ms_tensor_narrow(struct ms_pool *p, const struct ms_tensor *x, int dim,
                                   int64_t start, int64_t length);
struct ms_tensor *ms_tensor_share(struct ms_pool *p,
                                  const struct ms_tensor *x); /* the same values */
struct ms_tensor *ms_tensor_clone(struct ms_pool *p, const struct ms_tensor *x);

/* ---- filters: weights made ready once ---- */
struct ms_filter_shape {
    int64_t in, out; /* channels; out counts both halves of a GLU */
    int kernel_rows, kernel_columns, stride_rows, stride_columns, padding_rows, padding_columns;
    int dilation; /* of the columns */
    /* Along the dimension whose kernel is wider than 1; padding is cut off its start. */
    bool transposed;
    enum ms_activation activation;
    bool bf16; /* weights and inputs are rounded to bfloat16; sums are float32 */
    /* a residual unit wants the mean and deviation of its results: one row and column, float32. */
    bool measured;
};
struct ms_filter;
/* Belongs to the pool. weight [out][in][rows][columns], transposed [in][out][rows][columns], in
 * any number of dimensions; bias [out]. A linear layer is a filter of one row and column. An odd
 * number of inputs is float32 whatever bf16 says. */
const struct ms_filter *ms_filter_new(struct ms_pool *p, const struct ms_filter_shape *shape,
                                      const struct ms_tensor *weight, const struct ms_tensor *bias);

/* ---- operators ---- */
/* activation(filter(x) + bias): each dimension becomes ceil(size / stride). Beyond the edges are
 * zeros. */
struct ms_tensor *ms_convolve(struct ms_pool *p, const struct ms_tensor *x,
                              const struct ms_filter *f);
/* x += gamma * convolve(y), gamma [channels]. */
struct ms_tensor *ms_convolve_add_(struct ms_pool *p, struct ms_tensor *x,
                                   const struct ms_tensor *y, const struct ms_filter *f,
                                   const struct ms_tensor *gamma);
/* A norm of each position over its channels. */
struct ms_norm {
    const struct ms_tensor *weight, *bias; /* [channels] each */
};
/* linear(layer norm of x), for a filter of one row and column. */
struct ms_tensor *ms_linear(struct ms_pool *p, const struct ms_norm *norm,
                            const struct ms_tensor *x, const struct ms_filter *f);
/* x += gamma * second(first(layer norm of x)), gamma [channels]. */
struct ms_tensor *ms_feed_forward_(struct ms_pool *p, const struct ms_norm *norm,
                                   struct ms_tensor *x, const struct ms_filter *first,
                                   const struct ms_filter *second, const struct ms_tensor *gamma);
/* A transposed filter; length: of the result along its dimension. */
struct ms_tensor *ms_convolve_transposed(struct ms_pool *p, const struct ms_tensor *x,
                                         const struct ms_filter *f, int64_t length);

/* A layer of a residual branch (DConv): x += scale * GLU(norm(out(GELU(norm(in(x)))))), each row
 * by itself. */
struct ms_residual {
    const struct ms_filter *in; /* [hidden][channels][3] */
    /* [2 * channels][hidden][1], float32, made with the GLU, and measured */
    const struct ms_filter *out;
    const struct ms_tensor *norm_in_weight, *norm_in_bias;   /* [hidden] each */
    const struct ms_tensor *norm_out_weight, *norm_out_bias; /* [2 * channels] each */
    const struct ms_tensor *scale;                           /* [channels] */
};
#define MS_RESIDUALS_MAX 4
/* A layer of an encoder or decoder: a convolution, residual units, and a linear layer. */
struct ms_layer {
    const struct ms_filter *filter;
    struct ms_residual units[MS_RESIDUALS_MAX];
    int unit_count;
    const struct ms_filter *then; /* of one row and column; NULL: none */
};
struct ms_tensor *ms_run_layer(struct ms_pool *p, const struct ms_tensor *x,
                               const struct ms_layer *layer);

/* Each position by itself, over its channels; w and b [channels]. */
struct ms_tensor *ms_layer_norm(struct ms_pool *p, const struct ms_tensor *x,
                                const struct ms_tensor *w, const struct ms_tensor *b);
/* Each song by itself, over all of it (a group norm of one group); w and b [channels]. */
struct ms_tensor *ms_group_norm_(struct ms_pool *p, struct ms_tensor *x, const struct ms_tensor *w,
                                 const struct ms_tensor *b);
/* q, k, v [batch][1][tokens][...]: queries are the channels from 0 of q, keys those of k from
 * k_from, values those of v from v_from; as many keys as values. -> [batch][1][tokens of
 * q][channels]: softmax(q k / sqrt(channels / heads)) v for each head. */
struct ms_tensor *ms_attend(struct ms_pool *p, const struct ms_tensor *q, const struct ms_tensor *k,
                            int64_t k_from, const struct ms_tensor *v, int64_t v_from,
                            int64_t channels, int heads, bool bf16);
struct ms_tensor *ms_scale_(struct ms_pool *p, struct ms_tensor *x, double by); /* x *= by */
/* Dimensions of y that are 1 are repeated. */
struct ms_tensor *ms_add_(struct ms_pool *p, struct ms_tensor *x, const struct ms_tensor *y);

/* ---- levels and spectra: Hann window of nfft, hop nfft / 4, "normalized" ---- */
/* Each song to mean 0 and standard deviation 1 (plus 1e-5); returns what it was, [batch][2]:
 * mean, deviation. */
struct ms_tensor *ms_normalise_(struct ms_pool *p, struct ms_tensor *x);
/* x [batch][channels][frames] -> [batch][nfft / 2][ceil(frames / hop)][channels * 2 (re, im)]:
 * Demucs' _spec and _magnitude: reflected so that the frames are centred on the hops, the
 * Nyquist bin and two frames at either end left out. */
struct ms_tensor *ms_spectrum(struct ms_pool *p, const struct ms_tensor *x, int nfft);
/* The way back (_mask and _ispec), both branches joined, each with its levels given back:
 * spectrum [batch][nfft / 2][times][channels * 2] and wave [batch][1][frames][channels] ->
 * [batch][channels][frames]. */
struct ms_tensor *ms_waveform(struct ms_pool *p, const struct ms_tensor *spectrum,
                              const struct ms_tensor *spectrum_levels, const struct ms_tensor *wave,
                              const struct ms_tensor *wave_levels, int nfft);

#ifdef __cplusplus
}
#endif
#endif
