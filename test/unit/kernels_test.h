/* What the tests of the kernels share: the table, numbers, memory without spare bytes, rounding. */
#ifndef MSAAS_TEST_KERNELS_TEST_H
#define MSAAS_TEST_KERNELS_TEST_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels.h"

#define COUNT_OF(a) (sizeof(a) / sizeof *(a))
#define UNTOUCHED 12345.0f /* stands where nothing may be written */

extern const struct ms_kernels *kernels; /* under test */

/* kernels_product.c */
void product_of_one_tap(void **state);
void product_of_many_taps(void **state);
void product_by_winograd(void **state);
void product_with_strides_and_dilation(void **state);
void product_beyond_the_edges(void **state);
void product_of_several_blocks(void **state);
void product_into_spaced_outputs(void **state);
void product_with_sums(void **state);

/* The same run every time: -1..1. */
static inline float random_float(uint32_t *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(*seed >> 8) / (float)(1 << 23) - 1.0f;
}

/* Aligned as the kernels' callers have it, and ending where the values end. */
static inline void *room(size_t bytes) {
    void *memory = NULL;
    assert_int_equal(posix_memalign(&memory, 64, bytes > 0 ? bytes : 1), 0);
    return memory;
}

static inline float *floats(int64_t count) {
    return room((size_t)count * sizeof(float));
}

static inline float *random_floats(int64_t count, float by, uint32_t *seed) {
    float *x = floats(count);
    for (int64_t i = 0; i < count; i++)
        x[i] = by * random_float(seed);
    return x;
}

static inline float *filled(int64_t count, float value) {
    float *x = floats(count);
    for (int64_t i = 0; i < count; i++)
        x[i] = value;
    return x;
}

static inline float float_of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Nearest bfloat16, of two the even one: found by the distance to both. x is a number. */
static inline uint16_t nearest_bf16(float x) {
    const uint32_t low = bits_of(x) >> 16;
    const double to = fabs((double)x), below = fabs((double)float_of_bits(low << 16));
    double above = fabs((double)float_of_bits((low + 1) << 16));
    if (isinf(above))
        above = ldexp(1.0, 128);
    if (isinf(below))
        return (uint16_t)low;
    const bool up = above - to < to - below || (above - to == to - below && low % 2 == 1);
    return (uint16_t)(up ? low + 1 : low);
}

static inline float rounded(float x, bool bf16) {
    return bf16 ? float_of_bits((uint32_t)nearest_bf16(x) << 16) : x;
}

static inline double gelu(double x) {
    return 0.5 * x * erfc(-x / sqrt(2.0));
}

static inline double sigmoid(double x) {
    return 1.0 / (1.0 + exp(-x));
}

/* what: of the case, for the message. */
static inline void assert_near(double is, double wanted, double tolerance, const char *what,
                               int64_t at) {
    if (!(fabs(is - wanted) <= tolerance))
        fail_msg("%s: %s[%lld] is %.9g, not %.9g (within %.3g)", kernels->name, what, (long long)at,
                 is, wanted, tolerance);
}

#endif
