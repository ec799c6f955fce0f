/* Answers that are put off: they come in the end, hold up nobody meanwhile, and leave nothing
 * behind. */
#include "http_routes.h"

#define WAITERS 40
#define THREADS 2

static atomic_int looks, begun, closed;

struct delay {
    int left; /* looks; -1: for ever */
};

static inline void look_at_delay(const struct ms_http_call *call, void *context, bool is_last);

static inline void close_delay(void *context) {
    free(context);
    atomic_fetch_add(&closed, 1);
}

static inline void look_at_delay(const struct ms_http_call *call, void *context, bool is_last) {
    struct delay *delay = context;
    const struct ms_http_later later = {look_at_delay, close_delay, delay};
    atomic_fetch_add(&looks, 1);
    if (is_last)
        ms_http_reply(call, 202, "text/plain", "last", 4);
    else if (delay->left == 0)
        ms_http_reply(call, 200, "text/plain", call->params[0], strlen(call->params[0]));
    else
        ms_http_reply_later(call, 10, &later);
    delay->left -= delay->left > 0;
}

static void put_off(const struct ms_http_call *call) {
    struct delay *delay = calloc(1, sizeof *delay);
    const struct ms_http_later later = {look_at_delay, close_delay, delay};
    assert_non_null(delay);
    delay->left = (int)number(call->params[0]);
    atomic_fetch_add(&begun, 1);
    ms_http_add_header(call, "X-Once", "yes");
    ms_http_reply_later(call, 1, &later);
}

static const struct ms_http_route own_routes[] = {
    {"GET", "/later/{}", put_off, MS_HTTP_POOL, 0},
    {"POST", "/later/{}", put_off, MS_HTTP_SLOW, 1000},
    {"GET", "/pool", hello, MS_HTTP_POOL, 0},
    {0},
};

static void start_own(struct peer *peer) {
    const struct ms_http_server_options options = {
        .host = "127.0.0.1", .routes = own_routes, .threads = THREADS, .allowed_hosts = "h"};
    peer_start(peer, &options);
}

static void comes_in_the_end(void **state) {
    struct peer peer;
    (void)state;
    start_own(&peer);
    char *answer = ask(peer.port, GET("/later/3"));
    assert_int_equal(status_of(answer), 200);
    assert_string_equal(body_of(answer), "3");
    assert_int_equal(count_of(answer, "X-Once"), 1);
    free(answer);
    answer = ask(peer.port, POST("/later/0", "Content-Length: 3\r\n", "abc"));
    assert_string_equal(body_of(answer), "0");
    free(answer);
    answer = ask(peer.port, "HEAD /later/1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_int_equal(status_of(answer), 200);
    assert_string_equal(body_of(answer), "");
    free(answer);
    /* and the connection goes on */
    const int fd = dial(peer.port);
    assert_true(say_text(fd, "GET /later/2 HTTP/1.1\r\nHost: h\r\n\r\n" GET("/pool")));
    answer = hear_all(fd, NULL, NULL);
    assert_int_equal(count_of(answer, "HTTP/1.1 200"), 2);
    assert_true(strstr(answer, "\r\n\r\n2HTTP") != NULL && strstr(answer, "hello") != NULL);
    free(answer);
    close(fd);
    wait_until_equal(&closed, atomic_load(&begun));
    peer_stop(&peer, 1000);
}

static void holds_no_thread(void **state) {
    struct peer peer;
    int fds[WAITERS];
    (void)state;
    start_own(&peer);
    for (int i = 0; i < WAITERS; i++) {
        fds[i] = dial(peer.port);
        assert_true(say_text(fds[i], GET("/later/-1")));
    }
    wait_until_equal(&begun, atomic_load(&closed) + WAITERS);
    char *answer = ask(peer.port, GET("/pool"));
    assert_string_equal(body_of(answer), "hello");
    free(answer);
    for (int i = 0; i < WAITERS; i++) /* clients that go */
        close(fds[i]);
    wait_until_equal(&closed, atomic_load(&begun));
    peer_stop(&peer, 1000);
}

static void is_answered_when_the_server_stops(void **state) {
    struct peer peer;
    (void)state;
    start_own(&peer);
    const int fd = dial(peer.port);
    assert_true(say_text(fd, GET("/later/-1")));
    const int before = atomic_load(&looks);
    for (double until_s = ms_monotonic_s() + PATIENCE_S; atomic_load(&looks) < before + 3;) {
        assert_true(ms_monotonic_s() < until_s);
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    peer_stop(&peer, PATIENCE_S * 1000);
    char *answer = hear_all(fd, NULL, NULL);
    assert_int_equal(status_of(answer), 202);
    assert_string_equal(body_of(answer), "last");
    free(answer);
    close(fd);
    assert_int_equal(atomic_load(&closed), atomic_load(&begun));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_in_the_end),
        cmocka_unit_test(holds_no_thread),
        cmocka_unit_test(is_answered_when_the_server_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
