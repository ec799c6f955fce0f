/* Weights as the kernels read them. */
#ifndef MSAAS_TENSOR_PACK_H
#define MSAAS_TENSOR_PACK_H

#include "winograd.h"

/* t counts packed taps: those of the kernel, or [points][rows of the kernel]. */
static float weight_at(const struct ms_packed *w, const struct ms_weight_layout *from, int64_t o,
                       int64_t t, int64_t i) {
    const float *at = from->data + o * from->out + i * from->in;
    if (!w->winograd)
        return at[t * from->tap];
    const int64_t kernel_rows = w->taps / 3, first = t % kernel_rows * 3;
    float sum = 0.0f;
    for (int j = 0; j < 3; j++)
        sum += to_points[w->bf16][t / kernel_rows][j] * at[(first + j) * from->tap];
    return sum;
}

static void pack(const struct ms_packed *w, const struct ms_weight_layout *from) {
    float *floats = w->values;
    uint16_t *halves = w->values;
    const int64_t group = w->bf16 ? 2 : 1; /* inputs that lie side by side */
    for (int64_t panel = 0; panel < panels_of(w); panel++) {
        for (int column = 0; column < TILE_COLUMNS; column++) {
            const int64_t o = output_at(w, panel, column);
            for (int64_t t = 0; t < packed_taps(w); t++) {
                const int64_t first = panel * panel_values(w) + t * w->depth * TILE_COLUMNS;
                for (int64_t i = 0; i < w->depth; i++) {
                    const float value = o < 0 ? 0.0f : weight_at(w, from, o, t, i);
                    const int64_t at =
                        first + i / group * group * TILE_COLUMNS + column * group + i % group;
                    if (w->bf16)
                        halves[at] = bf16_of(value);
                    else
                        floats[at] = value;
                }
            }
        }
    }
}

static size_t product_bytes(const struct ms_packed *w) {
    return w->winograd ? winograd_scratch(w) : 0;
}

static void product(const struct ms_product *p) {
    if (p->w->winograd)
        winograd(p);
    else
        direct(p);
}

#endif
