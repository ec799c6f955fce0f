/* The routes that the server's tests ask, and what they count. Included by one file of each
 * program. */
#ifndef MSAAS_TEST_HTTP_ROUTES_H
#define MSAAS_TEST_HTTP_ROUTES_H

#include "http_peer.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>

#include "msaas/sys.h"

#define MIB ((size_t)1 << 20)
#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
#define POST(path, headers, body)                                                                  \
    "POST " path " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" headers "\r\n" body

static sem_t gate, entered; /* /wait tells that it is entered, and waits for the gate */
static atomic_int opens, closes;
static _Atomic int64_t given;        /* by streams */
static atomic_int told, told_status; /* by `done` */

static inline void hello(const struct ms_http_call *call) {
    ms_http_reply(call, 200, "text/plain", "hello", 5);
}

static inline void echo(const struct ms_http_call *call) {
    assert_int_equal(((const char *)call->body)[call->body_bytes], '\0');
    ms_http_reply(call, 200, "application/octet-stream", call->body, call->body_bytes);
}

static inline void tell_call(const struct ms_http_call *call) {
    char *q, text[1024];
    const int rc = ms_http_query(call, "q", &q);
    const char *agent = ms_http_header(call, "user-agent");
    const int size = snprintf(text, sizeof text, "%s|%s|%s|%s|%s|%s|%s|%s|%zu", call->method,
                              call->path, call->params[0], call->params[1], call->query,
                              rc != 0     ? "(malformed)"
                              : q != NULL ? q
                                          : "(none)",
                              agent != NULL ? agent : "(none)", call->peer, call->body_bytes);
    free(q);
    ms_http_add_header(call, "X-Good", "yes");
    ms_http_add_header(call, "X-Bad", "no\r\nX-Injected: yes");
    ms_http_add_header(call, "X-Bad: no\r\nX-Injected", "yes");
    ms_http_reply(call, 200, "text/plain\r\nX-Injected: yes", text, (size_t)size);
}

static inline void no_answer(const struct ms_http_call *call) {
    (void)call;
}

static inline int64_t number(const char *text) {
    return strtoll(text, NULL, 10);
}

static inline void status(const struct ms_http_call *call) {
    ms_http_reply(call, (int)number(call->params[0]), "text/plain", "body", 4);
}

static inline void wait_for_gate(const struct ms_http_call *call) {
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

static inline int source_read(void *context, void *buffer, size_t capacity, size_t *size,
                              int *again_ms, struct ms_error *err) {
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

static inline void source_close(void *context) {
    free(context);
    atomic_fetch_add(&closes, 1);
}

/* /stream/{bytes to give}/{length to promise, -1 for none}?fails_at=&again= */
static inline void stream(const struct ms_http_call *call) {
    struct source *source = calloc(1, sizeof *source);
    struct ms_http_stream answer = {.read = source_read, .close = source_close, .context = source};
    assert_non_null(source);
    char *fails_at;
    assert_int_equal(ms_http_query(call, "fails_at", &fails_at), 0);
    char *again;
    assert_int_equal(ms_http_query(call, "again", &again), 0);
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

/* A stream that passes its bytes on: all that the client takes. */
static inline int source_pass(void *context, struct ms_http_outlet *outlet, struct ms_error *err) {
    static const char bytes[8192] = {'p'};
    struct source *source = context;
    for (size_t taken = sizeof bytes; taken == sizeof bytes && source->left > 0;) {
        if (source->fails_at >= 0 && source->left <= source->fails_at)
            return ms_error_set(err, MS_EIO, "a test's stream fails");
        const size_t size =
            source->left < (int64_t)sizeof bytes ? (size_t)source->left : sizeof bytes;
        taken = ms_http_outlet_write(outlet, bytes, size);
        source->left -= (int64_t)taken;
        atomic_fetch_add(&given, (int64_t)taken);
    }
    return 0;
}

/* /pass/{bytes}/{bytes left when it fails, -1: never} */
static inline void pass(const struct ms_http_call *call) {
    struct source *source = calloc(1, sizeof *source);
    struct ms_http_stream answer = {.pass = source_pass, .close = source_close, .context = source};
    assert_non_null(source);
    answer.length = source->left = number(call->params[0]);
    source->fails_at = number(call->params[1]);
    atomic_fetch_add(&opens, 1);
    ms_http_reply_stream(call, 200, "application/octet-stream", &answer);
}

/* A file of MiBs, each byte of which is the number of its MiB. */
static int served_fd = -1;

static inline int file_pass(void *context, struct ms_http_outlet *outlet, struct ms_error *err) {
    struct source *source = context;
    int64_t taken = 0;
    const int rc =
        ms_http_outlet_file(outlet, served_fd, source->fails_at, source->left, &taken, err);
    source->fails_at += taken;
    source->left -= taken;
    return rc;
}

/* /file/{first}/{count} */
static inline void file(const struct ms_http_call *call) {
    struct source *source = calloc(1, sizeof *source);
    struct ms_http_stream answer = {.pass = file_pass, .close = source_close, .context = source};
    assert_non_null(source);
    source->fails_at = number(call->params[0]);
    answer.length = source->left = number(call->params[1]);
    atomic_fetch_add(&opens, 1);
    ms_http_reply_stream(call, 200, "application/octet-stream", &answer);
}

/* Thinks better of it. */
static inline void twice(const struct ms_http_call *call) {
    struct source *source = calloc(1, sizeof *source);
    const struct ms_http_stream answer = {
        .length = -1, .read = source_read, .close = source_close, .context = source};
    atomic_fetch_add(&opens, 1);
    ms_http_reply_stream(call, 200, "text/plain", &answer);
    ms_http_reply(call, 404, "text/plain", "no", 2);
}

static const struct ms_http_route routes[] = {
    {"GET", "/hello", hello, MS_HTTP_LOOP, 0},
    {"GET", "/pool", hello, MS_HTTP_POOL, 0},
    {"POST", "/echo", echo, MS_HTTP_POOL, 4 << 20},
    {"POST", "/quick", echo, MS_HTTP_LOOP, 4 << 20},
    {"POST", "/small", echo, MS_HTTP_POOL, 10},
    {"GET", "/call/{}/{}", tell_call, MS_HTTP_POOL, 0},
    {"GET", "/none", no_answer, MS_HTTP_POOL, 0},
    {"GET", "/status/{}", status, MS_HTTP_LOOP, 0},
    {"GET", "/wait", wait_for_gate, MS_HTTP_POOL, 0},
    {"GET", "/stream/{}/{}", stream, MS_HTTP_POOL, 0},
    {"GET", "/pass/{}/{}", pass, MS_HTTP_POOL, 0},
    {"GET", "/file/{}/{}", file, MS_HTTP_SLOW, 0},
    {"POST", "/large", hello, MS_HTTP_POOL, 64 << 20},
    {"GET", "/slow", wait_for_gate, MS_HTTP_SLOW, 0},
    {"GET", "/loop", wait_for_gate, MS_HTTP_LOOP, 0},
    {"GET", "/twice", twice, MS_HTTP_POOL, 0},
    {0},
};

static inline void done(void *context, const char *method, const char *route, const char *path,
                        int code, double seconds, int64_t sent_bytes, const char *request_id,
                        const char *peer, const struct ms_exchange *exchange) {
    assert_null(context);
    assert_non_null(exchange);
    assert_true(method != NULL && route != NULL && path != NULL && seconds >= 0 &&
                sent_bytes >= 0 && *request_id != '\0' && *peer != '\0');
    atomic_store(&told_status, code);
    atomic_fetch_add(&told, 1);
}

/* Nobody is turned away for taking long, unless a test wants it: a machine may be slow. */
#define LONG_MS 3600000

static inline struct ms_http_server_options options_of(void) {
    return (struct ms_http_server_options){.host = "127.0.0.1",
                                           .routes = routes,
                                           .threads = 4,
                                           .max_wait_ms = LONG_MS,
                                           .rate_window_ms = LONG_MS,
                                           .idle_ms = LONG_MS,
                                           .done = done,
                                           .allowed_hosts = "h"};
}

/* The client goes without a goodbye: the server learns of it while the answer is at work. */
static inline void go_away(int fd) {
    const struct linger now = {1, 0};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    close(fd);
}

static struct peer shared; /* with no short deadlines, for all tests that need none */

static inline int start_shared(void **state) {
    const struct ms_http_server_options options = options_of();
    (void)state;
    sem_init(&gate, 0, 0);
    sem_init(&entered, 0, 0);
    peer_start(&shared, &options);
    return 0;
}

static inline int stop_shared(void **state) {
    (void)state;
    peer_stop(&shared, 0);
    return atomic_load(&opens) == atomic_load(&closes) ? 0 : -1;
}

static inline void wait_until_equal(const atomic_int *a, int b) {
    const double until = ms_monotonic_s() + PATIENCE_S;
    while (atomic_load(a) != b) {
        if (ms_monotonic_s() > until)
            fail_msg("%d did not become %d", atomic_load(a), b);
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
}

#endif
