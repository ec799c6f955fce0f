/* An outage: its lines in the log, and what it says of the server. */
#include "outage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "msaas/log.h"

/* The linker puts it before the real one: time passes when a test says so. */
static double now_s = 1000;

double __wrap_ms_monotonic_s(void);

double __wrap_ms_monotonic_s(void) {
    return now_s;
}

static struct ms_metric errors = {.name = "errors", .help = "", .kind = MS_METRIC_COUNTER};
static char last[800];
static int lines;

static void hear(void *context, const char *line) {
    (void)context;
    (void)snprintf(last, sizeof last, "%s", line);
    lines++;
}

static bool fail_with(struct ms_outage *outage, int code, const char *text) {
    struct ms_error err = {0};
    const int rc = ms_error_set(&err, code, "%s", text);
    return ms_outage_note(outage, rc, &err);
}

static void each_cause_is_told_once(void **state) {
    struct ms_outage outage = {.what = "the queue", .errors = &errors};
    char cause[MS_OUTAGE_CAUSE_BYTES];
    (void)state;
    ms_log_init("worker", MS_LOG_INFO, false);
    ms_log_set_shipper(hear, NULL);
    lines = 0;
    ms_outage_cause(&outage, cause);
    assert_string_equal(cause, "");
    for (int i = 0; i < 3; i++)
        assert_true(fail_with(&outage, MS_ENET, "nobody listens"));
    assert_int_equal(lines, 1);
    assert_non_null(strstr(last, "nobody listens"));
    ms_outage_cause(&outage, cause);
    assert_string_equal(cause, "nobody listens");

    assert_true(fail_with(&outage, MS_EDENIED, "a wrong password"));
    ms_outage_cause(&outage, cause);
    assert_string_equal(cause, "a wrong password");
    assert_int_equal(lines, 1); /* threads may meet several causes in turn */
    now_s += 6;
    assert_true(fail_with(&outage, MS_EDENIED, "a wrong password"));
    assert_int_equal(lines, 2);
    assert_non_null(strstr(last, "a wrong password"));
    assert_true(fail_with(&outage, MS_EDENIED, "a wrong password"));
    assert_int_equal(lines, 2);

    assert_false(fail_with(&outage, MS_ECANCELED, "canceled")); /* says nothing */
    ms_outage_cause(&outage, cause);
    assert_string_equal(cause, "a wrong password");
    assert_false(fail_with(&outage, MS_ENOTFOUND, "no job waits"));
    assert_int_equal(lines, 3);
    assert_non_null(strstr(last, "the queue is back"));
    ms_outage_cause(&outage, cause);
    assert_string_equal(cause, "");
    ms_log_set_shipper(NULL, NULL);
}

/* As a Redis that reads and does not write: each second call works. */
static void what_fails_in_part_is_told_twice_at_most(void **state) {
    struct ms_outage outage = {.what = "the queue", .errors = &errors};
    char cause[MS_OUTAGE_CAUSE_BYTES];
    (void)state;
    ms_log_init("worker", MS_LOG_INFO, false);
    ms_log_set_shipper(hear, NULL);
    lines = 0;
    for (int i = 0; i < 20; i++) {
        assert_true(fail_with(&outage, MS_ENET, "NOREPLICAS"));
        assert_false(fail_with(&outage, MS_ENOTFOUND, "no job waits"));
    }
    assert_int_equal(lines, 3); /* fails, is back, fails */
    ms_outage_cause(&outage, cause);
    assert_string_equal(cause, "NOREPLICAS");
    now_s += 16; /* none has failed for a while */
    assert_false(fail_with(&outage, MS_ENOTFOUND, "no job waits"));
    assert_int_equal(lines, 4);
    assert_non_null(strstr(last, "the queue is back"));
    ms_log_set_shipper(NULL, NULL);
}

static void what_may_end_is_tried_again(void **state) {
    (void)state;
    assert_true(ms_outage_may_end(MS_ENET));
    assert_true(ms_outage_may_end(MS_EDENIED));
    assert_false(ms_outage_may_end(MS_ECORRUPT));
    assert_false(ms_outage_may_end(MS_EINTERNAL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_cause_is_told_once),
        cmocka_unit_test(what_fails_in_part_is_told_twice_at_most),
        cmocka_unit_test(what_may_end_is_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
