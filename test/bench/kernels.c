/* How fast the kernels are at the network's own sizes, on one thread: bench_kernels [KERNELS].
 * KERNELS: plain, avx2, avx512, avx512_bf16; by default the best of this processor. Not a test:
 * nothing is compared. */
#include <stdio.h>
#include <stdlib.h>

#include "../../src/tensor/kernels/kernels.h"
#include "msaas/sys.h"

#define RUNS 3

static const struct ms_kernels *kernels;

static void *room(size_t bytes) {
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (memory == NULL)
        abort();
    return memory;
}

static float *noise(int64_t count) {
    float *values = room((size_t)count * sizeof *values);
    for (int64_t i = 0; i < count; i++)
        values[i] = (float)(i * 7919 % 1009) / 1009.0f - 0.5f;
    return values;
}

static void report(const char *what, double flop, double seconds) {
    (void)printf("%-44s %6.2f GFLOP %8.1f ms %7.1f GFLOP/s\n", what, flop * 1e-9, seconds * 1e3,
                 flop * 1e-9 / seconds);
}

struct layer {
    const char *name;
    int64_t rows, width, depth;
    int kernel_rows, kernel_columns;
    int64_t out;
    enum ms_activation activation;
};

static void *inputs(const struct layer *l, bool bf16) {
    const int64_t count = l->rows * l->width * l->depth;
    float *values = noise(count);
    if (!bf16)
        return values;
    uint16_t *halves = room((size_t)count * sizeof *halves);
    kernels->to_bf16(values, halves, count);
    free(values);
    return halves;
}

static void run_layer(const struct layer *l, bool bf16) {
    const bool glu = l->activation == MS_ACTIVATION_GLU;
    struct ms_packed w = {.out = l->out,
                          .depth = l->depth,
                          .taps = l->kernel_rows * l->kernel_columns,
                          .glu = glu,
                          .bf16 = bf16};
    const int64_t results = glu ? l->out / 2 : l->out;
    float *weights = noise(l->out * l->depth * w.taps), *shift = noise(l->out),
          *y = noise(l->rows * l->width * results),
          *zeros = calloc((size_t)l->depth, sizeof *zeros);
    void *x = inputs(l, bf16);
    w.values = room(kernels->packed_bytes(&w));
    w.zeros = zeros;
    kernels->pack(&w, &(struct ms_weight_layout){weights, l->depth * w.taps, 1, w.taps});
    struct ms_product p = {.x = x,
                           .w = &w,
                           .rows = l->rows,
                           .width = l->width,
                           .out_rows = l->rows,
                           .out_width = l->width,
                           .stride_row = 1,
                           .stride_column = 1,
                           .shift = shift,
                           .activation = l->activation,
                           .y = y,
                           .y_row = l->width * results,
                           .y_column = results};
    for (int t = 0; t < w.taps; t++)
        p.tap[t] = (struct ms_tap){t / l->kernel_columns - l->kernel_rows / 2,
                                   t % l->kernel_columns - l->kernel_columns / 2};
    double best = 1e9;
    for (int i = 0; i < RUNS; i++) {
        const double from = ms_monotonic_s();
        kernels->product(&p);
        const double seconds = ms_monotonic_s() - from;
        best = seconds < best ? seconds : best;
    }
    report(l->name, 2.0 * (double)(l->rows * l->width * l->depth * w.taps * l->out), best);
    free(x);
    free(w.values);
    free(zeros);
    free(y);
    free(shift);
    free(weights);
}

static void run_attention(bool bf16) {
    enum { TOKENS = 2688, CHANNELS = 512, HEADS = 8 };
    float *qkv = noise(INT64_C(3) * TOKENS * CHANNELS), *y = noise((int64_t)TOKENS * CHANNELS);
    struct ms_attention a = {.q = qkv,
                             .k = qkv + CHANNELS,
                             .v = qkv + 2 * CHANNELS,
                             .q_stride = 3 * CHANNELS,
                             .k_stride = 3 * CHANNELS,
                             .v_stride = 3 * CHANNELS,
                             .y_stride = CHANNELS,
                             .queries = TOKENS,
                             .keys = TOKENS,
                             .heads = HEADS,
                             .depth = CHANNELS / HEADS,
                             .scale = 0.125f,
                             .bf16 = bf16,
                             .y = y};
    a.scratch = room(kernels->attention_bytes(&a));
    double best = 1e9;
    for (int i = 0; i < RUNS; i++) {
        const double from = ms_monotonic_s();
        kernels->attention(&a);
        const double seconds = ms_monotonic_s() - from;
        best = seconds < best ? seconds : best;
    }
    report("attention, 2688 tokens, 8 heads of 64", 4.0 * TOKENS * TOKENS * CHANNELS, best);
    free(a.scratch);
    free(y);
    free(qkv);
}

int main(int argc, char **argv) {
    static const struct layer layers[] = {
        {"linear 512 -> 2048, GELU", 1, 2688, 512, 1, 1, 2048, MS_ACTIVATION_GELU},
        {"linear 512 -> 1536", 1, 2688, 512, 1, 1, 1536, MS_ACTIVATION_NONE},
        {"linear 2048 -> 512", 1, 2688, 2048, 1, 1, 512, MS_ACTIVATION_NONE},
        {"3x3 48 -> 96, GLU, 512 frequencies", 512, 336, 48, 3, 3, 96, MS_ACTIVATION_GLU},
        {"3x3 384 -> 768, GLU, 8 frequencies", 8, 336, 384, 3, 3, 768, MS_ACTIVATION_GLU},
        {"1x3 48 -> 6, 512 frequencies", 512, 336, 48, 1, 3, 6, MS_ACTIVATION_NONE},
        {"1x1 6 -> 96, GLU, 512 frequencies", 512, 336, 6, 1, 1, 96, MS_ACTIVATION_GLU},
        {"1x1 48 -> 96, GLU, 512 frequencies", 512, 336, 48, 1, 1, 96, MS_ACTIVATION_GLU},
    };
    kernels = argc > 1 ? ms_kernels_find(argv[1]) : ms_kernels_get();
    if (kernels == NULL) {
        (void)fprintf(stderr, "%s: no such kernels in this build, or not for this processor\n",
                      argv[1]);
        return 2;
    }
    for (int bf16 = 0; bf16 < 2; bf16++) {
        (void)printf("%s, %s\n", kernels->name, bf16 ? "bfloat16" : "float32");
        for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
            run_layer(&layers[i], bf16);
        run_attention(bf16);
    }
    return 0;
}
