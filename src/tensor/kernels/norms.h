/* Norms and other passes over activations. */
#ifndef MSAAS_TENSOR_NORMS_H
#define MSAAS_TENSOR_NORMS_H

#include "kernels.h"
#include "simd.h"

/* Values, or positions, that are summed in float before they go on in double. */
enum { MEASURED = 4096, MEASURED_POSITIONS = 128 };

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

/* A row of products: those of channel i with LANES channels from c on. */
static vec products_of(const float *x, int64_t positions, int64_t channels, int64_t i, int64_t c) {
    const int64_t count = positions * channels;
    vec sum = {0};
    for (int64_t at = 0; at < count; at += channels)
        sum += x[at + i] * load_part(x + at + c, count - at - c);
    return sum;
}

static void moments(const float *x, int64_t positions, int64_t channels, double *sums,
                    double *products) {
    for (int64_t from = 0; from < positions; from += MEASURED_POSITIONS) {
        const int64_t left = positions - from,
                      count = left < MEASURED_POSITIONS ? left : MEASURED_POSITIONS;
        const float *part = x + from * channels;
        for (int64_t c = 0; c < channels; c += LANES) {
            const int64_t most = channels - c < LANES ? channels - c : LANES;
            vec sum = {0};
            for (int64_t p = 0; p < count; p++)
                sum += load_part(part + p * channels + c, (count - p) * channels - c);
            for (int64_t l = 0; l < most; l++)
                sums[c + l] += (double)sum[l];
            for (int64_t i = 0; i < channels; i++) {
                const vec row = products_of(part, count, channels, i, c);
                for (int64_t l = 0; l < most; l++)
                    products[i * channels + c + l] += (double)row[l];
            }
        }
    }
}

static void add(float *x, const float *y, int64_t count) {
    for (int64_t i = 0; i < count; i += LANES)
        store_part(x + i, load_part(x + i, count - i) + load_part(y + i, count - i), count - i);
}

#endif
