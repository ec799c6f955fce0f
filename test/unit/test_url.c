/* URLs of services: what is taken, what is refused, what logs may show. */
#include "msaas/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void urls_are_taken_apart(void **state) {
    static const struct {
        const char *text, *scheme, *user, *password, *host, *port, *path, *query, *shown, *origin;
    } cases[] = {
        {"redis://h", "redis", "", "", "h", "", "", "", "redis://h", "redis://h"},
        {"redis://:p%40ss@h:6380/2", "redis", "", "p@ss", "h", "6380", "/2", "", "redis://h:6380/2",
         "redis://h:6380"},
        {"rediss://u:p@[::1]:1/0", "rediss", "u", "p", "::1", "1", "/0", "", "rediss://[::1]:1/0",
         "rediss://[::1]:1"},
        {"sqlite:/var/q.db", "sqlite", "", "", "", "", "/var/q.db", "", "sqlite:/var/q.db",
         "sqlite:"},
        {"sqlite:q?.db", "sqlite", "", "", "", "", "q?.db", "", "sqlite:q?.db", "sqlite:"},
        {"HTTP://h/a%20b?q=1#f", "http", "", "", "h", "", "/a b", "q=1", "http://h/a b",
         "http://h"},
        {"s3://", "s3", "", "", "", "", "", "", "s3://", "s3://"},
        {"http://a@b@h/", "http", "a@b", "", "h", "", "/", "", "http://h/", "http://h"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ms_url url;
        assert_int_equal(ms_url_parse(cases[i].text, &url, NULL), 0);
        assert_string_equal(url.scheme, cases[i].scheme);
        assert_string_equal(url.user, cases[i].user);
        assert_string_equal(url.password, cases[i].password);
        assert_string_equal(url.host, cases[i].host);
        assert_string_equal(url.port, cases[i].port);
        assert_string_equal(url.path, cases[i].path);
        assert_string_equal(url.query, cases[i].query);
        char shown[200];
        ms_url_public(cases[i].text, shown, sizeof shown);
        assert_string_equal(shown, cases[i].shown);
        ms_url_origin(cases[i].text, shown, sizeof shown);
        assert_string_equal(shown, cases[i].origin);
    }
}

static void hosts_are_told_apart_by_name(void **state) {
    static const struct {
        const char *text, *host;
    } cases[] = {
        {"http://h.example/a", "h.example"},
        {"https://H.Example:8443/b", "h.example"},
        {"http://u:p@h.example.:81", "h.example"},
        {"http://[2001:DB8::1]:80/", "2001:db8::1"},
        {"sqlite:q.db", ""},
        {"no URL", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char host[MS_URL_HOST_BYTES];
        ms_url_host(cases[i].text, host);
        assert_string_equal(host, cases[i].host);
    }
}

static void others_are_refused(void **state) {
    static const char *const bad[] = {"",
                                      "redis",
                                      ":x",
                                      "1a://h",
                                      "re dis://h",
                                      "redis://h:0",
                                      "redis://h:",
                                      "redis://h:1x",
                                      "redis://h:65536",
                                      "redis://[::1",
                                      "redis://%zz@h",
                                      "http://h/%00",
                                      "http://h/%",
                                      "http://u:s3cret@h:x/"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ms_url url;
        struct ms_error err = {0};
        assert_int_equal(ms_url_parse(bad[i], &url, &err), MS_EUSAGE);
        assert_null(strstr(err.text, "s3cret"));
        char shown[100];
        ms_url_public(bad[i], shown, sizeof shown);
        assert_string_equal(shown, "(no URL)");
    }
    char *long_url = malloc(5000);
    assert_non_null(long_url);
    memset(long_url, 'a', 4999);
    memcpy(long_url, "http://", 7);
    long_url[4999] = '\0';
    struct ms_url url;
    assert_int_equal(ms_url_parse(long_url, &url, NULL), MS_EUSAGE);
    free(long_url);
}

static void percent_encoding_goes_both_ways(void **state) {
    const char text[] = "a b/\xc3\xa4?&=%~";
    (void)state;
    char *all = ms_percent_encode(text, false), *path = ms_percent_encode(text, true);
    assert_string_equal(all, "a%20b%2F%C3%A4%3F%26%3D%25~");
    assert_string_equal(path, "a%20b/%C3%A4%3F%26%3D%25~");
    char back[40];
    assert_true(ms_percent_decode(all, strlen(all), back, sizeof back));
    assert_string_equal(back, text);
    assert_false(ms_percent_decode(all, strlen(all), back, strlen(text)));
    assert_false(ms_percent_decode("%4", 2, back, sizeof back));
    assert_false(ms_percent_decode("%00", 3, back, sizeof back));
    free(all);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_taken_apart),
        cmocka_unit_test(hosts_are_told_apart_by_name),
        cmocka_unit_test(others_are_refused),
        cmocka_unit_test(percent_encoding_goes_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
