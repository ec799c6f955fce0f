/* The network's operators on the CPU, put together from the kernels. Runs on the session's
 * thread. */
#include "cpu.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WINOGRAD_OUTPUTS 64
#define EPSILON 1e-5 /* of every norm in the network */

/* ---- filters ---- */

static size_t aligned(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

static int stride_of(const struct ms_filter_shape *s) {
    return s->stride_rows > s->stride_columns ? s->stride_rows : s->stride_columns;
}

/* Where three columns by half of the products pay for the transforms. */
static bool has_winograd(const struct ms_filter_shape *s) {
    return s->kernel_columns == 3 && s->stride_columns == 1 && s->stride_rows == 1 &&
           s->dilation == 1 && !s->transposed && !s->bf16 && s->out >= WINOGRAD_OUTPUTS;
}

/* Transposed: tap j of phase r is tap r + j * stride of the kernel. */
static void describe_phases(struct ms_cpu_filter *f) {
    const struct ms_filter_shape *s = &f->shape;
    const int taps = s->kernel_rows * s->kernel_columns;
    f->phases = s->transposed ? stride_of(s) : 1;
    for (int r = 0; r < f->phases; r++)
        f->phase[r] = (struct ms_packed){
            .out = s->out,
            .depth = s->in,
            .taps = (taps - r + f->phases - 1) / f->phases,
            .glu = s->activation == MS_ACTIVATION_GLU,
            .bf16 = s->bf16,
            .winograd = has_winograd(s),
        };
}

static size_t moments_bytes(const struct ms_filter_shape *s) {
    return s->measured ? aligned((size_t)(s->in * (s->in + 2)) * sizeof(double)) : 0;
}

static void measure_weights(struct ms_cpu_filter *f, const float *weight, double *room) {
    const int64_t in = f->shape.in, out = f->shape.out;
    struct ms_cpu_moments *m = &f->moments;
    *m = (struct ms_cpu_moments){
        .products = room, .biased = room + in * in, .columns = room + in * (in + 1)};
    memset(room, 0, moments_bytes(&f->shape));
    f->kernels->moments(weight, out, in, m->columns, m->products);
    for (int64_t o = 0; o < out; o++) {
        const double bias = (double)f->bias[o];
        m->bias_sum += bias;
        m->bias_squares += bias * bias;
        for (int64_t i = 0; i < in; i++)
            m->biased[i] += 2.0 * (double)weight[o * in + i] * bias;
    }
}

bool ms_cpu_filter_init(struct ms_cpu_filter *f, const struct ms_filter_shape *shape,
                        const float *weight, const float *bias) {
    *f = (struct ms_cpu_filter){.shape = *shape, .kernels = ms_kernels_get()};
    describe_phases(f);
    const int64_t taps = (int64_t)shape->kernel_rows * shape->kernel_columns;
    const size_t zeros = aligned((size_t)shape->in * sizeof(float)),
                 biases = aligned((size_t)shape->out * sizeof(float));
    size_t total = zeros + biases + moments_bytes(shape);
    for (int r = 0; r < f->phases; r++)
        total += aligned(f->kernels->packed_bytes(&f->phase[r]));
    char *memory = aligned_alloc(64, total);
    if (memory == NULL)
        return false;
    f->memory = memory;
    memset(memory, 0, zeros);
    f->bias = (float *)(void *)(memory + zeros);
    memcpy(f->bias, bias, (size_t)shape->out * sizeof *bias);
    char *next = memory + zeros + biases;
    if (shape->measured)
        measure_weights(f, weight, (double *)(void *)next);
    next += moments_bytes(shape);
    for (int r = 0; r < f->phases; r++) {
        struct ms_packed *w = &f->phase[r];
        const struct ms_weight_layout from = {
            .data = weight + r,
            .out = shape->transposed ? taps : shape->in * taps,
            .in = shape->transposed ? shape->out * taps : taps,
            .tap = f->phases,
        };
        w->zeros = memory;
        w->values = next;
        next += aligned(f->kernels->packed_bytes(w));
        f->kernels->pack(w, &from);
    }
    return true;
}

void ms_cpu_filter_fini(struct ms_cpu_filter *f) {
    free(f->memory);
    f->memory = NULL;
}

/* ---- convolutions ---- */

size_t ms_cpu_convolve_scratch(const struct ms_cpu_filter *f, int64_t rows, int64_t width) {
    return f->shape.bf16 ? (size_t)(rows * width * f->shape.in) * sizeof(uint16_t)
                         : f->kernels->product_bytes(&f->phase[0]);
}

/* Output o = input * stride + tap - padding: of phase r, o = q * stride + r - padding reads
 * inputs q, q - 1, ... */
static void convolve_transposed(const struct ms_cpu_filter *f, struct ms_product *p, float *y,
                                int64_t out_rows, int64_t out_width) {
    const struct ms_filter_shape *s = &f->shape;
    const bool along_rows = s->kernel_rows > 1;
    const int64_t stride = f->phases, padding = along_rows ? s->padding_rows : s->padding_columns,
                  length = along_rows ? out_rows : out_width, row = out_width * s->out;
    for (int r = 0; r < f->phases; r++) {
        const int64_t first = r >= padding ? 0 : ms_divide_up(padding - r, stride),
                      end = ms_divide_up(length + padding - r, stride),
                      out = first * stride + r - padding;
        p->w = &f->phase[r];
        for (int j = 0; j < p->w->taps; j++)
            p->tap[j] = along_rows ? (struct ms_tap){(int32_t)(first - j), 0}
                                   : (struct ms_tap){0, (int32_t)(first - j)};
        p->out_rows = along_rows ? end - first : out_rows;
        p->out_width = along_rows ? out_width : end - first;
        p->y = y + out * (along_rows ? row : s->out);
        p->y_row = along_rows ? stride * row : row;
        p->y_column = along_rows ? s->out : stride * s->out;
        f->kernels->product(p);
    }
}

void ms_cpu_convolve(const struct ms_cpu_filter *f, const float *x, int64_t rows, int64_t width,
                     const float *gamma, float *y, int64_t out_rows, int64_t out_width,
                     void *scratch) {
    const struct ms_filter_shape *s = &f->shape;
    struct ms_product p = {
        .x = x,
        .rows = rows,
        .width = width,
        .stride_row = 1,
        .stride_column = 1,
        .shift = f->bias,
        .activation = s->activation,
        .gamma = gamma,
        .scratch = scratch,
    };
    if (s->bf16) {
        f->kernels->to_bf16(x, scratch, rows * width * s->in);
        p.x = scratch;
    }
    if (s->transposed) {
        convolve_transposed(f, &p, y, out_rows, out_width);
        return;
    }
    const int64_t results = ms_filter_results(s);
    p.w = &f->phase[0];
    p.stride_row = s->stride_rows;
    p.stride_column = s->stride_columns;
    for (int i = 0; i < s->kernel_rows; i++)
        for (int j = 0; j < s->kernel_columns; j++)
            p.tap[i * s->kernel_columns + j] = (struct ms_tap){
                .row = i - s->padding_rows,
                .column = j * s->dilation - s->padding_columns,
            };
    p.out_rows = out_rows;
    p.out_width = out_width;
    p.y = y;
    p.y_row = out_width * results;
    p.y_column = results;
    f->kernels->product(&p);
}

/* ---- linear layers, by blocks of positions ---- */

/* A block's activations should stay in the second-level cache. Between its positions a line of the
 * cache is left free: at distances of a power of two they would push each other out of the first
 * level. */
#define BLOCK INT64_C(144)
#define GAP_BYTES INT64_C(64)

struct block { /* [positions of the block][channels] and the gap */
    void *values;
    int64_t bytes; /* of a value: bfloat16 or float */
    int64_t column;
};

/* What f takes. Returns where the memory behind it begins; memory may be NULL: to be measured. */
static size_t lay_out_block(struct block *b, const struct ms_cpu_filter *f, void *memory,
                            size_t used) {
    b->bytes = f->shape.bf16 ? 2 : 4;
    b->column = f->shape.in + GAP_BYTES / b->bytes;
    b->values = memory != NULL ? (char *)memory + used : NULL;
    return used + aligned((size_t)(BLOCK * b->column * b->bytes));
}

/* y, y_column, y_bf16 and gamma as in ms_product. */
static void linear(const struct ms_cpu_filter *f, const struct block *x, int64_t positions,
                   const float *gamma, void *y, int64_t y_column, bool y_bf16) {
    const struct ms_product p = {
        .x = x->values,
        .x_column = x->column,
        .w = &f->phase[0],
        .rows = 1,
        .width = positions,
        .out_rows = 1,
        .out_width = positions,
        .stride_row = 1,
        .stride_column = 1,
        .shift = f->bias,
        .activation = f->shape.activation,
        .gamma = gamma,
        .y = y,
        .y_bf16 = y_bf16,
        .y_row = positions * y_column,
        .y_column = y_column,
    };
    f->kernels->product(&p);
}

/* What f takes of x: norm(x). room: [in] floats, used where f takes bfloat16. */
static void norm_block(const struct ms_cpu_norm *norm, const struct ms_cpu_filter *f,
                       const float *x, int64_t positions, float *room, const struct block *to) {
    const int64_t in = f->shape.in;
    for (int64_t n = 0; n < positions; n++, x += in) {
        void *y = (char *)to->values + n * to->column * to->bytes;
        f->kernels->layer_norm(x, 1, in, norm->weight, norm->bias, f->shape.bf16 ? room : y);
        if (f->shape.bf16)
            f->kernels->to_bf16(room, y, in);
    }
}

static size_t room_bytes(const struct ms_cpu_filter *f) {
    return aligned((size_t)f->shape.in * sizeof(float));
}

size_t ms_cpu_linear_scratch(const struct ms_cpu_filter *f) {
    struct block x;
    return lay_out_block(&x, f, NULL, room_bytes(f));
}

void ms_cpu_linear(const struct ms_cpu_norm *norm, const struct ms_cpu_filter *f, const float *x,
                   int64_t positions, float *y, void *scratch) {
    const int64_t results = ms_filter_results(&f->shape);
    struct block taken;
    (void)lay_out_block(&taken, f, scratch, room_bytes(f));
    for (int64_t from = 0; from < positions; from += BLOCK) {
        const int64_t left = positions - from, count = left < BLOCK ? left : BLOCK;
        norm_block(norm, f, x + from * f->shape.in, count, scratch, &taken);
        linear(f, &taken, count, NULL, y + from * results, results, false);
    }
}

size_t ms_cpu_feed_forward_scratch(const struct ms_cpu_filter *first,
                                   const struct ms_cpu_filter *second) {
    struct block x;
    return lay_out_block(&x, second, NULL, ms_cpu_linear_scratch(first));
}

void ms_cpu_feed_forward(const struct ms_cpu_norm *norm, const struct ms_cpu_filter *first,
                         const struct ms_cpu_filter *second, const float *gamma, float *x,
                         int64_t positions, void *scratch) {
    const int64_t channels = first->shape.in;
    struct block taken, hidden;
    const size_t used = lay_out_block(&taken, first, scratch, room_bytes(first));
    (void)lay_out_block(&hidden, second, scratch, used);
    for (int64_t from = 0; from < positions; from += BLOCK, x += BLOCK * channels) {
        const int64_t left = positions - from, count = left < BLOCK ? left : BLOCK;
        norm_block(norm, first, x, count, scratch, &taken);
        linear(first, &taken, count, NULL, hidden.values, hidden.column, second->shape.bf16);
        linear(second, &hidden, count, gamma, x, channels, false);
    }
}

/* ---- norms ---- */

/* Of a norm over values with these sums: x -> x * scale + shift, by channel. */
static void norm_of(const double sums[2], double count, const float *weight, const float *bias,
                    int64_t channels, float *scale, float *shift) {
    const double mean = sums[0] / count, variance = fmax(sums[1] / count - mean * mean, 0.0),
                 factor = 1.0 / sqrt(variance + EPSILON);
    for (int64_t c = 0; c < channels; c++) {
        const double by = factor * (double)weight[c];
        scale[c] = (float)by;
        shift[c] = (float)((double)bias[c] - mean * by);
    }
}

void ms_cpu_group_norm(float *x, int64_t positions, int64_t channels, const float *weight,
                       const float *bias, float *scratch) {
    const struct ms_kernels *k = ms_kernels_get();
    double sums[2] = {0.0, 0.0};
    k->measure(x, positions * channels, sums);
    norm_of(sums, (double)(positions * channels), weight, bias, channels, scratch,
            scratch + channels);
    k->affine(x, positions, channels, scratch, scratch + channels, MS_ACTIVATION_NONE);
}

void ms_cpu_levels(const float *x, int64_t count, double *mean, double *std) {
    double sums[2] = {0.0, 0.0};
    ms_kernels_get()->measure(x, count, sums);
    *mean = sums[0] / (double)count;
    *std = sqrt(fmax(sums[1] - sums[0] * *mean, 0.0) / (double)(count - 1));
}

/* ---- residual unit ---- */

size_t ms_cpu_residual_scratch(const struct ms_cpu_unit *unit, int64_t width) {
    const int64_t hidden = unit->in->shape.out, outputs = unit->out->shape.out;
    return aligned((size_t)(width * hidden + 2 * hidden + 2 * outputs) * sizeof(float)) +
           aligned((size_t)(hidden * (hidden + 1)) * sizeof(double)) +
           (unit->in->shape.bf16 ? (size_t)(width * unit->in->shape.in) * sizeof(uint16_t) : 0);
}

/* Sum and sum of squares of all results of a measured filter, which nobody has computed: both are
 * known from the moments of its inputs x [positions][in] and of its weights. room: in * (in + 1). */
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

static void residual_row(const struct ms_cpu_unit *unit, float *x, int64_t width, char *scratch) {
    const struct ms_kernels *k = unit->in->kernels;
    const struct ms_filter_shape *in = &unit->in->shape, *out = &unit->out->shape;
    float *hidden = (float *)(void *)scratch, *scale = hidden + width * in->out,
          *shift = scale + in->out, *out_scale = shift + in->out, *out_shift = out_scale + out->out;
    double *moments =
        (double *)(void *)(scratch +
                           aligned((size_t)(width * in->out + 2 * in->out + 2 * out->out) *
                                   sizeof(float)));
    uint16_t *rounded =
        (uint16_t *)(void *)((char *)moments +
                             aligned((size_t)(in->out * (in->out + 1)) * sizeof(double)));
    double sums[2] = {0.0, 0.0};
    struct ms_product first = {
        .x = x,
        .w = &unit->in->phase[0],
        .rows = 1,
        .width = width,
        .out_rows = 1,
        .out_width = width,
        .stride_row = 1,
        .stride_column = 1,
        .shift = unit->in->bias,
        .y = hidden,
        .y_row = width * in->out,
        .y_column = in->out,
        .sums = sums,
    };
    for (int j = 0; j < in->kernel_columns; j++)
        first.tap[j].column = j * in->dilation - in->padding_columns;
    if (in->bf16) {
        k->to_bf16(x, rounded, width * in->in);
        first.x = rounded;
    }
    k->product(&first);
    norm_of(sums, (double)(width * in->out), unit->norm_in_weight, unit->norm_in_bias, in->out,
            scale, shift);
    k->affine(hidden, width, in->out, scale, shift, MS_ACTIVATION_GELU);

    sums_of_results(unit->out, hidden, width, moments, sums);
    norm_of(sums, (double)(width * out->out), unit->norm_out_weight, unit->norm_out_bias, out->out,
            out_scale, out_shift);
    for (int64_t c = 0; c < out->out; c++)
        out_shift[c] += unit->out->bias[c] * out_scale[c];
    struct ms_product second = {
        .x = hidden,
        .w = &unit->out->phase[0],
        .rows = 1,
        .width = width,
        .out_rows = 1,
        .out_width = width,
        .stride_row = 1,
        .stride_column = 1,
        .scale = out_scale,
        .shift = out_shift,
        .activation = MS_ACTIVATION_GLU,
        .gamma = unit->scale,
        .y = x,
        .y_row = width * out->out / 2,
        .y_column = out->out / 2,
    };
    k->product(&second);
}

void ms_cpu_residual(const struct ms_cpu_unit *unit, float *x, int64_t rows, int64_t width,
                     void *scratch) {
    for (int64_t row = 0; row < rows; row++)
        residual_row(unit, x + row * width * unit->in->shape.in, width, scratch);
}
