/* A server with a few routes on a free port of 127.0.0.1, on a thread of its own, and clients made
 * of plain sockets. */
#ifndef MSAAS_TEST_HTTP_PEER_H
#define MSAAS_TEST_HTTP_PEER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "msaas/http_server.h"

#define PATIENCE_S 60 /* for what should come at once */

struct peer {
    struct ms_http_server *server;
    pthread_t thread;
    int port;
};

static inline void *peer_run(void *user) {
    struct peer *peer = user;
    struct ms_error err = {0};
    if (ms_http_server_run(peer->server, &err) != 0)
        fprintf(stderr, "%s\n", err.text);
    return NULL;
}

static inline void peer_start(struct peer *peer, const struct ms_http_server_options *options) {
    struct ms_error err = {0};
    if (ms_http_server_new(options, &peer->server, &err) != 0)
        fail_msg("%s", err.text);
    peer->port = ms_http_server_port(peer->server);
    assert_int_equal(pthread_create(&peer->thread, NULL, peer_run, peer), 0);
}

static inline void peer_stop(struct peer *peer, int drain_ms) {
    ms_http_server_stop(peer->server, drain_ms);
    pthread_join(peer->thread, NULL);
    ms_http_server_free(peer->server);
}

static inline int dial(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval patience = {PATIENCE_S, 0};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* False: the server went away meanwhile. */
static inline bool say(int fd, const void *bytes, size_t size) {
    for (size_t done = 0; done < size;) {
        const ssize_t some = send(fd, (const char *)bytes + done, size - done, MSG_NOSIGNAL);
        if (some <= 0)
            return false;
        done += (size_t)some;
    }
    return true;
}

static inline bool say_text(int fd, const char *text) {
    return say(fd, text, strlen(text));
}

/* All that comes until the server closes, NUL-terminated; *reset: it was no orderly end. */
static inline char *hear_all(int fd, size_t *size, bool *reset) {
    size_t capacity = 65536;
    char *text = malloc(capacity + 1);
    assert_non_null(text);
    size_t length = 0;
    ssize_t some;
    while ((some = recv(fd, text + length, capacity - length, 0)) > 0) {
        length += (size_t)some;
        if (length == capacity) {
            capacity *= 2;
            text = realloc(text, capacity + 1);
            assert_non_null(text);
        }
    }
    if (some < 0 && errno != ECONNRESET)
        fail_msg("the server keeps still: %s", strerror(errno));
    if (reset != NULL)
        *reset = some < 0;
    text[length] = '\0';
    if (size != NULL)
        *size = length;
    return text;
}

/* Reads until `end` has come; what follows it must not have come yet. */
static inline char *hear_until(int fd, const char *end) {
    char *text = malloc(65537);
    assert_non_null(text);
    text[0] = '\0';
    size_t length = 0;
    while (strstr(text, end) == NULL) {
        const ssize_t some = recv(fd, text + length, 1, 0);
        if (some != 1 || length == 65535)
            fail_msg("\"%s\" did not come, but:\n%s", end, text);
        text[++length] = '\0';
    }
    return text;
}

static inline int status_of(const char *answer) {
    int status = 0;
    if (sscanf(answer, "HTTP/1.1 %3d ", &status) != 1)
        return 0;
    return status;
}

static inline const char *body_of(const char *answer) {
    const char *end = strstr(answer, "\r\n\r\n");
    return end != NULL ? end + 4 : "";
}

static inline int count_of(const char *text, const char *what) {
    int count = 0;
    for (; (text = strstr(text, what)) != NULL; text += strlen(what))
        count++;
    return count;
}

/* One connection: says it, hears until the end. The caller's to free. */
static inline char *ask(int port, const char *text) {
    const int fd = dial(port);
    (void)say_text(fd, text);
    char *answer = hear_all(fd, NULL, NULL);
    close(fd);
    return answer;
}

#endif
