/* The HTTP server over real sockets: what is asked and answered, by clients that keep the rules and
 * by hostile ones. */
#include "http_routes.h"

static void answers_simple_requests(void **state) {
    char *answer = ask(shared.port, GET("/hello"));
    (void)state;
    assert_int_equal(status_of(answer), 200);
    assert_string_equal(body_of(answer), "hello");
    assert_non_null(strstr(answer, "\r\nContent-Length: 5\r\n"));
    assert_non_null(strstr(answer, "\r\nContent-Type: text/plain\r\n"));
    assert_non_null(strstr(answer, "\r\nConnection: close\r\n"));
    assert_non_null(strstr(answer, "\r\nDate: "));
    assert_non_null(strstr(answer, "\r\nX-Request-Id: "));
    free(answer);

    answer = ask(shared.port, GET("http://elsewhere/pool"));
    assert_int_equal(status_of(answer), 200);
    assert_string_equal(body_of(answer), "hello");
    free(answer);

    answer = ask(shared.port, "\r\nGET /hello HTTP/1.0\r\n\r\n");
    assert_int_equal(status_of(answer), 200);
    assert_string_equal(body_of(answer), "hello");
    free(answer);
}

static void hands_the_request_to_the_handler(void **state) {
    char *answer =
        ask(shared.port, "GET /call/a%20b/c%25?x&q=1%2B+%C3%A4&q=2 HTTP/1.1\r\nHost: h\r\n"
                         "USER-AGENT: t\r\nX-Request-Id: my.id-1\r\n"
                         "Content-Length: 4\r\nConnection: close\r\n\r\nnull");
    (void)state;
    assert_string_equal(body_of(answer),
                        "GET|/call/a b/c%|a b|c%|x&q=1%2B+%C3%A4&q=2|1+ \xc3\xa4|t|127.0.0.1|0");
    assert_non_null(strstr(answer, "\r\nX-Good: yes\r\n"));
    assert_null(strstr(answer, "X-Injected"));
    assert_non_null(strstr(answer, "\r\nX-Request-Id: my.id-1\r\n"));
    free(answer);

    answer = ask(shared.port, "GET /call/a/b?q=%zz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
                              "X-Request-Id: not{sane}\r\n\r\n");
    assert_string_equal(body_of(answer), "GET|/call/a/b|a|b|q=%zz|(malformed)|(none)|127.0.0.1|0");
    assert_null(strstr(answer, "not{sane}"));
    free(answer);
}

static void refuses_what_it_must(void **state) {
    static char huge[20000];
    static const struct {
        const char *text;
        int status;
        const char *holds; /* in the answer; NULL: whatever */
    } cases[] = {
        {GET("/nothing"), 404, "{\"reason\":\""},
        {GET("/hello/"), 404, NULL},
        {POST("/hello", "", ""), 405, "\r\nAllow: GET, HEAD\r\n"},
        {"BREW /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 405, "\r\nAllow: POST\r\n"},
        {"OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 404, NULL},
        {GET("/../hello"), 400, NULL},
        {GET("/%2e%2e/hello"), 400, NULL},
        {GET("/a%00"), 400, NULL},
        {GET("/a%2fb"), 400, NULL},
        {GET("/none"), 500, "{\"reason\":\""},
        {GET("/status/999"), 500, NULL},
        {"nonsense\r\n\r\n", 400, NULL},
        {"GET / HTTP/1.1\n", 400, NULL},
        {"GET / HTTP/1.1\r\n\r\n", 400, NULL},
        {"GET / HTTP/3.0\r\nHost: h\r\n\r\n", 505, NULL},
        {"GET /hello HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", 400, NULL},
        {"GET /hello HTTP/1.1\r\nHost : h\r\n\r\n", 400, NULL},
        {POST("/echo", "Content-Length: 1\r\nContent-Length: 2\r\n", "ab"), 400, NULL},
        {POST("/echo", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400,
         NULL},
        {POST("/echo", "Transfer-Encoding: gzip\r\n", "0\r\n\r\n"), 400, NULL},
        {POST("/echo", "Transfer-Encoding: chunked\r\n", "x\r\n"), 400, NULL},
        {POST("/echo", "Transfer-Encoding: chunked\r\n", "1\r\nab\r\n"), 400, NULL},
        {POST("/echo", "Expect: wonders\r\nContent-Length: 1\r\n", "a"), 417, NULL},
        {POST("/echo", "Content-Length: 4194305\r\n", "a"), 413, NULL},
        {POST("/small", "Content-Length: 11\r\n", "01234567890"), 413, NULL},
        {POST("/small", "Transfer-Encoding: chunked\r\n", "6\r\n012345\r\n5\r\n01234\r\n"), 413,
         NULL},
        {"GET /hello HTTP/1.1\r\nHost: h\r\nContent-Length: 65537\r\n\r\n", 413, NULL},
        {POST("/nothing", "Content-Length: 99999999999\r\n", "a"), 404, NULL},
        {huge, 431, NULL},
        {huge + 4, 414, NULL},
    };

    (void)state;
    memset(huge, 'a', sizeof huge - 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int before = atomic_load(&told);
        if (cases[i].text == huge)
            memcpy(huge, GET("/hello"), strlen(GET("/hello")) - 2); /* and a header without end */
        else if (cases[i].text == huge + 4)
            memset(huge, 'a', 200);
        char *answer = ask(shared.port, cases[i].text);
        if (status_of(answer) != cases[i].status || count_of(answer, "HTTP/1.1 ") != 1 ||
            (cases[i].holds != NULL && strstr(answer, cases[i].holds) == NULL))
            fail_msg("%zu: %d instead of %d:\n%s\nfor:\n%s", i, status_of(answer), cases[i].status,
                     answer, cases[i].text);
        assert_non_null(strstr(answer, "\r\nConnection: close\r\n"));
        free(answer);
        wait_until_equal(&told, before + 1);
        assert_int_equal(atomic_load(&told_status), cases[i].status);
    }
}

static void takes_bodies_however_they_come(void **state) {
    static const char *const paths[] = {"/echo", "/quick"};
    const size_t size = 3 * MIB + 7;
    char *body = malloc(size), head[256], *answer;
    size_t heard;
    (void)state;
    assert_non_null(body);
    for (size_t i = 0; i < size; i++)
        body[i] = (char)(i * 7 + i / 256);
    for (int i = 0; i < 2; i++) {
        int fd = dial(shared.port);
        snprintf(head, sizeof head,
                 "POST %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n",
                 paths[i], size);
        assert_true(say_text(fd, head) && say(fd, body, size));
        answer = hear_all(fd, &heard, NULL);
        assert_int_equal(status_of(answer), 200);
        assert_int_equal(answer + heard - body_of(answer), size);
        assert_memory_equal(body_of(answer), body, size);
        free(answer);
        close(fd);

        fd = dial(shared.port);
        snprintf(head, sizeof head,
                 "POST %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
                 "Transfer-Encoding: chunked\r\n\r\n",
                 paths[i]);
        assert_true(say_text(fd, head));
        for (size_t at = 0, step = 1; at < size; at += step, step = step * 3 % 70001) {
            step = step < size - at ? step : size - at;
            snprintf(head, sizeof head, "%zX;ext=\"1\"\r\n", step);
            assert_true(say_text(fd, head) && say(fd, body + at, step) && say_text(fd, "\r\n"));
        }
        assert_true(say_text(fd, "0\r\nTrailer: x\r\n\r\n"));
        answer = hear_all(fd, &heard, NULL);
        assert_int_equal(status_of(answer), 200);
        assert_int_equal(answer + heard - body_of(answer), size);
        assert_memory_equal(body_of(answer), body, size);
        free(answer);
        close(fd);
    }
    free(body);
    answer = ask(shared.port, POST("/small", "Content-Length: 10\r\n", "0123456789"));
    assert_string_equal(body_of(answer), "0123456789");
    free(answer);
    answer = ask(shared.port, POST("/echo", "", ""));
    assert_int_equal(status_of(answer), 200);
    free(answer);
}

static void says_continue_only_when_the_body_is_welcome(void **state) {
    int fd = dial(shared.port);
    (void)state;
    assert_true(say_text(fd, POST("/echo", "Expect: 100-continue\r\nContent-Length: 5\r\n", "")));
    char *answer = hear_until(fd, "\r\n\r\n");
    assert_string_equal(answer, "HTTP/1.1 100 Continue\r\n\r\n");
    free(answer);
    assert_true(say_text(fd, "hello"));
    answer = hear_all(fd, NULL, NULL);
    assert_int_equal(status_of(answer), 200);
    assert_string_equal(body_of(answer), "hello");
    free(answer);
    close(fd);

    answer = ask(shared.port, POST("/small", "Expect: 100-continue\r\nContent-Length: 11\r\n", ""));
    assert_int_equal(status_of(answer), 413);
    free(answer);
    answer = ask(shared.port, POST("/nil", "Expect: 100-continue\r\nContent-Length: 1\r\n", ""));
    assert_int_equal(status_of(answer), 404);
    free(answer);
}

static void sends_no_body_where_there_is_none(void **state) {
    static const struct {
        const char *text, *holds;
    } cases[] = {
        {"HEAD /hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
         "\r\nContent-Length: 5\r\n"},
        {"HEAD /nothing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "HTTP/1.1 404 "},
        {"HEAD /stream/1000/1000 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
         "\r\nContent-Length: 1000\r\n"},
        {"HEAD /stream/1000/-1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
         "\r\nTransfer-Encoding: chunked\r\n"},
        {"HEAD hello HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
        {"HEAD /he\x01llo HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
        {"HEAD /hello\r\n\r\n", "HTTP/1.1 400 "},
        {"HEAD /hello HTTP/2.0\r\n\r\n", "HTTP/1.1 505 "},
        {"HEAD /hello HTTP/1.1\nHost: h\n\n", "HTTP/1.1 400 "},
        {"HEAD * HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 400 "},
        {"\r\nHEAD /%zz HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 400 "},
        {"HEAD /hello HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999\r\n\r\n", "HTTP/1.1 413 "},
        {"HEAD /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "HTTP/1.1 405 "},
        {GET("/status/204"), "HTTP/1.1 204 No Content\r\n"},
        {GET("/status/304"), "HTTP/1.1 304 Not Modified\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *answer = ask(shared.port, cases[i].text);
        assert_non_null(strstr(answer, cases[i].holds));
        assert_string_equal(body_of(answer), "");
        free(answer);
    }
    wait_until_equal(&closes, atomic_load(&opens));
}

static void keeps_connections_and_order(void **state) {
    static const char pipelined[] =
        "GET /pool HTTP/1.1\r\nHost: h\r\n\r\n"
        "HEAD /hello HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nnull"
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
        "POST /quick HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\ndef\r\n0\r\n\r\n"
        "GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n";
    const int fd = dial(shared.port), times = 100;
    char *answer;
    (void)state;
    for (int i = 0; i < times; i++)
        assert_true(say(fd, pipelined, sizeof pipelined - 1));
    assert_int_equal(shutdown(fd, SHUT_WR), 0); /* what came before is still answered */
    answer = hear_all(fd, NULL, NULL);
    assert_int_equal(count_of(answer, "HTTP/1.1 200 OK\r\n"), 4 * times);
    assert_int_equal(count_of(answer, "HTTP/1.1 404 "), times);
    assert_int_equal(count_of(answer, "\r\n\r\nhelloHTTP/1.1 200"), times);
    assert_int_equal(count_of(answer, "\r\n\r\nabcHTTP/1.1 200"), times);
    assert_int_equal(count_of(answer, "\r\n\r\ndefHTTP/1.1 404"), times);
    assert_non_null(strstr(answer + strlen(answer) - 40, "served at this path"));
    free(answer);
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_simple_requests),
        cmocka_unit_test(hands_the_request_to_the_handler),
        cmocka_unit_test(refuses_what_it_must),
        cmocka_unit_test(takes_bodies_however_they_come),
        cmocka_unit_test(says_continue_only_when_the_body_is_welcome),
        cmocka_unit_test(sends_no_body_where_there_is_none),
        cmocka_unit_test(keeps_connections_and_order),
    };
    return cmocka_run_group_tests(tests, start_shared, stop_shared);
}
