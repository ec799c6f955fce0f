/* The model that a worker serves: opened anew only where another precision is asked for, never
 * twice at a time. The stand-in refuses to be opened while it is open. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_network.h"
#include "msaas/engine.h"

static struct fake_network model;
static char path[64];
static struct ms_engine *engine;

static void write_model(const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int begin(void **state) {
    (void)state;
    strcpy(path, "/tmp/msaas-engine-XXXXXX");
    const int fd = mkstemp(path);
    if (fd < 0)
        return -1;
    (void)close(fd);
    write_model("one");
    fake_init(&model, 44100, 4096, 2);
    fake_on_disk = &model;
    engine = NULL;
    return 0;
}

static int end(void **state) {
    (void)state;
    ms_engine_free(engine);
    const bool closed = !model.open && atomic_load(&model.sessions) == 0;
    return unlink(path) == 0 && closed ? 0 : -1;
}

static int open_engine(enum ms_precision precision) {
    const struct ms_engine_options options = {
        .path = path,
        .device = "cpu",
        .precision = precision,
        .lanes = 2,
        .batch = 1,
        .open = fake_open,
    };
    return ms_engine_new(&options, &engine, NULL);
}

static void use(enum ms_precision asked, enum ms_precision got, int opens) {
    struct ms_error err = {0};
    if (ms_engine_use(engine, asked, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(ms_engine_network(engine)->precision, got);
    assert_int_equal(model.opens, opens);
    assert_non_null(ms_engine_separator(engine));
    assert_int_equal(atomic_load(&model.sessions), 2); /* those of the lanes */
}

static void another_only_where_it_is_asked_for(void **state) {
    (void)state;
    assert_int_equal(open_engine(MS_PRECISION_AUTO), 0);
    assert_string_equal(ms_engine_info(engine)->name, "fake");
    assert_int_equal(strlen(ms_engine_sha256(engine)), 64);
    use(MS_PRECISION_AUTO, MS_PRECISION_FLOAT32, 1);
    use(MS_PRECISION_FLOAT32, MS_PRECISION_FLOAT32, 1);
    use(MS_PRECISION_BF16, MS_PRECISION_BF16, 2);
    use(MS_PRECISION_BF16, MS_PRECISION_BF16, 2);
    use(MS_PRECISION_FLOAT32, MS_PRECISION_FLOAT32, 3);
    use(MS_PRECISION_AUTO, MS_PRECISION_FLOAT32, 3);
}

static void the_usual_one_is_the_worker_s(void **state) {
    (void)state;
    assert_int_equal(open_engine(MS_PRECISION_BF16), 0);
    use(MS_PRECISION_AUTO, MS_PRECISION_BF16, 1);
    use(MS_PRECISION_FLOAT32, MS_PRECISION_FLOAT32, 2);
    use(MS_PRECISION_AUTO, MS_PRECISION_BF16, 3);
}

/* What the device cannot do is not tried with every job. */
static void a_device_with_one_precision(void **state) {
    (void)state;
    model.float32_only = true;
    assert_int_equal(open_engine(MS_PRECISION_AUTO), 0);
    use(MS_PRECISION_BF16, MS_PRECISION_FLOAT32, 2);
    for (int i = 0; i < 3; i++) {
        use(MS_PRECISION_AUTO, MS_PRECISION_FLOAT32, 2);
        use(MS_PRECISION_BF16, MS_PRECISION_FLOAT32, 2);
    }
}

static void a_failure_is_no_end(void **state) {
    (void)state;
    assert_int_equal(open_engine(MS_PRECISION_FLOAT32), 0);
    model.fail_open = 2;
    assert_int_equal(ms_engine_use(engine, MS_PRECISION_BF16, NULL), MS_EMODEL);
    use(MS_PRECISION_AUTO, MS_PRECISION_FLOAT32, 3);
    model.fail_session = atomic_load(&model.sessions_begun) + 2; /* the second lane's */
    assert_int_equal(ms_engine_use(engine, MS_PRECISION_BF16, NULL), MS_ENOMEM);
    assert_false(model.open);
    use(MS_PRECISION_BF16, MS_PRECISION_BF16, 5);
}

/* The jobs that are fine with what is loaded go on. */
static void another_model_by_now(void **state) {
    (void)state;
    assert_int_equal(open_engine(MS_PRECISION_FLOAT32), 0);
    write_model("two");
    assert_int_equal(ms_engine_use(engine, MS_PRECISION_BF16, NULL), MS_EMODEL);
    use(MS_PRECISION_FLOAT32, MS_PRECISION_FLOAT32, 1);
    write_model("one");
    use(MS_PRECISION_BF16, MS_PRECISION_BF16, 2);
}

static void nothing_to_begin_with(void **state) {
    (void)state;
    model.fail_open = 1;
    assert_int_equal(open_engine(MS_PRECISION_AUTO), MS_EMODEL);
    assert_null(engine);
    ms_engine_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(another_only_where_it_is_asked_for, begin, end),
        cmocka_unit_test_setup_teardown(the_usual_one_is_the_worker_s, begin, end),
        cmocka_unit_test_setup_teardown(a_device_with_one_precision, begin, end),
        cmocka_unit_test_setup_teardown(a_failure_is_no_end, begin, end),
        cmocka_unit_test_setup_teardown(another_model_by_now, begin, end),
        cmocka_unit_test_setup_teardown(nothing_to_begin_with, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
