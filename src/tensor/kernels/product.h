/* Products: convolutions and linear layers, and what follows them while the sums are still at
 * hand. */
#ifndef MSAAS_TENSOR_PRODUCT_H
#define MSAAS_TENSOR_PRODUCT_H

#include "kernels.h"
#include "tile.h"

/* Pointers to a block's input positions: on the stack. A block's inputs should stay in the
 * second-level cache while all panels of weights go by. */
enum { TABLE = 2048, BLOCK_BYTES = 192 << 10 };
_Static_assert(TABLE >= MS_TAPS_MAX * TILE_ROWS, "room for one tile");

static inline int64_t value_bytes(const struct ms_packed *w) {
    return w->bf16 ? 2 : 4;
}

static inline int64_t panel_outputs(const struct ms_packed *w) {
    return w->glu ? LANES : TILE_COLUMNS;
}

static inline int64_t results_of(const struct ms_packed *w) {
    return w->glu ? w->out / 2 : w->out;
}

static inline int64_t panels_of(const struct ms_packed *w) {
    return (results_of(w) + panel_outputs(w) - 1) / panel_outputs(w);
}

/* winograd.h: so many points stand for three taps. */
#define POINTS_MAX INT64_C(6)

static inline int64_t points_of(const struct ms_packed *w) {
    return w->bf16 ? 4 : 6;
}

static inline int64_t packed_taps(const struct ms_packed *w) {
    return w->winograd ? w->taps / 3 * points_of(w) : w->taps;
}

static inline int64_t panel_values(const struct ms_packed *w) {
    return packed_taps(w) * w->depth * TILE_COLUMNS;
}

static size_t packed_bytes(const struct ms_packed *w) {
    return (size_t)(panels_of(w) * panel_values(w) * value_bytes(w));
}

/* Which output stands in a column of a panel; -1: none. */
static int64_t output_at(const struct ms_packed *w, int64_t panel, int64_t column) {
    const int64_t results = results_of(w);
    const bool second = w->glu && column >= LANES;
    const int64_t result = panel * panel_outputs(w) + column - (second ? LANES : 0);
    return result < results ? result + (second ? results : 0) : -1;
}

/* What follows the sums, for the outputs of one panel. */
struct finish {
    vec scale[2], shift[2], gamma[2]; /* of either half of the panel */
    vec sum, squares;
    int64_t columns; /* results of this panel */
};

static vec load_outputs(const struct ms_packed *w, const float *values, int64_t panel, int half) {
    vec v = {0};
    for (int c = 0; c < LANES; c++) {
        const int64_t o = output_at(w, panel, half * LANES + c);
        if (o >= 0)
            v[c] = values[o];
    }
    return v;
}

static void begin_panel(struct finish *f, const struct ms_product *p, int64_t panel) {
    const struct ms_packed *w = p->w;
    const int64_t left = results_of(w) - panel * panel_outputs(w);
    *f = (struct finish){.columns = left < panel_outputs(w) ? left : panel_outputs(w)};
    for (int half = 0; half < 2; half++) {
        f->scale[half] = p->scale != NULL ? load_outputs(w, p->scale, panel, half) : splat(1.0f);
        f->shift[half] = load_outputs(w, p->shift, panel, half);
    }
    if (p->gamma != NULL) {
        f->gamma[0] = load_outputs(w, p->gamma, panel, 0);
        if (!w->glu)
            f->gamma[1] = load_outputs(w, p->gamma, panel, 1);
    }
}

/* Fewer results than a vector has values. Not inlined: it would keep all vectors in memory. */
static __attribute__((noinline)) void put_part(const struct ms_product *p, char *y, vec v,
                                               int64_t columns, vec gamma) {
    float *floats = (float *)(void *)y;
    for (int64_t c = 0; c < columns; c++) {
        if (p->y_bf16)
            ((uint16_t *)(void *)y)[c] = bf16_of(v[c]);
        else
            floats[c] = p->gamma != NULL ? floats[c] + gamma[c] * v[c] : v[c];
    }
}

/* Where a vector's results of one position go, and how. */
INLINE void put(const struct ms_product *p, char *y, vec v, int64_t columns, vec gamma) {
    float *floats = (float *)(void *)y;
    if (columns < LANES)
        put_part(p, y, v, columns, gamma);
    else if (p->y_bf16)
        store_bf16(y, v);
    else
        store(floats, p->gamma != NULL ? load(floats) + gamma * v : v);
}

static inline int64_t result_bytes(const struct ms_product *p) {
    return p->y_bf16 ? 2 : 4;
}

INLINE void finish_row(struct finish *f, const struct ms_product *p, const float *sums, char *y,
                       enum ms_activation activation) {
    const bool wide = p->w->glu || f->columns > LANES; /* else the second half was not computed */
    vec first = load(sums) * f->scale[0] + f->shift[0];
    vec second = wide ? load(sums + LANES) * f->scale[1] + f->shift[1] : (vec){0};
    if (activation == MS_ACTIVATION_GLU) {
        put(p, y, first * sigmoid_of(second), f->columns, f->gamma[0]);
        return;
    }
    if (p->sums != NULL) {
        f->sum += first + second;
        f->squares += first * first + second * second;
    }
    if (activation == MS_ACTIVATION_GELU) {
        first = gelu_of(first);
        if (wide)
            second = gelu_of(second);
    }
    put(p, y, first, f->columns, f->gamma[0]);
    if (wide)
        put(p, y + LANES * result_bytes(p), second, f->columns - LANES, f->gamma[1]);
}

/* rows_here positions of a tile, whose sums are in `tile`; y of the first of them. */
static void finish_tile(struct finish *f, const struct ms_product *p, const float *tile, char *y,
                        int64_t rows_here) {
    const int64_t step = p->y_column * result_bytes(p);
    switch (p->activation) {
    case MS_ACTIVATION_GLU:
        for (int64_t r = 0; r < rows_here; r++)
            finish_row(f, p, tile + r * TILE_COLUMNS, y + r * step, MS_ACTIVATION_GLU);
        break;
    case MS_ACTIVATION_GELU:
        for (int64_t r = 0; r < rows_here; r++)
            finish_row(f, p, tile + r * TILE_COLUMNS, y + r * step, MS_ACTIVATION_GELU);
        break;
    case MS_ACTIVATION_NONE:
        for (int64_t r = 0; r < rows_here; r++)
            finish_row(f, p, tile + r * TILE_COLUMNS, y + r * step, MS_ACTIVATION_NONE);
        break;
    }
}

/* The outputs of a panel at one position. */
static char *results_at(const struct ms_product *p, int64_t row, int64_t column, int64_t panel) {
    return (char *)p->y +
           (row * p->y_row + column * p->y_column + panel * panel_outputs(p->w)) * result_bytes(p);
}

/* The input positions of the output positions from column `first` of a row on, tile by tile, tap
 * by tap. */
static void find_inputs(const struct ms_product *p, int64_t row, int64_t first, int64_t tiles,
                        const void **table) {
    const struct ms_packed *w = p->w;
    const int64_t bytes = (p->x_column != 0 ? p->x_column : w->depth) * value_bytes(w);
    for (int64_t n = 0; n < tiles; n++) {
        for (int t = 0; t < w->taps; t++) {
            const int64_t in_row = (p->first_row + row) * p->stride_row + p->tap[t].row;
            const bool inside = in_row >= 0 && in_row < p->rows;
            const char *line = (const char *)p->x + (inside ? in_row : 0) * p->width * bytes;
            for (int r = 0; r < TILE_ROWS; r++) {
                const int64_t out = first + n * TILE_ROWS + r,
                              in = out * p->stride_column + p->tap[t].column;
                *table++ = inside && out < p->out_width && in >= 0 && in < p->width
                               ? line + in * bytes
                               : w->zeros;
            }
        }
    }
}

/* Tiles whose inputs fit the cache, taps of one row overlapping. */
static int64_t tiles_of_block(const struct ms_product *p) {
    const struct ms_packed *w = p->w;
    int64_t rows = 1;
    for (int t = 1; t < w->taps; t++)
        rows += p->tap[t].row != p->tap[t - 1].row;
    const int64_t bytes = rows * TILE_ROWS * p->stride_column * w->depth * value_bytes(w);
    const int64_t fitting = BLOCK_BYTES / bytes, possible = TABLE / (w->taps * TILE_ROWS);
    return fitting < 1 ? 1 : fitting < possible ? fitting : possible;
}

static void direct(const struct ms_product *p) {
    const struct ms_packed *w = p->w;
    const int64_t tiles_max = tiles_of_block(p);
    const void *table[TABLE];
    _Alignas(64) float tile[TILE_ROWS * TILE_COLUMNS] = {0};
    for (int64_t row = 0; row < p->out_rows; row++) {
        for (int64_t first = 0; first < p->out_width; first += tiles_max * TILE_ROWS) {
            const int64_t left = (p->out_width - first + TILE_ROWS - 1) / TILE_ROWS,
                          tiles = left < tiles_max ? left : tiles_max;
            find_inputs(p, row, first, tiles, table);
            for (int64_t panel = 0; panel < panels_of(w); panel++) {
                const char *weights =
                    (const char *)w->values + panel * panel_values(w) * value_bytes(w);
                struct finish f;
                begin_panel(&f, p, panel);
                for (int64_t n = 0; n < tiles; n++) {
                    const int64_t rest = p->out_width - first - n * TILE_ROWS;
                    multiply(table + n * w->taps * TILE_ROWS, w->taps, w->depth, weights, w->bf16,
                             !w->glu && f.columns <= LANES, tile, TILE_COLUMNS);
                    finish_tile(&f, p, tile, results_at(p, row, first + n * TILE_ROWS, panel),
                                rest < TILE_ROWS ? rest : TILE_ROWS);
                }
                if (p->sums != NULL) {
                    p->sums[2 * row] += (double)sum_of(f.sum);
                    p->sums[2 * row + 1] += (double)sum_of(f.squares);
                }
            }
        }
    }
}

#endif
