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
_Static_assert(TILE_ROWS <= LANES, "one vector has something of each query");
_Static_assert(BLOCK_QUERIES % TILE_ROWS == 0 && BLOCK_KEYS % TILE_COLUMNS == 0, "whole tiles");

#define NO_SCORE (-1e30f) /* of a key that is not there */
/* Of a block's powers of two: those of thousands of keys add up far below the largest float. */
#define POWERS_MAX 0x1p64f

/* One head at work. Sizes in values; inputs of products are float or bfloat16. */
struct head {
    const struct ms_attention *a;
    int64_t keys, depth; /* rounded up to whole panels */
    char *packed_keys;   /* [keys / TILE_COLUMNS][depth of a][TILE_COLUMNS] */
    /* [blocks of keys][depth / TILE_COLUMNS][keys of the block][TILE_COLUMNS] */
    char *packed_values;
    char *queries; /* [BLOCK_QUERIES][depth of a], scaled */
    char *parts;   /* [TILE_ROWS][BLOCK_KEYS]: powers of two of scores */
    float *scores; /* [TILE_ROWS][BLOCK_KEYS] */
    float *totals; /* [BLOCK_QUERIES][depth] */
    float *sums;   /* [BLOCK_QUERIES][LANES]: of the exponentials, by column */
    float *most;   /* [BLOCK_QUERIES and those of a vector]: largest score so far */
};

/* Lays out the scratch memory; returns its size. */
static size_t lay_out(struct head *h, const struct ms_attention *a, char *memory) {
    h->a = a;
    h->keys = round_up(a->keys, TILE_COLUMNS);
    h->depth = round_up(a->depth, TILE_COLUMNS);
    const int64_t counts[] = {h->keys * a->depth,       h->keys * h->depth,
                              BLOCK_QUERIES * a->depth, TILE_ROWS * BLOCK_KEYS,
                              TILE_ROWS * BLOCK_KEYS,   BLOCK_QUERIES * h->depth,
                              BLOCK_QUERIES * LANES,    BLOCK_QUERIES + LANES};
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
    h->sums = (float *)(void *)parts[6];
    h->most = (float *)(void *)parts[7];
    return used;
}

static size_t attention_bytes(const struct ms_attention *a) {
    struct head h;
    return lay_out(&h, a, NULL);
}

/* As much of a token as a panel has columns: values 0..count of x, times scale, zeros behind them;
 * x NULL: of a token that is not there. */
INLINE void take(const float *x, int64_t count, float scale, bool bf16, void *to) {
    for (int64_t i = 0; i < TILE_COLUMNS; i += LANES) {
        vec v = {0};
        if (x != NULL && i < count)
            v = scale * load_part(x + i, count - i);
        if (bf16)
            store_bf16((char *)to + i * 2, v);
        else
            memcpy((char *)to + i * 4, &v, sizeof v);
    }
}

/* A key is a column of its panel; a pair of bfloat16 counts as one value. */
INLINE void pack_keys(const struct head *h, const float *k, bool bf16) {
    const struct ms_attention *a = h->a;
    const int64_t group = bf16 ? 2 : 1, units = a->depth / group;
    for (int64_t key = 0; key < h->keys; key++) {
        uint32_t *column = (uint32_t *)(void *)h->packed_keys +
                           key / TILE_COLUMNS * units * TILE_COLUMNS + key % TILE_COLUMNS;
        for (int64_t i = 0; i < a->depth; i += TILE_COLUMNS) {
            const int64_t left = (a->depth - i) / group, most = TILE_COLUMNS / group;
            uint32_t part[TILE_COLUMNS] = {0};
            take(key < a->keys ? k + key * a->k_stride + i : NULL, a->depth - i, 1.0f, bf16, part);
            for (int64_t u = 0; u < most && u < left; u++, column += TILE_COLUMNS)
                *column = part[u];
        }
    }
}

/* A key is an input of its panels, of which bfloat16 lie in pairs. */
INLINE void pack_values(const struct head *h, const float *v, bool bf16) {
    const struct ms_attention *a = h->a;
    const int64_t group = bf16 ? 2 : 1, bytes = bf16 ? 2 : 4;
    for (int64_t key = 0; key < h->keys; key += group) {
        const int64_t block = key / BLOCK_KEYS * BLOCK_KEYS, left = h->keys - block,
                      size = left < BLOCK_KEYS ? left : BLOCK_KEYS;
        for (int64_t i = 0; i < h->depth; i += TILE_COLUMNS) {
            char *to = h->packed_values +
                       (block * h->depth + i * size + (key - block) * TILE_COLUMNS) * bytes;
            uint16_t part[2][2 * TILE_COLUMNS], *pairs = (uint16_t *)(void *)to;
            for (int64_t n = 0; n < group; n++)
                take(key + n < a->keys ? v + (key + n) * a->v_stride + i : NULL, a->depth - i, 1.0f,
                     bf16, bf16 ? (void *)part[n] : to);
            for (int64_t c = 0; bf16 && c < TILE_COLUMNS; c++) {
                pairs[2 * c] = part[0][c];
                pairs[2 * c + 1] = part[1][c];
            }
        }
    }
}

/* Powers of two, so that the softmax needs no other exponential. */
static void take_queries(const struct head *h, const float *q, int64_t count) {
    const struct ms_attention *a = h->a;
    const int64_t bytes = a->bf16 ? 2 : 4;
    for (int64_t r = 0; r < round_up(count, TILE_ROWS); r++)
        for (int64_t i = 0; i < a->depth; i += TILE_COLUMNS) {
            const int64_t left = a->depth - i, most = left < TILE_COLUMNS ? left : TILE_COLUMNS;
            float part[TILE_COLUMNS];
            take(r < count ? q + r * a->q_stride + i : NULL, left, a->scale * LOG2_E, a->bf16,
                 part);
            memcpy(h->queries + (r * a->depth + i) * bytes, part, (size_t)(most * bytes));
        }
}

static float largest_score(const float *scores, int64_t count) {
    vec largest = load(scores);
    for (int64_t c = LANES; c < count; c += LANES)
        largest = max_of(largest, load(scores + c));
    return largest_of(largest);
}

/* Scores of one query become 2^(score - most), at `to` in the precision of the products. Returns
 * their sum, column by column of a vector. */
static vec soften(const float *scores, int64_t count, float most, bool bf16, char *to) {
    vec total = {0};
    for (int64_t c = 0; c < count; c += LANES) {
        const vec e = exp2_by(load(scores + c) - most, bf16);
        store_as(to, c, e, bf16);
        total += e;
    }
    return total;
}

/* Scores of one panel of keys against a tile of queries, less `most` of the query: they become
 * powers of two before they leave the registers. sums [TILE_ROWS]: added to. */
INLINE void score_panel(const void *const *rows, int64_t depth, const void *panel, bool bf16,
                        const float *most, char *to, vec *sums) {
    sums_of_tile scores;
    UNROLL for (int r = 0; r < TILE_ROWS; r++) UNROLL for (int v = 0; v < 2; v++) scores[r][v] =
        splat(-most[r]);
    sum_tile(rows, 1, depth, panel, bf16, 2, scores);
    UNROLL for (int r = 0; r < TILE_ROWS; r++) UNROLL for (int v = 0; v < 2; v++) {
        const vec e = exp2_by(scores[r][v], bf16);
        store_as(to, r * BLOCK_KEYS + v * LANES, e, bf16);
        sums[r] += e;
    }
}

INLINE void score_panels(const struct head *h, const void *const *rows, const char *keys,
                         int64_t count, bool bf16, const float *most, vec *sums) {
    const int64_t depth = h->a->depth, bytes = bf16 ? 2 : 4;
    for (int64_t c = 0; c < count; c += TILE_COLUMNS)
        score_panel(rows, depth, keys + c * depth * bytes, bf16, most, h->parts + c * bytes, sums);
}

/* The scores of a tile against keys of a block, all there, relative to the largest ones of before.
 * False: some rose too far for that. */
static bool score_on(const struct head *h, const void *const *rows, const char *keys, int64_t count,
                     const float *most, float *sums) {
    vec added[TILE_ROWS] = {{0}}, highest = {0};
    if (h->a->bf16)
        score_panels(h, rows, keys, count, true, most, added);
    else
        score_panels(h, rows, keys, count, false, most, added);
    for (int r = 0; r < TILE_ROWS; r++)
        highest = max_of(added[r], highest);
    if (!(largest_of(highest) <= POWERS_MAX))
        return false;
    for (int r = 0; r < TILE_ROWS; r++)
        store(sums + r * LANES, load(sums + r * LANES) + added[r]);
    return true;
}

/* The same relative to the largest ones so far, these among them. factor [LANES]: what everything
 * before is to be multiplied by. */
static void score_anew(const struct head *h, const void *const *rows, const char *keys,
                       int64_t count, int64_t there, float *most, float *sums, float *factor) {
    const struct ms_attention *a = h->a;
    const int64_t bytes = a->bf16 ? 2 : 4;
    float here[LANES] = {0};
    for (int64_t c = 0; c < count; c += TILE_COLUMNS)
        multiply(rows, 1, a->depth, keys + c * a->depth * bytes, a->bf16, false, h->scores + c,
                 BLOCK_KEYS);
    for (int r = 0; r < TILE_ROWS; r++) {
        float *scores = h->scores + r * BLOCK_KEYS;
        for (int64_t c = there; c < count; c++)
            scores[c] = NO_SCORE;
        here[r] = largest_score(scores, count);
    }
    const vec before = load(most), now = max_of(before, load(here));
    store(factor, exp2_of(before - now));
    store(here, now);
    memcpy(most, here, TILE_ROWS * sizeof *most);
    for (int r = 0; r < TILE_ROWS; r++) {
        const vec sum = soften(h->scores + r * BLOCK_KEYS, count, most[r], a->bf16,
                               h->parts + r * BLOCK_KEYS * bytes);
        store(sums + r * LANES, load(sums + r * LANES) * factor[r] + sum);
    }
}

/* Queries from..from + TILE_ROWS of the block against the block of keys that begins at key
 * `block`. */
static void attend_tile(const struct head *h, int64_t from, int64_t block) {
    const struct ms_attention *a = h->a;
    const int64_t bytes = a->bf16 ? 2 : 4, left = h->keys - block,
                  count = left < BLOCK_KEYS ? left : BLOCK_KEYS, there = a->keys - block;
    const char *keys = h->packed_keys + block * a->depth * bytes;
    const void *rows[TILE_ROWS];
    float *most = h->most + from, *sums = h->sums + from * LANES, factor[LANES];
    for (int r = 0; r < TILE_ROWS; r++)
        rows[r] = h->queries + (from + r) * a->depth * bytes;
    const bool on = block > 0 && there >= count && score_on(h, rows, keys, count, most, sums);
    if (on)
        store(factor, splat(1.0f));
    else
        score_anew(h, rows, keys, count, there, most, sums, factor);
    for (int r = 0; r < TILE_ROWS; r++)
        rows[r] = h->parts + r * BLOCK_KEYS * bytes;
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
    for (int64_t r = 0; r < BLOCK_QUERIES + LANES; r++)
        h->most[r] = NO_SCORE;
    memset(h->sums, 0, (size_t)(BLOCK_QUERIES * LANES) * sizeof *h->sums);
    memset(h->totals, 0, (size_t)(BLOCK_QUERIES * h->depth) * sizeof *h->totals);
    for (int64_t block = 0; block < h->keys; block += BLOCK_KEYS)
        for (int64_t from = 0; from < count; from += TILE_ROWS)
            attend_tile(h, from, block);
    for (int64_t r = 0; r < count; r++) {
        const float by = 1.0f / sum_of(load(h->sums + r * LANES));
        for (int64_t i = 0; i < a->depth; i++)
            y[r * a->y_stride + i] = h->totals[r * h->depth + i] * by;
    }
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
