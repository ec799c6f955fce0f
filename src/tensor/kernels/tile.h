/* The innermost loop: a tile of a product, TILE_ROWS positions by one panel of weights, its sums
 * in registers. All arithmetic that counts happens here. Included by the kernels only. */
#ifndef MSAAS_TENSOR_TILE_H
#define MSAAS_TENSOR_TILE_H

#include <stdbool.h>

#include "simd.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

static inline int64_t round_up(int64_t x, int64_t to) {
    return (x + to - 1) / to * to;
}

typedef vec sums_of_tile[TILE_ROWS][2];

INLINE void put_tile(sums_of_tile sums, int vectors, float *out, int64_t out_stride) {
    UNROLL for (int r = 0; r < TILE_ROWS; r++) UNROLL for (int v = 0; v < vectors; v++)
        store(out + r * out_stride + v * LANES, sums[r][v]);
}

/* sums [TILE_ROWS][TILE_COLUMNS] += sum over t, i of rows[t * TILE_ROWS + r][i] *
 * panel[t][i][column]. vectors: 1 where the second half of the panel is empty. */
INLINE void multiply_f32(const void *const *rows, int taps, int64_t depth, const float *panel,
                         int vectors, sums_of_tile sums) {
    for (int t = 0; t < taps; t++) {
        const float *x[TILE_ROWS];
        UNROLL for (int r = 0; r < TILE_ROWS; r++) x[r] = rows[t * TILE_ROWS + r];
        for (int64_t i = 0; i < depth; i++, panel += TILE_COLUMNS) {
            vec w[2];
            UNROLL for (int v = 0; v < vectors; v++) w[v] = load(panel + v * LANES);
            UNROLL for (int r = 0; r < TILE_ROWS; r++) {
                const vec value = splat(x[r][i]);
                UNROLL for (int v = 0; v < vectors; v++) sums[r][v] += value * w[v];
            }
        }
    }
}

/* The same for bfloat16: inputs in pairs, panel [t][i / 2][column][2]. depth is even. Without
 * instructions for it each bfloat16 is widened, by a shift, to the float that it stands for. */
INLINE void multiply_bf16(const void *const *rows, int taps, int64_t depth, const uint16_t *panel,
                          int vectors, sums_of_tile sums) {
    for (int t = 0; t < taps; t++) {
        const char *x[TILE_ROWS];
        UNROLL for (int r = 0; r < TILE_ROWS; r++) x[r] = rows[t * TILE_ROWS + r];
        for (int64_t i = 0; i < depth; i += 2, panel += TILE_COLUMNS * 2) {
            uvec w[2];
            UNROLL for (int v = 0; v < vectors; v++)
                memcpy(&w[v], panel + v * LANES * 2, sizeof w[v]);
            UNROLL for (int r = 0; r < TILE_ROWS; r++) {
                uint32_t pair;
                memcpy(&pair, x[r] + i * 2, sizeof pair);
                UNROLL for (int v = 0; v < vectors; v++) {
#if defined(__AVX512BF16__)
                    sums[r][v] = (vec)_mm512_dpbf16_ps(
                        (__m512)sums[r][v], (__m512bh)_mm512_set1_epi32((int)pair), (__m512bh)w[v]);
#else
                    const uvec both = pair - (uvec){0};
                    sums[r][v] += (vec)(both << 16) * (vec)(w[v] << 16);
                    sums[r][v] += (vec)(both & 0xffff0000u) * (vec)(w[v] & 0xffff0000u);
#endif
                }
            }
        }
    }
}

INLINE void sum_tile(const void *const *rows, int taps, int64_t depth, const void *panel, bool bf16,
                     int vectors, sums_of_tile sums) {
    if (bf16)
        multiply_bf16(rows, taps, depth, panel, vectors, sums);
    else
        multiply_f32(rows, taps, depth, panel, vectors, sums);
}

INLINE void multiply_by(const void *const *rows, int taps, int64_t depth, const void *panel,
                        bool bf16, int vectors, float *out, int64_t out_stride) {
    sums_of_tile sums = {{{0}}};
    sum_tile(rows, taps, depth, panel, bf16, vectors, sums);
    put_tile(sums, vectors, out, out_stride);
}

/* out [TILE_ROWS][TILE_COLUMNS], out_stride from row to row = the products of rows and panel. */
static void multiply(const void *const *rows, int taps, int64_t depth, const void *panel, bool bf16,
                     bool narrow, float *out, int64_t out_stride) {
    if (bf16 && narrow)
        multiply_by(rows, taps, depth, panel, true, 1, out, out_stride);
    else if (bf16)
        multiply_by(rows, taps, depth, panel, true, 2, out, out_stride);
    else if (narrow)
        multiply_by(rows, taps, depth, panel, false, 1, out, out_stride);
    else
        multiply_by(rows, taps, depth, panel, false, 2, out, out_stride);
}

/* Nearest bfloat16, ties to even; not a number stays one. */
static inline uint16_t bf16_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/* LANES of them at y. */
INLINE void store_bf16(void *y, vec x) {
#if defined(__AVX512BF16__) && !defined(MS_LANES)
    const __m256bh halves = _mm512_cvtneps_pbh((__m512)x);
#else
    uint16_t halves[LANES];
    for (int i = 0; i < LANES; i++)
        halves[i] = bf16_of(x[i]);
#endif
    memcpy(y, &halves, sizeof halves);
}

/* LANES values from value `at` of y on, floats or bfloat16. */
INLINE void store_as(char *y, int64_t at, vec x, bool bf16) {
    if (bf16)
        store_bf16(y + at * 2, x);
    else
        memcpy(y + at * 4, &x, sizeof x);
}

/* The first `count` of them; all, where there are more. */
INLINE void store_part_bf16(uint16_t *y, vec x, int64_t count) {
    if (count >= LANES) {
        store_bf16(y, x);
        return;
    }
    uint16_t halves[LANES];
    store_bf16(halves, x);
    memcpy(y, halves, (size_t)count * sizeof *y);
}

static void to_bf16(const float *x, uint16_t *y, int64_t count) {
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        store_bf16(y + i, load(x + i));
    for (; i < count; i++)
        y[i] = bf16_of(x[i]);
}

#endif
