/* The log: one line a call, plain or JSON, and the course's form for the shipper. */
#include "msaas/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "msaas/json.h"

static char shipped[4096];

static void ship(void *context, const char *line) {
    (void)context;
    (void)snprintf(shipped, sizeof shipped, "%s", line);
}

/* What `call` writes on stderr. */
static void capture(void (*call)(void), char *out, size_t capacity) {
    char name[] = "/tmp/msaas-log-XXXXXX";
    const int file = mkstemp(name), before = dup(STDERR_FILENO);
    assert_true(file >= 0 && before >= 0);
    (void)unlink(name);
    (void)dup2(file, STDERR_FILENO);
    call();
    (void)dup2(before, STDERR_FILENO);
    const ssize_t size = pread(file, out, capacity - 1, 0);
    out[size > 0 ? size : 0] = '\0';
    (void)close(file);
    (void)close(before);
}

static void speak(void) {
    ms_log(MS_LOG_DEBUG, "not heard");
    ms_log(MS_LOG_WARN, "line one\nline %d \x1b[2J \xC2\x9B[2J", 2);
}

static void speak_fields(void) {
    ms_log_fields(MS_LOG_INFO, "job \"done\"", "job", "abc", "speed", "2.0", NULL);
}

static void plain_lines_are_single_lines(void **state) {
    (void)state;
    ms_log_init("rest", MS_LOG_INFO, false);
    ms_log_set_shipper(ship, NULL);
    char out[4096];
    capture(speak, out, sizeof out);
    assert_non_null(strstr(out, "warning line one line 2 ?[2J ?[2J\n"));
    assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
    assert_null(strstr(out, "not heard"));
    assert_non_null(strstr(shipped, ".rest.warning:line one line 2 ?[2J ?[2J"));
    capture(speak_fields, out, sizeof out);
    assert_non_null(strstr(out, "job \"done\" job=abc speed=2.0\n"));
    ms_log_set_shipper(NULL, NULL);
}

/* A stranger chooses paths, names and texts of errors. */
static void speak_forged(void) {
    ms_log_fields(MS_LOG_INFO, "GET /x peer=10.0.0.1 200", "peer", "127.0.0.1", NULL);
    ms_log_fields(MS_LOG_INFO, "\"GET\" /x", "a", "1 peer=10.0.0.1", "b", "say \"x\\", "c", "a=b",
                  "d", "", "e", "line\none", "f", "caf\xC3\xA9/~", NULL);
    ms_log(MS_LOG_WARN, "the store failed: x peer=10.0.0.1");
}

static void a_value_cannot_pass_for_another_field(void **state) {
    (void)state;
    ms_log_init("rest", MS_LOG_INFO, false);
    ms_log_set_shipper(ship, NULL);
    char out[4096];
    capture(speak_forged, out, sizeof out);
    assert_non_null(strstr(out, " \"GET /x peer=10.0.0.1 200\" peer=127.0.0.1\n"));
    assert_non_null(strstr(out, " \"\\\"GET\\\" /x\" a=\"1 peer=10.0.0.1\" b=\"say \\\"x\\\\\""
                                " c=\"a=b\" d=\"\" e=\"line one\" f=caf\xC3\xA9/~\n"));
    assert_non_null(strstr(out, " \"the store failed: x peer=10.0.0.1\"\n"));
    assert_non_null(strstr(shipped, ".rest.warning:\"the store failed: x peer=10.0.0.1\""));
    ms_log_set_shipper(NULL, NULL);
}

/* Whatever its length: the closing quote and the fields behind it are there. */
static char longest[8192];
static void speak_long(void) {
    ms_log_fields(MS_LOG_INFO, "long", "a", longest, "peer", "127.0.0.1", NULL);
}

static void a_long_value_is_cut_within_its_quotes(void **state) {
    (void)state;
    ms_log_init("rest", MS_LOG_INFO, false);
    char out[16384];
    for (size_t size = 2000; size < sizeof longest; size += 131) {
        memset(longest, '"', size);
        longest[size] = '\0';
        capture(speak_long, out, sizeof out);
        const char *end = strstr(out, "\" peer=127.0.0.1\n");
        assert_non_null(end);
        int quotes = 0;
        for (const char *at = strstr(out, "a=\"") + 3; at < end; at += 2, quotes++)
            assert_memory_equal(at, "\\\"", 2);
        assert_true(quotes > 100);
    }
}

static void json_lines_are_json(void **state) {
    (void)state;
    ms_log_init("worker", MS_LOG_DEBUG, true);
    char out[4096];
    capture(speak_fields, out, sizeof out);
    struct ms_json *json = NULL;
    assert_int_equal(ms_json_parse(out, strlen(out) - 1, &json, NULL), 0);
    assert_string_equal(ms_json_string(ms_json_get(json, "message")), "job \"done\"");
    assert_string_equal(ms_json_string(ms_json_get(json, "role")), "worker");
    assert_string_equal(ms_json_string(ms_json_get(json, "level")), "info");
    assert_string_equal(ms_json_string(ms_json_get(json, "speed")), "2.0");
    ms_json_free(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_lines_are_single_lines),
        cmocka_unit_test(a_value_cannot_pass_for_another_field),
        cmocka_unit_test(a_long_value_is_cut_within_its_quotes),
        cmocka_unit_test(json_lines_are_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
