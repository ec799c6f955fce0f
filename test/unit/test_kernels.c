/* The kernels, each table that this processor can run, and that of 16-lane vectors (tensor.cmake),
 * against their definitions in double. Tolerances stand with the tests. */
#include "kernels_test.h"

const struct ms_kernels *kernels;
extern const struct ms_kernels ms_kernels_wide;

static const int64_t channels_tried[] = {1, 3, 6, 8, 12, 15, 16, 17, 31, 48, 100};
static const int64_t counts_tried[] = {0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 100};

/* ---- attention ---- */

struct attention_case {
    int64_t queries, keys, heads, depth;
    float size;       /* of q and k */
    double tolerance; /* times the largest value */
};

/* In double, but the queries, whose rounding to bfloat16 depends on their last bit. */
static void attend_reference(const struct ms_attention *a, int64_t head, int64_t query,
                             double *result) {
    const float *q = a->q + query * a->q_stride + head * a->depth;
    double *scores = room((size_t)a->keys * sizeof *scores), most = -INFINITY, total = 0.0;
    for (int64_t t = 0; t < a->keys; t++) {
        scores[t] = 0.0;
        for (int64_t i = 0; i < a->depth; i++) {
            const float k = a->k[t * a->k_stride + head * a->depth + i];
            scores[t] += (double)rounded(q[i] * (a->scale * 1.44269504088896341f), a->bf16) *
                         (double)rounded(k, a->bf16);
        }
        most = fmax(most, scores[t]);
    }
    for (int64_t i = 0; i < a->depth; i++)
        result[i] = 0.0;
    for (int64_t t = 0; t < a->keys; t++) {
        const double p = exp2(scores[t] - most);
        total += p;
        for (int64_t i = 0; i < a->depth; i++)
            result[i] += p * (double)rounded(a->v[t * a->v_stride + head * a->depth + i], a->bf16);
    }
    for (int64_t i = 0; i < a->depth; i++)
        result[i] /= total;
    free(scores);
}

static void check_attention(const struct attention_case *c, bool bf16) {
    uint32_t seed = (uint32_t)(c->queries * 1000 + c->keys * 10 + c->depth);
    const int64_t channels = c->heads * c->depth;
    struct ms_attention a = {
        .q_stride = channels + 3,
        .k_stride = channels + 5,
        .v_stride = channels,
        .y_stride = channels + 2,
        .queries = c->queries,
        .keys = c->keys,
        .heads = c->heads,
        .depth = c->depth,
        .scale = 1.0f / sqrtf((float)c->depth),
        .bf16 = bf16,
    };
    /* The last token has no gap behind it. */
    float *q = random_floats((c->queries - 1) * a.q_stride + channels, c->size, &seed),
          *k = random_floats((c->keys - 1) * a.k_stride + channels, c->size, &seed),
          *v = random_floats((c->keys - 1) * a.v_stride + channels, 1.0f, &seed),
          *y = filled(c->queries * a.y_stride, UNTOUCHED);
    double *wanted = room((size_t)c->depth * sizeof *wanted);
    a.q = q;
    a.k = k;
    a.v = v;
    a.y = y;
    a.scratch = room(kernels->attention_bytes(&a));
    kernels->attention(&a);
    for (int64_t t = 0; t < c->queries; t++) {
        float *at = y + t * a.y_stride;
        for (int64_t n = 0; n < c->heads; n++) {
            attend_reference(&a, n, t, wanted);
            for (int64_t i = 0; i < c->depth; i++)
                assert_near((double)at[n * c->depth + i], wanted[i],
                            c->tolerance + (bf16 ? 1.0 / 512.0 : 0.0), "attention",
                            t * channels + n * c->depth + i);
        }
        for (int64_t i = channels; i < a.y_stride; i++)
            assert_true(at[i] == UNTOUCHED);
    }
    void *all[] = {q, k, v, y, wanted, a.scratch};
    for (size_t i = 0; i < COUNT_OF(all); i++)
        free(all[i]);
}

/* 2e-6 of the largest value in float32; in bfloat16 2^-9 more, as exponentials are rounded. */
static void attention_is_softmax(void **state) {
    (void)state;
    static const int64_t queries[] = {1, 5, 6, 13, 95, 97}, keys[] = {1, 7, 16, 33, 191, 193, 400},
                         depths[] = {64, 24, 10, 2};
    for (size_t i = 0; i < COUNT_OF(queries); i++)
        for (size_t j = 0; j < COUNT_OF(keys); j++) {
            const struct attention_case c = {queries[i], keys[j], 1, 10, 2.0f, 2e-6};
            check_attention(&c, false);
            check_attention(&c, true);
        }
    for (size_t i = 0; i < COUNT_OF(depths); i++)
        for (int64_t heads = 1; heads <= 3; heads++) {
            const struct attention_case c = {20, 70, heads, depths[i], 2.0f, 2e-6};
            check_attention(&c, false);
            check_attention(&c, true);
        }
    for (int64_t depth = 1; depth <= 65; depth += 16) /* odd: float32 alone */
        check_attention(&(const struct attention_case){9, 21, 2, depth, 2.0f, 2e-6}, false);
}

/* Scores of some 500, whose exponentials no float holds; their own rounding shows, 1e-6 of them.
 * Then of 1e9. */
static void attention_of_large_scores(void **state) {
    (void)state;
    const struct attention_case large = {13, 401, 2, 64, 20.0f, 1e-3};
    check_attention(&large, false);
    check_attention(&large, true);
    float q[1] = {1e5f}, k[300], v[300], y[1];
    for (int t = 0; t < 300; t++) {
        k[t] = (float)(t % 250 - 400) * 100.0f; /* all negative: the largest is that of key 249 */
        v[t] = (float)t;
    }
    struct ms_attention a = {
        .q = q,
        .k = k,
        .v = v,
        .y = y,
        .q_stride = 1,
        .k_stride = 1,
        .v_stride = 1,
        .y_stride = 1,
        .queries = 1,
        .keys = 300,
        .heads = 1,
        .depth = 1,
        .scale = 1.0f,
    };
    a.scratch = room(kernels->attention_bytes(&a));
    kernels->attention(&a);
    assert_near((double)y[0], 249.0, 1e-4, "one key", 0);
    free(a.scratch);
}

/* ---- norms and other passes ---- */

/* 2e-5 of a deviation where the mean is small; 1e-3 where it is ten, which float sums feel. */
static void check_layer_norm(int64_t tokens, int64_t channels, float mean, double tolerance) {
    uint32_t seed = (uint32_t)channels;
    float *x = random_floats(tokens * channels, 1.0f, &seed),
          *weight = random_floats(channels, 2.0f, &seed),
          *bias = random_floats(channels, 2.0f, &seed), *y = filled(tokens * channels, UNTOUCHED);
    for (int64_t i = 0; i < tokens * channels; i++)
        x[i] += mean;
    kernels->layer_norm(x, tokens, channels, weight, bias, y);
    for (int64_t t = 0; t < tokens; t++) {
        const float *from = x + t * channels;
        double sum = 0.0, squares = 0.0;
        for (int64_t c = 0; c < channels; c++)
            sum += (double)from[c];
        const double middle = sum / (double)channels;
        for (int64_t c = 0; c < channels; c++)
            squares += ((double)from[c] - middle) * ((double)from[c] - middle);
        const double factor = 1.0 / sqrt(squares / (double)channels + 1e-5);
        for (int64_t c = 0; c < channels; c++)
            assert_near((double)y[t * channels + c],
                        ((double)from[c] - middle) * factor * (double)weight[c] + (double)bias[c],
                        tolerance, "layer_norm", t * channels + c);
    }
    void *all[] = {x, weight, bias, y};
    for (size_t i = 0; i < COUNT_OF(all); i++)
        free(all[i]);
}

static void layer_norm_by_token(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(channels_tried); i++) {
        check_layer_norm(5, channels_tried[i], 0.0f, 2e-5);
        check_layer_norm(5, channels_tried[i], 5.0f, 1e-3);
    }
    check_layer_norm(3, 512, 0.0f, 2e-5);
    check_layer_norm(3, 512, 5.0f, 2e-5);
}

/* Equal values, however large, are their mean: what comes is the bias. */
static void layer_norm_of_equal_values(void **state) {
    (void)state;
    for (int64_t channels = 1; channels <= 33; channels++) {
        float *x = filled(channels, 64.0f), *ones = filled(channels, 1.0f),
              *bias = filled(channels, 0.25f), *y = floats(channels);
        kernels->layer_norm(x, 1, channels, ones, bias, y);
        for (int64_t c = 0; c < channels; c++)
            assert_near((double)y[c], 0.25, 2e-2, "equal", c); /* 64 * 2^-23 / sqrt(1e-5) */
        free(x);
        free(ones);
        free(bias);
        free(y);
    }
}

/* 1e-6 of the terms' magnitudes. */
static void check_affine(int64_t positions, int64_t channels, enum ms_activation activation) {
    uint32_t seed = (uint32_t)(positions * channels);
    const int64_t count = positions * channels;
    float *x = random_floats(count, 4.0f, &seed), *before = floats(count),
          *scale = random_floats(channels, 2.0f, &seed),
          *shift = random_floats(channels, 2.0f, &seed);
    memcpy(before, x, (size_t)count * sizeof *x);
    kernels->affine(x, positions, channels, scale, shift, activation);
    for (int64_t i = 0; i < count; i++) {
        const double by = (double)scale[i % channels], plus = (double)shift[i % channels],
                     v = (double)before[i] * by + plus;
        assert_near((double)x[i], activation == MS_ACTIVATION_GELU ? gelu(v) : v,
                    1e-6 * (1.0 + fabs((double)before[i] * by) + fabs(plus)), "affine", i);
    }
    void *all[] = {x, before, scale, shift};
    for (size_t i = 0; i < COUNT_OF(all); i++)
        free(all[i]);
}

static void affine_by_channel(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(channels_tried); i++)
        for (int64_t positions = 0; positions < 40; positions += positions < 9 ? 1 : 15) {
            check_affine(positions, channels_tried[i], MS_ACTIVATION_NONE);
            check_affine(positions, channels_tried[i], MS_ACTIVATION_GELU);
        }
}

/* Within 4e-7, and 4e-7 of x. */
static void gelu_of_all_sizes(void **state) {
    (void)state;
    const float scale = 1.0f, shift = 0.0f;
    float x[4000];
    for (int i = 0; i < 4000; i++)
        x[i] = (float)(i - 2000) / 200.0f;
    static const float others[] = {1e-30f,  -1e-30f, 13.5f,  -13.5f, 100.0f,
                                   -100.0f, 1e10f,   -1e10f, 1e30f,  -1e30f};
    memcpy(x, others, sizeof others);
    float y[4000];
    memcpy(y, x, sizeof x);
    kernels->affine(y, 4000, 1, &scale, &shift, MS_ACTIVATION_GELU);
    for (int i = 0; i < 4000; i++)
        assert_near((double)y[i], gelu((double)x[i]), 4e-7 * (1.0 + fmax((double)x[i], 0.0)),
                    "gelu", i);
}

/* 1e-6 of the sum of the magnitudes. */
static void measure_adds_to_sums(void **state) {
    (void)state;
    static const int64_t long_ones[] = {4095, 4096, 4097, 8192, 10001};
    for (size_t i = 0; i < COUNT_OF(counts_tried) + COUNT_OF(long_ones); i++) {
        const int64_t count =
            i < COUNT_OF(counts_tried) ? counts_tried[i] : long_ones[i - COUNT_OF(counts_tried)];
        uint32_t seed = (uint32_t)count;
        float *x = random_floats(count, 3.0f, &seed);
        double sums[2] = {3.0, 5.0}, sum = 3.0, squares = 5.0, magnitude = 0.0;
        for (int64_t k = 0; k < count; k++) {
            sum += (double)x[k];
            squares += (double)x[k] * (double)x[k];
            magnitude += fabs((double)x[k]);
        }
        kernels->measure(x, count, sums);
        assert_near(sums[0], sum, 1e-6 * magnitude, "sum", count);
        assert_near(sums[1], squares, 1e-6 * squares, "squares", count);
        free(x);
    }
}

/* 1e-6 of the sum of the magnitudes. */
static void check_moments(int64_t positions, int64_t channels) {
    uint32_t seed = (uint32_t)(positions * channels);
    float *x = random_floats(positions * channels, 3.0f, &seed);
    double *sums = room((size_t)(channels * (channels + 1)) * sizeof *sums),
           *products = sums + channels;
    for (int64_t i = 0; i < channels * (channels + 1); i++)
        sums[i] = 2.0;
    kernels->moments(x, positions, channels, sums, products);
    for (int64_t i = 0; i < channels; i++)
        for (int64_t j = -1; j < channels; j++) { /* -1: a channel of ones */
            double sum = 2.0, magnitude = 0.0;
            for (int64_t p = 0; p < positions; p++) {
                const double other = j < 0 ? 1.0 : (double)x[p * channels + j],
                             product = (double)x[p * channels + i] * other;
                sum += product;
                magnitude += fabs(product);
            }
            assert_near(j < 0 ? sums[i] : products[i * channels + j], sum, 1e-6 * magnitude + 1e-30,
                        "moments", i * channels + j);
        }
    free(x);
    free(sums);
}

static void moments_add_to_sums(void **state) {
    (void)state;
    static const int64_t positions[] = {0, 1, 2, 17, 127, 128, 129, 300};
    for (size_t i = 0; i < COUNT_OF(positions); i++)
        for (size_t j = 0; j < COUNT_OF(channels_tried); j++)
            check_moments(positions[i], channels_tried[j]);
}

static void add_is_exact(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(counts_tried); i++) {
        uint32_t seed = (uint32_t)i;
        const int64_t count = counts_tried[i];
        float *x = random_floats(count, 3.0f, &seed), *y = random_floats(count, 3.0f, &seed),
              *sum = floats(count);
        for (int64_t k = 0; k < count; k++)
            sum[k] = x[k] + y[k];
        kernels->add(x, y, count);
        assert_memory_equal(x, sum, (size_t)count * sizeof *x);
        free(x);
        free(y);
        free(sum);
    }
}

static void check_bf16(const uint32_t *bits, int64_t count) {
    float *x = floats(count);
    uint16_t *y = room((size_t)count * sizeof *y);
    memcpy(x, bits, (size_t)count * sizeof *x);
    kernels->to_bf16(x, y, count);
    for (int64_t i = 0; i < count; i++) {
        const bool subnormal = (bits[i] & 0x7f800000u) == 0;
        uint16_t wanted;
        if (isnan(x[i])) /* stays one, of the same sign */
            wanted = (uint16_t)(bits[i] >> 16 | 0x40u);
        else
            wanted = nearest_bf16(x[i]);
        /* The processor's own instruction takes subnormal numbers as zeros. */
        if (kernels->fast_bf16 && subnormal && y[i] == (bits[i] >> 16 & 0x8000u))
            continue;
        if (y[i] != wanted)
            fail_msg("%s: bfloat16 of %08x is %04x, not %04x", kernels->name, bits[i], y[i],
                     wanted);
    }
    free(x);
    free(y);
}

static void bf16_is_the_nearest(void **state) {
    (void)state;
    static const uint32_t special[] = {
        0x00000000, 0x80000000,                         /* zeros */
        0x3f808000, 0x3f818000, 0xbf808000, 0xbf818000, /* ties: down, up, down, up */
        0x3f807fff, 0x3f808001, 0x3f817fff, 0x3f818001, /* beside them */
        0x3fffffff,                                     /* into the next power of two */
        0x7f7f7fff, 0x7f7f8000, 0x7f7fffff, 0xff7fffff, /* the largest, and what becomes infinite */
        0x7f800000, 0xff800000,                         /* infinities */
        0x7fc00000, 0x7f800001, 0xff800001, 0x7fffffff, 0xffffffff, 0x7f80ffff, /* no numbers */
        0x00000001, 0x00008000, 0x00018000, 0x00017fff, 0x007fffff, 0x807fffff, /* subnormal */
        0x00800000,
    };
    check_bf16(special, (int64_t)COUNT_OF(special));
    for (size_t i = 0; i < COUNT_OF(special); i++)
        check_bf16(special + i, 1);
    uint32_t random[5000], seed = 1;
    for (size_t i = 0; i < COUNT_OF(random); i++) {
        seed = seed * 1664525u + 1013904223u;
        random[i] = seed ^ seed >> 15;
    }
    check_bf16(random, (int64_t)COUNT_OF(random));
    for (size_t i = 0; i < COUNT_OF(counts_tried); i++)
        check_bf16(random, counts_tried[i]);
}

/* ---- tables ---- */

static void tables_are_found_by_name(void **state) {
    (void)state;
    assert_null(ms_kernels_find("abacus"));
    assert_null(ms_kernels_find(""));
    const struct ms_kernels *const *list = ms_kernels_list();
    bool plain = false;
    for (; *list != NULL; list++) {
        assert_ptr_equal(ms_kernels_find((*list)->name), *list);
        plain = plain || strcmp((*list)->name, "plain") == 0;
    }
    assert_true(plain);
}

static int test_table(const struct ms_kernels *table) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(product_of_one_tap),
        cmocka_unit_test(product_of_many_taps),
        cmocka_unit_test(product_by_winograd),
        cmocka_unit_test(product_with_strides_and_dilation),
        cmocka_unit_test(product_beyond_the_edges),
        cmocka_unit_test(product_of_several_blocks),
        cmocka_unit_test(product_into_spaced_outputs),
        cmocka_unit_test(product_with_sums),
        cmocka_unit_test(attention_is_softmax),
        cmocka_unit_test(attention_of_large_scores),
        cmocka_unit_test(layer_norm_by_token),
        cmocka_unit_test(layer_norm_of_equal_values),
        cmocka_unit_test(affine_by_channel),
        cmocka_unit_test(gelu_of_all_sizes),
        cmocka_unit_test(measure_adds_to_sums),
        cmocka_unit_test(moments_add_to_sums),
        cmocka_unit_test(add_is_exact),
        cmocka_unit_test(bf16_is_the_nearest),
    };
    print_message("Kernels: %s\n", table->name);
    kernels = table;
    return cmocka_run_group_tests_name(table->name, tests, NULL, NULL);
}

int main(void) {
    static const char *const names[] = {"plain", "avx2", "avx512", "avx512_bf16"};
    const struct CMUnitTest tests[] = {cmocka_unit_test(tables_are_found_by_name)};
    int failed = cmocka_run_group_tests_name("tables", tests, NULL, NULL);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const struct ms_kernels *table = ms_kernels_find(names[i]);
        if (table != NULL)
            failed += test_table(table);
        else
            print_message("[  SKIPPED ] %s: this processor cannot run it\n", names[i]);
    }
#if defined(__x86_64__) /* it is compiled for AVX2 there */
    if (ms_kernels_find("avx2") == NULL) {
        print_message("[  SKIPPED ] wide: this processor cannot run it\n");
        return failed;
    }
#endif
    return failed + test_table(&ms_kernels_wide);
}
