/* The network's operators on the CPU, put together from the kernels. Runs on the session's
 * thread. */
#include "cpu.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WINOGRAD_OUTPUTS 64
#define EPSILON 1e-5 /* of every norm in the network */

/* ---- filters ---- */

static int stride_of(const struct ms_filter_shape *s) {
    return s->stride_rows > s->stride_columns ? s->stride_rows : s->stride_columns;
}

/* Where fewer products pay for the transforms. */
static bool has_winograd(const struct ms_filter_shape *s) {
    return s->kernel_columns == 3 && s->stride_columns == 1 && s->stride_rows == 1 &&
           s->dilation == 1 && !s->transposed && s->out >= WINOGRAD_OUTPUTS;
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
    return s->measured ? ms_aligned((size_t)(s->in * (s->in + 2)) * sizeof(double)) : 0;
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
    const size_t zeros = ms_aligned((size_t)shape->in * sizeof(float)),
                 biases = ms_aligned((size_t)shape->out * sizeof(float));
    size_t total = zeros + biases + moments_bytes(shape);
    for (int r = 0; r < f->phases; r++)
        total += ms_aligned(f->kernels->packed_bytes(&f->phase[r]));
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
        next += ms_aligned(f->kernels->packed_bytes(w));
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
    return ms_takes_bf16(&f->phase[0]) ? (size_t)(rows * width * f->shape.in) * sizeof(uint16_t)
                                       : f->kernels->product_bytes(&f->phase[0]);
}

/* Output o = input * stride + tap - padding: of phase r, o = q * stride + r - padding reads
 * inputs q, q - 1, ... */
static void convolve_transposed(const struct ms_cpu_filter *f, const void *x, int64_t rows,
                                int64_t width, float *y, int64_t out_rows, int64_t out_width) {
    const struct ms_filter_shape *s = &f->shape;
    const bool along_rows = s->kernel_rows > 1;
    const int64_t stride = f->phases, padding = along_rows ? s->padding_rows : s->padding_columns,
                  length = along_rows ? out_rows : out_width, row = out_width * s->out;
    struct ms_product p = {
        .x = x,
        .rows = rows,
        .width = width,
        .stride_row = 1,
        .stride_column = 1,
        .shift = f->bias,
        .activation = s->activation,
    };
    for (int r = 0; r < f->phases; r++) {
        const int64_t first = r >= padding ? 0 : ms_divide_up(padding - r, stride),
                      end = ms_divide_up(length + padding - r, stride),
                      out = first * stride + r - padding;
        p.w = &f->phase[r];
        for (int j = 0; j < p.w->taps; j++)
            p.tap[j] = along_rows ? (struct ms_tap){(int32_t)(first - j), 0}
                                  : (struct ms_tap){0, (int32_t)(first - j)};
        p.out_rows = along_rows ? end - first : out_rows;
        p.out_width = along_rows ? out_width : end - first;
        p.y = y + out * (along_rows ? row : s->out);
        p.y_row = along_rows ? stride * row : row;
        p.y_column = along_rows ? s->out : stride * s->out;
        f->kernels->product(&p);
    }
}

struct ms_product ms_cpu_product(const struct ms_cpu_filter *f, const void *x, int64_t rows,
                                 int64_t width, void *y, int64_t out_rows, int64_t out_width) {
    const struct ms_filter_shape *s = &f->shape;
    const int64_t results = ms_filter_results(s);
    struct ms_product p = {
        .x = x,
        .w = &f->phase[0],
        .rows = rows,
        .width = width,
        .out_rows = out_rows,
        .out_width = out_width,
        .stride_row = s->stride_rows,
        .stride_column = s->stride_columns,
        .shift = f->bias,
        .activation = s->activation,
        .y = y,
        .y_row = out_width * results,
        .y_column = results,
    };
    for (int i = 0; i < s->kernel_rows; i++)
        for (int j = 0; j < s->kernel_columns; j++)
            p.tap[i * s->kernel_columns + j] = (struct ms_tap){
                .row = i - s->padding_rows,
                .column = j * s->dilation - s->padding_columns,
            };
    return p;
}

void ms_cpu_convolve(const struct ms_cpu_filter *f, const float *x, int64_t rows, int64_t width,
                     const float *gamma, float *y, int64_t out_rows, int64_t out_width,
                     void *scratch) {
    const void *taken = ms_cpu_taken(f, x, rows * width * f->shape.in, scratch);
    if (f->shape.transposed) {
        convolve_transposed(f, taken, rows, width, y, out_rows, out_width);
        return;
    }
    struct ms_product p = ms_cpu_product(f, taken, rows, width, y, out_rows, out_width);
    p.gamma = gamma;
    p.scratch = scratch;
    f->kernels->product(&p);
}

/* ---- norms ---- */

void ms_cpu_norm_of(const double sums[2], double count, const float *weight, const float *bias,
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
    ms_cpu_norm_of(sums, (double)(positions * channels), weight, bias, channels, scratch,
                   scratch + channels);
    k->affine(x, positions, channels, scratch, scratch + channels, MS_ACTIVATION_NONE);
}

void ms_cpu_levels(const float *x, int64_t count, double *mean, double *std) {
    double sums[2] = {0.0, 0.0};
    ms_kernels_get()->measure(x, count, sums);
    *mean = sums[0] / (double)count;
    *std = sqrt(fmax(sums[1] - sums[0] * *mean, 0.0) / (double)(count - 1));
}
