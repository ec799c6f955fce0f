/* A connection: reads a request, has it answered, writes the answer, and again; one request at a time, pipelined ones wait in `in`.
 * Everything here runs on the loop and never waits. Plain events and our own buffers instead of evhttp, which buffers whole bodies and answers,
 * knows only idle timeouts (a byte a minute holds a connection for ever) and takes ambiguous framing. */
#include "server.h"

#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/event.h>

#include "msaas/sys.h"
#include "router.h"

#define MIN_IN_BYTES 2048
#define BODY_STEP_BYTES (64 << 10) /* reserved at first, whatever Content-Length promises */
#define MAX_READ_BYTES (256 << 10) /* at one go, to be fair to the others */
#define DROP_BYTES (64 << 10)      /* of a body that the route does not want */
#define LOW_WATER_BYTES (64 << 10) /* a stream is asked for more below this */
#define UNSENT_BYTES (256 << 10)   /* in the kernel's send buffer */
#define LINGER_MS 5000
#define LINGER_BYTES (INT64_C(64) << 20)

enum state {
    HEAD,   /* waits for a request, or has part of its head in `in` */
    BODY,   /* has the head, reads the body */
    ANSWER, /* a handler is at work, or the answer is being written */
    LINGER, /* answered; reads and drops what the client still sends, so that the answer is not lost in a reset */
};

struct ms_connection {
    struct ms_http_server *server;
    struct ms_connection *previous, *next;
    int fd; /* -1: closed, waits for burial */
    enum state state;
    struct event *readable, *writable;
    struct event *timer; /* the deadline of the state */
    struct event *again; /* a stream that had nothing waits for it */
    char peer[64];
    char *in;
    size_t in_bytes, in_capacity, scanned;
    bool blank_skipped; /* one empty line before a request is allowed */
    double begun_s;     /* first byte of the request */
    bool eof;           /* the client sends no more */
    bool keep_alive;
    bool linger; /* after the answer */
    int64_t lingered_bytes;

    struct ms_exchange *exchange; /* NULL in HEAD and LINGER */
    struct ms_http_chunked chunked;
    int64_t body_left;  /* of Content-Length */
    int64_t max_body;   /* that the route takes */
    int64_t body_taken; /* dropped bytes included */

    struct evbuffer *out;
    bool complete;        /* all of the answer is in `out` */
    int64_t queued_bytes; /* ever put into out: to see whether the client reads */
    int64_t taken_bytes;  /* of them, what the client's kernel had at the last look */
};

static void on_ready(evutil_socket_t fd, short what, void *user);
static void flush(struct ms_connection *c);

/* ---- exchanges ----------------------------------------------------------------------------------------------- */

static void free_body(struct ms_exchange *e) {
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
static void release(struct ms_exchange *e) {
    e->connection = NULL;
    if (e->task != MS_TASK_NONE)
        return; /* when it comes back */
    if (e->stream.close != NULL) {
        e->task = MS_TASK_CLOSE;
        if (e->server->tasks != NULL && ms_tasks_post(e->server->tasks, run_close, e, NULL) == 0)
            return;
        e->stream.close(e->stream.context);
    }
    free_body(e);
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

/* ---- the connection's life ----------------------------------------------------------------------------------- */

static void set_timer(struct ms_connection *c, int ms) {
    const struct timeval after = {ms / 1000, ms % 1000 * 1000};

    (void)event_add(c->timer, &after);
}

static void want_to_read(struct ms_connection *c, bool wanted) {
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
        release(c->exchange);
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
    }
}

/* Breaks off so that the client notices, whatever framing it goes by: a reset. */
static void break_off(struct ms_connection *c) {
    const struct linger now = {1, 0};

    (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    ms_connection_close(c);
}

/* ---- answers ------------------------------------------------------------------------------------------------- */

static const char *date_now(struct ms_http_server *server) {
    const time_t now = time(NULL);
    struct tm parts;

    if (now != server->date_of && gmtime_r(&now, &parts) != NULL) {
        strftime(server->date, sizeof server->date, "%a, %d %b %Y %H:%M:%S GMT", &parts);
        server->date_of = now;
    }
    return server->date;
}

static void end_answer(struct ms_connection *c);

/* What the exchange holds goes out: the head, and the whole body or the first of a stream. */
static void send_answer(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;
    struct ms_http_server *server = c->server;
    int64_t length;

    c->state = ANSWER;
    if (e->out_of_memory || e->status == 0)
        ms_exchange_error(e, 500,
                          e->out_of_memory ? "no memory for the answer" : "there is no answer");
    if (e->stream.read == NULL)
        free_body(e); /* nobody looks at it any more */
    length = e->stream.read != NULL ? e->stream.length
             : e->content != NULL   ? (int64_t)evbuffer_get_length(e->content)
                                    : 0;
    if ((c->eof && c->in_bytes == 0) || server->draining)
        c->keep_alive = false; /* HTTP/1.0 never keeps it */
    e->counted_status = e->status;
    if (!ms_exchange_put_head(e, length, c->keep_alive, date_now(server), c->out)) {
        ms_connection_close(c);
        return;
    }
    e->head_queued = true;
    c->complete = e->stream.read == NULL || !ms_exchange_has_body(e) || length == 0;
    if (e->content != NULL && ms_exchange_has_body(e) &&
        evbuffer_add_buffer(c->out, e->content) != 0) {
        ms_connection_close(c);
        return;
    }
    c->queued_bytes = (int64_t)evbuffer_get_length(c->out);
    c->taken_bytes = 0;
    want_to_read(c, c->in_bytes < server->options.max_header_bytes);
    set_timer(c, server->options.write_stall_ms);
    flush(c);
}

/* An answer of the server's own to c->exchange, whose body may not have come whole. */
static void send_error(struct ms_connection *c, int status, const char *reason, bool close_after) {
    struct ms_exchange *e = c->exchange;

    ms_exchange_error(e, status, reason);
    if (status == 503)
        ms_http_add_header(&e->call, "Retry-After", "2");
    if (close_after) {
        c->keep_alive = false;
        c->linger = true;
    }
    send_answer(c);
}

/* ---- streams ------------------------------------------------------------------------------------------------- */

static void run_read(void *user) {
    ms_exchange_read(user);
    ms_server_give_back(user);
}

static void ask_stream(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;

    e->task = MS_TASK_READ;
    if (ms_tasks_post(c->server->tasks, run_read, e, NULL) != 0) {
        e->task = MS_TASK_NONE;
        break_off(c);
    }
}

static void free_chunk(const void *data, size_t size, void *chunk) {
    (void)data;
    (void)size;
    free(chunk);
}

/* Hands exchange->chunk over to the connection, in the chunked coding if the answer is in that. */
static bool queue_chunk(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;
    char *at = e->chunk + MS_HTTP_CHUNK_ROOM;
    size_t size = e->chunk_bytes;

    e->streamed_bytes += (int64_t)size;
    if (e->stream.length < 0 && e->head.minor >= 1) {
        char line[MS_HTTP_CHUNK_ROOM];
        const int length = snprintf(line, sizeof line, "%zx\r\n", size);

        at[size] = '\r';
        at[size + 1] = '\n';
        at -= length;
        memcpy(at, line, (size_t)length);
        size += (size_t)length + 2;
    }
    if (evbuffer_add_reference(c->out, at, size, free_chunk, e->chunk) != 0)
        return false;
    e->chunk = NULL;
    c->queued_bytes += (int64_t)size;
    return true;
}

static void end_stream(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;

    if (e->stream.length < 0 && e->head.minor >= 1) {
        if (evbuffer_add(c->out, "0\r\n\r\n", 5) != 0) {
            break_off(c);
            return;
        }
        c->queued_bytes += 5;
    }
    c->complete = true;
    flush(c);
}

static void stream_returned(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;

    if (e->read_rc != 0) {
        break_off(c);
    } else if (e->chunk_bytes > 0) {
        if (!queue_chunk(c)) {
            break_off(c);
            return;
        }
        if (e->streamed_bytes == e->stream.length)
            end_stream(c);
        else
            flush(c);
    } else if (e->again_ms > 0 && c->eof) {
        ms_connection_close(c); /* nobody listens */
    } else if (e->again_ms > 0 && !c->server->draining) {
        const struct timeval after = {e->again_ms / 1000, e->again_ms % 1000 * 1000};

        (void)event_add(c->again, &after);
    } else if (e->stream.length >= 0) {
        break_off(c); /* shorter than it was to be */
    } else {
        end_stream(c); /* in a drain too: listeners come back to another server */
    }
}

static void on_again(evutil_socket_t fd, short what, void *user) {
    struct ms_connection *c = user;

    (void)fd;
    (void)what;
    if (c->fd >= 0)
        ask_stream(c);
}

/* ---- writing ------------------------------------------------------------------------------------------------- */

static bool stream_may_read(const struct ms_connection *c) {
    return c->state == ANSWER && c->exchange->head_queued && !c->complete &&
           c->exchange->task == MS_TASK_NONE && event_pending(c->again, EV_TIMEOUT, NULL) == 0 &&
           evbuffer_get_length(c->out) <= LOW_WATER_BYTES;
}

static void flush(struct ms_connection *c) {
    struct evbuffer_iovec pieces[16];

    while (evbuffer_get_length(c->out) > 0) {
        const int count = evbuffer_peek(c->out, -1, NULL, pieces, 16);
        struct msghdr message = {.msg_iov = (struct iovec *)pieces,
                                 .msg_iovlen = (size_t)(count < 16 ? count : 16)};
        const ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            (void)event_add(c->writable, NULL);
            break;
        }
        if (sent < 0) {
            ms_connection_close(c);
            return;
        }
        (void)evbuffer_drain(c->out, (size_t)sent);
        if (c->exchange != NULL)
            c->exchange->sent_bytes += sent;
    }
    if (evbuffer_get_length(c->out) == 0) {
        (void)event_del(c->writable);
        if (c->state == ANSWER && c->exchange->head_queued && c->complete) {
            end_answer(c);
            return;
        }
    }
    if (stream_may_read(c))
        ask_stream(c);
}

static void on_writable(evutil_socket_t fd, short what, void *user) {
    struct ms_connection *c = user;

    (void)fd;
    (void)what;
    if (c->fd >= 0)
        flush(c);
}

/* The kernel tells of room only when there is much, so a slow reader is judged by what it has acknowledged. */
static void check_stall(struct ms_connection *c) {
    int unsent = 0;
    int64_t taken;

    (void)ioctl(c->fd, SIOCOUTQ, &unsent);
    taken = c->queued_bytes - (int64_t)evbuffer_get_length(c->out) - unsent;
    if (taken == c->taken_bytes && taken < c->queued_bytes) {
        break_off(c);
        return;
    }
    c->taken_bytes = taken;
    set_timer(c, c->server->options.write_stall_ms);
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
        set_timer(c, c->server->options.idle_ms);
    } else {
        c->begun_s = ms_monotonic_s();
        set_timer(c, c->server->options.header_deadline_ms);
        event_active(c->readable, EV_READ, 1); /* pipelined: next time round, after the others */
    }
    want_to_read(c, true);
}

static void end_answer(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;

    tell(e, e->counted_status);
    c->exchange = NULL;
    release(e);
    if (c->keep_alive) {
        begin_request(c);
    } else if (c->linger && !c->eof && shutdown(c->fd, SHUT_WR) == 0) {
        c->state = LINGER;
        set_timer(c, LINGER_MS);
        want_to_read(c, true);
    } else {
        ms_connection_close(c);
    }
}

/* ---- requests ------------------------------------------------------------------------------------------------ */

static void run_handle(void *user) {
    struct ms_exchange *e = user;

    e->route->handle(&e->call);
    ms_server_give_back(e);
}

static void dispatch(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;

    c->state = ANSWER;
    (void)event_del(c->timer);
    want_to_read(c, c->in_bytes < c->server->options.max_header_bytes);
    e->call.body = e->body != NULL ? e->body : "";
    e->call.body_bytes = e->body_bytes;
    if (e->body != NULL)
        e->body[e->body_bytes] = '\0';
    if (e->route->quick) {
        e->route->handle(&e->call);
        send_answer(c);
        return;
    }
    e->task = MS_TASK_HANDLE;
    if (ms_tasks_post(c->server->tasks, run_handle, e, NULL) != 0) {
        e->task = MS_TASK_NONE;
        send_error(c, 503, "too many requests wait", false);
    }
}

void ms_exchange_returned(struct ms_exchange *e) {
    struct ms_connection *c = e->connection;
    const enum ms_exchange_task task = e->task;

    e->task = MS_TASK_NONE;
    if (c == NULL)
        release(e);
    else if (task == MS_TASK_HANDLE)
        send_answer(c);
    else
        stream_returned(c);
}

/* Room for `more` bytes and the NUL behind, reserved as bytes come. 0, or the status to answer with. */
static int grow_body(struct ms_connection *c, size_t more) {
    struct ms_exchange *e = c->exchange;
    struct ms_http_server *server = c->server;
    size_t wanted = e->body_bytes + more + 1, capacity = e->body_capacity * 2;
    char *body;

    if (wanted <= e->body_capacity)
        return 0;
    if (capacity < wanted)
        capacity = wanted;
    if (e->head.content_length >= 0 && capacity > (size_t)e->head.content_length + 1)
        capacity = (size_t)e->head.content_length + 1;
    if (server->inflight_bytes + (int64_t)(capacity - e->body_capacity) >
        server->options.max_inflight_bytes)
        return 503;
    body = realloc(e->body, capacity);
    if (body == NULL)
        return 503;
    server->inflight_bytes += (int64_t)(capacity - e->body_capacity);
    e->body = body;
    e->body_capacity = capacity;
    return 0;
}

static const char *const too_busy = "the server has its hands full of uploads";
static const char *const too_large = "the body is too large";

/* Bytes of the body that are in `in`. True: the connection is done with for now. */
static bool take_body(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;
    size_t at = 0;
    int done = 0;

    while (done == 0 && (at < c->in_bytes || (!e->head.chunked && c->body_left == 0))) {
        const char *data = c->in + at;
        size_t used, size;
        int status = 0;

        if (e->head.chunked) {
            done = ms_http_chunked_feed(&c->chunked, data, c->in_bytes - at, &used, &data, &size);
        } else {
            used = size = (int64_t)(c->in_bytes - at) < c->body_left ? c->in_bytes - at
                                                                     : (size_t)c->body_left;
            c->body_left -= (int64_t)size;
            done = c->body_left == 0;
        }
        at += used;
        c->body_taken += (int64_t)size;
        if (done < 0) {
            send_error(c, 400, "the chunked body is malformed", true);
            return true;
        }
        if (c->body_taken > (c->max_body > 0 ? c->max_body : DROP_BYTES)) {
            send_error(c, 413, too_large, true);
            return true;
        }
        if (c->max_body > 0 && size > 0) {
            status = grow_body(c, size);
            if (status != 0) {
                send_error(c, status, too_busy, true);
                return true;
            }
            memcpy(e->body + e->body_bytes, data, size);
            e->body_bytes += size;
        }
    }
    c->in_bytes -= at;
    if (c->in_bytes > 0)
        memmove(c->in, c->in + at, c->in_bytes);
    if (done == 0)
        return false;
    dispatch(c);
    return true;
}

/* Reads a body of known length straight to where it belongs. */
static void read_body(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;
    size_t most = c->body_left < MAX_READ_BYTES ? (size_t)c->body_left : MAX_READ_BYTES;
    char *to = c->server->scratch;
    ssize_t got;

    if (c->max_body > 0) {
        const int status = grow_body(c, most < BODY_STEP_BYTES ? most : BODY_STEP_BYTES);

        if (status != 0) {
            send_error(c, status, too_busy, true);
            return;
        }
        to = e->body + e->body_bytes;
        if (most > e->body_capacity - 1 - e->body_bytes)
            most = e->body_capacity - 1 - e->body_bytes;
    } else if (most > MS_HTTP_SCRATCH_BYTES) {
        most = MS_HTTP_SCRATCH_BYTES;
    }
    got = recv(c->fd, to, most, 0);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (got <= 0) {
        ms_connection_close(c);
        return;
    }
    if (c->max_body > 0)
        e->body_bytes += (size_t)got;
    c->body_left -= got;
    if (c->body_left == 0)
        dispatch(c);
}

/* The head is known: where it leads, and whether its body is welcome. Before the body is read, and before 100. */
static void begin_body(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;
    struct ms_http_server *server = c->server;
    const int64_t length = e->head.content_length;
    const bool has_body = e->head.chunked || length > 0;
    char allow[128];
    int status;

    e->route = ms_http_route_find(server->options.routes, e->head.method, e->call.path, &status,
                                  allow, sizeof allow);
    if (e->route == NULL) {
        if (status == 405)
            ms_http_add_header(&e->call, "Allow", allow);
        send_error(c, status, status == 404 ? "there is nothing here" : "not with this method",
                   has_body);
        return;
    }
    (void)ms_http_route_params(e->route->pattern, e->call.path,
                               (char *)e->call.path + strlen(e->call.path) + 1, e->call.params);
    c->max_body = e->route->max_body_bytes;
    if (length > (c->max_body > 0 ? c->max_body : DROP_BYTES)) {
        send_error(c, 413, too_large, true);
        return;
    }
    if (server->exchange_count > 2 * server->options.max_connections ||
        (c->max_body > 0 && server->inflight_bytes + length > server->options.max_inflight_bytes)) {
        send_error(c, 503, too_busy, has_body);
        return;
    }
    c->chunked = (struct ms_http_chunked){0};
    c->body_left = length > 0 ? length : 0;
    c->body_taken = 0;
    if (!has_body) {
        dispatch(c);
        return;
    }
    c->state = BODY;
    set_timer(c, server->options.body_deadline_ms);
    if (e->head.expect_continue && c->in_bytes == 0) {
        if (evbuffer_add(c->out, "HTTP/1.1 100 Continue\r\n\r\n", 25) != 0) {
            ms_connection_close(c);
            return;
        }
        flush(c);
        if (c->fd < 0)
            return;
    }
    if (!take_body(c))
        want_to_read(c, true);
}

/* An exchange for the first `size` bytes of `in`, which are taken out; NULL, and the connection closed, when there is no memory. */
static struct ms_exchange *begin_exchange(struct ms_connection *c, size_t size) {
    struct ms_exchange *e = ms_exchange_new(c->server, c->peer, c->in, size);

    if (e == NULL) {
        ms_connection_close(c);
        return NULL;
    }
    c->server->exchange_count++;
    e->connection = c;
    e->call.context = c->server->options.context;
    e->started_s = c->begun_s;
    c->exchange = e;
    c->linger = false;
    c->keep_alive = false;
    c->complete = false;
    c->in_bytes -= size;
    if (c->in_bytes > 0)
        memmove(c->in, c->in + size, c->in_bytes);
    return e;
}

/* A request that never became one. */
static void refuse_head(struct ms_connection *c, int status, const char *reason) {
    if (begin_exchange(c, 0) == NULL)
        return;
    ms_exchange_name(c->exchange);
    send_error(c, status, reason, true);
}

static void take_head(struct ms_connection *c) {
    const size_t most = c->server->options.max_header_bytes;
    struct ms_exchange *e;
    const char *reason = NULL;
    size_t size;
    int status;

    if (!c->blank_skipped && c->in_bytes >= 2 && memcmp(c->in, "\r\n", 2) == 0) {
        c->blank_skipped = true;
        c->scanned = 0;
        c->in_bytes -= 2;
        memmove(c->in, c->in + 2, c->in_bytes);
    }
    status = ms_http_scan_head(c->in, c->in_bytes, &c->scanned, &size, &reason);
    if (status == 0 && size == 0 && c->in_bytes >= most) {
        status = 431;
        reason = "the headers are too large";
    }
    if (status != 0) {
        refuse_head(c, status, reason);
        return;
    }
    if (size == 0)
        return;
    e = begin_exchange(c, size);
    if (e == NULL)
        return;
    status = ms_http_parse_head(e->text, size, &e->head);
    ms_exchange_name(e);
    e->call.method = e->head.method;
    e->call.query = e->head.query;
    if (status != 0) {
        send_error(c, status, e->head.reason, true);
        return;
    }
    c->keep_alive = !e->head.close;
    if (strcmp(e->head.path, "*") != 0) {
        char *path = e->text + size + 1;

        if (!ms_http_decode_path(e->head.path, path)) {
            send_error(c, 400, "the path is malformed", true);
            return;
        }
        e->call.path = path;
    }
    begin_body(c);
}

/* ---- reading ------------------------------------------------------------------------------------------------- */

/* Reads what there is room for into `in`. False: the connection is gone, or at its end. */
static bool fill_in(struct ms_connection *c) {
    const size_t most = c->server->options.max_header_bytes;
    ssize_t got;

    if (c->in_bytes == c->in_capacity && c->in_capacity < most) {
        size_t capacity = c->in_capacity == 0 ? MIN_IN_BYTES : 2 * c->in_capacity;
        char *in = realloc(c->in, capacity < most ? capacity : most);

        if (in == NULL) {
            ms_connection_close(c);
            return false;
        }
        c->in = in;
        c->in_capacity = capacity < most ? capacity : most;
    }
    if (c->in_bytes == c->in_capacity) { /* pipelined far ahead: the rest waits in the kernel */
        if (c->state == ANSWER)
            want_to_read(c, false);
        return true;
    }
    got = recv(c->fd, c->in + c->in_bytes, c->in_capacity - c->in_bytes, 0);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return true;
    if (got < 0) {
        ms_connection_close(c);
        return false;
    }
    if (got == 0) {
        c->eof = true;
        want_to_read(c, false);
        return c->in_bytes > 0;
    }
    c->in_bytes += (size_t)got;
    return true;
}

static void drop_input(struct ms_connection *c) {
    const ssize_t got = recv(c->fd, c->server->scratch, MS_HTTP_SCRATCH_BYTES, 0);

    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    c->lingered_bytes += got;
    if (got <= 0 || c->lingered_bytes > LINGER_BYTES)
        ms_connection_close(c);
}

static void read_request(struct ms_connection *c) {
    const bool idle = c->in_bytes == 0 && c->state == HEAD;

    if (c->state == BODY && !c->exchange->head.chunked) {
        read_body(c);
        return;
    }
    (void)fill_in(c);
    if (c->fd < 0)
        return;
    if (idle && c->in_bytes > 0) {
        c->begun_s = ms_monotonic_s();
        set_timer(c, c->server->options.header_deadline_ms);
    }
    if (c->state == HEAD && c->in_bytes > 0)
        take_head(c);
    else if (c->state == BODY)
        (void)take_body(c);
    /* The client has gone, or will not end what it began. Answers at work are still written, for those who only closed their half. */
    if (c->fd >= 0 && c->eof &&
        (c->state == HEAD || c->state == BODY || event_pending(c->again, EV_TIMEOUT, NULL) != 0))
        ms_connection_close(c);
}

static void on_ready(evutil_socket_t fd, short what, void *user) {
    struct ms_connection *c = user;

    (void)fd;
    (void)what;
    if (c->fd < 0)
        return;
    if (c->state == LINGER)
        drop_input(c);
    else
        read_request(c);
}

static void on_timer(evutil_socket_t fd, short what, void *user) {
    struct ms_connection *c = user;

    (void)fd;
    (void)what;
    if (c->fd < 0)
        return;
    if (c->state == HEAD && c->in_bytes > 0)
        refuse_head(c, 408, "the headers took too long");
    else if (c->state == BODY)
        send_error(c, 408, "the body took too long", true);
    else if (c->state == ANSWER && c->exchange->head_queued)
        check_stall(c);
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
    c->readable = event_new(server->base, fd, EV_READ | EV_PERSIST, on_ready, c);
    c->writable = event_new(server->base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
    c->timer = evtimer_new(server->base, on_timer, c);
    c->again = evtimer_new(server->base, on_again, c);
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
    server->connection_count++;
    set_timer(c, server->options.header_deadline_ms);
    want_to_read(c, true);
}
