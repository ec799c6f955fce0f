/* The page and its files: headers, codings, entity tags, what is not there. Its list of built-in
 * files stands in for that of the build. test_api_health.c asks for the real page. */
#include "api_site.h"

#include "msaas/embedded.h"

#define FILE_OF(name, text) {name, (const unsigned char *)(text), sizeof(text) - 1}
const struct ms_embedded ms_embedded_web[] = {
    FILE_OF("index.html", "<p>the page</p>"),
    FILE_OF("index.html.gz", "the page, packed"),
    FILE_OF("main-1.js", "let script"),
    FILE_OF("main-1.js.gz", "a script, packed"),
    FILE_OF("main-2.css", "p {}"),
    FILE_OF("icon-3.svg", "<svg/>"),
    FILE_OF("licences-4.txt", "licences"),
    FILE_OF("odd-5.map", "{}"),
    {0},
};

static struct answer fetch(const char *method, const char *path, const char *headers) {
    return call_at(peer.port, method, path, headers, NULL, 0);
}

static void expect_file(const char *path, const char *headers, const char *coding,
                        const char *body) {
    struct answer answer = fetch("GET", path, headers);
    expect(path, &answer, 200);
    if (strcmp(header(&answer, "Content-Encoding"), coding) != 0 || strcmp(answer.body, body) != 0)
        fail_msg("%s with %s: %s", path, headers, answer.text);
    assert_string_equal(header(&answer, "Vary"), "Accept-Encoding");
    answer_free(&answer);
}

static void packed_where_the_client_takes_it(void **state) {
    static const char *const taken[] = {
        "gzip",       "br, GZIP", "gzip;q=0.1", "*", "br;q=1, *;q=0.2", "deflate,gzip ; q=1",
        "*;q=0,gzip",
    };
    static const char *const refused[] = {
        "",     "br",    "gzip;q=0", "gzip;q=0.000, *", "*;q=0", "identity", "xgzip",
        "zstd", "gzipx", ",,",       "br;gzip",
    };
    char line[128];
    (void)state;
    expect_file("/", "", "", "<p>the page</p>");
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        (void)snprintf(line, sizeof line, "Accept-Encoding: %s\r\n", taken[i]);
        expect_file("/", line, "gzip", "the page, packed");
        expect_file("/assets/main-1.js", line, "gzip", "a script, packed");
        expect_file("/assets/main-2.css", line, "", "p {}"); /* is not there packed */
    }
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        (void)snprintf(line, sizeof line, "Accept-Encoding: %s\r\n", refused[i]);
        expect_file("/", line, "", "<p>the page</p>");
        expect_file("/assets/main-1.js", line, "", "let script");
    }
}

static void headers_say_what_it_is(void **state) {
    static const struct {
        const char *path, *type, *cache;
    } cases[] = {
        {"/", "text/html; charset=utf-8", "no-cache"},
        {"/assets/main-1.js", "text/javascript; charset=utf-8", ""},
        {"/assets/main-2.css", "text/css; charset=utf-8", ""},
        {"/assets/icon-3.svg", "image/svg+xml", ""},
        {"/assets/licences-4.txt", "text/plain; charset=utf-8", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer answer = fetch("GET", cases[i].path, "");
        const bool is_page = *cases[i].cache != '\0';
        expect(cases[i].path, &answer, 200);
        assert_string_equal(header(&answer, "Content-Type"), cases[i].type);
        assert_string_equal(header(&answer, "Cache-Control"),
                            is_page ? cases[i].cache : "public, max-age=31536000, immutable");
        assert_string_equal(header(&answer, "X-Content-Type-Options"), "nosniff");
        assert_string_equal(header(&answer, "Referrer-Policy"), "same-origin");
        const char *csp = header(&answer, "Content-Security-Policy");
        assert_memory_equal(csp, "default-src 'none'; script-src 'self'; ", 39);
        assert_non_null(strstr(csp, "frame-ancestors 'none'"));
        assert_null(strstr(csp, "unsafe"));
        answer_free(&answer);
    }
}

static void entity_tags_tell_what_the_client_has(void **state) {
    static const char *const paths[] = {"/", "/assets/main-1.js"};
    char plain[80], packed[80], line[256];
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct answer answer = fetch("GET", paths[i], "");
        (void)snprintf(plain, sizeof plain, "%s", header(&answer, "ETag"));
        answer_free(&answer);
        answer = fetch("GET", paths[i], "Accept-Encoding: gzip\r\n");
        (void)snprintf(packed, sizeof packed, "%s", header(&answer, "ETag"));
        answer_free(&answer);
        assert_true(plain[0] == '"' && packed[0] == '"');
        assert_string_not_equal(plain, packed);
        (void)snprintf(line, sizeof line, "If-None-Match: \"x\", %s\r\n", plain);
        answer = fetch("GET", paths[i], line);
        expect("known", &answer, 304);
        assert_string_equal(header(&answer, "ETag"), plain);
        assert_string_not_equal(header(&answer, "Cache-Control"), "");
        assert_string_equal(answer.body, "");
        answer_free(&answer);
        (void)snprintf(line, sizeof line, "Accept-Encoding: gzip\r\nIf-None-Match: %s\r\n", plain);
        answer = fetch("GET", paths[i], line);
        expect("known in another coding", &answer, 200);
        answer_free(&answer);
        answer = fetch("HEAD", paths[i], "Accept-Encoding: gzip\r\n");
        expect("HEAD", &answer, 200);
        assert_string_equal(header(&answer, "Content-Length"), "16");
        assert_string_equal(header(&answer, "ETag"), packed);
        assert_string_equal(answer.body, "");
        answer_free(&answer);
    }
}

/* Nothing but the files that the page links to, by their whole names. */
static void other_names_are_not_found(void **state) {
    static const char *const unknown[] = {
        "/assets/index.html",
        "/assets/main-1.js.gz",
        "/assets/main-1",
        "/assets/main-1.jsx",
        "/assets/ain-1.js",
        "/assets/odd-5.map",
        "/assets/MAIN-1.JS",
        "/assets/main-1.js/",
        "/assets/",
        "/assets",
        "/assets/.js",
        "/assets/openapi.json",
        "/assets/x/main-1.js",
        "/main-1.js",
        "/index.html",
    };
    static const char *const malformed[] = {
        "/assets/../main-1.js",   "/assets/%2e%2e/main-1.js", "/assets/x%2fmain-1.js",
        "/assets/..%5cmain-1.js", "/assets/main-1.js%00",     "/assets/./main-1.js",
    };
    (void)state;
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        expect_problem(unknown[i], fetch("GET", unknown[i], ""), 404, NULL);
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++)
        expect_problem(malformed[i], fetch("GET", malformed[i], ""), 400, NULL);
    expect_file("/assets/main%2D1.js", "", "", "let script");
    expect_problem("POST", fetch("POST", "/assets/main-1.js", ""), 405, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_where_the_client_takes_it),
        cmocka_unit_test(headers_say_what_it_is),
        cmocka_unit_test(entity_tags_tell_what_the_client_has),
        cmocka_unit_test(other_names_are_not_found),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
