/* Vectors of the processor that this compilation is for, and the functions on them. Included by
 * the kernels only.
 *
 * The compiler's own vector types make the code the same for every width; the few instructions
 * that it cannot express stand here. Products are contracted with sums (-ffp-contract=fast). */
#ifndef MSAAS_TENSOR_SIMD_H
#define MSAAS_TENSOR_SIMD_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Values of a vector, and positions of a tile: as many sums as there are registers for. Both may be
 * given, so that one processor can test all sizes. 64 bits wide, as what is reckoned from them. */
#if defined(MS_LANES)
#define LANES ((int64_t)MS_LANES)
#define TILE_ROWS ((int64_t)MS_TILE_ROWS)
#elif defined(__AVX512F__)
#define LANES INT64_C(16)
#define TILE_ROWS INT64_C(12)
#elif defined(__AVX2__)
#define LANES INT64_C(8)
#define TILE_ROWS INT64_C(6)
#else
#define LANES INT64_C(4)
#define TILE_ROWS INT64_C(4)
#endif
#define TILE_COLUMNS (2 * LANES) /* outputs of a panel of weights */

typedef float vec __attribute__((vector_size(LANES * 4)));
typedef uint32_t uvec __attribute__((vector_size(LANES * 4)));

static inline vec load(const float *p) {
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void store(float *p, vec v) {
    memcpy(p, &v, sizeof v);
}

/* The first `count` values, zeros behind them; all, where there are more. */
static inline vec load_part(const float *p, int64_t count) {
    if (count >= LANES)
        return load(p);
    vec v = {0};
    memcpy(&v, p, (size_t)count * sizeof *p);
    return v;
}

static inline void store_part(float *p, vec v, int64_t count) {
    if (count >= LANES)
        store(p, v);
    else
        memcpy(p, &v, (size_t)count * sizeof *p);
}

static inline vec splat(float x) {
    return x - (vec){0};
}

static inline vec max_of(vec a, vec b) {
#if defined(__AVX512F__) && !defined(MS_LANES)
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__) && !defined(MS_LANES)
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#else
    const uvec more = (uvec)(a > b);
    return (vec)((more & (uvec)a) | (~more & (uvec)b));
#endif
}

static inline vec min_of(vec a, vec b) {
#if defined(__AVX512F__) && !defined(MS_LANES)
    return (vec)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__) && !defined(MS_LANES)
    return (vec)_mm256_min_ps((__m256)a, (__m256)b);
#else
    const uvec less = (uvec)(a < b);
    return (vec)((less & (uvec)a) | (~less & (uvec)b));
#endif
}

static inline float sum_of(vec v) {
#if defined(__AVX512F__) && !defined(MS_LANES)
    return _mm512_reduce_add_ps((__m512)v);
#endif
    float total = 0.0f;
    for (int i = 0; i < LANES; i++)
        total += v[i];
    return total;
}

static inline float largest_of(vec v) {
#if defined(__AVX512F__) && !defined(MS_LANES)
    return _mm512_reduce_max_ps((__m512)v);
#endif
    float most = v[0];
    for (int i = 1; i < LANES; i++)
        most = v[i] > most ? v[i] : most;
    return most;
}

/* 1 / x within a few units of the last place. */
static inline vec reciprocal_of(vec x) {
#if defined(__AVX512F__) && !defined(MS_LANES)
    const vec near = (vec)_mm512_rcp14_ps((__m512)x); /* and a step of Newton's */
    return near + near * (1.0f - x * near);
#else
    return 1.0f / x;
#endif
}

/* 2^x for x up to 127; below -126 it is 2^-126 or less. The whole part goes into the exponent; the
 * polynomial is the best one of its degree for the rest, -0.5..0.5. Relative error below 2e-7;
 * rough: 8e-5, for results that are then rounded to bfloat16. */
static inline __attribute__((always_inline)) vec exp2_by(vec x, bool rough) {
#if defined(__AVX512F__) && !defined(MS_LANES)
    const vec whole = (vec)_mm512_roundscale_ps((__m512)x, 8), rest = x - whole;
#else
    x = max_of(x, splat(-126.0f));
    const vec shifter =
        splat(12582912.0f); /* 1.5 * 2^23: rounds to a whole number in the lowest bits */
    const vec whole = x + shifter, rest = x - (whole - shifter);
#endif
    vec p;
    if (rough) {
        p = 0.0551716685f * rest + 0.242611125f;
        p = p * rest + 0.693260968f;
        p = p * rest + 0.999928057f;
    } else {
        p = 0.00132764725f * rest + 0.00967554096f;
        p = p * rest + 0.0555071309f;
        p = p * rest + 0.240221202f;
        p = p * rest + 0.693146944f;
        p = p * rest + 1.00000012f;
    }
#if defined(__AVX512F__) && !defined(MS_LANES)
    return (vec)_mm512_scalef_ps((__m512)p, (__m512)whole);
#else
    return (vec)((uvec)p + ((uvec)whole << 23));
#endif
}

static inline vec exp2_of(vec x) {
    return exp2_by(x, false);
}

#define LOG2_E 1.44269504088896341f

static inline vec sigmoid_of(vec x) {
    return reciprocal_of(1.0f + exp2_of(min_of(x * -LOG2_E, splat(126.0f))));
}

/* x * P(normal <= x). The upper tail of the normal distribution is the polynomial in 1 / (1 + p
 * z) of Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26; its absolute error is
 * below 1.5e-7. */
static inline vec gelu_of(vec x) {
    const vec magnitude = max_of(x, -x);
    const vec t = reciprocal_of(1.0f + magnitude * (0.3275911f * 0.70710678f));
    vec p = 1.061405429f * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    const vec tail = 0.5f * p * t * exp2_of(x * x * (-0.5f * LOG2_E));
    return max_of(x, splat(0.0f)) - magnitude * tail;
}

#endif
