/* Callbacks of many jobs: receivers that hang hold up none but their own. */
#include "chores.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <sys/socket.h>

#include "msaas/http_client.h"
#include "msaas/log.h"
#include "msaas/queue.h"

#define PATIENCE_MS 60000
#define HANGING 40 /* receivers */
#define FURTHER 80 /* callbacks of the first of them */
#define GOOD 3

static char folder[] = "/tmp/msaas-chores-XXXXXX", url[80];
static struct ms_queue *queue;
static struct ms_error err;

#define URL_BYTES 64

/* Each receiver has an address of its own: those of one host take turns. */
static int listen_at(int host, char to[URL_BYTES]) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)host)};
    socklen_t size = sizeof address;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0 &&
                listen(fd, 16) == 0 && getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    (void)snprintf(to, URL_BYTES, "http://%s:%d/", inet_ntoa(address.sin_addr),
                   ntohs(address.sin_port));
    return fd;
}

static int accept_soon(int listener) {
    struct pollfd wait = {.fd = listener, .events = POLLIN};
    assert_int_equal(poll(&wait, 1, PATIENCE_MS), 1);
    const int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    return fd;
}

/* A job that has ended, with its callbacks due; second NULL: one alone. */
static void put_due(int number, char *first, char *second) {
    char *const to[] = {first, second};
    struct ms_job_options options;
    char song[32];
    (void)snprintf(song, sizeof song, "song %d", number);
    ms_job_options_default("tiny", &options);
    struct ms_job job;
    assert_int_equal(ms_job_init(&job, song, strlen(song), &options, "tiny", &err), 0);
    for (int i = 0; i < 2 && to[i] != NULL; i++) {
        const struct ms_job_callback callback = {.version = 1, .url = to[i]};
        assert_int_equal(ms_job_add_callback(&job, &callback, &err), 0);
    }
    bool created;
    assert_int_equal(ms_queue_enqueue(queue, &job, &created, NULL, &err), 0);
    struct ms_job taken;
    char token[MS_TOKEN_HEX];
    assert_int_equal(ms_queue_reserve(queue, "tiny", 30000, 0, &taken, token, &err), 0);
    assert_int_equal(ms_queue_change(queue, MS_CHANGE_FINISH, &taken, token, 0, &err), 0);
    ms_job_fini(&job);
    ms_job_fini(&taken);
}

/* All of it: who answers before, or closes with something unread, is no server. Its body, without
 * data, is "null". */
static void hear_request(int fd) {
    char request[4096];
    size_t have = 0;
    while (have < 4 || memcmp(request + have - 4, "null", 4) != 0) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&wait, 1, PATIENCE_MS), 1);
        const ssize_t got = recv(fd, request + have, sizeof request - have, 0);
        assert_true(got > 0);
        have += (size_t)got;
    }
}

/* The linker puts it before the real one: no receiver is given up while others are still called,
 * which on a busy machine takes longer than the 10 s that each has. */
int __real_ms_http_send(struct ms_http_client *client, const struct ms_http_request *request,
                        struct ms_http_response *response, struct ms_error *why);
int __wrap_ms_http_send(struct ms_http_client *client, const struct ms_http_request *request,
                        struct ms_http_response *response, struct ms_error *why);

int __wrap_ms_http_send(struct ms_http_client *client, const struct ms_http_request *request,
                        struct ms_http_response *response, struct ms_error *why) {
    struct ms_http_request patient = *request;
    patient.connect_timeout_s = patient.total_timeout_s = 3600;
    return __real_ms_http_send(client, &patient, response, why);
}

/* Whether the other side has given up. */
static bool is_closed(int fd) {
    char drop[4096];
    ssize_t size;
    while ((size = recv(fd, drop, sizeof drop, MSG_DONTWAIT)) > 0)
        ;
    return size == 0;
}

static void those_that_hang_hold_up_nobody(void **state) {
    struct ms_outage outage = {.what = "the queue", .errors = &ms_queue_errors};
    const struct ms_chores_options options = {.queue_url = url,
                                              .lease_ms = 30000,
                                              .model = "tiny",
                                              .model_wait_ms = 600000,
                                              .callback_allow = "127.0.0.0/8",
                                              .outage = &outage};
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    struct ms_chores *chores = NULL;
    struct pollfd listeners[HANGING + 1];
    char to[HANGING + 1][URL_BYTES], *good = to[HANGING];
    int held[HANGING], number = 0;
    (void)state;
    for (int i = 0; i <= HANGING; i++)
        listeners[i] = (struct pollfd){.fd = listen_at(i, to[i]), .events = POLLIN};
    /* What hangs has come first. The last of the good ones is the second of a job whose first
     * hangs. */
    for (int i = 0; i < FURTHER; i++)
        put_due(number++, to[0], NULL);
    for (int i = 1; i < HANGING; i++)
        put_due(number++, to[i], NULL);
    for (int i = 0; i < GOOD; i++)
        put_due(number++, i == GOOD - 1 ? to[0] : good, i == GOOD - 1 ? good : NULL);
    assert_int_equal(ms_chores_new(&options, &chores, &err), 0);
    for (int silent_count = 0, good_count = 0; silent_count < HANGING || good_count < GOOD;) {
        assert_true(poll(listeners, HANGING + 1, PATIENCE_MS) > 0);
        for (int i = 0; i < HANGING; i++)
            if (listeners[i].revents != 0) {
                held[silent_count++] = accept_soon(listeners[i].fd);
                close(listeners[i].fd); /* one is enough */
                listeners[i].fd = -1;
            }
        if (listeners[HANGING].revents != 0) {
            const int fd = accept_soon(listeners[HANGING].fd);
            hear_request(fd);
            assert_int_equal(send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL), sizeof answer - 1);
            close(fd);
            good_count++;
        }
    }
    /* All of them hang at the same time. */
    for (int i = 0; i < HANGING; i++)
        assert_false(is_closed(held[i]));
    ms_chores_free(chores); /* breaks off those that hang */
    for (int i = 0; i < HANGING; i++)
        close(held[i]);
    struct ms_queue_stats stats;
    assert_int_equal(ms_queue_stats(queue, &stats, &err), 0);
    assert_true(stats.callbacks_due >= HANGING); /* left to the next worker */
    close(listeners[HANGING].fd);
}

static int set_up(void **state) {
    (void)state;
    ms_log_init("worker", MS_LOG_ERROR, false);
    if (mkdtemp(folder) == NULL)
        return -1;
    (void)snprintf(url, sizeof url, "sqlite:%s/queue.db", folder);
    return ms_queue_open(url, &queue, &err);
}

static int tear_down(void **state) {
    (void)state;
    ms_queue_close(queue);
    char command[80];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(those_that_hang_hold_up_nobody)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
