/* What the tests of the operators share: pools, and inputs made of chance. */
#ifndef MSAAS_TEST_OPERATORS_TEST_H
#define MSAAS_TEST_OPERATORS_TEST_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "msaas/tensor.h"

#define COUNT_OF(a) (sizeof(a) / sizeof *(a))

/* operators_errors.c */
void unknown_kernels_are_an_error(void **state);
void filters_that_do_not_fit(void **state);
void inputs_that_do_not_fit(void **state);
void layer_filters_that_do_not_fit(void **state);
void nothing_comes_of_nothing(void **state);

/* What an operator gets. A zero ends the shape; of songs it begins with the batch, as 1. */
struct input {
    int64_t shape[5];
    bool of_songs;
    float mean;
};

static inline float random_float(uint32_t *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(*seed >> 8) / (float)(1 << 23) - 1.0f;
}

static inline struct ms_pool *pool_new(bool own) {
    struct ms_pool *pool = NULL;
    struct ms_error err = {0};
    if (ms_pool_new("cpu", own, &pool, &err) != 0)
        fail_msg("%s", err.text);
    return pool;
}

static inline void assert_fine(const struct ms_pool *pool) {
    struct ms_error err = {0};
    if (ms_pool_status(pool, &err) != 0)
        fail_msg("%s", err.text);
}

static inline int dims_of(const struct input *in) {
    int dims = 0;
    while (dims < 5 && in->shape[dims] != 0)
        dims++;
    return dims;
}

/* From song `first` on; every song has numbers of its own, weights are always the same. */
static inline struct ms_tensor *make_input(struct ms_pool *pool, const struct input *in, int index,
                                           int64_t first, int64_t songs) {
    const int dims = dims_of(in);
    int64_t shape[5], count = 1;
    for (int i = 0; i < dims; i++)
        count *= shape[i] = in->shape[i];
    const int64_t all = in->of_songs ? songs : 1;
    if (in->of_songs)
        shape[0] = songs;
    float *values = malloc((size_t)(count * all) * sizeof *values);
    assert_non_null(values);
    for (int64_t n = 0; n < all; n++) {
        uint32_t seed = (uint32_t)(index * 100 + (in->of_songs ? first + n : 0));
        const float level = in->mean + (float)(in->of_songs ? first + n : 0);
        for (int64_t i = 0; i < count; i++)
            values[n * count + i] = random_float(&seed) * (1.0f + 0.5f * level) + in->mean;
    }
    struct ms_tensor *x = ms_tensor_from_f32(pool, values, dims, shape);
    free(values);
    return x;
}

static inline struct ms_filter_shape linear(int64_t in, int64_t out) {
    return (struct ms_filter_shape){
        .in = in,
        .out = out,
        .kernel_rows = 1,
        .kernel_columns = 1,
        .stride_rows = 1,
        .stride_columns = 1,
        .dilation = 1,
    };
}

static inline struct input songs(int64_t rows, int64_t width, int64_t channels) {
    return (struct input){.shape = {1, rows, width, channels}, .of_songs = true};
}

static inline struct input vector(int64_t count) {
    return (struct input){.shape = {count}};
}

static inline struct input weights(const struct ms_filter_shape *s) {
    struct input in = {.shape = {s->out, s->in, s->kernel_rows, s->kernel_columns}};
    if (s->transposed) {
        in.shape[0] = s->in;
        in.shape[1] = s->out;
    }
    return in;
}

#endif
