/* The HTTP server over real sockets: hostile clients, slow ones, and those that keep the rules. */
#include "http_peer.h"

#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>

#include "msaas/sys.h"

#define MIB ((size_t)1 << 20)
#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
#define POST(path, headers, body)                                                                  \
    "POST " path " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" headers "\r\n" body

/* ---- routes -------------------------------------------------------------------------------------------------- */

static sem_t gate, entered; /* /wait tells that it is entered, and waits for the gate */
static atomic_int opens, closes;
static _Atomic int64_t given;        /* by streams */
static atomic_int told, told_status; /* by `done` */

static void hello(const struct ms_http_call *call) {
    ms_http_reply(call, 200, "text/plain", "hello", 5);
}

static void echo(const struct ms_http_call *call) {
    assert_int_equal(((const char *)call->body)[call->body_bytes], '\0');
    ms_http_reply(call, 200, "application/octet-stream", call->body, call->body_bytes);
}

static void tell_call(const struct ms_http_call *call) {
    char *q = ms_http_query(call, "q"), text[1024];
    const char *agent = ms_http_header(call, "user-agent");
    const int size =
        snprintf(text, sizeof text, "%s|%s|%s|%s|%s|%s|%s|%s|%zu", call->method, call->path,
                 call->params[0], call->params[1], call->query, q != NULL ? q : "(none)",
                 agent != NULL ? agent : "(none)", call->peer, call->body_bytes);

    free(q);
    ms_http_add_header(call, "X-Good", "yes");
    ms_http_add_header(call, "X-Bad", "no\r\nX-Injected: yes");
    ms_http_add_header(call, "X-Bad: no\r\nX-Injected", "yes");
    ms_http_reply(call, 200, "text/plain\r\nX-Injected: yes", text, (size_t)size);
}

static void no_answer(const struct ms_http_call *call) {
    (void)call;
}

static int64_t number(const char *text) {
    return strtoll(text, NULL, 10);
}

static void status(const struct ms_http_call *call) {
    ms_http_reply(call, (int)number(call->params[0]), "text/plain", "body", 4);
}

static void wait_for_gate(const struct ms_http_call *call) {
    sem_post(&entered);
    sem_wait(&gate);
    ms_http_reply(call, 200, "text/plain", "waited", 6);
}

struct source {
    int64_t left;     /* bytes to give, -1: no end */
    int64_t fails_at; /* bytes left when it fails, -1: never */
    int again;        /* so often nothing now, before each piece */
    int turns;
    char byte;
};

static int source_read(void *context, void *buffer, size_t capacity, size_t *size, int *again_ms,
                       struct ms_error *err) {
    struct source *source = context;

    if (source->turns++ < source->again) {
        *again_ms = 10;
        return 0;
    }
    source->turns = 0;
    if (source->fails_at >= 0 && source->left <= source->fails_at)
        return ms_error_set(err, MS_EIO, "a test's stream fails");
    if (source->again > 0 && capacity > 10)
        capacity = 10; /* an event */
    if (source->left >= 0 && source->left < (int64_t)capacity)
        capacity = (size_t)source->left;
    memset(buffer, source->byte, capacity);
    *size = capacity;
    atomic_fetch_add(&given, (int64_t)capacity);
    if (source->left > 0)
        source->left -= (int64_t)capacity;
    return 0;
}

static void source_close(void *context) {
    free(context);
    atomic_fetch_add(&closes, 1);
}

/* /stream/{bytes to give}/{length to promise, -1 for none}?fails_at=&again= */
static void stream(const struct ms_http_call *call) {
    struct source *source = calloc(1, sizeof *source);
    char *fails_at = ms_http_query(call, "fails_at"), *again = ms_http_query(call, "again");
    struct ms_http_stream answer = {.read = source_read, .close = source_close, .context = source};

    assert_non_null(source);
    source->left = number(call->params[0]);
    source->fails_at = fails_at != NULL ? number(fails_at) : -1;
    source->again = again != NULL ? (int)number(again) : 0;
    source->byte = 's';
    answer.length = number(call->params[1]);
    free(fails_at);
    free(again);
    atomic_fetch_add(&opens, 1);
    ms_http_reply_stream(call, 200, "application/octet-stream", &answer);
}

/* Thinks better of it. */
static void twice(const struct ms_http_call *call) {
    struct source *source = calloc(1, sizeof *source);
    const struct ms_http_stream answer = {
        .length = -1, .read = source_read, .close = source_close, .context = source};

    atomic_fetch_add(&opens, 1);
    ms_http_reply_stream(call, 200, "text/plain", &answer);
    ms_http_reply(call, 404, "text/plain", "no", 2);
}

static const struct ms_http_route routes[] = {
    {"GET", "/hello", hello, true, 0},         {"GET", "/pool", hello, false, 0},
    {"POST", "/echo", echo, false, 4 << 20},   {"POST", "/quick", echo, true, 4 << 20},
    {"POST", "/small", echo, false, 10},       {"GET", "/call/{}/{}", tell_call, false, 0},
    {"GET", "/none", no_answer, false, 0},     {"GET", "/status/{}", status, true, 0},
    {"GET", "/wait", wait_for_gate, false, 0}, {"GET", "/stream/{}/{}", stream, false, 0},
    {"GET", "/twice", twice, false, 0},        {0},
};

static void done(void *context, const char *method, const char *route, const char *path, int code,
                 double seconds, int64_t sent_bytes, const char *request_id, const char *peer) {
    assert_null(context);
    assert_true(method != NULL && route != NULL && path != NULL && seconds >= 0 &&
                sent_bytes >= 0 && *request_id != '\0' && *peer != '\0');
    atomic_store(&told_status, code);
    atomic_fetch_add(&told, 1);
}

static struct ms_http_server_options options_of(void) {
    return (struct ms_http_server_options){
        .host = "127.0.0.1", .routes = routes, .threads = 4, .done = done};
}

static struct peer shared; /* with no short deadlines, for all tests that need none */

static int start_shared(void **state) {
    const struct ms_http_server_options options = options_of();

    (void)state;
    sem_init(&gate, 0, 0);
    sem_init(&entered, 0, 0);
    peer_start(&shared, &options);
    return 0;
}

static int stop_shared(void **state) {
    (void)state;
    peer_stop(&shared, 0);
    return atomic_load(&opens) == atomic_load(&closes) ? 0 : -1;
}

static void wait_until_equal(const atomic_int *a, int b) {
    const double until = ms_monotonic_s() + PATIENCE_S;

    while (atomic_load(a) != b) {
        if (ms_monotonic_s() > until)
            fail_msg("%d did not become %d", atomic_load(a), b);
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
}

/* ---- what is asked and answered ------------------------------------------------------------------------------ */

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
    assert_string_equal(body_of(answer), "GET|/call/a/b|a|b|q=%zz|(none)|(none)|127.0.0.1|0");
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
        char *answer;

        if (cases[i].text == huge)
            memcpy(huge, GET("/hello"), strlen(GET("/hello")) - 2); /* and a header without end */
        else if (cases[i].text == huge + 4)
            memset(huge, 'a', 200);
        answer = ask(shared.port, cases[i].text);
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
    char *answer;

    (void)state;
    assert_true(say_text(fd, POST("/echo", "Expect: 100-continue\r\nContent-Length: 5\r\n", "")));
    answer = hear_until(fd, "\r\n\r\n");
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
    assert_non_null(strstr(answer + strlen(answer) - 40, "nothing here"));
    free(answer);
    close(fd);
}

/* ---- slow and greedy clients --------------------------------------------------------------------------------- */

static void ends_slow_heads_bodies_and_idlers(void **state) {
    static const struct {
        const char *begin;
        char drip;
        int status; /* 0: closed without a word */
    } cases[] = {
        {"", '\0', 0},
        {"GET /hello HTTP/1.1\r\nX: ", 'a', 408},
        {"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n", 'a', 408},
        {"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n", '\0', 408},
        {"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nFFFFF\r\n", 'a', 408},
        {"GET /hello HTTP/1.1\r\nHost: h\r\n\r\n", '\0', 200}, /* then closed for idling */
    };
    struct ms_http_server_options options = options_of();
    struct peer peer;

    (void)state;
    options.header_deadline_ms = options.body_deadline_ms = options.idle_ms = 300;
    peer_start(&peer, &options);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int fd = dial(peer.port);
        struct pollfd heard = {.fd = fd, .events = POLLIN};
        const double until = ms_monotonic_s() + PATIENCE_S;
        char *answer;

        assert_true(say_text(fd, cases[i].begin));
        while (poll(&heard, 1, 20) == 0) { /* a byte now and then does not help it */
            assert_true(ms_monotonic_s() < until);
            if (cases[i].drip != '\0')
                (void)say(fd, &cases[i].drip, 1);
        }
        answer = hear_all(fd, NULL, NULL);
        assert_int_equal(status_of(answer), cases[i].status);
        free(answer);
        close(fd);
    }
    peer_stop(&peer, 0);
}

static void counts_bodies_in_flight(void **state) {
    struct ms_http_server_options options = options_of();
    struct peer peer;
    const double until = ms_monotonic_s() + PATIENCE_S;
    int first, second;
    char *answer, *filler = calloc(1, MIB);

    (void)state;
    assert_non_null(filler);
    options.max_inflight_bytes = 1 << 20;
    peer_start(&peer, &options);
    /* What is only promised costs nothing: ten of these are more than there may be. */
    for (int i = 0; i < 10; i++) {
        first = dial(peer.port);
        assert_true(say_text(
            first, POST("/echo", "Expect: 100-continue\r\nContent-Length: 900000\r\n", "")));
        answer = hear_until(first, "\r\n\r\n");
        assert_int_equal(status_of(answer), 100);
        free(answer);
        close(first);
    }
    first = dial(peer.port);
    assert_true(say_text(first, POST("/echo", "Content-Length: 900000\r\n", "")) &&
                say(first, filler, 899999));
    /* The first one's bytes must have come before the second's: it is refused as soon as they have. */
    for (int code = 0; code != 503;) {
        assert_true(ms_monotonic_s() < until);
        second = dial(peer.port);
        assert_true(say_text(
            second, POST("/echo", "Expect: 100-continue\r\nContent-Length: 600000\r\n", "")));
        answer = hear_until(second, "\r\n\r\n");
        code = status_of(answer);
        if (code == 503)
            assert_non_null(strstr(answer, "\r\nRetry-After: "));
        free(answer);
        close(second);
    }
    second = dial(peer.port);
    assert_true(say_text(second, POST("/echo", "Transfer-Encoding: chunked\r\n", "AAE60\r\n")));
    (void)say(second, filler, 700000);
    answer = hear_all(second, NULL, NULL);
    assert_int_equal(status_of(answer), 503);
    free(answer);
    close(second);
    /* The first is whole and answered; then there is room again. */
    assert_true(say(first, filler, 1));
    answer = hear_all(first, NULL, NULL);
    assert_int_equal(status_of(answer), 200);
    free(answer);
    close(first);
    answer = ask(peer.port, GET("/hello"));
    assert_int_equal(status_of(answer), 200);
    free(answer);
    second = dial(peer.port);
    assert_true(say_text(second, POST("/echo", "Content-Length: 900000\r\n", "")) &&
                say(second, filler, 900000));
    answer = hear_all(second, NULL, NULL);
    assert_int_equal(status_of(answer), 200);
    free(answer);
    close(second);
    answer = ask(peer.port, POST("/echo", "Content-Length: 2000000\r\n", ""));
    assert_int_equal(status_of(answer), 503); /* never possible */
    free(answer);
    free(filler);
    peer_stop(&peer, 0);
}

static void caps_connections(void **state) {
    struct ms_http_server_options options = options_of();
    struct peer peer;
    int fds[3];
    char *answer;

    (void)state;
    options.max_connections = 3;
    peer_start(&peer, &options);
    for (int i = 0; i < 3; i++) {
        fds[i] = dial(peer.port);
        assert_true(say_text(fds[i], "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n"));
        answer = hear_until(fds[i], "hello");
        free(answer);
    }
    answer = ask(peer.port, "");
    assert_int_equal(status_of(answer), 503);
    assert_non_null(strstr(answer, "\r\nRetry-After: "));
    assert_int_equal((int)number(strstr(answer, "Content-Length: ") + 16), strlen(body_of(answer)));
    free(answer);
    close(fds[0]);
    for (int status = 503; status != 200;) { /* until the server has seen it */
        answer = ask(peer.port, GET("/hello"));
        status = status_of(answer);
        free(answer);
    }
    close(fds[1]);
    close(fds[2]);
    peer_stop(&peer, 0);
}

static void lets_early_errors_be_heard(void **state) {
    const int fd = dial(shared.port);
    char *answer, *filler = calloc(1, 8 * MIB);

    (void)state;
    assert_non_null(filler);
    assert_true(say_text(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 8388608\r\n\r\n"));
    assert_true(say(fd, filler, 8 * MIB)); /* as clients do that hear only then */
    answer = hear_all(fd, NULL, NULL);
    assert_int_equal(status_of(answer), 413);
    free(answer);
    free(filler);
    close(fd);
}

/* ---- streams ------------------------------------------------------------------------------------------------- */

static void streams_whole_answers(void **state) {
    static const struct {
        const char *text;
        size_t size;
        const char *holds;
    } cases[] = {
        {GET("/stream/1000000/1000000"), 1000000, "\r\nContent-Length: 1000000\r\n"},
        {GET("/stream/-1/1000000"), 1000000, "\r\nContent-Length: 1000000\r\n"},
        {GET("/stream/0/0"), 0, "\r\nContent-Length: 0\r\n"},
        {"GET /stream/1000000/-1 HTTP/1.0\r\n\r\n", 1000000, "\r\nConnection: close\r\n"},
        {GET("/stream/0/-1"), 5, "\r\n0\r\n\r\n"},
        {GET("/stream/100/-1?again=2"), 10 * (3 + 10 + 2) + 5, "\r\n\r\na\r\nssssssssss\r\na\r\ns"},
        {GET("/twice"), 2, "HTTP/1.1 404 "},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size;
        bool reset;
        const int fd = dial(shared.port);
        char *answer;

        assert_true(say_text(fd, cases[i].text));
        answer = hear_all(fd, &size, &reset);
        assert_false(reset);
        assert_non_null(strstr(answer, cases[i].holds));
        assert_int_equal(answer + size - body_of(answer), cases[i].size);
        free(answer);
        close(fd);
    }
    wait_until_equal(&closes, atomic_load(&opens));
}

static void breaks_off_what_fails(void **state) {
    static const char *const cases[] = {
        GET("/stream/1000000/1000000?fails_at=500000"),
        GET("/stream/1000000/-1?fails_at=500000"),
        GET("/stream/1000/2000"), /* less than promised */
        "GET /stream/1000000/-1?fails_at=500000 HTTP/1.0\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size;
        bool reset;
        const int fd = dial(shared.port);
        char *answer;

        assert_true(say_text(fd, cases[i]));
        answer = hear_all(fd, &size, &reset);
        assert_true(reset);
        assert_true(size < 1000000);
        assert_null(strstr(answer, "\r\n0\r\n\r\n"));
        free(answer);
        close(fd);
    }
    wait_until_equal(&closes, atomic_load(&opens));
}

/* What was taken from the stream and has not come yet lies somewhere: in the kernel's buffers, at most 16 MiB, and in the server's, hardly anything. */
static void streams_to_slow_readers_in_little_memory(void **state) {
    static char buffer[65536];
    const int64_t size = 128 << 20;
    const int fd = dial(shared.port);
    int64_t heard = 0;

    (void)state;
    atomic_store(&given, 0);
    assert_true(say_text(fd, GET("/stream/-1/134217728")));
    free(hear_until(fd, "\r\n\r\n"));
    while (heard < size) {
        const ssize_t some = recv(fd, buffer, sizeof buffer, 0);

        assert_true(some > 0);
        heard += some;
        assert_true(atomic_load(&given) - heard < (24 << 20));
        if (heard < 32 << 20)
            nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    assert_int_equal(heard, size);
    assert_int_equal(recv(fd, buffer, 1, 0), 0);
    close(fd);
    wait_until_equal(&closes, atomic_load(&opens));
}

static void closes_the_stream_when_the_client_is_gone(void **state) {
    static const char *const cases[] = {
        "GET /stream/-1/-1 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /stream/-1/-1?again=1000000 HTTP/1.1\r\nHost: h\r\n\r\n", /* has nothing to say */
        "GET /stream/-1/-1?again=2 HTTP/1.1\r\nHost: h\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int before = atomic_load(&told), fd = dial(shared.port);
        char *head;

        assert_true(say_text(fd, cases[i]));
        head = hear_until(fd, "\r\n\r\n");
        free(head);
        assert_true(atomic_load(&opens) == atomic_load(&closes) + 1);
        close(fd);
        wait_until_equal(&closes, atomic_load(&opens));
        wait_until_equal(&told, before + 1);
    }
}

static void ends_readers_that_stall(void **state) {
    struct ms_http_server_options options = options_of();
    const int closes_before = atomic_load(&closes);
    struct peer peer;
    char *head;
    int fd;

    (void)state;
    options.write_stall_ms = 200;
    peer_start(&peer, &options);
    fd = dial(peer.port);
    assert_true(say_text(fd, GET("/stream/-1/-1")));
    wait_until_equal(&closes, closes_before + 1); /* without a byte taken */
    close(fd);
    /* One with little to say does not stall. */
    fd = dial(peer.port);
    assert_true(say_text(fd, GET("/stream/100/-1?again=10")));
    head = hear_all(fd, NULL, NULL);
    assert_non_null(strstr(head, "\r\n0\r\n\r\n"));
    free(head);
    close(fd);
    wait_until_equal(&closes, closes_before + 2);
    peer_stop(&peer, 0);
}

/* ---- the end ------------------------------------------------------------------------------------------------- */

static void finishes_what_is_at_work(void **state) {
    const struct ms_http_server_options options = options_of();
    const int closes_before = atomic_load(&closes);
    struct peer peer;
    int working, idle, events, late;
    char *answer;

    (void)state;
    peer_start(&peer, &options);
    idle = dial(peer.port);
    assert_true(say_text(idle, "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n"));
    free(hear_until(idle, "hello"));
    events = dial(peer.port);
    assert_true(say_text(events, "GET /stream/-1/-1?again=3 HTTP/1.1\r\nHost: h\r\n\r\n"));
    free(hear_until(events, "ssssss"));
    working = dial(peer.port);
    assert_true(say_text(working, "GET /wait HTTP/1.1\r\nHost: h\r\n\r\n"));
    sem_wait(&entered);
    ms_http_server_stop(peer.server, 1000 * PATIENCE_S);
    answer = hear_all(idle, NULL, NULL); /* closed at once */
    assert_string_equal(answer, "");
    free(answer);
    answer = hear_all(events, NULL, NULL); /* ended in order */
    assert_string_equal(answer + strlen(answer) - 5, "0\r\n\r\n");
    free(answer);
    late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    {
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)peer.port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

        assert_int_not_equal(connect(late, (struct sockaddr *)&address, sizeof address), 0);
    }
    sem_post(&gate);
    answer = hear_all(working, NULL, NULL);
    assert_string_equal(body_of(answer), "waited");
    assert_non_null(strstr(answer, "\r\nConnection: close\r\n"));
    free(answer);
    pthread_join(peer.thread, NULL);
    ms_http_server_free(peer.server);
    close(late);
    close(idle);
    close(events);
    close(working);
    assert_int_equal(atomic_load(&closes), closes_before + 1);
}

static void drains_no_longer_than_it_may(void **state) {
    const struct ms_http_server_options options = options_of();
    struct peer peer;
    int working, uploading;
    char *answer;

    (void)state;
    peer_start(&peer, &options);
    uploading = dial(peer.port);
    assert_true(
        say_text(uploading, POST("/echo", "Expect: 100-continue\r\nContent-Length: 10\r\n", "")));
    free(hear_until(uploading, "\r\n\r\n"));
    working = dial(peer.port);
    assert_true(say_text(working, GET("/wait")));
    sem_wait(&entered);
    ms_http_server_stop(peer.server, 100);
    answer = hear_all(working, NULL, NULL);
    assert_string_equal(answer, "");
    free(answer);
    pthread_join(peer.thread, NULL); /* though the handler still waits */
    sem_post(&gate);
    ms_http_server_free(peer.server);
    close(working);
    close(uploading);
}

static void forgets_clients_that_left_during_the_work(void **state) {
    const int before = atomic_load(&told), fd = dial(shared.port);
    const struct linger now = {1, 0};

    (void)state;
    assert_true(say_text(fd, GET("/wait")));
    sem_wait(&entered);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    close(fd);
    wait_until_equal(&told, before + 1);
    assert_int_equal(atomic_load(&told_status), 499);
    sem_post(&gate);
}

static void names_what_it_cannot_listen_on(void **state) {
    struct ms_http_server_options options = options_of();
    struct ms_http_server *server;
    struct ms_error err = {0};

    (void)state;
    options.port = shared.port;
    assert_int_equal(ms_http_server_new(&options, &server, &err), MS_EUSAGE);
    assert_non_null(strstr(err.text, "port"));
    assert_null(server);
    options.port = 0;
    options.host = "999.1.1.1";
    assert_int_equal(ms_http_server_new(&options, &server, &err), MS_EUSAGE);
    options.host = "::1";
    if (ms_http_server_new(&options, &server, &err) == 0) { /* where there is IPv6 */
        assert_true(ms_http_server_port(server) > 0);
        ms_http_server_free(server);
    }
    ms_http_server_free(NULL);
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
        cmocka_unit_test(ends_slow_heads_bodies_and_idlers),
        cmocka_unit_test(counts_bodies_in_flight),
        cmocka_unit_test(caps_connections),
        cmocka_unit_test(lets_early_errors_be_heard),
        cmocka_unit_test(streams_whole_answers),
        cmocka_unit_test(breaks_off_what_fails),
        cmocka_unit_test(streams_to_slow_readers_in_little_memory),
        cmocka_unit_test(closes_the_stream_when_the_client_is_gone),
        cmocka_unit_test(ends_readers_that_stall),
        cmocka_unit_test(finishes_what_is_at_work),
        cmocka_unit_test(drains_no_longer_than_it_may),
        cmocka_unit_test(forgets_clients_that_left_during_the_work),
        cmocka_unit_test(names_what_it_cannot_listen_on),
    };

    return cmocka_run_group_tests(tests, start_shared, stop_shared);
}
