/* Attention by blocks of queries and keys, with a softmax that is corrected as larger scores
 * come: the scores of a tile of queries and a block of keys stay in the first-level cache. After
 * Milakov and Gimelshein, "Online normalizer calculation for softmax" (arXiv 1805.02867), and
 * Dao et al., "FlashAttention" (arXiv 2205.14135). */
#ifndef MSAAS_TENSOR_ATTENTION_H
#define MSAAS_TENSOR_ATTENTION_H

#include "kernels.h"
#include "tile.h"

#define BLOCK_QUERIES INT64_C(96)
#define BLOCK_KEYS INT64_C(192)
_Static_assert(BLOCK_QUERIES % TILE_ROWS == 0 && BLOCK_KEYS % TILE_COLUMNS == 0, "whole tiles");

#define NO_SCORE (-1e30f) /* of a key that is not there */

static inline int64_t round_up(int64_t x, int64_t to) {
    return (x + to - 1) / to * to;
}

/* One head at work. Sizes in values; inputs of products are float or bfloat16. */
struct head {
    const struct ms_attention *a;
    int64_t keys, depth; /* rounded up to whole panels */
    char *packed_keys;   /* [keys / TILE_COLUMNS][depth of a][TILE_COLUMNS] */
    /* [blocks of keys][depth / TILE_COLUMNS][keys of the block][TILE_COLUMNS] */
    char *packed_values;
    char *queries;     /* [BLOCK_QUERIES][depth of a], scaled */
    char *parts;       /* [TILE_ROWS][BLOCK_KEYS]: bfloat16 of scores */
    float *scores;     /* [TILE_ROWS][BLOCK_KEYS] */
    float *totals;     /* [BLOCK_QUERIES][depth] */
    float *most, *sum; /* [BLOCK_QUERIES] */
};

/* Lays out the scratch memory; returns its size. */
static size_t lay_out(struct head *h, const struct ms_attention *a, char *memory) {
    h->a = a;
    h->keys = round_up(a->keys, TILE_COLUMNS);
    h->depth = round_up(a->depth, TILE_COLUMNS);
    const int64_t counts[] = {
        h->keys * a->depth,     h->keys * h->depth,     BLOCK_QUERIES * a->depth,
        TILE_ROWS * BLOCK_KEYS, TILE_ROWS * BLOCK_KEYS, BLOCK_QUERIES * h->depth,
        BLOCK_QUERIES,          BLOCK_QUERIES};
    char *parts[8];
    size_t used = 0;
    for (int i = 0; i < 8; i++) {
        parts[i] = memory != NULL ? memory + used : NULL;
        used += (size_t)round_up(counts[i] * (a->bf16 && i < 4 ? 2 : 4), 64);
    }
    h->packed_keys = parts[0];
    h->packed_values = parts[1];
    h->queries = parts[2];
    h->parts = parts[3];
    h->scores = (float *)(void *)parts[4];
    h->totals = (float *)(void *)parts[5];
    h->most = (float *)(void *)parts[6];
    h->sum = (float *)(void *)parts[7];
    return used;
}

static size_t attention_bytes(const struct ms_attention *a) {
    struct head h;
    return lay_out(&h, a, NULL);
}

INLINE void put_value(char *to, int64_t index, float value, bool bf16) {
    if (bf16)
        ((uint16_t *)(void *)to)[index] = bf16_of(value);
    else
        ((float *)(void *)to)[index] = value;
}

/* Where input i of column c stands in a panel. */
INLINE int64_t panel_index(int64_t i, int64_t c, bool bf16) {
    return bf16 ? i / 2 * 2 * TILE_COLUMNS + c * 2 + i % 2 : i * TILE_COLUMNS + c;
}

INLINE void pack_keys(const struct head *h, const float *k, bool bf16) {
    const struct ms_attention *a = h->a;
    const int64_t bytes = bf16 ? 2 : 4;
    for (int64_t key = 0; key < h->keys; key++) {
        char *panel = h->packed_keys + key / TILE_COLUMNS * a->depth * TILE_COLUMNS * bytes;
        for (int64_t i = 0; i < a->depth; i++)
            put_value(panel, panel_index(i, key % TILE_COLUMNS, bf16),
                      key < a->keys ? k[key * a->k_stride + i] : 0.0f, bf16);
    }
}

INLINE void pack_values(const struct head *h, const float *v, bool bf16) {
    const struct ms_attention *a = h->a;
    const int64_t bytes = bf16 ? 2 : 4;
    for (int64_t key = 0; key < h->keys; key++) {
        const int64_t block = key / BLOCK_KEYS * BLOCK_KEYS, left = h->keys - block,
                      size = left < BLOCK_KEYS ? left : BLOCK_KEYS;
        for (int64_t i = 0; i < h->depth; i++) {
            char *panel = h->packed_values +
                          (block * h->depth + i / TILE_COLUMNS * size * TILE_COLUMNS) * bytes;
            put_value(panel, panel_index(key - block, i % TILE_COLUMNS, bf16),
                      key < a->keys && i < a->depth ? v[key * a->v_stride + i] : 0.0f, bf16);
        }
    }
}

/* Powers of two, so that the softmax needs no other exponential. */
static void take_queries(const struct head *h, const float *q, int64_t count) {
    const struct ms_attention *a = h->a;
    for (int64_t r = 0; r < round_up(count, TILE_ROWS); r++)
        for (int64_t i = 0; i < a->depth; i++)
            put_value(h->queries, r * a->depth + i,
                      r < count ? q[r * a->q_stride + i] * (a->scale * LOG2_E) : 0.0f, a->bf16);
}

/* Scores of one query become their exponentials; returns by what everything before is to be
 * multiplied. */
static float soften(float *scores, int64_t count, float *most, float *sum) {
    vec largest = splat(NO_SCORE), total = {0};
    for (int64_t c = 0; c < count; c += LANES)
        largest = max_of(largest, load(scores + c));
    const float before = *most, now = fmaxf(before, largest_of(largest));
    for (int64_t c = 0; c < count; c += LANES) {
        const vec e = exp2_of(load(scores + c) - now);
        store(scores + c, e);
        total += e;
    }
    const float factor = exp2f(before - now);
    *sum = *sum * factor + sum_of(total);
    *most = now;
    return factor;
}

/* Queries from..from + TILE_ROWS of the block against the block of keys that begins at key
 * `block`. */
static void attend_tile(const struct head *h, int64_t from, int64_t block) {
    const struct ms_attention *a = h->a;
    const int64_t bytes = a->bf16 ? 2 : 4, left = h->keys - block,
                  count = left < BLOCK_KEYS ? left : BLOCK_KEYS;
    const void *rows[TILE_ROWS];
    float factor[TILE_ROWS];
    for (int r = 0; r < TILE_ROWS; r++)
        rows[r] = h->queries + (from + r) * a->depth * bytes;
    for (int64_t c = 0; c < count; c += TILE_COLUMNS)
        multiply(rows, 1, a->depth, h->packed_keys + (block + c) * a->depth * bytes, a->bf16, false,
                 h->scores + c, BLOCK_KEYS);
    for (int r = 0; r < TILE_ROWS; r++) {
        float *scores = h->scores + r * BLOCK_KEYS;
        for (int64_t c = a->keys - block; c < count; c++)
            scores[c] = NO_SCORE;
        factor[r] = soften(scores, count, &h->most[from + r], &h->sum[from + r]);
        rows[r] = scores;
        if (a->bf16) {
            rows[r] = h->parts + r * BLOCK_KEYS * bytes;
            to_bf16(scores, (uint16_t *)(void *)(h->parts + r * BLOCK_KEYS * bytes), count);
        }
    }
    for (int64_t c = 0; c < h->depth; c += TILE_COLUMNS) {
        _Alignas(64) float part[TILE_ROWS * TILE_COLUMNS];
        multiply(rows, 1, count, h->packed_values + (block * h->depth + c * count) * bytes, a->bf16,
                 false, part, TILE_COLUMNS);
        for (int r = 0; r < TILE_ROWS; r++) {
            float *to = h->totals + (from + r) * h->depth + c;
            for (int v = 0; v < TILE_COLUMNS; v += LANES)
                store(to + v, load(to + v) * factor[r] + load(part + r * TILE_COLUMNS + v));
        }
    }
}

static void attend_block(const struct head *h, const float *q, int64_t count, float *y) {
    const struct ms_attention *a = h->a;
    take_queries(h, q, count);
    for (int64_t r = 0; r < BLOCK_QUERIES; r++) {
        h->most[r] = NO_SCORE;
        h->sum[r] = 0.0f;
    }
    memset(h->totals, 0, (size_t)(BLOCK_QUERIES * h->depth) * sizeof *h->totals);
    for (int64_t block = 0; block < h->keys; block += BLOCK_KEYS)
        for (int64_t from = 0; from < count; from += TILE_ROWS)
            attend_tile(h, from, block);
    for (int64_t r = 0; r < count; r++)
        for (int64_t i = 0; i < a->depth; i++)
            y[r * a->y_stride + i] = h->totals[r * h->depth + i] / h->sum[r];
}

static void attention(const struct ms_attention *a) {
    struct head h;
    (void)lay_out(&h, a, a->scratch);
    for (int64_t n = 0; n < a->heads; n++) {
        const int64_t offset = n * a->depth;
        if (a->bf16) {
            pack_keys(&h, a->k + offset, true);
            pack_values(&h, a->v + offset, true);
        } else {
            pack_keys(&h, a->k + offset, false);
            pack_values(&h, a->v + offset, false);
        }
        for (int64_t from = 0; from < a->queries; from += BLOCK_QUERIES) {
            const int64_t left = a->queries - from;
            attend_block(&h, a->q + from * a->q_stride + offset,
                         left < BLOCK_QUERIES ? left : BLOCK_QUERIES,
                         a->y + from * a->y_stride + offset);
        }
    }
}

#endif
