/* A layer of the encoders or decoders, row by row of its result (cpu.h): a row of the spectrogram
 * stays in the second-level cache until all is done with it. Runs on the session's thread. */
#include <string.h>

#include "cpu.h"

/* ---- residual unit ---- */

/* The scratch memory of a unit. */
struct unit_rooms {
    float *hidden;          /* [width][in->out] */
    float *scale, *shift;   /* of the first norm, [in->out] */
    float *scale2, *shift2; /* of the second, [out->out] */
    double *moments;        /* [in->out][in->out + 1] */
    uint16_t *rounded;      /* [width][in->in], where the first product takes bfloat16 */
};

static size_t lay_out_unit(struct unit_rooms *r, const struct ms_cpu_unit *unit, int64_t width,
                           char *scratch) {
    const size_t hidden = (size_t)unit->in->shape.out, out = (size_t)unit->out->shape.out;
    size_t used = 0;
    r->hidden = ms_piece(scratch, &used, (size_t)width * hidden * sizeof(float));
    r->scale = ms_piece(scratch, &used, hidden * sizeof(float));
    r->shift = ms_piece(scratch, &used, hidden * sizeof(float));
    r->scale2 = ms_piece(scratch, &used, out * sizeof(float));
    r->shift2 = ms_piece(scratch, &used, out * sizeof(float));
    r->moments = ms_piece(scratch, &used, hidden * (hidden + 1) * sizeof(double));
    if (ms_takes_bf16(&unit->in->phase[0]))
        r->rounded =
            ms_piece(scratch, &used, (size_t)(width * unit->in->shape.in) * sizeof(uint16_t));
    return used;
}

/* Sum and sum of squares of all results of a measured filter, which nobody has computed: both are
 * known from the moments of its inputs x [positions][in] and of its weights.
 * room: in * (in + 1). */
static void sums_of_results(const struct ms_cpu_filter *f, const float *x, int64_t positions,
                            double *room, double sums[2]) {
    const struct ms_cpu_moments *m = &f->moments;
    const int64_t in = f->shape.in;
    double *inputs = room, *products = room + in;
    memset(room, 0, (size_t)(in * (in + 1)) * sizeof *room);
    f->kernels->moments(x, positions, in, inputs, products);
    sums[0] = (double)positions * m->bias_sum;
    sums[1] = (double)positions * m->bias_squares;
    for (int64_t i = 0; i < in; i++) {
        sums[0] += inputs[i] * m->columns[i];
        sums[1] += inputs[i] * m->biased[i];
    }
    for (int64_t i = 0; i < in * in; i++)
        sums[1] += products[i] * m->products[i];
}

/* x [width][channels], in place. */
static void run_unit(const struct ms_cpu_unit *unit, float *x, int64_t width, char *scratch) {
    const struct ms_kernels *k = unit->in->kernels;
    const int64_t channels = unit->in->shape.in, hidden = unit->in->shape.out,
                  out = unit->out->shape.out;
    struct unit_rooms r = {0};
    (void)lay_out_unit(&r, unit, width, scratch);
    const void *taken = ms_cpu_taken(unit->in, x, width * channels, r.rounded);
    double sums[2] = {0.0, 0.0};
    struct ms_product first = ms_cpu_product(unit->in, taken, 1, width, r.hidden, 1, width);
    first.sums = sums;
    k->product(&first);
    ms_cpu_norm_of(sums, (double)(width * hidden), unit->norm_in_weight, unit->norm_in_bias, hidden,
                   r.scale, r.shift);
    k->affine(r.hidden, width, hidden, r.scale, r.shift, MS_ACTIVATION_GELU);

    sums_of_results(unit->out, r.hidden, width, r.moments, sums);
    ms_cpu_norm_of(sums, (double)(width * out), unit->norm_out_weight, unit->norm_out_bias, out,
                   r.scale2, r.shift2);
    for (int64_t c = 0; c < out; c++)
        r.shift2[c] += unit->out->bias[c] * r.scale2[c];
    struct ms_product second = ms_cpu_product(unit->out, r.hidden, 1, width, x, 1, width);
    second.scale = r.scale2;
    second.shift = r.shift2;
    second.gamma = unit->scale;
    k->product(&second);
}

/* ---- layer ---- */

struct layer_rooms {
    uint16_t *rounded;     /* x, where the filter takes bfloat16 */
    float *row;            /* of the filter's results, where another filter follows */
    uint16_t *rounded_row; /* the same, where that takes bfloat16 */
    char *step;            /* scratch memory of the product, then of each unit */
};

static size_t lay_out_layer(struct layer_rooms *r, const struct ms_cpu_layer *l, int64_t rows,
                            int64_t width, int64_t out_width, char *scratch) {
    const size_t values = (size_t)(out_width * ms_filter_results(&l->filter->shape));
    size_t used = 0;
    *r = (struct layer_rooms){0};
    if (ms_takes_bf16(&l->filter->phase[0]))
        r->rounded = ms_piece(scratch, &used,
                              (size_t)(rows * width * l->filter->shape.in) * sizeof *r->rounded);
    if (l->then != NULL) {
        r->row = ms_piece(scratch, &used, values * sizeof *r->row);
        if (ms_takes_bf16(&l->then->phase[0]))
            r->rounded_row = ms_piece(scratch, &used, values * sizeof *r->rounded_row);
    }
    size_t most = l->filter->kernels->product_bytes(&l->filter->phase[0]);
    for (int i = 0; i < l->unit_count; i++) {
        struct unit_rooms unit;
        const size_t bytes = lay_out_unit(&unit, &l->units[i], out_width, NULL);
        most = bytes > most ? bytes : most;
    }
    r->step = ms_piece(scratch, &used, most);
    return used;
}

size_t ms_cpu_layer_scratch(const struct ms_cpu_layer *l, int64_t rows, int64_t width,
                            int64_t out_width) {
    struct layer_rooms r;
    return lay_out_layer(&r, l, rows, width, out_width, NULL);
}

void ms_cpu_run_layer(const struct ms_cpu_layer *l, const float *x, int64_t rows, int64_t width,
                      float *y, int64_t out_rows, int64_t out_width, void *scratch) {
    const struct ms_kernels *k = l->filter->kernels;
    const int64_t results = ms_filter_results(&(l->then != NULL ? l->then : l->filter)->shape),
                  channels = ms_filter_results(&l->filter->shape);
    struct layer_rooms r;
    (void)lay_out_layer(&r, l, rows, width, out_width, scratch);
    const void *taken = ms_cpu_taken(l->filter, x, rows * width * l->filter->shape.in, r.rounded);
    for (int64_t row = 0; row < out_rows; row++, y += out_width * results) {
        float *at = l->then != NULL ? r.row : y;
        struct ms_product p = ms_cpu_product(l->filter, taken, rows, width, at, 1, out_width);
        p.first_row = row;
        p.scratch = r.step;
        k->product(&p);
        for (int i = 0; i < l->unit_count; i++)
            run_unit(&l->units[i], at, out_width, r.step);
        if (l->then == NULL)
            continue;
        const void *between = ms_cpu_taken(l->then, at, out_width * channels, r.rounded_row);
        const struct ms_product last =
            ms_cpu_product(l->then, between, 1, out_width, y, 1, out_width);
        k->product(&last);
    }
}
