/* Convolutions three columns wide by half of the products: four outputs from six inputs,
 * transformed, instead of twelve products. F(4, 3) along the columns with the points 0, 1, -1,
 * 2, -2 and infinity, after Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks"
 * (arXiv 1509.09308). Rounding grows some ten times: float32 only. */
#ifndef MSAAS_TENSOR_WINOGRAD_H
#define MSAAS_TENSOR_WINOGRAD_H

#include "product.h"

/* A group is four neighbouring outputs of a row. A block's transformed inputs should stay in the
 * second-level cache. */
#define POINTS INT64_C(6)
#define GROUP INT64_C(4)
#define WINOGRAD_BYTES (INT64_C(384) << 10)
#define WINOGRAD_TILES 16

static const float to_points[POINTS][3] = {
    {1.0f / 4, 0.0f, 0.0f},
    {-1.0f / 6, -1.0f / 6, -1.0f / 6},
    {-1.0f / 6, 1.0f / 6, -1.0f / 6},
    {1.0f / 24, 1.0f / 12, 1.0f / 6},
    {1.0f / 24, -1.0f / 12, 1.0f / 6},
    {0.0f, 0.0f, 1.0f},
};

/* Inputs of six neighbouring columns, channel by channel, to the six points: x [POINTS] -> y,
 * `step` apart. */
static void transform_inputs(const float *const x[POINTS], int64_t depth, float *y, int64_t step) {
    for (int64_t i = 0; i < depth; i += LANES) {
        const int64_t left = depth - i;
        vec d[POINTS];
        for (int k = 0; k < POINTS; k++)
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

/* A tile of each point's sums, `step` apart -> the sums of GROUP times as many positions. */
static void transform_sums(const float *sums, int64_t step, float *tile) {
    for (int r = 0; r < TILE_ROWS; r++)
        for (int c = 0; c < TILE_COLUMNS; c += LANES) {
            const float *from = sums + r * TILE_COLUMNS + c;
            float *to = tile + r * GROUP * TILE_COLUMNS + c;
            vec m[POINTS];
            for (int k = 0; k < POINTS; k++)
                m[k] = load(from + k * step);
            const vec sum = m[1] + m[2], difference = m[1] - m[2], wide_sum = m[3] + m[4],
                      wide_difference = m[3] - m[4];
            store(to, m[0] + sum + wide_sum);
            store(to + TILE_COLUMNS, difference + 2.0f * wide_difference);
            store(to + 2 * TILE_COLUMNS, sum + 4.0f * wide_sum);
            store(to + 3 * TILE_COLUMNS, difference + 8.0f * wide_difference + m[5]);
        }
}

/* Tiles of groups in a block: of one row of outputs. */
static int64_t winograd_tiles(const struct ms_packed *w) {
    const int64_t fitting =
        WINOGRAD_BYTES / (w->taps / 3 * POINTS * TILE_ROWS * w->depth * (int64_t)sizeof(float));
    return fitting < 1 ? 1 : fitting > WINOGRAD_TILES ? WINOGRAD_TILES : fitting;
}

static size_t winograd_scratch(const struct ms_packed *w) {
    const int64_t groups = winograd_tiles(w) * TILE_ROWS;
    return (size_t)(groups * POINTS * (w->taps / 3 * w->depth + TILE_COLUMNS)) * sizeof(float);
}

/* The block's inputs -> [rows of the kernel][POINTS][groups][depth]. */
static void transform_block(const struct ms_product *p, int64_t row, int64_t first, int64_t groups,
                            float *to) {
    const struct ms_packed *w = p->w;
    const int64_t kernel_rows = w->taps / 3, step = groups * w->depth;
    for (int64_t k = 0; k < kernel_rows; k++) {
        const int64_t in_row = p->first_row + row + p->tap[3 * k].row;
        const bool inside = in_row >= 0 && in_row < p->rows;
        const float *line = (const float *)p->x + (inside ? in_row : 0) * p->width * w->depth;
        for (int64_t g = 0; g < groups; g++) {
            const float *x[POINTS];
            for (int i = 0; i < POINTS; i++) {
                const int64_t column = first + g * GROUP + i + p->tap[3 * k].column;
                x[i] = inside && column >= 0 && column < p->width ? line + column * w->depth
                                                                  : w->zeros;
            }
            transform_inputs(x, w->depth, to + k * POINTS * step + g * w->depth, step);
        }
    }
}

/* One panel of outputs of a block: each point is a product of its own. */
static void winograd_panel(const struct ms_product *p, int64_t panel, int64_t tiles,
                           const float *inputs, float *sums) {
    const struct ms_packed *w = p->w;
    const int64_t kernel_rows = w->taps / 3, groups = tiles * TILE_ROWS, step = groups * w->depth,
                  of_point = kernel_rows * w->depth * TILE_COLUMNS;
    const float *weights = (const float *)w->values + panel * POINTS * of_point;
    for (int64_t k = 0; k < POINTS; k++)
        for (int64_t n = 0; n < tiles; n++) {
            const void *rows[MS_TAPS_MAX / 3 * TILE_ROWS];
            for (int64_t t = 0; t < kernel_rows; t++)
                for (int64_t r = 0; r < TILE_ROWS; r++)
                    rows[t * TILE_ROWS + r] =
                        inputs + (t * POINTS + k) * step + (n * TILE_ROWS + r) * w->depth;
            multiply(rows, (int)kernel_rows, w->depth, weights + k * of_point, false, false,
                     sums + (k * groups + n * TILE_ROWS) * TILE_COLUMNS, TILE_COLUMNS);
        }
}

static void winograd(const struct ms_product *p) {
    const struct ms_packed *w = p->w;
    const int64_t most = winograd_tiles(w), span = (int64_t)TILE_ROWS * GROUP;
    float *inputs = p->scratch;
    _Alignas(64) float tile[TILE_ROWS * GROUP * TILE_COLUMNS];
    for (int64_t row = 0; row < p->out_rows; row++)
        for (int64_t first = 0; first < p->out_width; first += most * span) {
            const int64_t left = (p->out_width - first + span - 1) / span,
                          tiles = left < most ? left : most, groups = tiles * TILE_ROWS;
            float *sums = inputs + w->taps / 3 * POINTS * groups * w->depth;
            transform_block(p, row, first, groups, inputs);
            for (int64_t panel = 0; panel < panels_of(w); panel++) {
                struct finish f;
                begin_panel(&f, p, panel);
                winograd_panel(p, panel, tiles, inputs, sums);
                for (int64_t n = 0; n < tiles; n++) {
                    const int64_t at = first + n * span, rest = p->out_width - at;
                    transform_sums(sums + n * TILE_ROWS * TILE_COLUMNS, groups * TILE_COLUMNS,
                                   tile);
                    finish_tile(&f, p, tile, results_at(p, row, at, panel),
                                rest < span ? rest : span);
                }
            }
        }
}

#endif
