/* Bodies that handlers take in pieces: which pieces come, when a handler may refuse, and that what
 * has come is not lost, whatever ends the rest. */
#include "http_peer.h"

#include <stdatomic.h>
#include <time.h>

#include "msaas/sys.h"
#include "server.h"

#define PIECE 1000

/* What the takers got; each is told of by one thread after the other. */
static char got[1 << 16];
static size_t got_bytes;
static atomic_int mores, lasts, brokens, closes, heads, last_size;

static void take(void *context, const struct ms_http_call *call, const void *bytes, size_t size,
                 enum ms_http_part part) {
    assert_ptr_equal(context, got);
    assert_true(got_bytes + size <= sizeof got);
    memcpy(got + got_bytes, bytes, size);
    got_bytes += size;
    atomic_store(&last_size, (int)size);
    if (part == MS_HTTP_LAST) {
        char text[32];
        const int length = snprintf(text, sizeof text, "%zu", got_bytes);
        ms_http_reply(call, 200, "text/plain", text, (size_t)length);
    }
    if (part == MS_HTTP_MORE && strcmp(call->params[0], "enough") == 0)
        ms_http_reply(call, 409, "text/plain", "enough", 6);
    atomic_fetch_add(part == MS_HTTP_MORE ? &mores : part == MS_HTTP_LAST ? &lasts : &brokens, 1);
}

static void close_taker(void *context) {
    (void)context;
    atomic_fetch_add(&closes, 1);
}

static void pieces(const struct ms_http_call *call) {
    assert_int_equal(call->body_bytes, 0);
    atomic_fetch_add(&heads, 1);
    if (strcmp(call->params[0], "no") == 0) {
        ms_http_reply(call, 403, "text/plain", "no", 2);
        return;
    }
    if (strcmp(call->params[0], "silent") == 0)
        return;
    const struct ms_http_intake intake = {.most_bytes = 10000,
                                          .piece_bytes = PIECE,
                                          .take = take,
                                          .close = close_taker,
                                          .context = got};
    ms_http_take_body(call, &intake);
}

static const struct ms_http_route routes[] = {
    {"POST", "/pieces/{}", pieces, MS_HTTP_SLOW, MS_HTTP_IN_PIECES},
    {0},
};

static struct peer peer;

static void start(int rate_window_ms, int64_t max_inflight_bytes) {
    const struct ms_http_server_options options = {.host = "127.0.0.1",
                                                   .routes = routes,
                                                   .threads = 2,
                                                   .allowed_hosts = "h",
                                                   .rate_window_ms = rate_window_ms,
                                                   .max_inflight_bytes = max_inflight_bytes};
    got_bytes = 0;
    mores = lasts = brokens = closes = heads = 0;
    peer_start(&peer, &options);
}

static void wait_for(atomic_int *count, int wanted) {
    const double until = ms_monotonic_s() + PATIENCE_S;
    while (atomic_load(count) != wanted) {
        if (ms_monotonic_s() > until)
            fail_msg("%d did not become %d", atomic_load(count), wanted);
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
}

static void fill(char *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)('a' + i % 26);
}

static bool is_filled(size_t size) {
    for (size_t i = 0; i < size; i++)
        if (got[i] != (char)('a' + i % 26))
            return false;
    return got_bytes == size;
}

#define HEAD(path, headers) "POST /pieces/" path " HTTP/1.1\r\nHost: h\r\n" headers "\r\n"

static void gives_pieces_in_order(void **state) {
    static const int sizes[] = {0, 1, 999, 1000, 1001, 2000, 2500, 10000};
    char body[10000], head[128];
    (void)state;
    fill(body, sizeof body);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int size = sizes[i];
        start(0, 0);
        (void)snprintf(head, sizeof head, HEAD("a", "Connection: close\r\nContent-Length: %d\r\n"),
                       size);
        const int fd = dial(peer.port);
        assert_true(say_text(fd, head) && say(fd, body, (size_t)size));
        char *answer = hear_all(fd, NULL, NULL);
        assert_int_equal(status_of(answer), 200);
        assert_int_equal(atoi(body_of(answer)), size);
        assert_true(is_filled((size_t)size));
        assert_int_equal(lasts, 1);
        assert_int_equal(mores, size > 0 ? (size - 1) / PIECE : 0);
        free(answer);
        close(fd);
        peer_stop(&peer, 0);
        assert_int_equal(closes, 1);
        assert_int_equal(brokens, 0);
    }
}

/* Chunks need not end where pieces do; the next request follows at once. */
static void takes_chunks_and_goes_on(void **state) {
    char body[2600], text[8192] = HEAD("a", "Transfer-Encoding: chunked\r\n");
    (void)state;
    fill(body, sizeof body);
    for (size_t at = 0, size = 7; at < sizeof body; at += size, size = size * 3 % 701 + 1) {
        const size_t some = sizeof body - at < size ? sizeof body - at : size;
        const size_t used = strlen(text);
        (void)snprintf(text + used, sizeof text - used, "%zx\r\n%.*s\r\n", some, (int)some,
                       body + at);
    }
    strcat(text, "0\r\n\r\n" HEAD("a", "Connection: close\r\nContent-Length: 2\r\n") "ab");
    start(0, 0);
    char *answer = ask(peer.port, text);
    assert_int_equal(count_of(answer, "HTTP/1.1 200 OK"), 2);
    assert_non_null(strstr(answer, "\r\n\r\n2600HTTP"));
    assert_non_null(strstr(answer, "\r\n\r\n2602"));
    assert_memory_equal(got, body, sizeof body);
    free(answer);
    peer_stop(&peer, 0);
    assert_int_equal(closes, 2);
}

static void asks_before_the_body_comes(void **state) {
    (void)state;
    start(0, 0);
    int fd = dial(peer.port);
    assert_true(say_text(fd, HEAD("no", "Expect: 100-continue\r\nContent-Length: 5\r\n")));
    char *answer = hear_until(fd, "\r\n\r\nno");
    assert_int_equal(status_of(answer), 403);
    free(answer);
    close(fd);
    fd = dial(peer.port);
    assert_true(say_text(fd, HEAD("a", "Expect: 100-continue\r\nContent-Length: 5\r\n")));
    free(hear_until(fd, "HTTP/1.1 100 Continue\r\n\r\n"));
    assert_true(say_text(fd, "abcde"));
    answer = hear_until(fd, "\r\n\r\n5");
    assert_int_equal(status_of(answer), 200);
    free(answer);
    close(fd);
    answer = ask(peer.port, HEAD("silent", "Connection: close\r\nContent-Length: 1\r\n") "a");
    assert_int_equal(status_of(answer), 500);
    free(answer);
    peer_stop(&peer, 0);
    assert_int_equal(closes, 1);
}

static void refuses_what_is_too_long(void **state) {
    char body[12000], text[13000];
    (void)state;
    fill(body, sizeof body);
    start(0, 0);
    char *answer = ask(peer.port, HEAD("a", "Content-Length: 10001\r\n"));
    assert_int_equal(status_of(answer), 413);
    free(answer);
    assert_int_equal(got_bytes, 0);
    (void)snprintf(text, sizeof text,
                   HEAD("a", "Transfer-Encoding: chunked\r\n") "%zx\r\n%.*s\r\n0\r\n\r\n",
                   sizeof body, (int)sizeof body, body);
    answer = ask(peer.port, text);
    assert_int_equal(status_of(answer), 413);
    free(answer);
    wait_for(&closes, 2);
    assert_int_equal(lasts, 0);
    peer_stop(&peer, 0);
}

static void lets_a_taker_end_it(void **state) {
    char body[3000];
    (void)state;
    fill(body, sizeof body);
    start(0, 0);
    const int fd = dial(peer.port);
    assert_true(say_text(fd, HEAD("enough", "Content-Length: 3000\r\n")) &&
                say(fd, body, sizeof body));
    char *answer = hear_all(fd, NULL, NULL);
    assert_int_equal(status_of(answer), 409);
    assert_int_equal(mores, 1);
    assert_int_equal(lasts, 0);
    free(answer);
    close(fd);
    peer_stop(&peer, 0);
    assert_int_equal(closes, 1);
    assert_true(is_filled(PIECE));
}

static void wait_for_bytes(int64_t wanted) {
    const double until = ms_monotonic_s() + PATIENCE_S;
    while (atomic_load(&peer.server->inflight_bytes) != wanted) {
        assert_true(ms_monotonic_s() < until);
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
}

/* The client vanishes, stops, is too slow, or the server ends: what has come is given away. Head
 * and body come together, so that a client that is stopped is not too slow before. */
static void keeps_what_has_come(void **state) {
    (void)state;
    for (int end = 0; end < 4; end++) {
        static const char head[] = HEAD("a", "Content-Length: 5000\r\n");
        enum { BODY = 1500 };
        char text[sizeof head - 1 + BODY];
        memcpy(text, head, sizeof head - 1);
        fill(text + sizeof head - 1, BODY);
        start(end == 2 ? 200 : 0, 0);
        const int fd = dial(peer.port);
        assert_true(say(fd, text, sizeof text));
        wait_for(&mores, 1);
        if (end == 0) {
            close(fd);
        } else if (end == 1) {
            assert_int_equal(shutdown(fd, SHUT_WR), 0);
        } else if (end == 2) {
            char *answer = hear_all(fd, NULL, NULL);
            assert_int_equal(status_of(answer), 408);
            free(answer);
        } else { /* once the rest is there, too */
            wait_for_bytes(BODY - PIECE);
            peer_stop(&peer, 0);
        }
        wait_for(&closes, 1);
        assert_int_equal(brokens, 1);
        assert_int_equal(lasts, 0);
        assert_true(is_filled(BODY));
        if (end != 0)
            close(fd);
        if (end != 3)
            peer_stop(&peer, 0);
    }
}

/* More than all bodies together may have: pieces come and go. */
static void needs_no_more_room_than_a_piece(void **state) {
    char body[10000];
    (void)state;
    fill(body, sizeof body);
    start(0, 3000);
    const int fd = dial(peer.port);
    assert_true(say_text(fd, HEAD("a", "Connection: close\r\nContent-Length: 10000\r\n")) &&
                say(fd, body, sizeof body));
    char *answer = hear_all(fd, NULL, NULL);
    assert_int_equal(status_of(answer), 200);
    assert_true(is_filled(sizeof body));
    free(answer);
    close(fd);
    peer_stop(&peer, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_pieces_in_order),
        cmocka_unit_test(takes_chunks_and_goes_on),
        cmocka_unit_test(asks_before_the_body_comes),
        cmocka_unit_test(refuses_what_is_too_long),
        cmocka_unit_test(lets_a_taker_end_it),
        cmocka_unit_test(keeps_what_has_come),
        cmocka_unit_test(needs_no_more_room_than_a_piece),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
