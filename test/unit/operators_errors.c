/* Errors of the operators, the same on our own and on libtorch's; and of the choice of kernels. */
#include "kernels/kernels.h"
#include "operators_test.h"

#include <sys/wait.h>
#include <unistd.h>

static void assert_no_filter(bool own, struct ms_filter_shape shape, int64_t inputs,
                             int64_t biases) {
    struct ms_pool *pool = pool_new(own);
    struct ms_filter_shape given = shape;
    given.in = inputs;
    const struct input w = weights(&given), b = vector(biases);
    assert_null(
        ms_filter_new(pool, &shape, make_input(pool, &w, 0, 0, 1), make_input(pool, &b, 1, 0, 1)));
    struct ms_error err = {0};
    assert_int_equal(ms_pool_status(pool, &err), MS_EINTERNAL);
    assert_non_null(strstr(err.text, "filter"));
    ms_pool_free(pool);
}

void filters_that_do_not_fit(void **state) {
    (void)state;
    for (int own = 0; own < 2; own++) {
        struct ms_filter_shape f = linear(6, 8);
        assert_no_filter(own != 0, f, 5, 8);
        assert_no_filter(own != 0, f, 6, 7);
        f.kernel_columns = MS_TAPS_MAX + 1;
        assert_no_filter(own != 0, f, 6, 8);
        f.transposed = true; /* phases that have no tap, and too many phases */
        f.kernel_columns = 4;
        f.stride_columns = 5;
        assert_no_filter(own != 0, f, 6, 8);
        f.kernel_columns = f.stride_columns = 40;
        assert_no_filter(own != 0, f, 6, 8);
        f.stride_columns = 0;
        assert_no_filter(own != 0, f, 6, 8);
        f = linear(6, 9);
        f.activation = MS_ACTIVATION_GLU;
        assert_no_filter(own != 0, f, 6, 9);
    }
}

/* Of other channels than the filter's: our own operators would read beyond it. */
void inputs_that_do_not_fit(void **state) {
    (void)state;
    for (int own = 0; own < 2; own++) {
        struct ms_pool *pool = pool_new(own != 0);
        const struct ms_filter_shape shape = linear(6, 8);
        const struct input w = weights(&shape), b = vector(8), in = songs(1, 9, 5);
        const struct ms_filter *f = ms_filter_new(pool, &shape, make_input(pool, &w, 0, 0, 1),
                                                  make_input(pool, &b, 1, 0, 1));
        assert_fine(pool);
        assert_null(ms_convolve(pool, make_input(pool, &in, 2, 0, 1), f));
        assert_int_equal(ms_pool_status(pool, NULL), MS_EINTERNAL);
        ms_pool_free(pool);
    }
}

/* The second filter of a residual unit is measured and has the GLU; all fit each other, and the
 * layer is no transposed one. */
void layer_filters_that_do_not_fit(void **state) {
    (void)state;
    for (int wrong = 0; wrong <= 5; wrong++) {
        struct ms_pool *p = pool_new(true);
        struct ms_filter_shape filter = linear(4, 4), first = linear(wrong == 2 ? 8 : 4, 2),
                               second = linear(2, 8), then = linear(wrong == 3 ? 6 : 4, 8);
        filter.transposed = wrong == 4;
        second.measured = wrong != 0;
        second.activation = wrong == 1 ? MS_ACTIVATION_NONE : MS_ACTIVATION_GLU;
        const struct input f = weights(&filter), w = weights(&first), v = weights(&second),
                           t = weights(&then), eight = vector(8), four = vector(4), two = vector(2),
                           in = songs(1, 9, 4);
        const struct ms_tensor *big = make_input(p, &eight, 0, 0, 1),
                               *small = make_input(p, &two, 1, 0, 1);
        const struct ms_layer layer = {
            .filter = ms_filter_new(p, &filter, make_input(p, &f, 5, 0, 1),
                                    make_input(p, &four, 6, 0, 1)),
            .units = {{ms_filter_new(p, &first, make_input(p, &w, 2, 0, 1), small),
                       ms_filter_new(p, &second, make_input(p, &v, 3, 0, 1), big), small, small,
                       big, big, ms_tensor_narrow(p, big, 0, 0, 4)}},
            .unit_count = 1,
            .then = ms_filter_new(p, &then, make_input(p, &t, 7, 0, 1), big),
        };
        assert_fine(p);
        const struct ms_tensor *y = ms_run_layer(p, make_input(p, &in, 4, 0, 1), &layer);
        if (wrong == 5) { /* nothing is */
            assert_non_null(y);
            assert_fine(p);
        } else {
            assert_null(y);
            assert_int_equal(ms_pool_status(p, NULL), MS_EINTERNAL);
        }
        ms_pool_free(p);
    }
}

/* An operator without an input does nothing and says nothing: the first error is the pool's. */
void nothing_comes_of_nothing(void **state) {
    (void)state;
    for (int own = 0; own < 2; own++) {
        struct ms_pool *p = pool_new(own != 0);
        const struct ms_filter_shape shape = linear(4, 4);
        const struct input w = weights(&shape), b = vector(4), in = songs(1, 9, 4);
        struct ms_tensor *x = make_input(p, &in, 0, 0, 1), *bias = make_input(p, &b, 1, 0, 1);
        const struct ms_filter *f = ms_filter_new(p, &shape, make_input(p, &w, 2, 0, 1), bias);
        assert_non_null(f);
        const struct ms_layer no_scale = {.filter = f,
                                          .units = {{f, f, bias, bias, bias, bias, NULL}},
                                          .unit_count = 1},
                              no_filter = {.unit_count = 0};
        const struct ms_norm norm = {bias, bias}, no_norm = {bias, NULL};
        assert_null(ms_filter_new(p, &shape, NULL, bias));
        assert_null(ms_filter_new(p, &shape, bias, NULL));
        assert_null(ms_convolve(p, NULL, f));
        assert_null(ms_convolve(p, x, NULL));
        assert_null(ms_convolve_add_(p, NULL, x, f, bias));
        assert_null(ms_convolve_add_(p, x, NULL, f, bias));
        assert_null(ms_convolve_add_(p, x, x, NULL, bias));
        assert_null(ms_convolve_add_(p, x, x, f, NULL));
        assert_null(ms_convolve_transposed(p, NULL, f, 9));
        assert_null(ms_convolve_transposed(p, x, NULL, 9));
        assert_null(ms_run_layer(p, x, &no_scale));
        assert_null(ms_run_layer(p, x, &no_filter));
        assert_null(ms_linear(p, &norm, NULL, f));
        assert_null(ms_linear(p, &norm, x, NULL));
        assert_null(ms_linear(p, &no_norm, x, f));
        assert_null(ms_feed_forward_(p, &norm, NULL, f, f, bias));
        assert_null(ms_feed_forward_(p, &norm, x, NULL, f, bias));
        assert_null(ms_feed_forward_(p, &norm, x, f, NULL, bias));
        assert_null(ms_feed_forward_(p, &norm, x, f, f, NULL));
        assert_null(ms_feed_forward_(p, &no_norm, x, f, f, bias));
        assert_null(ms_layer_norm(p, NULL, bias, bias));
        assert_null(ms_layer_norm(p, x, NULL, bias));
        assert_null(ms_layer_norm(p, x, bias, NULL));
        assert_null(ms_group_norm_(p, NULL, bias, bias));
        assert_null(ms_group_norm_(p, x, NULL, bias));
        assert_null(ms_group_norm_(p, x, bias, NULL));
        assert_null(ms_attend(p, NULL, x, 0, x, 0, 4, 1, false));
        assert_null(ms_attend(p, x, NULL, 0, x, 0, 4, 1, false));
        assert_null(ms_attend(p, x, x, 0, NULL, 0, 4, 1, false));
        assert_null(ms_add_(p, NULL, x));
        assert_null(ms_add_(p, x, NULL));
        assert_null(ms_scale_(p, NULL, 2.0));
        assert_null(ms_normalise_(p, NULL));
        assert_null(ms_spectrum(p, NULL, 64));
        assert_null(ms_waveform(p, NULL, x, x, x, 64));
        assert_null(ms_waveform(p, x, NULL, x, x, 64));
        assert_null(ms_waveform(p, x, x, NULL, x, 64));
        assert_null(ms_waveform(p, x, x, x, NULL, 64));
        assert_fine(p);
        ms_pool_free(p);
    }
}

/* What a process says that is told to use these kernels: they are chosen once. */
static int ask_child(const char *name, struct ms_error *err) {
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct ms_pool *pool = NULL;
        struct ms_error said = {0};
        bool written = setenv("MSAAS_KERNELS", name, 1) == 0;
        said.code = ms_pool_new("cpu", true, &pool, &said);
        written = written && (pool == NULL) == (said.code != 0) &&
                  write(ends[1], &said, sizeof said) == (ssize_t)sizeof said;
        ms_pool_free(pool);
        _exit(written ? 0 : 1);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], err, sizeof *err), sizeof *err);
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    return err->code;
}

/* Must be the first test: it needs a process that has not chosen yet. */
void unknown_kernels_are_an_error(void **state) {
    (void)state;
    struct ms_error err;
    assert_int_equal(ask_child("abacus", &err), MS_EUSAGE);
    assert_non_null(strstr(err.text, "MSAAS_KERNELS=abacus"));
    assert_non_null(strstr(err.text, "plain"));
#if defined(__x86_64__)
    assert_int_equal(strstr(err.text, "avx2") != NULL, __builtin_cpu_supports("avx2") != 0);
    assert_int_equal(strstr(err.text, "avx512") != NULL, __builtin_cpu_supports("avx512f") != 0);
#endif
    assert_int_equal(ask_child("plain", &err), 0);
    assert_int_equal(ask_child("", &err), 0);
}
