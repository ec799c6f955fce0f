/* A server on a free port of 127.0.0.1, on a thread of its own: one connection after the other, one
 * request on each. For tests of whatever speaks HTTP. */
#ifndef MSAAS_TEST_LOOPBACK_H
#define MSAAS_TEST_LOOPBACK_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../tools/must.h"

struct loopback_request {
    char head[8192]; /* request line and headers as they came */
    char path[512];
    char body[8192];   /* the beginning of it */
    size_t body_bytes; /* all of them */
};

struct loopback {
    int listener;
    int port;
    pthread_t thread;
    /* Answers on `fd`, which is closed afterwards. */
    void (*answer)(void *context, int fd, const struct loopback_request *request);
    void *context;
};

static inline bool loopback_read(int fd, struct loopback_request *request) {
    memset(request, 0, sizeof *request);
    size_t size = 0;
    const char *end;
    do {
        ssize_t some = recv(fd, request->head + size, sizeof request->head - 1 - size, 0);
        if (some <= 0)
            return false;
        size += (size_t)some;
    } while ((end = strstr(request->head, "\r\n\r\n")) == NULL && size < sizeof request->head - 1);
    if (end == NULL || sscanf(request->head, "%*15s %511s", request->path) != 1)
        return false;
    end += 4;
    size_t body = size - (size_t)(end - request->head);
    must(body < sizeof request->body);
    memcpy(request->body, end, body);
    request->head[end - request->head] = '\0';
    const char *field = strstr(request->head, "Content-Length: ");
    size_t length = 0;
    if (field != NULL)
        length = strtoul(field + 16, NULL, 10);
    while (body < length) {
        char rest[4096];
        const bool fits = body < sizeof request->body - 1;
        const size_t room = fits ? sizeof request->body - 1 - body : sizeof rest;
        const size_t left = length - body;
        ssize_t some = recv(fd, fits ? request->body + body : rest, left < room ? left : room, 0);
        if (some <= 0)
            return false;
        body += (size_t)some;
    }
    request->body_bytes = body;
    return true;
}

static inline void loopback_send(int fd, const void *bytes, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t some = send(fd, (const char *)bytes + done, size - done, MSG_NOSIGNAL);
        if (some <= 0)
            return;
        done += (size_t)some;
    }
}

static inline void *loopback_run(void *user) {
    struct loopback *server = user;
    struct loopback_request *request = malloc(sizeof *request);
    must(request != NULL);
    int fd;
    while ((fd = accept(server->listener, NULL, NULL)) >= 0) {
        if (loopback_read(fd, request))
            server->answer(server->context, fd, request);
        close(fd);
    }
    free(request);
    return NULL;
}

static inline void loopback_start(struct loopback *server) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int failed = bind(server->listener, (struct sockaddr *)&address, size) ||
                 getsockname(server->listener, (struct sockaddr *)&address, &size) ||
                 listen(server->listener, 8) ||
                 pthread_create(&server->thread, NULL, loopback_run, server);
    must(failed == 0);
    server->port = ntohs(address.sin_port);
}

static inline void loopback_stop(struct loopback *server) {
    shutdown(server->listener, SHUT_RDWR); /* wakes accept */
    pthread_join(server->thread, NULL);
    close(server->listener);
}

#endif
