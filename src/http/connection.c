/* The life of a connection: reads a request (request.c), has it answered, writes the answer
 * (answer.c), and again; one request at a time, pipelined ones wait in `in`. Everything here runs
 * on the loop and never waits. Plain events and our own buffers instead of evhttp, which buffers
 * whole bodies and answers, knows only idle timeouts (a byte a minute holds a connection for ever)
 * and takes ambiguous framing. */
#include "connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/event.h>

#include "msaas/metrics.h"
#include "msaas/sys.h"

#define UNSENT_BYTES (256 << 10) /* in the kernel's send buffer */

/* ---- exchanges ---- */

void ms_exchange_free_body(struct ms_exchange *e) {
    e->server->inflight_bytes -= (int64_t)e->body_capacity;
    free(e->body);
    e->body = NULL;
    e->body_bytes = e->body_capacity = 0;
}

static void run_close(void *user) {
    struct ms_exchange *e = user;
    e->stream.close(e->stream.context);
    e->stream.close = NULL;
    ms_server_give_back(e);
}

/* Nobody needs it any more: closes its stream, on the pool, since that may block, and frees it. */
void ms_exchange_release(struct ms_exchange *e) {
    e->connection = NULL;
    if (e->task != MS_TASK_NONE)
        return; /* when it comes back */
    if (e->stream.close != NULL) {
        e->task = MS_TASK_CLOSE;
        if (ms_server_post(e, run_close))
            return;
        e->stream.close(e->stream.context);
    }
    ms_exchange_free_body(e);
    e->server->exchange_count--;
    ms_exchange_free(e);
}

static void tell(struct ms_exchange *e, int status) {
    const struct ms_http_server_options *options = &e->server->options;
    if (options->done != NULL && !e->told)
        options->done(options->context, e->head.method, e->route != NULL ? e->route->pattern : "",
                      e->call.path, status, ms_monotonic_s() - e->started_s, e->sent_bytes,
                      e->request_id, e->peer);
    e->told = true;
}

/* ---- the connection's life ---- */

void ms_connection_set_timer(struct ms_connection *c, int ms) {
    const struct timeval after = {ms / 1000, ms % 1000 * 1000L};
    (void)event_add(c->timer, &after);
}

void ms_connection_want_to_read(struct ms_connection *c, bool wanted) {
    if (wanted && !c->eof)
        (void)event_add(c->readable, NULL);
    else
        (void)event_del(c->readable);
}

void ms_connection_close(struct ms_connection *c) {
    struct ms_http_server *server = c->server;
    if (c->fd < 0)
        return;
    (void)event_del(c->readable);
    (void)event_del(c->writable);
    (void)event_del(c->timer);
    (void)event_del(c->again);
    close(c->fd);
    c->fd = -1;
    if (c->exchange != NULL) {
        /* 499, as nginx has it: the client closed before there was an answer */
        tell(c->exchange, c->exchange->head_queued ? c->exchange->counted_status : 499);
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
    ms_metric_set(MS_METRIC_HTTP_CONNECTIONS, --server->connection_count, NULL);
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

void ms_connection_close_idle(struct ms_http_server *server) {
    struct ms_connection *next;
    for (struct ms_connection *c = server->connections; c != NULL; c = next) {
        next = c->next;
        if (c->state == HEAD && c->in_bytes == 0)
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
        free(c->in);
        c->in = NULL;
        c->in_capacity = 0;
        ms_connection_set_timer(c, c->server->options.idle_ms);
    } else {
        c->begun_s = ms_monotonic_s();
        ms_connection_set_timer(c, c->server->options.header_deadline_ms);
    }
    ms_connection_want_to_read(c, true);
    if (c->in_bytes > 0)
        event_active(c->readable, EV_READ, 1); /* pipelined: next time round, after the others */
}

void ms_connection_answered(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;
    tell(e, e->counted_status);
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

static void on_timer(evutil_socket_t fd, short what, void *user) {
    struct ms_connection *c = user;
    (void)fd;
    (void)what;
    if (c->fd < 0)
        return;
    if (c->state == HEAD && c->in_bytes > 0)
        ms_request_refuse(c, 408, "the headers took too long");
    else if (c->state == BODY)
        ms_answer_send_error(c, 408, "the body took too long", true);
    else if (c->state == ANSWER && c->exchange->head_queued)
        ms_answer_check_stall(c);
    else
        ms_connection_close(c);
}

void ms_connection_open(struct ms_http_server *server, int fd, const char *peer) {
    struct ms_connection *c = calloc(1, sizeof *c);
    const int one = 1, unsent = UNSENT_BYTES;
    if (c == NULL) {
        close(fd);
        return;
    }
    c->server = server;
    c->fd = fd;
    snprintf(c->peer, sizeof c->peer, "%s", peer);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
    c->readable = event_new(server->base, fd, EV_READ | EV_PERSIST, ms_request_on_readable, c);
    c->writable = event_new(server->base, fd, EV_WRITE | EV_PERSIST, ms_answer_on_writable, c);
    c->timer = evtimer_new(server->base, on_timer, c);
    c->again = evtimer_new(server->base, ms_answer_on_again, c);
    c->out = evbuffer_new();
    if (c->readable == NULL || c->writable == NULL || c->timer == NULL || c->again == NULL ||
        c->out == NULL) {
        close(fd);
        free_connection(c);
        return;
    }
    c->next = server->connections;
    if (c->next != NULL)
        c->next->previous = c;
    server->connections = c;
    ms_metric_set(MS_METRIC_HTTP_CONNECTIONS, ++server->connection_count, NULL);
    ms_connection_set_timer(c, server->options.header_deadline_ms);
    ms_connection_want_to_read(c, true);
}
