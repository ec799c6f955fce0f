/* What pages of other origins get, over real sockets. */
#include "http_routes.h"

#define NAMED "Origin: https://a.example\r\n"
#define STRANGE "Origin: https://evil.example\r\n"
#define PREFLIGHT(path, origin, method)                                                            \
    "OPTIONS " path " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" origin                         \
    "Access-Control-Request-Method: " method "\r\n\r\n"
#define GET_FROM(path, origin)                                                                     \
    "GET " path " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" origin "\r\n"

static void tell_foreign(const struct ms_http_call *call) {
    ms_http_reply(call, 200, "text/plain", ms_http_is_foreign(call) ? "foreign" : "own    ", 7);
}

static const struct ms_http_route own_routes[] = {
    {"GET", "/who", tell_foreign, MS_HTTP_POOL, 0},
    {"DELETE", "/who", tell_foreign, MS_HTTP_POOL, 0},
    {0},
};

struct expected {
    const char *request;
    int status;
    /* NULL: not in the answer */
    const char *origin, *methods, *body;
};

static void expect_header(const char *answer, const char *name, const char *value) {
    char line[300];
    (void)snprintf(line, sizeof line, "\r\n%s: %s\r\n", name, value != NULL ? value : "");
    if (value == NULL && count_of(answer, name) > 0)
        fail_msg("%s in:\n%s", name, answer);
    if (value != NULL && strstr(answer, line) == NULL)
        fail_msg("no %s: %s in:\n%s", name, value, answer);
}

static void expect(const char *cors_origins, const struct expected *cases, size_t count) {
    const struct ms_http_server_options options = {.host = "127.0.0.1",
                                                   .routes = own_routes,
                                                   .allowed_hosts = "h",
                                                   .cors_origins = cors_origins,
                                                   .cors_asked = "Range, X-A",
                                                   .cors_exposed = "ETag, Location"};
    struct peer peer;
    peer_start(&peer, &options);
    for (size_t i = 0; i < count; i++) {
        char *answer = ask(peer.port, cases[i].request);
        if (status_of(answer) != cases[i].status)
            fail_msg("%s%s", cases[i].request, answer);
        expect_header(answer, "Access-Control-Allow-Origin", cases[i].origin);
        expect_header(answer, "Access-Control-Allow-Credentials", NULL);
        expect_header(answer, "Access-Control-Allow-Methods", cases[i].methods);
        expect_header(answer, "Access-Control-Allow-Headers",
                      cases[i].methods != NULL ? "Range, X-A" : NULL);
        expect_header(answer, "Access-Control-Expose-Headers",
                      cases[i].origin != NULL ? "ETag, Location" : NULL);
        expect_header(answer, "Vary", cors_origins != NULL ? "Origin" : NULL);
        if (cases[i].body != NULL)
            assert_memory_equal(body_of(answer), cases[i].body, strlen(cases[i].body));
        free(answer);
    }
    peer_stop(&peer, 1000);
}

static void nobody_by_default(void **state) {
    static const struct expected cases[] = {
        {GET_FROM("/who", ""), 200, NULL, NULL, "own"},
        {GET_FROM("/who", NAMED), 403, NULL, NULL, NULL},
        {PREFLIGHT("/who", NAMED, "GET"), 403, NULL, NULL, NULL},
    };
    (void)state;
    expect(NULL, cases, sizeof cases / sizeof *cases);
}

static void those_that_are_named(void **state) {
    static const struct expected cases[] = {
        {GET_FROM("/who", ""), 200, NULL, NULL, "own"},
        {GET_FROM("/who", "Origin: http://h\r\n"), 200, NULL, NULL, "own"},
        {GET_FROM("/who", NAMED), 200, "https://a.example", NULL, "foreign"},
        {GET_FROM("/nowhere", NAMED), 404, "https://a.example", NULL, NULL},
        {GET_FROM("/who", "Origin: https://a.example:8443\r\n"), 403, NULL, NULL, NULL},
        {GET_FROM("/who", "Origin: http://a.example\r\n"), 403, NULL, NULL, NULL},
        {GET_FROM("/who", "Origin: https://a.example.evil.example\r\n"), 403, NULL, NULL, NULL},
        {GET_FROM("/who", "Origin: null\r\n"), 403, NULL, NULL, NULL},
        {GET_FROM("/who", "Origin: *\r\n"), 403, NULL, NULL, NULL},
        {GET_FROM("/who", STRANGE), 403, NULL, NULL, NULL},
        {GET_FROM("/who", NAMED STRANGE), 403, NULL, NULL, NULL},
        {PREFLIGHT("/who", NAMED, "DELETE"), 204, "https://a.example", "DELETE", NULL},
        {PREFLIGHT("/who", "Origin: http://b.example:8080\r\n", "GET"), 204,
         "http://b.example:8080", "GET", NULL},
        {PREFLIGHT("/who", NAMED, "PUT"), 405, "https://a.example", NULL, NULL},
        {PREFLIGHT("/nowhere", NAMED, "GET"), 404, "https://a.example", NULL, NULL},
        {PREFLIGHT("/who", STRANGE, "GET"), 403, NULL, NULL, NULL},
    };
    (void)state;
    expect("https://a.example,http://b.example:8080", cases, sizeof cases / sizeof *cases);
}

static void anybody(void **state) {
    static const struct expected cases[] = {
        {GET_FROM("/who", STRANGE), 200, "*", NULL, "foreign"},
        {GET_FROM("/who", "Origin: null\r\n"), 200, "*", NULL, "foreign"},
        {PREFLIGHT("/who", STRANGE, "DELETE"), 204, "*", "DELETE", NULL},
        {GET_FROM("/who", "Origin: http://h\r\n"), 200, NULL, NULL, "own"},
    };
    (void)state;
    expect("*", cases, sizeof cases / sizeof *cases);
}

static void lists_are_checked(void **state) {
    static const char *const good[] = {NULL,
                                       "",
                                       "*",
                                       "https://a.example",
                                       "http://h:1,https://b",
                                       "http://[::1]:3000",
                                       "HTTPS://A.example *"};
    static const char *const bad[] = {"a.example",           "https://",    "https://a.example/",
                                      "ftp://a.example",     "null",        "https://a:b",
                                      "https://x@a.example", "https://a?q", "**"};
    struct ms_error err = {0};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (ms_http_cors_check(good[i], &err) != 0)
            fail_msg("%s: %s", good[i], err.text);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (ms_http_cors_check(bad[i], &err) != MS_EUSAGE)
            fail_msg("%s passes", bad[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_by_default),
        cmocka_unit_test(those_that_are_named),
        cmocka_unit_test(anybody),
        cmocka_unit_test(lists_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
