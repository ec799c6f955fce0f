/* The HTTP server over real sockets: slow and greedy clients, streams, and the end. */
#include "http_routes.h"

#include <poll.h>

/* ---- slow and greedy clients ---- */

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
        {"HEAD /hello HTTP/1.1\r\nX: ", 'a', 408},             /* without a body */
        {"GET /hello HTTP/1.1\r\nHost: h\r\n\r\n", '\0', 200}, /* then closed for idling */
    };
    struct ms_http_server_options slow = options_of(), idle = options_of();
    struct peer peers[2];
    (void)state;
    slow.rate_window_ms = idle.idle_ms = 300;
    peer_start(&peers[0], &slow);
    peer_start(&peers[1], &idle);
    const double until = ms_monotonic_s() + PATIENCE_S;
    for (size_t i = 0; i < sizeof cases / sizeof *cases;) {
        const int fd = dial(peers[cases[i].status != 408].port);
        struct pollfd heard = {.fd = fd, .events = POLLIN};
        (void)say_text(fd, cases[i].begin);
        while (poll(&heard, 1, 20) == 0) { /* a byte now and then does not help it */
            assert_true(ms_monotonic_s() < until);
            if (cases[i].drip != '\0')
                (void)say(fd, &cases[i].drip, 1);
        }
        char *answer = hear_all(fd, NULL, NULL);
        const int status = status_of(answer);
        if (*cases[i].begin == 'H')
            assert_string_equal(body_of(answer), "");
        free(answer);
        close(fd);
        /* On a busy machine it may have idled before it asked: then it asks again. */
        if (cases[i].status == 200 && status == 0 && ms_monotonic_s() < until)
            continue;
        assert_int_equal(status, cases[i].status);
        i++;
    }
    peer_stop(&peers[0], 0);
    peer_stop(&peers[1], 0);
}

static void may_be_told_to_wait_for_ever(void **state) {
    struct ms_http_server_options options = options_of();
    struct peer peer;
    (void)state;
    options.min_rate = -1;
    options.rate_window_ms = 10;
    peer_start(&peer, &options);
    const int head = dial(peer.port), body = dial(peer.port);
    assert_true(say_text(head, "GET /hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"));
    assert_true(say_text(body, POST("/echo", "Content-Length: 5\r\n", "hell")));
    nanosleep(&(struct timespec){0, 200000000}, NULL); /* many windows */
    assert_true(say_text(head, "\r\n") && say_text(body, "o"));
    char *answer = hear_all(head, NULL, NULL);
    assert_string_equal(body_of(answer), "hello");
    free(answer);
    answer = hear_all(body, NULL, NULL);
    assert_string_equal(body_of(answer), "hello");
    free(answer);
    close(head);
    close(body);
    peer_stop(&peer, 0);
}

static void lets_early_errors_be_heard(void **state) {
    const int fd = dial(shared.port);
    char *filler = calloc(1, 8 * MIB);
    (void)state;
    assert_non_null(filler);
    assert_true(say_text(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 8388608\r\n\r\n"));
    assert_true(say(fd, filler, 8 * MIB)); /* as clients do that hear only then */
    char *answer = hear_all(fd, NULL, NULL);
    assert_int_equal(status_of(answer), 413);
    free(answer);
    free(filler);
    close(fd);
}

/* ---- streams ---- */

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
        const int fd = dial(shared.port);
        assert_true(say_text(fd, cases[i].text));
        size_t size;
        bool reset;
        char *answer = hear_all(fd, &size, &reset);
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
        const int fd = dial(shared.port);
        assert_true(say_text(fd, cases[i]));
        size_t size;
        bool reset;
        char *answer = hear_all(fd, &size, &reset);
        assert_true(reset);
        assert_true(size < 1000000);
        assert_null(strstr(answer, "\r\n0\r\n\r\n"));
        free(answer);
        close(fd);
    }
    wait_until_equal(&closes, atomic_load(&opens));
}

/* What was taken from the stream and has not come yet lies somewhere: in the kernel's buffers, of
 * which the client's would grow to tens of MiB, and in the server's, hardly anything. */
static void streams_to_slow_readers_in_little_memory(void **state) {
    static char buffer[65536];
    const int64_t size = 128 << 20;
    const int fd = dial(shared.port), own = MIB;
    (void)state;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &own, sizeof own), 0);
    atomic_store(&given, 0);
    assert_true(say_text(fd, GET("/stream/-1/134217728")));
    free(hear_until(fd, "\r\n\r\n"));
    int64_t heard = 0;
    while (heard < size) {
        const ssize_t some = recv(fd, buffer, sizeof buffer, 0);
        assert_true(some > 0);
        heard += some;
        assert_true(atomic_load(&given) - heard < (24 << 20));
        if (heard < 32 << 20) /* a slow reader */
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
        assert_true(say_text(fd, cases[i]));
        char *head = hear_until(fd, "\r\n\r\n");
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
    (void)state;
    options.rate_window_ms = 200;
    struct peer peer;
    peer_start(&peer, &options);
    int fd = dial(peer.port);
    assert_true(say_text(fd, GET("/stream/-1/-1")));
    wait_until_equal(&closes, closes_before + 1); /* without a byte taken */
    close(fd);
    /* One with little to say does not stall. */
    fd = dial(peer.port);
    assert_true(say_text(fd, GET("/stream/100/-1?again=10")));
    char *head = hear_all(fd, NULL, NULL);
    assert_non_null(strstr(head, "\r\n0\r\n\r\n"));
    free(head);
    close(fd);
    wait_until_equal(&closes, closes_before + 2);
    peer_stop(&peer, 0);
}

/* ---- the end ---- */

#define WAIT_MS 50

/* A client whose request is at work. On a busy machine it may wait too long for a thread: then it
 * is answered 503 and asks again. */
static int begin_slow(int port) {
    const double until = ms_monotonic_s() + PATIENCE_S;
    for (;;) {
        const int fd = dial(port);
        struct pollfd heard = {.fd = fd, .events = POLLIN};
        assert_true(say_text(fd, GET("/slow")));
        while (poll(&heard, 1, 1) == 0) {
            if (sem_trywait(&entered) == 0)
                return fd;
            assert_true(ms_monotonic_s() < until);
        }
        char *answer = hear_all(fd, NULL, NULL);
        assert_int_equal(status_of(answer), 503);
        free(answer);
        close(fd);
    }
}

/* The gate must be open for all who are at work: it lets through whom it likes. */
static void end_slow(int fd) {
    char *answer = hear_all(fd, NULL, NULL);
    assert_string_equal(body_of(answer), "waited");
    free(answer);
    close(fd);
}

static void await_pool(int port) {
    const double until = ms_monotonic_s() + PATIENCE_S;
    for (int status = 503; status != 200;) {
        assert_true(ms_monotonic_s() < until);
        char *answer = ask(port, GET("/pool"));
        status = status_of(answer);
        assert_true(status == 200 || status == 503);
        free(answer);
    }
}

static void slow_ones_hold_up_nobody_else(void **state) {
    struct ms_http_server_options options = options_of();
    (void)state;
    options.threads = 2;
    options.max_wait_ms = WAIT_MS;
    struct peer peer;
    peer_start(&peer, &options);
    const int first = begin_slow(peer.port), second = begin_slow(peer.port);
    const int late = dial(peer.port);
    assert_true(say_text(late, GET("/slow")));
    /* While no thread is left for slow ones, the others are served. By the second answer the server
     * has read what came before; from then on it goes on for longer than a slow one may wait. */
    await_pool(peer.port);
    await_pool(peer.port);
    const double from_s = ms_monotonic_s();
    do
        await_pool(peer.port);
    while (ms_monotonic_s() < from_s + 2 * WAIT_MS / 1e3);
    sem_post(&gate);
    sem_post(&gate);
    end_slow(first);
    end_slow(second);
    char *answer = hear_all(late, NULL, NULL); /* without having been handled */
    assert_int_equal(status_of(answer), 503);
    assert_non_null(strstr(answer, "\r\nRetry-After: "));
    free(answer);
    close(late);
    const int next = begin_slow(peer.port); /* and on it goes */
    sem_post(&gate);
    end_slow(next);
    peer_stop(&peer, 0);
}

static void finishes_what_is_at_work(void **state) {
    const struct ms_http_server_options options = options_of();
    const int closes_before = atomic_load(&closes);
    struct peer peer;
    (void)state;
    peer_start(&peer, &options);
    int idle = dial(peer.port);
    assert_true(say_text(idle, "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n"));
    free(hear_until(idle, "hello"));
    int events = dial(peer.port);
    assert_true(say_text(events, "GET /stream/-1/-1?again=3 HTTP/1.1\r\nHost: h\r\n\r\n"));
    free(hear_until(events, "ssssss"));
    int working = dial(peer.port);
    assert_true(say_text(working, "GET /wait HTTP/1.1\r\nHost: h\r\n\r\n"));
    sem_wait(&entered);
    ms_http_server_stop(peer.server, 1000 * PATIENCE_S);
    char *answer = hear_all(idle, NULL, NULL); /* closed at once */
    assert_string_equal(answer, "");
    free(answer);
    answer = hear_all(events, NULL, NULL); /* ended in order */
    assert_string_equal(answer + strlen(answer) - 5, "0\r\n\r\n");
    free(answer);
    int late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
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

/* On the server's thread: what comes meanwhile waits in the kernel. */
static struct {
    struct ms_http_server *server;
    int other;
} stopped;

static void stop_and_be_asked(const struct ms_http_call *call) {
    ms_http_server_stop(stopped.server, 1000 * PATIENCE_S);
    (void)!say_text(stopped.other, "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
    ms_http_reply(call, 200, "text/plain", "stopped", 7);
}

static void answers_what_has_come_when_it_is_stopped(void **state) {
    static const struct ms_http_route routes_here[] = {
        {"GET", "/hello", hello, MS_HTTP_LOOP, 0},
        {"GET", "/stop", stop_and_be_asked, MS_HTTP_LOOP, 0},
        {NULL, NULL, NULL, MS_HTTP_POOL, 0}};
    struct ms_http_server_options options = options_of();
    struct peer peer;
    (void)state;
    options.routes = routes_here;
    peer_start(&peer, &options);
    stopped.server = peer.server;
    stopped.other = dial(peer.port);
    assert_true(say_text(stopped.other, "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n"));
    free(hear_until(stopped.other, "hello"));
    char *answer = ask(peer.port, "GET /stop HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_string_equal(body_of(answer), "stopped");
    free(answer);
    answer = hear_all(stopped.other, NULL, NULL);
    assert_string_equal(body_of(answer), "hello");
    assert_non_null(strstr(answer, "\r\nConnection: close\r\n"));
    free(answer);
    close(stopped.other);
    pthread_join(peer.thread, NULL);
    ms_http_server_free(peer.server);
}

static void drains_no_longer_than_it_may(void **state) {
    const struct ms_http_server_options options = options_of();
    struct peer peer;
    (void)state;
    peer_start(&peer, &options);
    int uploading = dial(peer.port);
    assert_true(
        say_text(uploading, POST("/echo", "Expect: 100-continue\r\nContent-Length: 10\r\n", "")));
    free(hear_until(uploading, "\r\n\r\n"));
    int working = dial(peer.port);
    assert_true(say_text(working, GET("/wait")));
    sem_wait(&entered);
    ms_http_server_stop(peer.server, 100);
    char *answer = hear_all(working, NULL, NULL);
    assert_string_equal(answer, "");
    free(answer);
    pthread_join(peer.thread, NULL); /* though the handler still waits */
    sem_post(&gate);
    ms_http_server_free(peer.server);
    close(working);
    close(uploading);
}

static void forgets_clients_that_left_during_the_work(void **state) {
    const struct ms_http_server_options options = options_of();
    const int before = atomic_load(&told);
    struct peer peer;
    (void)state;
    peer_start(&peer, &options);
    const int fd = dial(peer.port);
    assert_true(say_text(fd, GET("/wait")));
    sem_wait(&entered);
    go_away(fd);
    wait_until_equal(&told, before + 1);
    assert_int_equal(atomic_load(&told_status), 499);
    sem_post(&gate);
    peer_stop(&peer, 0); /* once its thread is through the gate: the next test has one of its own */
}

/* Of one that waits for a thread nothing is done any more. */
static void does_nothing_for_clients_that_left(void **state) {
    struct ms_http_server_options options = options_of();
    const int opens_before = atomic_load(&opens), told_before = atomic_load(&told);
    (void)state;
    options.threads = 2; /* one of them for what is not slow */
    struct peer peer;
    peer_start(&peer, &options);
    const int working = dial(peer.port);
    assert_true(say_text(working, GET("/wait")));
    sem_wait(&entered);
    const int left = dial(peer.port);
    assert_true(say_text(left, GET("/stream/10/10")));
    for (int i = 0; i < 2; i++) /* by the second answer the server has read what came before */
        free(ask(peer.port, GET("/hello")));
    go_away(left);
    wait_until_equal(&told, told_before + 3);
    sem_post(&gate);
    char *answer = ask(peer.port, GET("/pool"));
    assert_int_equal(status_of(answer), 200);
    free(answer);
    free(hear_all(working, NULL, NULL));
    close(working);
    peer_stop(&peer, 0);
    assert_int_equal(atomic_load(&opens), opens_before);
}

static void names_what_it_cannot_listen_on(void **state) {
    struct ms_http_server_options options = options_of();
    (void)state;
    options.port = shared.port;
    struct ms_http_server *server;
    struct ms_error err = {0};
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
        cmocka_unit_test(ends_slow_heads_bodies_and_idlers),
        cmocka_unit_test(may_be_told_to_wait_for_ever),
        cmocka_unit_test(lets_early_errors_be_heard),
        cmocka_unit_test(streams_whole_answers),
        cmocka_unit_test(breaks_off_what_fails),
        cmocka_unit_test(streams_to_slow_readers_in_little_memory),
        cmocka_unit_test(closes_the_stream_when_the_client_is_gone),
        cmocka_unit_test(ends_readers_that_stall),
        cmocka_unit_test(slow_ones_hold_up_nobody_else),
        cmocka_unit_test(finishes_what_is_at_work),
        cmocka_unit_test(answers_what_has_come_when_it_is_stopped),
        cmocka_unit_test(drains_no_longer_than_it_may),
        cmocka_unit_test(forgets_clients_that_left_during_the_work),
        cmocka_unit_test(does_nothing_for_clients_that_left),
        cmocka_unit_test(names_what_it_cannot_listen_on),
    };
    return cmocka_run_group_tests(tests, start_shared, stop_shared);
}
