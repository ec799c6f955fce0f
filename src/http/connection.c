/* A connection: its descriptor, its events and deadlines, and its states from one request to the
 * next. One request at a time; the next one waits in `in`. On the loop; nothing here blocks.
 * Plain events and own buffers instead of libevent's evhttp, which buffers whole bodies and
 * answers, has only idle timeouts (a byte a minute holds a connection for ever) and accepts
 * ambiguous framing. */
#include "connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/event.h>

#include "msaas/metrics.h"
#include "msaas/sys.h"

struct ms_metric ms_http_connections = {
    .name = "msaas_http_connections",
    .help = "Open connections.",
    .kind = MS_METRIC_GAUGE,
};

struct ms_metric ms_http_refused = {
    .name = "msaas_http_refused_total",
    .help = "Connections, and requests by proxies, that a limit refused.",
    .kind = MS_METRIC_COUNTER,
    .labels = {"limit"},
    .known = {"connections", "address", "descriptors"},
};

/* Not yet sent, in the kernel, which counts as this process' memory: a client that reads nothing
 * costs 94 KB there (with 256 KiB 364, with 32 KiB 52). What is under way is not limited by it: at
 * the end of a path of 100 ms a file comes as fast with any of them, 19 MB/s, and an object of S3,
 * which answers in 10 ms, at 10 MB/s (18 with 256 KiB, 6 with 32). One that acknowledges nothing of
 * what is under way is too slow, see ms_answer_check_pace. */
#define UNSENT_BYTES (64 << 10)

void ms_connection_set_timer(struct ms_connection *c, int ms) {
    const struct timeval after = {ms / 1000, ms % 1000 * 1000L};
    (void)event_add(c->timer, &after);
}

void ms_connection_pace(struct ms_connection *c, int64_t moved) {
    c->paced_bytes = moved;
    if (c->server->options.min_rate > 0)
        ms_connection_set_timer(c, c->server->options.rate_window_ms);
    else
        (void)event_del(c->timer);
}

bool ms_connection_is_slow(struct ms_connection *c, int64_t moved) {
    const struct ms_http_server_options *options = &c->server->options;
    const int64_t least = options->min_rate * options->rate_window_ms / 1000;
    const bool slow = moved - c->paced_bytes < least;
    ms_connection_pace(c, moved);
    return slow;
}

void ms_connection_fall_asleep(struct ms_connection *c) {
    c->is_idle = true;
    TAILQ_INSERT_TAIL(&c->server->idle, c, idle);
    if (c->client != NULL)
        TAILQ_INSERT_TAIL(&c->client->idle, c, idle_of_client);
    ms_connection_set_timer(c, c->server->options.idle_ms);
}

void ms_connection_wake(struct ms_connection *c) {
    if (!c->is_idle)
        return;
    c->is_idle = false;
    TAILQ_REMOVE(&c->server->idle, c, idle);
    if (c->client != NULL)
        TAILQ_REMOVE(&c->client->idle, c, idle_of_client);
}

void ms_connection_want_to_read(struct ms_connection *c, bool wanted) {
    if (wanted && !c->eof)
        (void)event_add(c->readable, NULL);
    else
        (void)event_del(c->readable);
}

size_t ms_connection_most_in(const struct ms_connection *c) {
    const size_t most = c->server->options.max_header_bytes;
    return c->state == ANSWER && most > MS_LEAST_IN_BYTES ? MS_LEAST_IN_BYTES : most;
}

void ms_connection_fit_in(struct ms_connection *c) {
    char *in = c->in_bytes > 0 ? realloc(c->in, c->in_bytes) : NULL;
    if (c->in_bytes > 0 && in == NULL)
        return;
    if (c->in_bytes == 0)
        free(c->in);
    c->in = in;
    c->in_capacity = c->in_bytes;
}

void ms_connection_close(struct ms_connection *c) {
    struct ms_http_server *server = c->server;
    if (c->fd < 0)
        return;
    (void)event_del(c->readable);
    (void)event_del(c->writable);
    (void)event_del(c->timer);
    (void)event_del(c->again);
    if (c->exchange != NULL && ms_exchange_has_socket(c->exchange)) {
        (void)shutdown(c->fd, SHUT_RDWR);
        c->exchange->socket_left = true;
    } else {
        close(c->fd);
    }
    c->fd = -1;
    ms_connection_wake(c);
    if (c->exchange != NULL && c->client != NULL) /* it counts as long as a pool works for it */
        c->exchange->client = c->client;
    else
        ms_clients_leave(&server->clients, c->client);
    c->client = NULL;
    if (c->exchange != NULL) {
        /* 499, as in nginx: the client closed before there was an answer */
        ms_exchange_tell(c->exchange, c->exchange->head_queued ? c->exchange->counted_status : 499);
        ms_exchange_release(c->exchange);
        c->exchange = NULL;
    }
    if (c->previous != NULL)
        c->previous->next = c->next;
    else
        server->connections = c->next;
    if (c->next != NULL)
        c->next->previous = c->previous;
    c->next = server->dead;
    server->dead = c;
    server->connection_count--;
    server->closed_count++;
    ms_metric_add(&ms_http_connections, -1, NULL, NULL);
    event_active(server->bury, EV_TIMEOUT, 1);
}

static void free_connection(struct ms_connection *c) {
    if (c->readable != NULL)
        event_free(c->readable);
    if (c->writable != NULL)
        event_free(c->writable);
    if (c->timer != NULL)
        event_free(c->timer);
    if (c->again != NULL)
        event_free(c->again);
    if (c->out != NULL)
        evbuffer_free(c->out);
    free(c->in);
    free(c);
}

void ms_connection_bury(struct ms_http_server *server) {
    while (server->dead != NULL) {
        struct ms_connection *c = server->dead;
        server->dead = c->next;
        free_connection(c);
    }
    if (server->draining && server->connection_count == 0)
        (void)event_base_loopbreak(server->base);
}

bool ms_connection_has_unread_bytes(const struct ms_connection *c) {
    return recv(c->fd, &(char){0}, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void ms_connection_close_idle(struct ms_http_server *server) {
    struct ms_connection *next;
    for (struct ms_connection *c = server->connections; c != NULL; c = next) {
        next = c->next;
        if (c->is_idle && !ms_connection_has_unread_bytes(c))
            ms_connection_close(c);
        else if (c->state == LINGER)
            ms_connection_set_timer(c, MS_LINGER_DRAIN_MS);
    }
}

void ms_connection_break_off(struct ms_connection *c) {
    const struct linger now = {1, 0};
    (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    ms_connection_close(c);
}

static void begin_request(struct ms_connection *c) {
    c->state = HEAD;
    c->scanned = 0;
    c->blank_skipped = false;
    c->complete = false;
    if (c->in_bytes == 0) {
        ms_connection_fit_in(c);
        ms_connection_fall_asleep(c);
    } else {
        c->begun_s = ms_monotonic_s();
        ms_connection_pace(c, c->received_bytes);
    }
    ms_connection_want_to_read(c, true);
    if (c->in_bytes > 0)
        event_active(c->readable, EV_READ,
                     1); /* pipelined: in the next turn of the loop, after the other connections */
}

void ms_connection_answered(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;
    ms_exchange_tell(e, e->counted_status);
    c->exchange = NULL;
    ms_exchange_release(e);
    if (c->keep_alive && !(c->server->draining && c->in_bytes == 0)) {
        begin_request(c);
    } else if ((c->linger || c->in_bytes > 0) && !c->eof && shutdown(c->fd, SHUT_WR) == 0) {
        c->state = LINGER;
        c->begun_s = ms_monotonic_s();
        ms_connection_set_timer(c, c->server->draining ? MS_LINGER_DRAIN_MS : MS_LINGER_IDLE_MS);
        ms_connection_want_to_read(c, true);
    } else {
        ms_connection_close(c);
    }
}

void ms_connection_open(struct ms_http_server *server, int fd, const uint8_t ip[16],
                        struct ms_client *client, const struct ms_connection_events *events) {
    struct ms_connection *c = calloc(1, sizeof *c);
    const int one = 1, unsent = UNSENT_BYTES;
    if (c == NULL) {
        close(fd);
        ms_clients_leave(&server->clients, client);
        return;
    }
    c->server = server;
    c->fd = fd;
    memcpy(c->ip, ip, sizeof c->ip);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
    c->readable = event_new(server->base, fd, EV_READ | EV_PERSIST, events->readable, c);
    c->writable = event_new(server->base, fd, EV_WRITE | EV_PERSIST, events->writable, c);
    c->timer = evtimer_new(server->base, events->timer, c);
    c->again = evtimer_new(server->base, events->again, c);
    c->out = evbuffer_new();
    if (c->readable == NULL || c->writable == NULL || c->timer == NULL || c->again == NULL ||
        c->out == NULL) {
        close(fd);
        ms_clients_leave(&server->clients, client);
        free_connection(c);
        return;
    }
    c->client = client;
    c->next = server->connections;
    if (c->next != NULL)
        c->next->previous = c;
    server->connections = c;
    server->connection_count++;
    ms_metric_add(&ms_http_connections, 1, NULL, NULL);
    ms_connection_fall_asleep(c);
    ms_connection_want_to_read(c, true);
}
