/* The HTTP server over real sockets: how many connections there may be, and whose. */
#include "http_routes.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/resource.h>

#include "clients.h"
#include "msaas/networks.h"

#define HELLO "GET /hello HTTP/1.1\r\nHost: h\r\n"
#define EVENTS "GET /stream/-1/-1?again=1000000 HTTP/1.1\r\nHost: h\r\n"

/* From another address of this machine. */
static int dial_from(const char *address, int port) {
    struct sockaddr_in own = {.sin_family = AF_INET}, to = own;
    const struct timeval patience = {PATIENCE_S, 0};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(inet_pton(AF_INET, address, &own.sin_addr), 1);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)port);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof own), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* A connection that is kept, with nothing asked on it any more. */
static int idle_from(const char *address, int port) {
    const int fd = dial_from(address, port);
    assert_true(say_text(fd, HELLO "\r\n"));
    free(hear_until(fd, "hello"));
    return fd;
}

/* A connection on which an answer goes on for ever. */
static int busy_from(const char *address, int port, const char *lines) {
    const int fd = dial_from(address, port);
    assert_true(say_text(fd, EVENTS) && say_text(fd, lines) && say_text(fd, "\r\n"));
    free(hear_until(fd, "\r\n\r\n"));
    return fd;
}

static int status_from(const char *address, int port, const char *lines) {
    const int fd = dial_from(address, port);
    (void)(say_text(fd, HELLO "Connection: close\r\n") && say_text(fd, lines) &&
           say_text(fd, "\r\n"));
    char *answer = hear_all(fd, NULL, NULL);
    const int status = status_of(answer);
    free(answer);
    close(fd);
    return status;
}

static void await_status(const char *address, int port, const char *lines, int status) {
    const double until = ms_monotonic_s() + PATIENCE_S;
    while (status_from(address, port, lines) != status)
        assert_true(ms_monotonic_s() < until);
}

static bool is_open(int fd) {
    return say_text(fd, HELLO "\r\n") && recv(fd, &(char){0}, 1, 0) == 1;
}

static void closes_idle_ones_first(void **state) {
    struct ms_http_server_options options = options_of();
    struct peer peer;
    (void)state;
    options.max_connections = 3;
    peer_start(&peer, &options);
    const int busy = busy_from("127.0.0.1", peer.port, "");
    const int first = idle_from("127.0.0.1", peer.port);
    const int second = idle_from("127.0.0.2", peer.port);
    assert_int_equal(status_from("127.0.0.3", peer.port, ""), 200);
    assert_false(is_open(first)); /* it was idle for longer */
    assert_true(is_open(second));
    const int other = busy_from("127.0.0.1", peer.port, "");
    const int third = busy_from("127.0.0.1", peer.port, "");
    assert_int_equal(status_from("127.0.0.3", peer.port, ""), 503);
    close(third);
    await_status("127.0.0.3", peer.port, "", 200);
    close(busy);
    close(first);
    close(second);
    close(other);
    peer_stop(&peer, 0);
}

/* Requests that came while the loop was at something else are not read yet when room is made. */
static void spares_one_whose_request_has_come(void **state) {
    struct peer peer;
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct ms_http_server_options options = options_of();
        options.max_connections = i == 0 ? 3 : 100;
        options.max_client_connections = i == 0 ? 100 : 3;
        peer_start(&peer, &options);
        const int asks = idle_from("127.0.0.1", peer.port);
        const int idle = idle_from("127.0.0.1", peer.port);
        const int loop = dial_from("127.0.0.1", peer.port);
        assert_true(say_text(loop, GET("/loop")));
        sem_wait(&entered);
        int fds[] = {asks, dial_from("127.0.0.1", peer.port), dial_from("127.0.0.1", peer.port)};
        const int last = dial_from("127.0.0.1", peer.port);
        for (int k = 0; k < 3; k++)
            assert_true(say_text(fds[k], HELLO "\r\n"));
        sem_post(&gate);
        for (int k = 0; k < 3; k++) { /* in the places of the idle one, and of the loop's */
            free(hear_until(fds[k], "hello"));
            close(fds[k]);
        }
        assert_false(is_open(idle));
        char *answer = hear_all(last, NULL, NULL);
        assert_int_equal(status_of(answer), i == 0 ? 503 : 429);
        free(answer);
        close(idle);
        close(loop);
        close(last);
        peer_stop(&peer, 0);
    }
}

static void counts_the_connections_of_an_address(void **state) {
    struct ms_http_server_options options = options_of();
    struct peer peer;
    (void)state;
    options.max_client_connections = 2;
    peer_start(&peer, &options);
    const int others = idle_from("127.0.0.2", peer.port);
    const int idle = idle_from("127.0.0.1", peer.port);
    const int first = busy_from("127.0.0.1", peer.port, "");
    const int second = busy_from("127.0.0.1", peer.port, ""); /* in the place of the idle one */
    assert_false(is_open(idle));
    int fd = dial(peer.port);
    char *answer = hear_all(fd, NULL, NULL);
    assert_int_equal(status_of(answer), 429);
    assert_non_null(strstr(answer, "\r\nRetry-After: "));
    assert_string_equal(body_of(answer), "");
    free(answer);
    close(fd);
    assert_int_equal(status_from("127.0.0.2", peer.port, ""), 200);
    assert_true(is_open(others)); /* one at its limit costs others nothing */
    close(first);
    await_status("127.0.0.1", peer.port, "", 200);
    close(second);
    close(idle);
    close(others);
    peer_stop(&peer, 0);
}

static void counts_the_requests_of_clients_of_a_proxy(void **state) {
    struct ms_http_server_options options = options_of();
    struct ms_networks *proxies;
    struct peer peer;
    (void)state;
    assert_int_equal(ms_networks_parse("127.0.0.1", &proxies, NULL), 0);
    options.max_client_connections = 2;
    options.trusted_proxies = proxies;
    peer_start(&peer, &options);
    int idle[3]; /* a proxy's connections are no client's */
    for (int i = 0; i < 3; i++)
        idle[i] = idle_from("127.0.0.1", peer.port);
    const int first = busy_from("127.0.0.1", peer.port, "X-Forwarded-For: 192.0.2.1\r\n");
    const int second = busy_from("127.0.0.1", peer.port, "Forwarded: for=192.0.2.1\r\n");
    assert_int_equal(status_from("127.0.0.1", peer.port, "X-Forwarded-For: 192.0.2.1\r\n"), 429);
    assert_int_equal(status_from("127.0.0.1", peer.port, "X-Forwarded-For: 192.0.2.2\r\n"), 200);
    assert_int_equal(status_from("127.0.0.1", peer.port, ""), 200);
    /* What others say of whom they ask for counts for nothing. */
    const int third = busy_from("127.0.0.2", peer.port, "X-Forwarded-For: 192.0.2.3\r\n");
    const int fourth = busy_from("127.0.0.2", peer.port, "X-Forwarded-For: 192.0.2.4\r\n");
    assert_int_equal(status_from("127.0.0.2", peer.port, "X-Forwarded-For: 192.0.2.5\r\n"), 429);
    assert_int_equal(status_from("127.0.0.1", peer.port, "X-Forwarded-For: 192.0.2.3\r\n"), 200);
    close(first);
    await_status("127.0.0.1", peer.port, "X-Forwarded-For: 192.0.2.1\r\n", 200);
    char *answer = ask(peer.port, "GET /call/a/b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
                                  "X-Forwarded-For: 192.0.2.7\r\n\r\n");
    assert_non_null(strstr(answer, "|192.0.2.7|"));
    free(answer);
    for (int i = 0; i < 3; i++)
        close(idle[i]);
    close(second);
    close(third);
    close(fourth);
    peer_stop(&peer, 0);
    ms_networks_free(proxies);
}

/* Whose request is at work counts, though the connection is gone. */
static void counts_those_that_left(void **state) {
    struct ms_http_server_options options = options_of();
    struct peer peer;
    (void)state;
    options.max_client_connections = 2;
    peer_start(&peer, &options);
    for (int i = 0; i < 2; i++) {
        const int told_before = atomic_load(&told), fd = dial(peer.port);
        assert_true(say_text(fd, GET("/wait")));
        sem_wait(&entered);
        go_away(fd);
        wait_until_equal(&told, told_before + 1);
    }
    assert_int_equal(status_from("127.0.0.1", peer.port, ""), 429);
    assert_int_equal(status_from("127.0.0.2", peer.port, ""), 200);
    sem_post(&gate);
    sem_post(&gate);
    await_status("127.0.0.1", peer.port, "", 200);
    peer_stop(&peer, 0);
}

static void refuses_pages_of_others(void **state) {
    (void)state;
    assert_int_equal(status_from("127.0.0.1", shared.port, "Origin: http://h\r\n"), 200);
    assert_int_equal(status_from("127.0.0.1", shared.port, "Origin: http://evil.example\r\n"), 403);
    char *answer =
        ask(shared.port, "GET /hello HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert_int_equal(status_of(answer), 421);
    free(answer);
    /* before its body is read */
    answer = ask(shared.port, POST("/echo", "Origin: null\r\nContent-Length: 1000000\r\n", ""));
    assert_int_equal(status_of(answer), 403);
    free(answer);
}

static void takes_a_64_of_ipv6_for_one(void **state) {
    static const char *const addresses[] = {"2001:db8::1", "2001:db8::ffff:1:2:3",
                                            "2001:db8:0:1::1", "192.0.2.1", "192.0.2.2"};
    struct ms_clients clients = {0};
    struct ms_client *found[5];
    (void)state;
    ms_clients_init(&clients);
    for (int i = 0; i < 5; i++) {
        uint8_t ip[16];
        assert_true(ms_ip_parse(addresses[i], ip));
        found[i] = ms_clients_enter(&clients, ip);
        assert_non_null(found[i]);
    }
    assert_ptr_equal(found[0], found[1]);
    assert_int_equal(found[0]->count, 2);
    for (int i = 2; i < 5; i++)
        for (int j = 0; j < i; j++)
            assert_ptr_not_equal(found[i], found[j]);
    for (int i = 0; i < 5; i++)
        ms_clients_leave(&clients, found[i]);
    ms_clients_leave(&clients, NULL);
    for (size_t i = 0; i < sizeof clients.buckets / sizeof *clients.buckets; i++)
        assert_null(clients.buckets[i]);
}

/* The last test: the limit of the process stays so low. */
#define FEW 64
#define SPARE 16

static void leaves_descriptors_for_everything_else(void **state) {
    const struct rlimit few = {FEW, FEW};
    struct ms_http_server_options options = options_of();
    struct peer peer;
    int fds[FEW], count = 0;
    (void)state;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    options.max_connections = 1000;
    options.spare_descriptors = SPARE;
    peer_start(&peer, &options);
    for (int status = 200; status == 200 && count < FEW; count++) {
        fds[count] = dial(peer.port);
        assert_true(say_text(fds[count], EVENTS "\r\n"));
        char *head = hear_until(fds[count], "\r\n\r\n");
        status = status_of(head);
        assert_true(status == 200 || status == 503);
        free(head);
    }
    assert_true(count < FEW / 2); /* each takes two, one of them the client's */
    close(fds[--count]);
    /* The server closes one that it turns away a moment after it has answered. */
    const double until = ms_monotonic_s() + PATIENCE_S;
    for (int fd = FEW - SPARE / 2; fd < FEW; fd++)
        while (fcntl(fd, F_GETFD) != -1)
            assert_true(ms_monotonic_s() < until);
    close(fds[--count]);
    await_status("127.0.0.1", peer.port, "", 200);
    /* One on which nothing is asked gives way. */
    const int idle = idle_from("127.0.0.1", peer.port);
    await_status("127.0.0.1", peer.port, "", 200);
    assert_false(is_open(idle));
    close(idle);
    while (count > 0)
        close(fds[--count]);
    peer_stop(&peer, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closes_idle_ones_first),
        cmocka_unit_test(spares_one_whose_request_has_come),
        cmocka_unit_test(counts_the_connections_of_an_address),
        cmocka_unit_test(counts_the_requests_of_clients_of_a_proxy),
        cmocka_unit_test(counts_those_that_left),
        cmocka_unit_test(refuses_pages_of_others),
        cmocka_unit_test(takes_a_64_of_ipv6_for_one),
        cmocka_unit_test(leaves_descriptors_for_everything_else),
    };
    return cmocka_run_group_tests(tests, start_shared, stop_shared);
}
