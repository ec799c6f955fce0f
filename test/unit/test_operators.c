/* The operators of tensor.h on the CPU: our own against libtorch's, songs alone and three at once
 * (the same bytes). Tolerances are parts of the largest value of the result: 2e-5 in float32; in
 * bfloat16 libtorch rounds results to it too, and scores, 2^-8 each. */
#include "operators_test.h"

#define FLOAT32 2e-5
#define BFLOAT16 1.2e-2
#define BFLOAT16_SCORES 4e-2 /* of some 8, whose error is that of the exponential */
#define SONGS 3              /* in a batch */
#define INPUTS 8

struct operator_case {
    const char *what;
    struct input inputs[INPUTS]; /* the first without a shape ends them */
    struct ms_filter_shape filter;
    bool float_other; /* libtorch's in float32: it has no such operator in bfloat16 */
    bool in_place;    /* then the first input is compared as well */
    double tolerance;
    int64_t number; /* length, size of the window, heads: as the operator wants it */
    struct ms_tensor *(*run)(struct ms_pool *p, struct ms_tensor **in,
                             const struct operator_case *c);
};

static int64_t count_of(const struct ms_tensor *x) {
    int64_t count = 1;
    for (int i = 0; i < ms_tensor_dims(x); i++)
        count *= ms_tensor_size(x, i);
    return count;
}

/* What came, and where it was in place the first input behind it. */
struct result {
    int dims;
    int64_t shape[5], count, first_count;
    float *values, *first_values;
};

static float *values_of(struct ms_pool *pool, const struct ms_tensor *x, int64_t *count) {
    *count = count_of(x);
    float *values = malloc((size_t)*count * sizeof *values);
    assert_non_null(values);
    ms_tensor_to_f32(pool, x, values);
    return values;
}

static struct result run_case(const struct operator_case *c, bool own, int64_t first,
                              int64_t songs) {
    struct ms_pool *pool = pool_new(own);
    struct operator_case as = *c;
    as.filter.bf16 = c->filter.bf16 && (own || !c->float_other);
    struct ms_tensor *in[INPUTS] = {0};
    for (int i = 0; i < INPUTS && dims_of(&c->inputs[i]) > 0; i++)
        in[i] = make_input(pool, &c->inputs[i], i, first, songs);
    const struct ms_tensor *x = c->run(pool, in, &as);
    assert_fine(pool);
    assert_non_null(x);
    struct result r = {.dims = ms_tensor_dims(x)};
    for (int i = 0; i < r.dims; i++)
        r.shape[i] = ms_tensor_size(x, i);
    r.values = values_of(pool, x, &r.count);
    if (c->in_place)
        r.first_values = values_of(pool, in[0], &r.first_count);
    ms_pool_free(pool);
    return r;
}

static void drop_result(struct result *r) {
    free(r->values);
    free(r->first_values);
}

static void compare(const char *what, const float *own, const float *other, int64_t count,
                    double tolerance) {
    double largest = 0.0;
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs((double)other[i]));
    assert_true(largest > 0.0);
    for (int64_t i = 0; i < count; i++)
        if (!(fabs((double)own[i] - (double)other[i]) <= tolerance * largest))
            fail_msg("%s[%lld]: own %.9g, libtorch's %.9g, largest %.3g", what, (long long)i,
                     (double)own[i], (double)other[i], largest);
}

static void check(const struct operator_case *c) {
    struct result batch = run_case(c, true, 0, SONGS), other = run_case(c, false, 0, SONGS);
    assert_int_equal(batch.dims, other.dims);
    for (int i = 0; i < batch.dims; i++)
        assert_int_equal(batch.shape[i], other.shape[i]);
    compare(c->what, batch.values, other.values, batch.count, c->tolerance);
    if (c->in_place)
        compare(c->what, batch.first_values, other.first_values, batch.first_count, c->tolerance);
    for (int64_t n = 0; n < SONGS; n++) {
        struct result one = run_case(c, true, n, 1), other_one = run_case(c, false, n, 1);
        assert_int_equal(one.count * SONGS, batch.count);
        assert_memory_equal(one.values, batch.values + n * one.count,
                            (size_t)one.count * sizeof *one.values);
        compare(c->what, one.values, other_one.values, one.count, c->tolerance);
        if (c->in_place)
            assert_memory_equal(one.first_values, batch.first_values + n * one.first_count,
                                (size_t)one.first_count * sizeof *one.first_values);
        drop_result(&one);
        drop_result(&other_one);
    }
    drop_result(&batch);
    drop_result(&other);
}

static int64_t results_of(const struct ms_filter_shape *s) {
    return s->activation == MS_ACTIVATION_GLU ? s->out / 2 : s->out;
}

/* In float32 and in bfloat16. */
static void check_both(struct operator_case c, double of_bf16) {
    c.filter.bf16 = false;
    c.tolerance = FLOAT32;
    check(&c);
    c.filter.bf16 = true;
    c.tolerance = of_bf16;
    check(&c);
}

/* ---- convolutions ---- */

static struct ms_tensor *run_convolve(struct ms_pool *p, struct ms_tensor **in,
                                      const struct operator_case *c) {
    return ms_convolve(p, in[0], ms_filter_new(p, &c->filter, in[1], in[2]));
}

static struct ms_tensor *run_convolve_add(struct ms_pool *p, struct ms_tensor **in,
                                          const struct operator_case *c) {
    struct ms_tensor *x =
        ms_convolve_add_(p, in[0], in[1], ms_filter_new(p, &c->filter, in[2], in[3]), in[4]);
    assert_ptr_equal(x, in[0]);
    return x;
}

static struct ms_tensor *run_transposed(struct ms_pool *p, struct ms_tensor **in,
                                        const struct operator_case *c) {
    return ms_convolve_transposed(p, in[0], ms_filter_new(p, &c->filter, in[1], in[2]), c->number);
}

static void check_convolve(const char *what, int64_t rows, int64_t width,
                           struct ms_filter_shape filter) {
    for (int a = MS_ACTIVATION_NONE; a <= MS_ACTIVATION_GLU; a++) {
        filter.activation = (enum ms_activation)a;
        check_both(
            (struct operator_case){
                .what = what,
                .inputs = {songs(rows, width, filter.in), weights(&filter), vector(filter.out)},
                .filter = filter,
                .run = run_convolve,
            },
            BFLOAT16);
    }
}

static void convolve_is_libtorchs(void **state) {
    (void)state;
    check_convolve("linear", 1, 37, linear(20, 26));
    check_convolve("linear, odd inputs", 2, 5, linear(7, 10));
    struct ms_filter_shape f = linear(6, 36);
    f.kernel_rows = f.kernel_columns = 3;
    f.padding_rows = f.padding_columns = 1;
    check_convolve("3 x 3", 5, 19, f);
    f.kernel_rows = 1;
    f.padding_rows = 0;
    f.dilation = f.padding_columns = 4;
    check_convolve("dilation", 3, 23, f);
    for (int64_t size = 29; size <= 33; size++) { /* a multiple of the stride, and not */
        f = linear(4, 12);
        f.kernel_columns = 8;
        f.stride_columns = 4;
        f.padding_columns = 2;
        check_convolve("stride of columns", 1, size, f);
        f = linear(4, 12);
        f.kernel_rows = 8;
        f.stride_rows = 4;
        f.padding_rows = 2;
        check_convolve("stride of rows", size, 5, f);
    }
}

static void convolve_add_is_libtorchs(void **state) {
    (void)state;
    for (int a = MS_ACTIVATION_NONE; a <= MS_ACTIVATION_GLU; a++) {
        struct ms_filter_shape f = linear(12, 18);
        f.activation = (enum ms_activation)a;
        const int64_t channels = results_of(&f);
        check_both(
            (struct operator_case){
                .what = "convolve_add_",
                .inputs = {songs(2, 21, channels), songs(2, 21, 12), weights(&f), vector(18),
                           vector(channels)},
                .filter = f,
                .in_place = true,
                .run = run_convolve_add,
            },
            BFLOAT16);
    }
}

static void convolve_transposed_is_libtorchs(void **state) {
    (void)state;
    static const struct {
        int kernel, stride, padding, longer; /* than size * stride */
    } tried[] = {{8, 4, 2, 0}, {8, 4, 2, -3}, {8, 4, 2, 2}, {8, 4, 0, 1}, {7, 4, 3, 0},
                 {6, 2, 1, 0}, {3, 1, 1, 0},  {4, 4, 0, 0}, {8, 4, 5, -2}};
    for (size_t i = 0; i < COUNT_OF(tried); i++)
        for (int a = MS_ACTIVATION_NONE; a <= MS_ACTIVATION_GELU; a++)
            for (int along_rows = 0; along_rows < 2; along_rows++) {
                struct ms_filter_shape f = linear(6, 10);
                f.transposed = true;
                f.activation = (enum ms_activation)a;
                *(along_rows ? &f.kernel_rows : &f.kernel_columns) = tried[i].kernel;
                *(along_rows ? &f.stride_rows : &f.stride_columns) = tried[i].stride;
                *(along_rows ? &f.padding_rows : &f.padding_columns) = tried[i].padding;
                check_both(
                    (struct operator_case){
                        .what = along_rows ? "transposed along rows" : "transposed along columns",
                        .inputs = {along_rows ? songs(7, 13, 6) : songs(2, 17, 6), weights(&f),
                                   vector(10)},
                        .filter = f,
                        .float_other = true,
                        .number = (along_rows ? 7 : 17) * tried[i].stride + tried[i].longer,
                        .run = run_transposed,
                    },
                    BFLOAT16);
            }
}

/* ---- layers, norms, attention ---- */

/* The second filter is the unit's; what follows the units has as many channels. */
static struct ms_tensor *run_layer(struct ms_pool *p, struct ms_tensor **in,
                                   const struct operator_case *c) {
    /* The norms' weights and biases, and the scale, are parts of one vector. */
    const int64_t channels = results_of(&c->filter), hidden = channels / 2;
    struct ms_filter_shape first = linear(channels, hidden), second = linear(hidden, 2 * channels);
    first.kernel_columns = 3;
    first.dilation = first.padding_columns = 2;
    first.bf16 = c->filter.bf16;
    second.activation = MS_ACTIVATION_GLU;
    second.measured = true;
    struct ms_filter_shape then = linear(channels, 6);
    then.bf16 = c->filter.bf16;
    const struct ms_residual unit = {
        .in = ms_filter_new(p, &first, in[3], ms_tensor_narrow(p, in[5], 0, 0, hidden)),
        .out = ms_filter_new(p, &second, in[4], ms_tensor_narrow(p, in[5], 0, 0, 2 * channels)),
        .norm_in_weight = ms_tensor_narrow(p, in[5], 0, 1, hidden),
        .norm_in_bias = ms_tensor_narrow(p, in[5], 0, 2, hidden),
        .norm_out_weight = ms_tensor_narrow(p, in[5], 0, 3, 2 * channels),
        .norm_out_bias = ms_tensor_narrow(p, in[5], 0, 4, 2 * channels),
        .scale = ms_tensor_narrow(p, in[5], 0, 5, channels),
    };
    const struct ms_layer layer = {
        .filter = ms_filter_new(p, &c->filter, in[1], in[2]),
        .units = {unit, unit},
        .unit_count = (int)c->number % 3,
        .then = c->number < 3 ? NULL
                              : ms_filter_new(p, &then, in[6], ms_tensor_narrow(p, in[5], 0, 0, 6)),
    };
    return ms_run_layer(p, in[0], &layer);
}

/* number: units, and 3 where a linear layer follows. In bfloat16 two norms, of few values, come
 * after what was rounded. */
static void check_layer(const char *what, int64_t rows, int64_t width,
                        struct ms_filter_shape filter) {
    const int64_t channels = results_of(&filter);
    struct ms_filter_shape first = linear(channels, channels / 2),
                           second = linear(channels / 2, 2 * channels), then = linear(channels, 6);
    first.kernel_columns = 3;
    for (int64_t number = 0; number < 6; number++) {
        struct operator_case c = {
            .what = what,
            .inputs = {songs(rows, width, filter.in), weights(&filter), vector(filter.out),
                       weights(&first), weights(&second), vector(2 * channels + 5), weights(&then)},
            .filter = filter,
            .tolerance = 1e-4, /* of the norms */
            .number = number,
            .run = run_layer,
        };
        check(&c);
        c.filter.bf16 = true;
        c.tolerance = 8e-2;
        check(&c);
    }
}

static void layer_is_libtorchs(void **state) {
    (void)state;
    struct ms_filter_shape f = linear(4, 12);
    f.activation = MS_ACTIVATION_GELU;
    f.kernel_rows = 8;
    f.stride_rows = 4;
    f.padding_rows = 2;
    check_layer("encoder of frequencies", 13, 50, f);
    f = linear(6, 24);
    f.activation = MS_ACTIVATION_GELU;
    f.kernel_columns = 8;
    f.stride_columns = 4;
    f.padding_columns = 2;
    check_layer("encoder of the waveform", 1, 203, f);
    f = linear(40, 96); /* by Winograd in float32 */
    f.activation = MS_ACTIVATION_GLU;
    f.kernel_rows = f.kernel_columns = 3;
    f.padding_rows = f.padding_columns = 1;
    check_layer("decoder", 4, 50, f);
}

static struct ms_tensor *run_linear(struct ms_pool *p, struct ms_tensor **in,
                                    const struct operator_case *c) {
    const struct ms_norm norm = {in[1], in[2]};
    return ms_linear(p, &norm, in[0], ms_filter_new(p, &c->filter, in[3], in[4]));
}

/* The second filter goes back to as many channels. */
static struct ms_tensor *run_feed_forward(struct ms_pool *p, struct ms_tensor **in,
                                          const struct operator_case *c) {
    const struct ms_norm norm = {in[1], in[2]};
    struct ms_filter_shape second = linear(results_of(&c->filter), c->filter.in);
    second.bf16 = c->filter.bf16;
    return ms_feed_forward_(p, &norm, in[0], ms_filter_new(p, &c->filter, in[3], in[4]),
                            ms_filter_new(p, &second, in[5], in[6]), in[7]);
}

/* Fewer positions than a block has, just as many, and more. */
static void linear_layers_are_libtorchs(void **state) {
    (void)state;
    static const int64_t positions[] = {1, 13, 144, 145, 300};
    for (size_t i = 0; i < COUNT_OF(positions); i++)
        for (int a = MS_ACTIVATION_NONE; a <= MS_ACTIVATION_GLU; a++) {
            struct ms_filter_shape f = linear(20, 36);
            f.activation = (enum ms_activation)a;
            const struct ms_filter_shape second = linear(results_of(&f), 20);
            struct operator_case c = {
                .what = "linear",
                .inputs = {songs(1, positions[i], 20), vector(20), vector(20), weights(&f),
                           vector(36), weights(&second), vector(20), vector(20)},
                .filter = f,
                .run = run_linear,
            };
            check_both(c, BFLOAT16);
            c.what = "feed_forward_";
            c.in_place = true;
            c.run = run_feed_forward;
            check_both(c, BFLOAT16);
        }
}

static struct ms_tensor *run_layer_norm(struct ms_pool *p, struct ms_tensor **in,
                                        const struct operator_case *c) {
    (void)c;
    return ms_layer_norm(p, in[0], in[1], in[2]);
}

static struct ms_tensor *run_group_norm(struct ms_pool *p, struct ms_tensor **in,
                                        const struct operator_case *c) {
    (void)c;
    return ms_group_norm_(p, in[0], in[1], in[2]);
}

static void norms_are_libtorchs(void **state) {
    (void)state;
    static const int64_t channels[] = {3, 8, 20, 48};
    for (size_t i = 0; i < COUNT_OF(channels); i++) {
        struct operator_case c = {
            .what = "layer_norm",
            .inputs = {songs(2, 13, channels[i]), vector(channels[i]), vector(channels[i])},
            .tolerance = FLOAT32,
            .run = run_layer_norm,
        };
        check(&c);
        c.what = "group_norm_";
        c.in_place = true;
        c.inputs[0].mean = 1.0f;
        c.run = run_group_norm;
        check(&c);
    }
}

/* Channels and bfloat16 are the filter's; keys and values lie behind gaps. */
static struct ms_tensor *run_attend(struct ms_pool *p, struct ms_tensor **in,
                                    const struct operator_case *c) {
    const int64_t channels = c->filter.out;
    return ms_attend(p, in[0], in[1], 4, in[2], 1, channels, (int)c->number, c->filter.bf16);
}

static void attend_is_libtorchs(void **state) {
    (void)state;
    for (int64_t heads = 1; heads <= 3; heads++)
        for (int64_t depth = 8; depth <= 64; depth += 28) {
            const int64_t channels = heads * depth;
            check_both(
                (struct operator_case){
                    .what = "attend",
                    .inputs = {songs(1, 29, channels + 2), songs(1, 41, 4 + channels),
                               songs(1, 41, 1 + channels)},
                    .filter = linear(channels, channels),
                    .number = heads,
                    .run = run_attend,
                },
                BFLOAT16_SCORES);
        }
}

static struct ms_tensor *run_add(struct ms_pool *p, struct ms_tensor **in,
                                 const struct operator_case *c) {
    (void)c;
    return ms_add_(p, in[0], in[1]);
}

static void add_is_libtorchs(void **state) {
    (void)state;
    struct operator_case c = {
        .what = "add_",
        .inputs = {songs(5, 7, 9), songs(5, 7, 9)},
        .in_place = true,
        .tolerance = 0.0,
        .run = run_add,
    };
    check(&c);
    c.what = "add_, repeated";
    c.inputs[1] = (struct input){.shape = {1, 5, 1, 9}};
    check(&c);
}

/* ---- levels and spectra ---- */

static struct ms_tensor *run_normalise(struct ms_pool *p, struct ms_tensor **in,
                                       const struct operator_case *c) {
    (void)c;
    return ms_normalise_(p, in[0]);
}

static struct ms_tensor *run_spectrum(struct ms_pool *p, struct ms_tensor **in,
                                      const struct operator_case *c) {
    return ms_spectrum(p, in[0], (int)c->number);
}

static struct ms_tensor *run_waveform(struct ms_pool *p, struct ms_tensor **in,
                                      const struct operator_case *c) {
    return ms_waveform(p, in[0], in[1], in[2], in[3], (int)c->number);
}

static void normalise_is_libtorchs(void **state) {
    (void)state;
    for (int64_t width = 1; width <= 5000; width = width * 17 + 1)
        check(&(const struct operator_case){
            .what = "normalise_",
            .inputs = {{.shape = {1, 2, width, 3}, .of_songs = true, .mean = 0.5f}},
            .in_place = true,
            .tolerance = FLOAT32,
            .run = run_normalise,
        });
}

static void spectra_are_libtorchs(void **state) {
    (void)state;
    static const int windows[] = {64, 256, 4096};
    for (size_t i = 0; i < COUNT_OF(windows); i++)
        for (int n = 0; n < 4; n++) {
            const int64_t hop = windows[i] / 4,
                          frames = (3 + 5 * n) * hop + (n % 2) * (hop / 2 - 1),
                          times = (frames + hop - 1) / hop;
            check(&(const struct operator_case){
                .what = "spectrum",
                .inputs = {{.shape = {1, 2, frames}, .of_songs = true}},
                .tolerance = FLOAT32,
                .number = windows[i],
                .run = run_spectrum,
            });
            check(&(const struct operator_case){
                .what = "waveform",
                .inputs = {songs(windows[i] / 2, times, 6),
                           {.shape = {1, 2}, .of_songs = true},
                           songs(1, frames, 3),
                           {.shape = {1, 2}, .of_songs = true}},
                .tolerance = FLOAT32,
                .number = windows[i],
                .run = run_waveform,
            });
        }
}

/* What comes back is what went in: both branches, so twice. */
static void waveform_undoes_spectrum(void **state) {
    (void)state;
    struct ms_pool *pool = pool_new(true);
    /* Two sizes of the window in one pool: plans of the first one must not serve the second. */
    for (int nfft = 512; nfft >= 128; nfft /= 4) {
        const struct input wave = {.shape = {1, 2, 2000}, .of_songs = true};
        const int64_t order[] = {0, 2, 1}, shape[] = {1, 1, 2000, 2}, pair[] = {1, 2};
        const float levels[] = {0.0f, 1.0f};
        struct ms_tensor *x = make_input(pool, &wave, 0, 0, 1),
                         *none = ms_tensor_from_f32(pool, levels, 2, pair),
                         *y = ms_waveform(pool, ms_spectrum(pool, x, nfft), none,
                                          ms_tensor_reshape(
                                              pool, ms_tensor_permute(pool, x, 3, order), 4, shape),
                                          none, nfft);
        assert_fine(pool);
        int64_t count;
        float *is = values_of(pool, y, &count), *was = values_of(pool, x, &count);
        /* Without its highest frequency, the one bin that is left out. */
        double error = 0.0, power = 0.0;
        for (int64_t i = 0; i < count; i++) {
            error += pow((double)is[i] - 2.0 * (double)was[i], 2.0);
            power += pow((double)was[i], 2.0);
        }
        assert_true(error < 8.0 / nfft * power);
        free(is);
        free(was);
    }
    ms_pool_free(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_kernels_are_an_error),
        cmocka_unit_test(convolve_is_libtorchs),
        cmocka_unit_test(convolve_add_is_libtorchs),
        cmocka_unit_test(convolve_transposed_is_libtorchs),
        cmocka_unit_test(layer_is_libtorchs),
        cmocka_unit_test(linear_layers_are_libtorchs),
        cmocka_unit_test(norms_are_libtorchs),
        cmocka_unit_test(attend_is_libtorchs),
        cmocka_unit_test(add_is_libtorchs),
        cmocka_unit_test(normalise_is_libtorchs),
        cmocka_unit_test(spectra_are_libtorchs),
        cmocka_unit_test(waveform_undoes_spectrum),
        cmocka_unit_test(filters_that_do_not_fit),
        cmocka_unit_test(inputs_that_do_not_fit),
        cmocka_unit_test(layer_filters_that_do_not_fit),
        cmocka_unit_test(nothing_comes_of_nothing),
    };
    ms_torch_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
