/* The HTTP server over real sockets: what bodies and answers cost while they flow, and while they
 * do not. */
#include "http_routes.h"

#include <fcntl.h>
#include <malloc.h>

#define MANY 100
/* Of a connection: itself, its request, and 16 KiB of its body or answer. */
#define CONNECTION_BYTES (32 << 10)
/* What a client that reads nothing is given: what the kernel keeps at both ends. */
#define UNREAD_BYTES (192 << 10)

/* What all threads have of the heap. A sanitizer's own heap does not tell: 0. */
static size_t heap_bytes(void) {
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static void expect_little_memory(size_t before, int connections) {
    const size_t most = before + (size_t)connections * CONNECTION_BYTES;
    if (heap_bytes() > most)
        fail_msg("%zu bytes for each connection", (heap_bytes() - before) / (size_t)connections);
}

/* Waits until the server gives no more to those who do not read. */
static void wait_until_still(void) {
    int64_t before = -1, now;
    while ((now = atomic_load(&given)) != before) {
        before = now;
        nanosleep(&(struct timespec){0, 200000000}, NULL);
    }
}

/* ---- bodies ---- */

static void keeps_bodies_on_the_disk(void **state) {
    static char some[MIB];
    int fds[MANY];
    const size_t before = heap_bytes();
    (void)state;
    for (int i = 0; i < MANY; i++) {
        fds[i] = dial(shared.port);
        if (i % 2 == 0)
            assert_true(say_text(fds[i], POST("/large", "Content-Length: 8000000\r\n", "")));
        else
            assert_true(
                say_text(fds[i], POST("/large", "Transfer-Encoding: chunked\r\n", "7A1200\r\n")));
        for (int part = 0; part < 7; part++) /* more than the kernel keeps */
            assert_true(say(fds[i], some, sizeof some));
    }
    expect_little_memory(before, MANY);
    char *answer = ask(shared.port, POST("/large", "Content-Length: 3\r\n", "abc"));
    assert_int_equal(status_of(answer), 200); /* they hold up nobody */
    free(answer);
    for (int i = 0; i < MANY; i++) {
        assert_true(say(fds[i], some, 8000000 - 7 * MIB));
        if (i % 2 == 1)
            assert_true(say_text(fds[i], "\r\n0\r\n\r\n"));
        answer = hear_all(fds[i], NULL, NULL);
        assert_int_equal(status_of(answer), 200);
        free(answer);
        close(fds[i]);
    }
}

static void takes_bodies_as_they_were_sent(void **state) {
    const size_t size = 3 * MIB + 1234;
    char *body = malloc(size + 1);
    (void)state;
    assert_non_null(body);
    for (size_t i = 0; i < size; i++)
        body[i] = (char)(i * 31 + i / 4096);
    for (int chunked = 0; chunked < 2; chunked++) {
        const int fd = dial(shared.port);
        char head[200];
        (void)snprintf(head, sizeof head, "POST /echo HTTP/1.1\r\nHost: h\r\n%s%zu\r\n\r\n",
                       chunked ? "Transfer-Encoding: chunked\r\nX: " : "Content-Length: ", size);
        assert_true(say_text(fd, head));
        for (size_t at = 0, some = 1; at < size; at += some, some = some * 3 % 99991 + 1) {
            if (some > size - at)
                some = size - at;
            (void)snprintf(head, sizeof head, "%zx\r\n", some);
            assert_true(!chunked || say_text(fd, head));
            assert_true(say(fd, body + at, some) && (!chunked || say_text(fd, "\r\n")));
        }
        assert_true(!chunked || say_text(fd, "0\r\n\r\n"));
        assert_true(say_text(fd, GET("/hello"))); /* what follows the body is not lost */
        size_t heard;
        char *answer = hear_all(fd, &heard, NULL);
        assert_int_equal(status_of(answer), 200);
        assert_true((size_t)(answer + heard - body_of(answer)) > size);
        assert_memory_equal(body_of(answer), body, size);
        assert_int_equal(status_of(body_of(answer) + size), 200);
        free(answer);
        close(fd);
    }
    free(body);
}

static int send_body(int port, int size) {
    static char filler[MIB];
    char head[120];
    const int fd = dial(port);
    (void)snprintf(head, sizeof head, POST("/echo", "Content-Length: %d\r\n", ""), size);
    assert_true(say_text(fd, head));
    (void)say(fd, filler, (size_t)size - 1);
    return fd;
}

static int end_body(int fd) {
    (void)say(fd, "", 1);
    char *answer = hear_all(fd, NULL, NULL);
    const int status = status_of(answer);
    free(answer);
    close(fd);
    return status;
}

/* Where there is no room for all bodies, the slowest gives way, not who comes last. */
static void breaks_off_the_slowest_body(void **state) {
    struct ms_http_server_options options = options_of();
    (void)state;
    options.max_inflight_bytes = MIB;
    struct peer peer;
    peer_start(&peer, &options);
    for (int i = 0; i < 10; i++) { /* what is only promised costs nothing */
        const int fd = dial(peer.port);
        assert_true(
            say_text(fd, POST("/echo", "Expect: 100-continue\r\nContent-Length: 900000\r\n", "")));
        char *answer = hear_until(fd, "\r\n\r\n");
        assert_int_equal(status_of(answer), 100);
        free(answer);
        close(fd);
    }
    const int stalled = send_body(peer.port, 900000);
    const double until = ms_monotonic_s() + PATIENCE_S;
    for (int status = 503; status != 200;) { /* at first nobody is slow */
        assert_true(ms_monotonic_s() < until);
        status = end_body(send_body(peer.port, 800000));
        assert_true(status == 503 || status == 200);
    }
    assert_int_equal(end_body(stalled), 503);
    assert_int_equal(end_body(send_body(peer.port, 900000)), 200); /* there is room again */
    char *answer = ask(peer.port, POST("/echo", "Content-Length: 2000000\r\n", ""));
    assert_int_equal(status_of(answer), 413); /* never possible */
    free(answer);
    peer_stop(&peer, 0);
}

static void says_when_there_is_no_scratch(void **state) {
    struct ms_http_server_options options = options_of();
    (void)state;
    options.scratch_dir = "/nowhere";
    options.max_inflight_bytes = MIB;
    struct peer peer;
    peer_start(&peer, &options);
    assert_int_equal(end_body(send_body(peer.port, 1000)), 503);
    char *answer = ask(peer.port, GET("/hello"));
    assert_int_equal(status_of(answer), 200);
    free(answer);
    peer_stop(&peer, 0);
}

/* ---- answers ---- */

static void passes_whole_answers(void **state) {
    static const struct {
        const char *text;
        size_t size;
    } cases[] = {{GET("/pass/10000000/-1"), 10000000},
                 {"GET /pass/1000000/-1 HTTP/1.0\r\n\r\n", 1000000},
                 {GET("/pass/0/-1"), 0},
                 {"HEAD /pass/100/-1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 0},
                 {GET("/file/0/8388608"), 8388608},
                 {GET("/file/1048575/2"), 2}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int fd = dial(shared.port);
        assert_true(say_text(fd, cases[i].text));
        size_t size;
        bool reset;
        char *answer = hear_all(fd, &size, &reset);
        assert_int_equal(status_of(answer), 200);
        assert_false(reset);
        assert_int_equal(answer + size - body_of(answer), cases[i].size);
        if (strstr(cases[i].text, "/file/1048575") != NULL)
            assert_memory_equal(body_of(answer), "\0\1", 2);
        free(answer);
        close(fd);
    }
    wait_until_equal(&closes, atomic_load(&opens));
}

/* The echo of a large body is a large answer; asked for again and again on one connection. */
static void keeps_large_answers_on_the_disk(void **state) {
    static char body[4 * MIB];
    int fds[MANY / 4];
    const size_t before = heap_bytes();
    (void)state;
    for (int i = 0; i < MANY / 4; i++) {
        fds[i] = dial(shared.port);
        assert_true(
            say_text(fds[i], "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4194304\r\n\r\n"));
        assert_true(say(fds[i], body, sizeof body));
        free(hear_until(fds[i], "\r\n\r\n"));
    }
    expect_little_memory(before, MANY / 4);
    for (int i = 0; i < MANY / 4; i++) {
        char *heard = malloc(sizeof body);
        assert_non_null(heard);
        assert_int_equal(recv(fds[i], heard, sizeof body, MSG_WAITALL), sizeof body);
        assert_memory_equal(heard, body, sizeof body);
        free(heard);
        close(fds[i]);
    }
}

static void breaks_off_what_fails(void **state) {
    static const char *const cases[] = {GET("/pass/10000000/5000000"),
                                        GET("/file/4194304/8388608")}; /* it ends before that */
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int fd = dial(shared.port);
        assert_true(say_text(fd, cases[i]));
        bool reset;
        free(hear_all(fd, NULL, &reset));
        assert_true(reset);
        close(fd);
    }
    wait_until_equal(&closes, atomic_load(&opens));
}

static void costs_no_memory_while_nobody_reads(void **state) {
    static const char *const cases[] = {
        GET("/file/0/8388608"),
        GET("/pass/100000000/-1"),
        GET("/stream/-1/-1"),
        GET("/stream/100000000/100000000"),
        GET("/stream/-1/-1?again=1000000"), /* nothing yet, as events */
    };
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const int closed = atomic_load(&closes);
        int fds[MANY];
        const size_t before = heap_bytes();
        for (int i = 0; i < MANY; i++) {
            fds[i] = dial(shared.port);
            assert_true(say_text(fds[i], cases[c]));
            free(hear_until(fds[i], "\r\n\r\n"));
        }
        wait_until_still();
        expect_little_memory(before, MANY);
        char *answer = ask(shared.port, GET("/pool"));
        assert_int_equal(status_of(answer), 200); /* they hold no thread either */
        free(answer);
        for (int i = 0; i < MANY; i++)
            close(fds[i]);
        wait_until_equal(&closes, closed + MANY);
    }
}

/* Heads that are as long as they may be, with others behind them that have to wait. */
static void long_heads_cost_their_length(void **state) {
    static char head[15000], behind[40000];
    const int closed = atomic_load(&closes);
    int fds[MANY];
    (void)state;
    memset(head, 'x', sizeof head);
    memset(behind, 'x', sizeof behind);
    const size_t before = heap_bytes();
    for (int i = 0; i < MANY; i++) {
        fds[i] = dial(shared.port);
        assert_true(say_text(fds[i], "GET /stream/-1/-1 HTTP/1.1\r\nHost: h\r\nX: "));
        assert_true(say(fds[i], head, sizeof head) && say_text(fds[i], "\r\n\r\n"));
        free(hear_until(fds[i], "\r\n\r\n"));
        assert_true(say(fds[i], behind, sizeof behind));
    }
    wait_until_still();
    expect_little_memory(before, MANY * 3 / 2);
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
    wait_until_equal(&closes, closed + MANY);
}

/* What the kernel keeps of an answer counts as the server's memory. */
static void leaves_little_unsent_to_the_kernel(void **state) {
    static const char *const cases[] = {GET("/pass/100000000/-1"), GET("/stream/-1/-1")};
    const int small = 4096;
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const int closed = atomic_load(&closes);
        const int fd = dial(shared.port);
        atomic_store(&given, 0);
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
        assert_true(say_text(fd, cases[c]));
        free(hear_until(fd, "\r\n\r\n"));
        wait_until_still();
        if (atomic_load(&given) > UNREAD_BYTES)
            fail_msg("%lld bytes were given", (long long)atomic_load(&given));
        close(fd);
        wait_until_equal(&closes, closed + 1);
    }
}

/* The socket is the pool's at that moment. */
static void survives_clients_that_go_while_bytes_move(void **state) {
    static char some[MIB];
    (void)state;
    for (int i = 0; i < 200; i++) {
        const int fd = dial(shared.port);
        if (i % 2 == 0) {
            assert_true(say_text(fd, GET("/pass/1000000000/-1")));
            assert_int_equal(recv(fd, some, 1 + (size_t)i * 4000, MSG_WAITALL), 1 + i * 4000);
        } else {
            assert_true(say_text(fd, POST("/large", "Content-Length: 8000000\r\n", "")));
            assert_true(say(fd, some, 1 + (size_t)i * 4000));
        }
        go_away(fd);
    }
    wait_until_equal(&closes, atomic_load(&opens));
    char *answer = ask(shared.port, POST("/echo", "Content-Length: 3\r\n", "abc"));
    assert_string_equal(body_of(answer), "abc");
    free(answer);
}

static int start(void **state) {
    served_fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_true(served_fd >= 0);
    for (int i = 0; i < 8; i++) {
        char *part = malloc(MIB);
        assert_non_null(part);
        memset(part, i, MIB);
        assert_int_equal(write(served_fd, part, MIB), MIB);
        free(part);
    }
    return start_shared(state);
}

static int stop(void **state) {
    const int rc = stop_shared(state);
    (void)close(served_fd);
    return rc;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_bodies_on_the_disk),
        cmocka_unit_test(takes_bodies_as_they_were_sent),
        cmocka_unit_test(breaks_off_the_slowest_body),
        cmocka_unit_test(says_when_there_is_no_scratch),
        cmocka_unit_test(passes_whole_answers),
        cmocka_unit_test(keeps_large_answers_on_the_disk),
        cmocka_unit_test(breaks_off_what_fails),
        cmocka_unit_test(costs_no_memory_while_nobody_reads),
        cmocka_unit_test(long_heads_cost_their_length),
        cmocka_unit_test(leaves_little_unsent_to_the_kernel),
        cmocka_unit_test(survives_clients_that_go_while_bytes_move),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
