/* Norms and other passes over activations. */
#ifndef MSAAS_TENSOR_NORMS_H
#define MSAAS_TENSOR_NORMS_H

#include "kernels.h"
#include "simd.h"

enum { MEASURED = 4096 }; /* values that are summed in float before they go on in double */

static void layer_norm(const float *x, int64_t tokens, int64_t channels, const float *weight,
                       const float *bias, float *y) {
    for (int64_t t = 0; t < tokens; t++, x += channels, y += channels) {
        vec sum = {0}, squares = {0};
        for (int64_t c = 0; c < channels; c += LANES)
            sum += load_part(x + c, channels - c);
        const float mean = sum_of(sum) / (float)channels;
        float means[LANES]; /* what lies beyond the channels is no difference */
        store(means, splat(mean));
        for (int64_t c = 0; c < channels; c += LANES) {
            const vec d = load_part(x + c, channels - c) - load_part(means, channels - c);
            squares += d * d;
        }
        const float factor = 1.0f / sqrtf(sum_of(squares) / (float)channels + 1e-5f);
        for (int64_t c = 0; c < channels; c += LANES) {
            const int64_t left = channels - c;
            store_part(y + c,
                       (load_part(x + c, left) - mean) * factor * load_part(weight + c, left) +
                           load_part(bias + c, left),
                       left);
        }
    }
}

static inline vec activate(vec v, enum ms_activation activation) {
    return activation == MS_ACTIVATION_GELU ? gelu_of(v) : v;
}

/* Fewer channels than a vector has values: they repeat, vector by vector, with this period. */
static void affine_narrow(float *x, int64_t positions, int64_t channels, const float *scale,
                          const float *shift, enum ms_activation activation) {
    float scales[LANES * LANES], shifts[LANES * LANES];
    const int64_t period = channels * LANES, count = positions * channels;
    for (int64_t i = 0; i < period; i++) {
        scales[i] = scale[i % channels];
        shifts[i] = shift[i % channels];
    }
    for (int64_t i = 0, at = 0; i < count; i += LANES, at = (at + LANES) % period)
        store_part(x + i,
                   activate(load_part(x + i, count - i) * load(scales + at) + load(shifts + at),
                            activation),
                   count - i);
}

static void affine(float *x, int64_t positions, int64_t channels, const float *scale,
                   const float *shift, enum ms_activation activation) {
    if (channels < LANES) {
        affine_narrow(x, positions, channels, scale, shift, activation);
        return;
    }
    for (int64_t p = 0; p < positions; p++, x += channels)
        for (int64_t c = 0; c < channels; c += LANES) {
            const int64_t left = channels - c;
            const vec v =
                load_part(x + c, left) * load_part(scale + c, left) + load_part(shift + c, left);
            store_part(x + c, activate(v, activation), left);
        }
}

static void measure(const float *x, int64_t count, double sums[2]) {
    for (int64_t from = 0; from < count; from += MEASURED) {
        const int64_t to = count - from < MEASURED ? count : from + MEASURED;
        vec sum = {0}, squares = {0};
        for (int64_t i = from; i < to; i += LANES) {
            const vec v = load_part(x + i, to - i);
            sum += v;
            squares += v * v;
        }
        sums[0] += (double)sum_of(sum);
        sums[1] += (double)sum_of(squares);
    }
}

static void add(float *x, const float *y, int64_t count) {
    for (int64_t i = 0; i < count; i += LANES)
        store_part(x + i, load_part(x + i, count - i) + load_part(y + i, count - i), count - i);
}

#endif
