#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "msaas/http_range.h"

static void finds_the_part_that_is_asked_for(void **state) {
    static const struct {
        const char *range;
        int64_t size;
        enum ms_http_range kind;
        int64_t first, count;
    } cases[] = {
        {NULL, 100, MS_HTTP_RANGE_WHOLE, 0, 100},
        {"", 100, MS_HTTP_RANGE_WHOLE, 0, 100},
        {"bytes=0-0", 100, MS_HTTP_RANGE_PART, 0, 1},
        {"bytes=0-99", 100, MS_HTTP_RANGE_PART, 0, 100},
        {"Bytes= 10-19 ", 100, MS_HTTP_RANGE_PART, 10, 10},
        {"bytes=90-1000", 100, MS_HTTP_RANGE_PART, 90, 10},
        {"bytes=99-", 100, MS_HTTP_RANGE_PART, 99, 1},
        {"bytes=100-", 100, MS_HTTP_RANGE_NONE, 0, 0},
        {"bytes=100-200", 100, MS_HTTP_RANGE_NONE, 0, 0},
        {"bytes=-1", 100, MS_HTTP_RANGE_PART, 99, 1},
        {"bytes=-100", 100, MS_HTTP_RANGE_PART, 0, 100},
        {"bytes=-1000", 100, MS_HTTP_RANGE_PART, 0, 100},
        {"bytes=-0", 100, MS_HTTP_RANGE_NONE, 0, 0},
        {"bytes=0-", 0, MS_HTTP_RANGE_NONE, 0, 0},
        {"bytes=-5", 0, MS_HTTP_RANGE_NONE, 0, 0},
        {"bytes=5-4", 100, MS_HTTP_RANGE_WHOLE, 0, 100},
        {"bytes=-", 100, MS_HTTP_RANGE_WHOLE, 0, 100},
        {"bytes=", 100, MS_HTTP_RANGE_WHOLE, 0, 100},
        {"bytes=a-b", 100, MS_HTTP_RANGE_WHOLE, 0, 100},
        {"bytes=1", 100, MS_HTTP_RANGE_WHOLE, 0, 100},
        {"bytes=1-2x", 100, MS_HTTP_RANGE_WHOLE, 0, 100},
        {"bytes=--1", 100, MS_HTTP_RANGE_WHOLE, 0, 100},
        {"bytes=0-1,5-6", 100, MS_HTTP_RANGE_WHOLE, 0, 100},
        {"bytes 0-1", 100, MS_HTTP_RANGE_WHOLE, 0, 100},
        {"items=0-1", 100, MS_HTTP_RANGE_WHOLE, 0, 100},
        {"bytes=0-99999999999999999999999", 100, MS_HTTP_RANGE_PART, 0, 100},
        {"bytes=99999999999999999999999-", 100, MS_HTTP_RANGE_NONE, 0, 0},
        {"bytes=9223372036854775807-", INT64_MAX, MS_HTTP_RANGE_NONE, 0, 0},
        {"bytes=-99999999999999999999999", 100, MS_HTTP_RANGE_PART, 0, 100},
        {"bytes=0-9223372036854775807", INT64_MAX, MS_HTTP_RANGE_PART, 0, INT64_MAX},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t first, count;
        const enum ms_http_range kind =
            ms_http_parse_range(cases[i].range, cases[i].size, &first, &count);
        if (kind != cases[i].kind || first != cases[i].first || count != cases[i].count)
            fail_msg("%s of %lld: %d, %lld + %lld", cases[i].range, (long long)cases[i].size,
                     (int)kind, (long long)first, (long long)count);
    }
}

static void compares_tags(void **state) {
    (void)state;
    assert_true(ms_http_etag_matches("\"a\"", "\"a\""));
    assert_true(ms_http_etag_matches("*", "\"a\""));
    assert_true(ms_http_etag_matches("\"b\", \"a,c\" ,W/\"a\"", "\"a\""));
    assert_true(ms_http_etag_matches("\"a,c\"", "\"a,c\""));
    assert_true(ms_http_etag_matches("\"a\"", "W/\"a\""));
    assert_false(ms_http_etag_matches(NULL, "\"a\""));
    assert_false(ms_http_etag_matches("", "\"a\""));
    assert_false(ms_http_etag_matches("\"ab\"", "\"a\""));
    assert_false(ms_http_etag_matches("a", "\"a\""));
    assert_false(ms_http_etag_matches("\"b,\"a\"", "\"c\""));
    assert_false(ms_http_etag_matches("\"a", "\"a\""));
    assert_false(ms_http_etag_matches("\"x\",*", "\"a\""));

    assert_true(ms_http_if_match_holds(NULL, "\"a\""));
    assert_true(ms_http_if_match_holds("*", ""));
    assert_true(ms_http_if_match_holds("\"b\", \"a\"", "\"a\""));
    assert_false(ms_http_if_match_holds("", "\"a\""));
    assert_false(ms_http_if_match_holds("W/\"a\"", "\"a\""));
    assert_false(ms_http_if_match_holds("\"b\"", "\"a\""));
    assert_false(ms_http_if_match_holds("\"a\"", ""));
    assert_false(ms_http_if_match_holds("a", "\"a\""));

    assert_true(ms_http_if_range_holds(NULL, "\"a\""));
    assert_true(ms_http_if_range_holds("\"a\"", "\"a\""));
    assert_false(ms_http_if_range_holds("W/\"a\"", "\"a\""));
    assert_false(ms_http_if_range_holds("W/\"a\"", "W/\"a\""));
    assert_false(ms_http_if_range_holds("\"b\"", "\"a\""));
    assert_false(ms_http_if_range_holds("Tue, 24 Nov 2026 12:00:00 GMT", "\"a\""));
}

static void compares_media_types(void **state) {
    (void)state;
    assert_true(ms_http_is_media_type("application/json", "application/json"));
    assert_true(ms_http_is_media_type("Application/JSON ; charset=utf-8", "application/json"));
    assert_false(ms_http_is_media_type(NULL, "application/json"));
    assert_false(ms_http_is_media_type("application/jsonl", "application/json"));
    assert_false(ms_http_is_media_type("application", "application/json"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_part_that_is_asked_for),
        cmocka_unit_test(compares_tags),
        cmocka_unit_test(compares_media_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
