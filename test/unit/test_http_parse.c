#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "parse.h"

#define HOST "Host: h\r\n"

/* Scans byte by byte as bytes come, then parses; returns the status, -1 when the head does not end.
 */
static int parse(const char *text, size_t size, struct ms_http_head *head, char **copy) {
    *copy = malloc(size + 1); /* exactly: a sanitizer sees what reads beyond */
    assert_non_null(*copy);
    memcpy(*copy, text, size);
    memset(head, 0, sizeof *head);
    size_t scanned = 0, found = 0;
    const char *reason = NULL;
    int status = 0;
    for (size_t some = 1; some <= size && status == 0 && found == 0; some++)
        status = ms_http_scan_head(*copy, some, &scanned, &found, &reason);
    if (status != 0) {
        assert_non_null(reason);
        return status;
    }
    if (found == 0)
        return -1;
    status = ms_http_parse_head(*copy, found, head);
    if (status != 0)
        assert_non_null(head->reason);
    return status;
}

static void reads_a_request(void **state) {
    static const char text[] = "POST /apiv1/separate?a=b&c HTTP/1.1\r\n"
                               "Host: 127.0.0.1:5000\r\n"
                               "content-length:\t 12 \r\n"
                               "Empty:\r\n"
                               "X: a\tb \xc3\xa4\r\n"
                               "Expect: 100-Continue\r\n"
                               "\r\nbody";
    struct ms_http_head head;
    char *copy;
    (void)state;
    assert_int_equal(parse(text, sizeof text - 1, &head, &copy), 0);
    assert_string_equal(head.method, "POST");
    assert_string_equal(head.path, "/apiv1/separate");
    assert_string_equal(head.query, "a=b&c");
    assert_int_equal(head.minor, 1);
    assert_int_equal(head.content_length, 12);
    assert_false(head.chunked);
    assert_true(head.expect_continue);
    assert_false(head.close);
    assert_string_equal(ms_http_head_field(&head, "HOST"), "127.0.0.1:5000");
    assert_string_equal(ms_http_head_field(&head, "empty"), "");
    assert_string_equal(ms_http_head_field(&head, "x"), "a\tb \xc3\xa4");
    assert_null(ms_http_head_field(&head, "y"));
    free(copy);
}

static void judges_framing_strictly(void **state) {
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        {"GET / HTTP/1.1\r\n" HOST "\r\n", 0},
        {"GET / HTTP/1.0\r\n\r\n", 0},
        {"GET / HTTP/1.9\r\n" HOST "\r\n", 0},
        {"GET http://h/a HTTP/1.1\r\n" HOST "\r\n", 0},
        {"OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 0},
        {"GET / HTTP/1.1\r\n" HOST, -1},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
        {"GET / HTTP/2.0\r\n" HOST "\r\n", 505},
        {"PRI * HTTP/2.0\r\n\r\n", 505},
        {"GET / HTTP/1.1.1\r\n" HOST "\r\n", 400},
        {"GET / http/1.1\r\n" HOST "\r\n", 400},
        {"GET /\r\n\r\n", 400},
        {"GET\r\n\r\n", 400},
        {" GET / HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET  / HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /  HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET\t/ HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET / HTTP/1.1 \r\n" HOST "\r\n", 400},
        {"G(T / HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /#a HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET a HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET * HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET ftp://h/a HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET http:///a HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET http://h HTTP/1.1\r\n" HOST "\r\n", 400},
        {"CONNECT h:443 HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n", 0},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 5, 5\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: +5\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: -5\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 0x5\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 5 5\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 1234567890123456789\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 123456789012345678\r\n\r\n", 0},
        {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n", 0},
        {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST
         "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
         400},
        {"GET / HTTP/1.1\r\n" HOST
         "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
         400},
        {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: \vchunked\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n", 400},
        {"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "A: b\r\n\tc\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n A: b\r\n" HOST "\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "A : b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length : 5\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST ": b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "A\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "A\xc3: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "A: \x01\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "A: \x7f\r\n\r\n", 400},
        {"GET / HTTP/1.1\n" HOST "\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "A: b\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "A: b\rC: d\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n\r\n", 0},
        {"GET / HTTP/1.1\r\n" HOST "Expect: a miracle\r\n\r\n", 417},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ms_http_head head;
        char *copy;
        const int status = parse(cases[i].text, strlen(cases[i].text), &head, &copy);
        if (status != cases[i].status)
            fail_msg("%d instead of %d (%s) for:\n%s", status, cases[i].status,
                     head.reason != NULL ? head.reason : "", cases[i].text);
        free(copy);
    }
}

static void refuses_nul_wherever_it_is(void **state) {
    static const char text[] = "GET / HTTP/1.1\r\n" HOST "A: b\r\n\r\n";
    (void)state;
    for (size_t i = 0; i < sizeof text - 1; i++) {
        char holed[sizeof text];
        memcpy(holed, text, sizeof text);
        holed[i] = '\0';
        struct ms_http_head head;
        char *copy;
        assert_int_equal(parse(holed, sizeof text - 1, &head, &copy), 400);
        free(copy);
    }
}

static void knows_when_the_connection_ends(void **state) {
    static const struct {
        const char *text;
        bool close;
    } cases[] = {
        {"GET / HTTP/1.1\r\n" HOST "\r\n", false},
        {"GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", true},
        {"GET / HTTP/1.1\r\n" HOST "Connection: foo, Close\r\n\r\n", true},
        {"GET / HTTP/1.1\r\n" HOST "Connection: closed\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" HOST "Connection: close\r\nConnection: keep-alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ms_http_head head;
        char *copy;
        assert_int_equal(parse(cases[i].text, strlen(cases[i].text), &head, &copy), 0);
        assert_int_equal(head.close, cases[i].close);
        free(copy);
    }
}

static void bounds_the_url_and_the_number_of_headers(void **state) {
    char text[20000];
    (void)state;
    char *at = text + sprintf(text, "GET /");
    memset(at, 'a', 9000);
    at += 9000;
    sprintf(at, " HTTP/1.1\r\n" HOST "\r\n");
    struct ms_http_head head;
    char *copy;
    assert_int_equal(parse(text, strlen(text), &head, &copy), 414);
    free(copy);

    for (int count = MS_HTTP_MAX_FIELDS - 1; count <= MS_HTTP_MAX_FIELDS; count++) {
        at = text + sprintf(text, "GET / HTTP/1.1\r\n" HOST);
        for (int i = 0; i < count; i++)
            at += sprintf(at, "X-%d: %d\r\n", i, i);
        sprintf(at, "\r\n");
        assert_int_equal(parse(text, strlen(text), &head, &copy),
                         count < MS_HTTP_MAX_FIELDS ? 0 : 431);
        free(copy);
    }
}

static void decodes_paths_once(void **state) {
    static const struct {
        const char *raw, *path; /* NULL: refused */
    } cases[] = {
        {"/", "/"},
        {"/a%20b/c%C3%A4", "/a b/c\xc3\xa4"},
        {"/a%2520b", "/a%20b"},
        {"/a+b", "/a+b"},
        {"/a//b/", "/a//b/"},
        {"/..a/.b/c..", "/..a/.b/c.."},
        {"/.", NULL},
        {"/..", NULL},
        {"/a/../b", NULL},
        {"/a/./b", NULL},
        {"/a/%2e%2E/b", NULL},
        {"/a/%2e/b", NULL},
        {"/a%2fb", NULL},
        {"/a%5Cb", NULL},
        {"/a\\b", NULL},
        {"/%00", NULL},
        {"/%0a", NULL},
        {"/%7f", NULL},
        {"/%", NULL},
        {"/%4", NULL},
        {"/%g0", NULL},
        {"/a%/20", NULL},
        {"/%ff", NULL},
        {"/%c0%ae", NULL},       /* an overlong "." */
        {"/%ed%a0%80", NULL},    /* a surrogate */
        {"/%f4%90%80%80", NULL}, /* over U+10FFFF */
        {"/%e2%82", NULL},       /* cut */
        {"/%e2%82%ac", "/\xe2\x82\xac"},
        {"/%f0%9f%8e%b5", "/\xf0\x9f\x8e\xb5"},
        {"a", NULL},
        {"", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[64];
        const bool ok = ms_http_decode_path(cases[i].raw, out);
        if (ok != (cases[i].path != NULL) || (ok && strcmp(out, cases[i].path) != 0))
            fail_msg("%s became %s", cases[i].raw, ok ? out : "nothing");
    }
}

/* Feeds `size` bytes in pieces of `step`. Returns the last result; *rest: bytes not taken. */
static int unchunk(const char *text, size_t size, size_t step, char *out, size_t *rest) {
    struct ms_http_chunked chunked = {0};
    size_t at = 0, length = 0;
    int rc = 0;
    while (at < size && rc == 0) {
        const size_t some = size - at < step ? size - at : step;
        char *piece = malloc(some);
        assert_non_null(piece);
        memcpy(piece, text + at, some);
        const char *data;
        size_t used = 0, data_size = 0;
        rc = ms_http_chunked_feed(&chunked, piece, some, &used, &data, &data_size);
        assert_true(used > 0 && used <= some);
        memcpy(out + length, data, data_size);
        length += data_size;
        at += used;
        free(piece);
    }
    out[length] = '\0';
    *rest = size - at;
    return rc;
}

static void decodes_chunks_however_they_are_cut(void **state) {
    static const struct {
        const char *text, *body;
        size_t rest;
        int rc;
    } cases[] = {
        {"0\r\n\r\n", "", 0, 1},
        {"5\r\nhello\r\n0\r\n\r\n", "hello", 0, 1},
        {"5\r\nhello\r\n00A\r\n, world...\r\n0\r\n\r\nGET /", "hello, world...", 5, 1},
        {"5;a=b;c=\"d\"\r\nhello\r\n0;x\r\n\r\n", "hello", 0, 1},
        {"5\r\nhello\r\n0\r\nA: b\r\nC:d\r\n\r\nX", "hello", 1, 1},
        {"5\r\nhel", "hel", 0, 0},
        {"5\r\nhello\r\n0\r\n", "hello", 0, 0},
        {"\r\nhello", "", 0, -1},
        {"5 \r\nhello\r\n0\r\n\r\n", "", 0, -1},
        {" 5\r\nhello", "", 0, -1},
        {"0x5\r\nhello", "", 0, -1},
        {"-5\r\nhello", "", 0, -1},
        {"+5\r\nhello", "", 0, -1},
        {"g\r\n", "", 0, -1},
        {"5\nhello\r\n0\r\n\r\n", "", 0, -1},
        {"5\rhello", "", 0, -1},
        {"5\r\nhelloo\r\n", "hello", 0, -1},
        {"5\r\nhello\n0\r\n\r\n", "hello", 0, -1},
        {"5\r\nhello\r\n\r\n", "hello", 0, -1},
        {"5;a\nb\r\nhello", "", 0, -1},
        {"0000000000000000\r\n", "", 0, -1},
        {"FFFFFFFFFFFFFFFF\r\n", "", 0, -1},
        {"0\r\n A: b\r\n\r\n", "", 0, -1},
        {"0\r\nA b\r\n\r\n", "", 0, -1},
        {"0\r\nA : b\r\n\r\n", "", 0, -1},
        {"0\r\n: b\r\n\r\n", "", 0, -1},
        {"0\r\nA: b\n\r\n", "", 0, -1},
        {"0\r\nA: \x01\r\n\r\n", "", 0, -1},
        {"0\r\n\n", "", 0, -1},
        {"0\r\n\rX", "", 0, -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t step = 1; step < 40; step++) {
            char out[64];
            size_t rest;
            const int rc = unchunk(cases[i].text, strlen(cases[i].text), step, out, &rest);
            if (rc != cases[i].rc || strcmp(out, cases[i].body) != 0 ||
                (rc == 1 && rest != cases[i].rest))
                fail_msg("%d, body \"%s\", rest %zu for:\n%s", rc, out, rest, cases[i].text);
        }
    }
}

static void bounds_extensions_and_trailers(void **state) {
    static char text[40000], out[64];
    (void)state;
    memset(text, 'a', sizeof text);
    memcpy(text, "1;", 2);
    size_t rest;
    assert_int_equal(unchunk(text, sizeof text, 100, out, &rest), -1);
    memcpy(text, "0\r\nA:", 5);
    assert_int_equal(unchunk(text, sizeof text, 100, out, &rest), -1);
    for (size_t i = 3; i + 4 <= sizeof text; i += 4)
        memcpy(text + i, "A:\r\n", 4);
    assert_int_equal(unchunk(text, sizeof text, 100, out, &rest), -1);
}

static void guesses_what_was_refused(void **state) {
    static const struct {
        const char *text, *method, *path;
    } cases[] = {
        {"GET /apiv2/jobs?name=aaa", "GET", "/apiv2/jobs"},
        {"HEAD /a b", "HEAD", "/a"},
        {"POST /a\r\nHost: h", "POST", "/a"},
        {"GET /\x01", "GET", "/"},
        {"GET", "", ""},
        {"GET\t/a", "", ""},
        {" /a", "", ""},
        {"GET http://h/a", "GET", ""},
        {"GET ", "GET", ""},
        {"", "", ""},
        {"\xff\xfe", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64];
        struct ms_http_head head = {.method = "", .path = ""};
        (void)snprintf(text, sizeof text, "%s", cases[i].text);
        ms_http_guess_line(text, &head);
        assert_string_equal(head.method, cases[i].method);
        assert_string_equal(head.path, cases[i].path);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guesses_what_was_refused),
        cmocka_unit_test(reads_a_request),
        cmocka_unit_test(judges_framing_strictly),
        cmocka_unit_test(refuses_nul_wherever_it_is),
        cmocka_unit_test(knows_when_the_connection_ends),
        cmocka_unit_test(bounds_the_url_and_the_number_of_headers),
        cmocka_unit_test(decodes_paths_once),
        cmocka_unit_test(decodes_chunks_however_they_are_cut),
        cmocka_unit_test(bounds_extensions_and_trailers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
