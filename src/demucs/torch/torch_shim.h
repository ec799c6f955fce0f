/* A C tensor API over libtorch: just the operators that the network needs. torch_shim.cpp is the only C++.
 *
 * A pool owns the tensors made in it and latches the first error: an operator given a NULL tensor, or a pool that has
 * failed, does nothing and returns NULL, so that a network reads as a formula and is checked once at its end. Results
 * belong to the pool: ms_drop frees one early, ms_pool_clear all. Inputs may come from other pools (weights).
 * A pool serves one thread at a time; tensors that nobody writes may be read by any thread.
 * Every C++ exception is caught and becomes the pool's error. Semantics of each operator are those of the ATen
 * operator of the same name (https://pytorch.org/docs); shapes stand at the call. All values are float32. */
#ifndef MSAAS_DEMUCS_TORCH_SHIM_H
#define MSAAS_DEMUCS_TORCH_SHIM_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "msaas/err.h"

struct ms_tensor;
struct ms_pool;

/* Once per process, before any other call: one thread an operator, no autograd. Safe to repeat. */
void ms_torch_init(void);
const char *ms_torch_version(void);

/* device: "cpu", "cuda", "cuda:1". MS_EUNSUPPORTED where it is not there. */
MS_MUST_CHECK int ms_pool_new(const char *device, struct ms_pool **out, struct ms_error *err);
/* An empty pool on the same device, for the calling thread: operators of CPU pools will run on it alone. */
MS_MUST_CHECK int ms_pool_new_like(const struct ms_pool *pool, struct ms_pool **out,
                                   struct ms_error *err);
void ms_pool_free(struct ms_pool *pool);
void ms_pool_clear(struct ms_pool *pool); /* drops all tensors and the error */
bool ms_pool_is_cpu(const struct ms_pool *pool);
MS_MUST_CHECK int ms_pool_status(const struct ms_pool *pool, struct ms_error *err);
void ms_drop(struct ms_pool *pool,
             struct ms_tensor *x); /* NULL is fine; only tensors of this pool */
/* Drops all that was made since the mark, but not keep (may be NULL, may be older); returns keep. */
int64_t ms_mark(const struct ms_pool *pool);
struct ms_tensor *ms_release(struct ms_pool *pool, int64_t mark, struct ms_tensor *keep);

/* ---- in and out ---------------------------------------------------------------------------------------------- */
struct ms_tensor *ms_from_f32(struct ms_pool *p, const float *data, int dims,
                              const int64_t *shape); /* copies */
struct ms_tensor *ms_from_f16(struct ms_pool *p, const void *data, int dims,
                              const int64_t *shape); /* widens */
void ms_to_f32(struct ms_pool *p, const struct ms_tensor *x,
               float *out); /* C order, all elements */
int ms_dims(const struct ms_tensor *x);
int64_t ms_size(const struct ms_tensor *x, int dim); /* negative dim: from the end */
/* The values themselves, where x is contiguous and on the CPU; NULL elsewhere. For the kernels in C. */
float *ms_data(struct ms_tensor *x);

/* ---- shape ----------------------------------------------------------------------------------------------------- */
struct ms_tensor *ms_reshape(struct ms_pool *p, const struct ms_tensor *x, int dims,
                             const int64_t *shape);
struct ms_tensor *ms_permute(struct ms_pool *p, const struct ms_tensor *x, int dims,
                             const int64_t *order);
struct ms_tensor *ms_contiguous(struct ms_pool *p, const struct ms_tensor *x);
struct ms_tensor *ms_narrow(struct ms_pool *p, const struct ms_tensor *x, int dim, int64_t start,
                            int64_t length);
/* Zeros behind the last dimension. */
struct ms_tensor *ms_pad_right(struct ms_pool *p, const struct ms_tensor *x, int64_t count);
struct ms_tensor *ms_share(struct ms_pool *p,
                           const struct ms_tensor *x); /* another handle on the same values */
struct ms_tensor *ms_empty_like(struct ms_pool *p, const struct ms_tensor *x);
struct ms_tensor *ms_squeeze(struct ms_pool *p, const struct ms_tensor *x, int dim);
struct ms_tensor *ms_clone(struct ms_pool *p, const struct ms_tensor *x);

/* ---- arithmetic (a trailing underscore works in place and returns x) -------------------------------------------- */
struct ms_tensor *ms_add(struct ms_pool *p, const struct ms_tensor *x, const struct ms_tensor *y);
struct ms_tensor *ms_add_(struct ms_pool *p, struct ms_tensor *x, const struct ms_tensor *y);
/* x += y * scale, broadcasting */
struct ms_tensor *ms_addcmul_(struct ms_pool *p, struct ms_tensor *x, const struct ms_tensor *y,
                              const struct ms_tensor *scale);
struct ms_tensor *ms_copy_(struct ms_pool *p, struct ms_tensor *x,
                           const struct ms_tensor *y); /* x = y */
struct ms_tensor *ms_affine_(struct ms_pool *p, struct ms_tensor *x, double scale, double offset);
/* Over all elements: mean and unbiased standard deviation. */
void ms_mean_std(struct ms_pool *p, const struct ms_tensor *x, double *mean, double *std);
struct ms_tensor *ms_gelu_(struct ms_pool *p, struct ms_tensor *x); /* exact (erf) */
struct ms_tensor *ms_glu(struct ms_pool *p, const struct ms_tensor *x, int dim);

/* ---- layers ------------------------------------------------------------------------------------------------------ */
struct ms_tensor *ms_linear(struct ms_pool *p, const struct ms_tensor *x, const struct ms_tensor *w,
                            const struct ms_tensor *b);
struct ms_tensor *ms_layer_norm(struct ms_pool *p, const struct ms_tensor *x,
                                const struct ms_tensor *w, const struct ms_tensor *b);
/* x [tokens][channels], in place: normalised over all of it, then weighted by channel (a group norm of one group). */
struct ms_tensor *ms_token_norm_(struct ms_pool *p, struct ms_tensor *x, const struct ms_tensor *w,
                                 const struct ms_tensor *b);
struct ms_tensor *ms_group_norm(struct ms_pool *p, const struct ms_tensor *x, int groups,
                                const struct ms_tensor *w, const struct ms_tensor *b);
/* A convolution of width 1 as a linear layer: x [tokens][in], w [out][in][1]. */
struct ms_tensor *ms_pointwise(struct ms_pool *p, const struct ms_tensor *x,
                               const struct ms_tensor *w, const struct ms_tensor *b);
/* q [heads][tq][d], k and v [heads][tk][d] -> [tq][heads * d]; scores are scaled by 1 / sqrt(d). The scores of a block
 * of queries of one head are all that is held at a time. */
struct ms_tensor *ms_attention(struct ms_pool *p, const struct ms_tensor *q,
                               const struct ms_tensor *k, const struct ms_tensor *v);
struct ms_tensor *ms_conv1d(struct ms_pool *p, const struct ms_tensor *x, const struct ms_tensor *w,
                            const struct ms_tensor *b, int stride, int padding, int dilation);
/* The frequency branch's: stride and padding along the frequencies only; padding_t along time. */
struct ms_tensor *ms_conv2d(struct ms_pool *p, const struct ms_tensor *x, const struct ms_tensor *w,
                            const struct ms_tensor *b, int stride_f, int padding_f, int padding_t);
struct ms_tensor *ms_conv_transpose1d(struct ms_pool *p, const struct ms_tensor *x,
                                      const struct ms_tensor *w, const struct ms_tensor *b,
                                      int stride);
struct ms_tensor *ms_conv_transpose2d(struct ms_pool *p, const struct ms_tensor *x,
                                      const struct ms_tensor *w, const struct ms_tensor *b,
                                      int stride_f);

/* ---- spectra: Hann window of nfft, hop nfft / 4, "normalized" ----------------------------------------------------- */
/* x [channels][frames] -> [channels * 2 (re, im)][nfft / 2][ceil(frames / hop)]: Demucs' _spec and _magnitude: reflect
 * padding so that the frames are centred on the hops, the Nyquist bin and two frames at either end left out. */
struct ms_tensor *ms_spectrum(struct ms_pool *p, const struct ms_tensor *x, int nfft);
/* The way back (_mask and _ispec): x [channels * 2][nfft / 2][t] -> [channels][frames]. */
struct ms_tensor *ms_waveform(struct ms_pool *p, const struct ms_tensor *x, int nfft,
                              int64_t frames);

#ifdef __cplusplus
}
#endif
#endif
