/* Stands between a client and a server on 127.0.0.1 and breaks what passes through: a thread of its
 * own, one connection after the other. For tests of what clients do when the network fails. */
#ifndef MSAAS_TEST_FORWARDER_H
#define MSAAS_TEST_FORWARDER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../tools/must.h"

struct forwarder {
    int listener, port, server_port;
    pthread_t thread;
    atomic_int breaks;      /* so many connections break as said below; then all is well again */
    atomic_long after_down; /* break after so many bytes of answers; 0: don't */
    atomic_long after_up;   /* the same of requests */
    /* the answer to a request that holds this never arrives; NULL: don't */
    const char *_Atomic swallow;
    atomic_bool gone_then; /* after a break every connection ends at once */
    atomic_bool gone;      /* they do now */
    atomic_bool silent;    /* nothing passes, connections stay open */
    atomic_int connections;
    atomic_bool ends;
};

static inline int forwarder_connect(const struct forwarder *forwarder) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)forwarder->server_port)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

static inline bool forwarder_send(int fd, const char *bytes, ssize_t size) {
    while (size > 0) {
        const ssize_t some = send(fd, bytes, (size_t)size, MSG_NOSIGNAL);
        if (some <= 0)
            return false;
        bytes += some;
        size -= some;
    }
    return true;
}

/* Whether the connection is to break now; counted once. */
static inline bool forwarder_breaks(struct forwarder *forwarder, long passed, long limit) {
    if (limit <= 0 || passed < limit || atomic_load(&forwarder->breaks) <= 0)
        return false;
    atomic_fetch_sub(&forwarder->breaks, 1);
    atomic_store(&forwarder->gone, atomic_load(&forwarder->gone_then));
    return true;
}

static inline void forwarder_serve(struct forwarder *forwarder, int client, int server) {
    char block[1 << 14];
    long up = 0, down = 0;
    bool swallows = false;
    while (!atomic_load(&forwarder->ends)) {
        struct pollfd sides[] = {{.fd = client, .events = POLLIN},
                                 {.fd = server, .events = POLLIN}};
        if (poll(sides, 2, 50) < 0)
            return;
        if (atomic_load(&forwarder->silent))
            continue;
        if (sides[0].revents != 0) {
            const ssize_t size = recv(client, block, sizeof block - 1, 0);
            const char *swallow = atomic_load(&forwarder->swallow);
            if (size <= 0 || !forwarder_send(server, block, size))
                return;
            block[size] = '\0';
            swallows = swallows || (swallow != NULL && atomic_load(&forwarder->breaks) > 0 &&
                                    strstr(block, swallow) != NULL);
            up += size;
            if (forwarder_breaks(forwarder, up, atomic_load(&forwarder->after_up)))
                return;
        }
        if (sides[1].revents != 0) {
            const ssize_t size = recv(server, block, sizeof block, 0);
            if (size > 0 && swallows && forwarder_breaks(forwarder, 1, 1))
                return;
            if (size <= 0 || !forwarder_send(client, block, size))
                return;
            down += size;
            if (forwarder_breaks(forwarder, down, atomic_load(&forwarder->after_down)))
                return;
        }
    }
}

static inline void *forwarder_run(void *user) {
    struct forwarder *forwarder = user;
    int client;
    while ((client = accept(forwarder->listener, NULL, NULL)) >= 0) {
        const int server = atomic_load(&forwarder->gone) ? -1 : forwarder_connect(forwarder);
        atomic_fetch_add(&forwarder->connections, 1);
        if (server >= 0) {
            forwarder_serve(forwarder, client, server);
            close(server);
        }
        close(client);
    }
    return NULL;
}

static inline void forwarder_start(struct forwarder *forwarder, int server_port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    memset(forwarder, 0, sizeof *forwarder);
    forwarder->server_port = server_port;
    forwarder->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int failed = bind(forwarder->listener, (struct sockaddr *)&address, size) ||
                 getsockname(forwarder->listener, (struct sockaddr *)&address, &size) ||
                 listen(forwarder->listener, 8) ||
                 pthread_create(&forwarder->thread, NULL, forwarder_run, forwarder);
    must(failed == 0);
    forwarder->port = ntohs(address.sin_port);
}

static inline void forwarder_stop(struct forwarder *forwarder) {
    atomic_store(&forwarder->ends, true);
    shutdown(forwarder->listener, SHUT_RDWR); /* wakes accept */
    pthread_join(forwarder->thread, NULL);
    close(forwarder->listener);
}

#endif
