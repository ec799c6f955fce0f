/* Convolutions three columns wide with fewer products, along the columns, after Lavin and Gray,
 * "Fast Algorithms for Convolutional Neural Networks" (arXiv 1509.09308). In float32 F(4, 3), with
 * the points 0, 1, -1, 2, -2 and infinity: four outputs from six products instead of twelve. Its
 * rounding grows some ten times, so that bfloat16 has F(2, 3), with the points 0, 1, -1 and
 * infinity: two outputs from four products instead of six. */
#ifndef MSAAS_TENSOR_WINOGRAD_H
#define MSAAS_TENSOR_WINOGRAD_H

#include "product.h"

/* A group is what comes of one transform: neighbouring outputs of a row. A block's transformed
 * inputs should stay in the second-level cache. */
#define GROUP_MAX INT64_C(4)
#define WINOGRAD_BYTES (INT64_C(384) << 10)
#define WINOGRAD_TILES 16

static int64_t group_of(const struct ms_packed *w) {
    return w->bf16 ? 2 : 4;
}

/* Of weights, by precision. */
static const float to_points[2][POINTS_MAX][3] = {
    {
        {1.0f / 4, 0.0f, 0.0f},
        {-1.0f / 6, -1.0f / 6, -1.0f / 6},
        {-1.0f / 6, 1.0f / 6, -1.0f / 6},
        {1.0f / 24, 1.0f / 12, 1.0f / 6},
        {1.0f / 24, -1.0f / 12, 1.0f / 6},
        {0.0f, 0.0f, 1.0f},
    },
    {
        {1.0f, 0.0f, 0.0f},
        {1.0f / 2, 1.0f / 2, 1.0f / 2},
        {1.0f / 2, -1.0f / 2, 1.0f / 2},
        {0.0f, 0.0f, 1.0f},
    },
};

/* Inputs of neighbouring columns, channel by channel, to the points: x [points] -> y, `step`
 * values apart. */
static void transform_f32(const float *const *x, int64_t depth, float *y, int64_t step) {
    for (int64_t i = 0; i < depth; i += LANES) {
        const int64_t left = depth - i;
        vec d[6];
        for (int k = 0; k < 6; k++)
            d[k] = load_part(x[k] + i, left);
        const vec even = d[4] - 4.0f * d[2], odd = d[3] - 4.0f * d[1], far = d[4] - d[2],
                  wide = 2.0f * (d[3] - d[1]);
        store_part(y + i, 4.0f * d[0] - 5.0f * d[2] + d[4], left);
        store_part(y + step + i, even + odd, left);
        store_part(y + 2 * step + i, even - odd, left);
        store_part(y + 3 * step + i, far + wide, left);
        store_part(y + 4 * step + i, far - wide, left);
        store_part(y + 5 * step + i, 4.0f * d[1] - 5.0f * d[3] + d[5], left);
    }
}

static void transform_bf16(const float *const *x, int64_t depth, uint16_t *y, int64_t step) {
    for (int64_t i = 0; i < depth; i += LANES) {
        const int64_t left = depth - i;
        vec d[4];
        for (int k = 0; k < 4; k++)
            d[k] = load_part(x[k] + i, left);
        const vec points[4] = {d[0] - d[2], d[1] + d[2], d[2] - d[1], d[3] - d[1]};
        for (int k = 0; k < 4; k++, y += step)
            store_part_bf16(y + i, points[k], left);
        y -= 4 * step;
    }
}

/* A tile of each point's sums, `step` apart -> the sums of a group times as many positions. */
static void transform_sums(const float *sums, int64_t step, bool bf16, float *tile) {
    const int64_t group = bf16 ? 2 : 4;
    for (int r = 0; r < TILE_ROWS; r++)
        for (int c = 0; c < TILE_COLUMNS; c += LANES) {
            const float *from = sums + r * TILE_COLUMNS + c;
            float *to = tile + r * group * TILE_COLUMNS + c;
            const vec first = load(from), one = load(from + step), other = load(from + 2 * step),
                      sum = one + other, difference = one - other;
            if (bf16) {
                store(to, first + sum);
                store(to + TILE_COLUMNS, difference + load(from + 3 * step));
                continue;
            }
            const vec two = load(from + 3 * step), minus_two = load(from + 4 * step),
                      wide_sum = two + minus_two, wide_difference = two - minus_two;
            store(to, first + sum + wide_sum);
            store(to + TILE_COLUMNS, difference + 2.0f * wide_difference);
            store(to + 2 * TILE_COLUMNS, sum + 4.0f * wide_sum);
            store(to + 3 * TILE_COLUMNS,
                  difference + 8.0f * wide_difference + load(from + 5 * step));
        }
}

/* Tiles of groups in a block: of one row of outputs. */
static int64_t winograd_tiles(const struct ms_packed *w) {
    const int64_t fitting =
        WINOGRAD_BYTES / (packed_taps(w) * TILE_ROWS * w->depth * value_bytes(w));
    return fitting < 1 ? 1 : fitting > WINOGRAD_TILES ? WINOGRAD_TILES : fitting;
}

/* A block's transformed inputs, then the sums of one panel. */
static size_t winograd_inputs(const struct ms_packed *w, int64_t groups) {
    return (size_t)(round_up(groups * packed_taps(w) * w->depth * value_bytes(w), 64));
}

static size_t winograd_scratch(const struct ms_packed *w) {
    const int64_t groups = winograd_tiles(w) * TILE_ROWS;
    return winograd_inputs(w, groups) +
           (size_t)(groups * points_of(w) * TILE_COLUMNS) * sizeof(float);
}

/* The block's inputs -> [rows of the kernel][points][groups][depth]. */
static void transform_block(const struct ms_product *p, int64_t row, int64_t first, int64_t groups,
                            char *to) {
    const struct ms_packed *w = p->w;
    const int64_t points = points_of(w), step = groups * w->depth;
    for (int64_t k = 0; k < w->taps / 3; k++) {
        const int64_t in_row = p->first_row + row + p->tap[3 * k].row;
        const bool inside = in_row >= 0 && in_row < p->rows;
        const float *line = (const float *)p->x + (inside ? in_row : 0) * p->width * w->depth;
        for (int64_t g = 0; g < groups; g++) {
            const float *x[POINTS_MAX];
            for (int i = 0; i < points; i++) {
                const int64_t column = first + g * group_of(w) + i + p->tap[3 * k].column;
                x[i] = inside && column >= 0 && column < p->width ? line + column * w->depth
                                                                  : w->zeros;
            }
            void *at = to + (k * points * step + g * w->depth) * value_bytes(w);
            if (w->bf16)
                transform_bf16(x, w->depth, at, step);
            else
                transform_f32(x, w->depth, at, step);
        }
    }
}

/* One panel of outputs of a block: each point is a product of its own. */
static void winograd_panel(const struct ms_product *p, int64_t panel, int64_t tiles,
                           const char *inputs, float *sums) {
    const struct ms_packed *w = p->w;
    const int64_t kernel_rows = w->taps / 3, points = points_of(w), groups = tiles * TILE_ROWS,
                  bytes = value_bytes(w), of_point = kernel_rows * w->depth * TILE_COLUMNS;
    const char *weights = (const char *)w->values + panel * points * of_point * bytes;
    for (int64_t k = 0; k < points; k++)
        for (int64_t n = 0; n < tiles; n++) {
            const void *rows[MS_TAPS_MAX / 3 * TILE_ROWS];
            for (int64_t t = 0; t < kernel_rows; t++)
                for (int64_t r = 0; r < TILE_ROWS; r++)
                    rows[t * TILE_ROWS + r] =
                        inputs + ((t * points + k) * groups + n * TILE_ROWS + r) * w->depth * bytes;
            multiply(rows, (int)kernel_rows, w->depth, weights + k * of_point * bytes, w->bf16,
                     false, sums + (k * groups + n * TILE_ROWS) * TILE_COLUMNS, TILE_COLUMNS);
        }
}

static void winograd(const struct ms_product *p) {
    const struct ms_packed *w = p->w;
    const int64_t most = winograd_tiles(w), span = TILE_ROWS * group_of(w);
    char *inputs = p->scratch;
    _Alignas(64) float tile[TILE_ROWS * GROUP_MAX * TILE_COLUMNS];
    for (int64_t row = 0; row < p->out_rows; row++)
        for (int64_t first = 0; first < p->out_width; first += most * span) {
            const int64_t left = (p->out_width - first + span - 1) / span,
                          tiles = left < most ? left : most, groups = tiles * TILE_ROWS;
            float *sums = (float *)(void *)(inputs + winograd_inputs(w, groups));
            transform_block(p, row, first, groups, inputs);
            for (int64_t panel = 0; panel < panels_of(w); panel++) {
                struct finish f;
                begin_panel(&f, p, panel);
                winograd_panel(p, panel, tiles, inputs, sums);
                for (int64_t n = 0; n < tiles; n++) {
                    const int64_t at = first + n * span, rest = p->out_width - at;
                    transform_sums(sums + n * TILE_ROWS * TILE_COLUMNS, groups * TILE_COLUMNS,
                                   w->bf16, tile);
                    finish_tile(&f, p, tile, results_at(p, row, at, panel),
                                rest < span ? rest : span);
                }
            }
        }
}

#endif
