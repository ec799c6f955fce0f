/* What comes in: heads, bodies and the routes that they lead to. On the loop. Memory for a body is
 * reserved as its bytes come, whatever Content-Length says, and is counted for all connections
 * together. */
#include "connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <event2/buffer.h>
#include <event2/event.h>

#include "forwarded.h"
#include "msaas/metrics.h"
#include "msaas/networks.h"
#include "msaas/sys.h"
#include "origin.h"
#include "router.h"

#define MIN_IN_BYTES 2048
#define BODY_STEP_BYTES (64 << 10) /* reserved at first */
#define MAX_READ_BYTES (256 << 10) /* at once, so that other connections get their turn */
#define DROP_BYTES (64 << 10)      /* of a body that the route does not accept */
#define LINGER_S 30
#define LINGER_BYTES (INT64_C(256) << 20)

/* ---- requests ---- */

static const char *const too_many_wait = "too many requests are waiting; try again later";

static void run_handle(void *user) {
    struct ms_exchange *e = user;
    if (ms_server_waited(e) > 1) { /* the pool is blocked: better an early error */
        ms_exchange_error(e, 503, too_many_wait);
        ms_http_add_header(&e->call, "Retry-After", "5");
    } else {
        e->route->handle(&e->call);
    }
    ms_server_give_back(e);
}

static void dispatch(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;
    c->state = ANSWER;
    (void)event_del(c->timer);
    ms_connection_want_to_read(c, c->in_bytes < c->server->options.max_header_bytes);
    e->call.body = e->body != NULL ? e->body : "";
    e->call.body_bytes = e->body_bytes;
    if (e->body != NULL)
        e->body[e->body_bytes] = '\0';
    if (e->route->where == MS_HTTP_LOOP) {
        e->route->handle(&e->call);
        ms_answer_send(c);
        return;
    }
    e->task = MS_TASK_HANDLE;
    if (!ms_server_post(e, run_handle)) {
        e->task = MS_TASK_NONE;
        ms_answer_send_error(c, 503, too_many_wait, false);
    }
}

static const char *const too_busy = "too many uploads at the same time; try again later";
static const char *const too_large = "the body is too large";

/* Takes the bytes of the body that are in `in`. True: there is nothing more to do now. */
static bool take_body(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;
    size_t at = 0;
    int done = 0;
    while (done == 0 && at < c->in_bytes) {
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
            ms_answer_send_error(c, 400, "the chunked body is malformed", true);
            return true;
        }
        if (c->body_taken > (c->max_body > 0 ? c->max_body : DROP_BYTES)) {
            ms_answer_send_error(c, 413, too_large, true);
            return true;
        }
        if (c->max_body > 0 && size > 0) {
            status = ms_exchange_grow_body(e, size);
            if (status != 0) {
                ms_answer_send_error(c, status, too_busy, true);
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

/* Reads a body of known length, without a copy. */
static void read_body(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;
    size_t most = c->body_left < MAX_READ_BYTES ? (size_t)c->body_left : MAX_READ_BYTES;
    char *to = c->server->scratch;
    if (c->max_body > 0) {
        const bool full = e->body_bytes + 1 >= e->body_capacity;
        const int status =
            full ? ms_exchange_grow_body(e, most < BODY_STEP_BYTES ? most : BODY_STEP_BYTES) : 0;
        if (status != 0) {
            ms_answer_send_error(c, status, too_busy, true);
            return;
        }
        to = e->body + e->body_bytes;
        if (most > e->body_capacity - 1 - e->body_bytes)
            most = e->body_capacity - 1 - e->body_bytes;
    } else if (most > MS_HTTP_SCRATCH_BYTES) {
        most = MS_HTTP_SCRATCH_BYTES;
    }
    ssize_t got = recv(c->fd, to, most, 0);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (got <= 0) {
        ms_connection_close(c);
        return;
    }
    c->received_bytes += got;
    if (c->max_body > 0)
        e->body_bytes += (size_t)got;
    c->body_left -= got;
    if (c->body_left == 0)
        dispatch(c);
}

/* Finds the route of a head, and decides whether its body is accepted: before the body is read, and
 * before 100 Continue. */
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
        ms_answer_send_error(c, status,
                             status == 404 ? "nothing is served at this path"
                                           : "this method is not allowed here",
                             has_body);
        return;
    }
    (void)ms_http_route_params(e->route->pattern, e->call.path,
                               (char *)e->call.path + strlen(e->call.path) + 1, e->call.params);
    c->max_body = e->route->max_body_bytes;
    if (length > (c->max_body > 0 ? c->max_body : DROP_BYTES) ||
        length > server->options.max_inflight_bytes) {
        ms_answer_send_error(c, 413, too_large, true);
        return;
    }
    if (server->exchange_count > 2 * server->options.max_connections ||
        (c->max_body > 0 && server->inflight_bytes + length > server->options.max_inflight_bytes)) {
        ms_answer_send_error(c, 503, too_busy, has_body);
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
    ms_connection_pace(c, c->received_bytes);
    if (e->head.expect_continue && c->in_bytes == 0) {
        if (evbuffer_add(c->out, "HTTP/1.1 100 Continue\r\n\r\n", 25) != 0) {
            ms_connection_close(c);
            return;
        }
        ms_answer_flush(c);
        if (c->fd < 0)
            return;
    }
    if (!take_body(c))
        ms_connection_want_to_read(c, true);
}

/* Makes an exchange of the first `size` bytes of `in` and removes them. Without memory it closes
 * the connection and returns NULL. */
static struct ms_exchange *begin_exchange(struct ms_connection *c, size_t size) {
    struct ms_exchange *e = ms_exchange_new(c->server, c->ip, c->in, size);
    if (e == NULL) {
        ms_connection_close(c);
        return NULL;
    }
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

/* Answers bytes that could not be read as a request. */
static void refuse(struct ms_connection *c, int status, const char *reason) {
    const bool is_head = c->in_bytes >= 5 && memcmp(c->in, "HEAD ", 5) == 0;
    if (begin_exchange(c, 0) == NULL)
        return;
    ms_exchange_name(c->exchange);
    if (is_head) /* without a body, also when it is refused */
        c->exchange->call.method = c->exchange->head.method = "HEAD";
    ms_answer_send_error(c, status, reason, true);
}

/* Decides whether this client may ask this now; otherwise it is answered. */
static bool admit(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;
    struct ms_http_server *server = c->server;
    const bool proxied = ms_networks_hold(server->options.trusted_proxies, c->ip);
    const bool has_body = e->head.chunked || e->head.content_length > 0;
    const struct ms_origin_rules rules = {server->loopback, server->options.allowed_hosts};
    const char *reason = NULL;
    const int status = ms_origin_judge(&e->head, &rules, proxied, &reason);
    if (status != 0) {
        ms_answer_send_error(c, status, reason, has_body);
        return false;
    }
    if (!proxied)
        return true;
    uint8_t ip[16];
    ms_forwarded_client(&e->head, server->options.trusted_proxies, c->ip, ip);
    (void)ms_ip_text(ip, e->peer);
    e->client = ms_clients_enter(&server->clients, ip);
    if (e->client == NULL || e->client->count > server->options.max_client_connections) {
        ms_metric_add(&ms_http_refused, 1, "address", NULL);
        ms_answer_send_error(c, 429, "too many requests from this address at the same time",
                             has_body);
        return false;
    }
    return true;
}

/* False: the head is not complete yet. */
static bool take_head(struct ms_connection *c) {
    const size_t most = c->server->options.max_header_bytes;
    const char *reason = NULL;
    if (!c->blank_skipped && c->in_bytes >= 2 && memcmp(c->in, "\r\n", 2) == 0) {
        c->blank_skipped = true;
        c->scanned = 0;
        c->in_bytes -= 2;
        memmove(c->in, c->in + 2, c->in_bytes);
    }
    size_t size;
    int status = ms_http_scan_head(c->in, c->in_bytes, &c->scanned, &size, &reason);
    if (status == 0 && size == 0 && c->in_bytes >= most) {
        status = 431;
        reason = "the headers are too large";
    }
    if (status != 0) {
        refuse(c, status, reason);
        return true;
    }
    if (size == 0)
        return false;
    struct ms_exchange *e = begin_exchange(c, size);
    if (e == NULL)
        return true;
    status = ms_http_parse_head(e->text, size, &e->head);
    ms_exchange_name(e);
    e->call.method = e->head.method;
    e->call.query = e->head.query;
    if (status != 0) {
        ms_answer_send_error(c, status, e->head.reason, true);
        return true;
    }
    c->keep_alive = !e->head.close;
    if (strcmp(e->head.path, "*") != 0) {
        char *path = e->text + size + 1;
        if (!ms_http_decode_path(e->head.path, path)) {
            ms_answer_send_error(c, 400, "the path is malformed", true);
            return true;
        }
        e->call.path = path;
    }
    if (admit(c))
        begin_body(c);
    return true;
}

/* ---- reading ---- */

/* Reads into `in` as much as it has room for. */
static void fill_in(struct ms_connection *c) {
    const size_t most = c->server->options.max_header_bytes;
    if ((c->in_bytes == c->in_capacity || c->state == BODY) && c->in_capacity < most) {
        size_t capacity = c->state == BODY      ? most
                          : c->in_capacity == 0 ? MIN_IN_BYTES
                                                : 2 * c->in_capacity;
        char *in = realloc(c->in, capacity < most ? capacity : most);
        if (in == NULL) {
            ms_connection_close(c);
            return;
        }
        c->in = in;
        c->in_capacity = capacity < most ? capacity : most;
    }
    if (c->in_bytes ==
        c->in_capacity) { /* `in` is full of pipelined requests: the rest waits in the kernel */
        if (c->state == ANSWER)
            ms_connection_want_to_read(c, false);
        return;
    }
    ssize_t got = recv(c->fd, c->in + c->in_bytes, c->in_capacity - c->in_bytes, 0);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (got < 0) {
        ms_connection_close(c);
        return;
    }
    c->in_bytes += (size_t)got;
    c->received_bytes += got;
    if (got == 0) {
        c->eof = true;
        ms_connection_want_to_read(c, false);
    }
}

static void drop_input(struct ms_connection *c) {
    const ssize_t got = recv(c->fd, c->server->scratch, MS_HTTP_SCRATCH_BYTES, 0);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    c->lingered_bytes += got;
    if (got <= 0 || c->lingered_bytes > LINGER_BYTES || ms_monotonic_s() - c->begun_s > LINGER_S)
        ms_connection_close(c);
    else if (!c->server->draining)
        ms_connection_set_timer(c, MS_LINGER_IDLE_MS);
}

static void read_request(struct ms_connection *c) {
    bool taken = false;
    if (c->state == BODY && !c->exchange->head.chunked) {
        read_body(c);
        return;
    }
    fill_in(c);
    if (c->fd < 0)
        return;
    if (c->is_idle && c->in_bytes > 0) {
        ms_connection_wake(c);
        c->begun_s = ms_monotonic_s();
        ms_connection_pace(c, c->received_bytes - (int64_t)c->in_bytes);
    }
    if (c->state == HEAD && c->in_bytes > 0)
        taken = take_head(c);
    else if (c->state == BODY)
        (void)take_body(c);
    /* The client has gone, or will not complete its request. Running answers are still written,
     * because it may have closed its half only. */
    if (c->fd >= 0 && c->eof &&
        ((c->state == HEAD && !taken) || c->state == BODY ||
         event_pending(c->again, EV_TIMEOUT, NULL) != 0))
        ms_connection_close(c);
}

static void on_readable(evutil_socket_t fd, short what, void *user) {
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

/* ---- connections ---- */

static void on_timer(evutil_socket_t fd, short what, void *user) {
    struct ms_connection *c = user;
    (void)fd;
    (void)what;
    if (c->fd < 0)
        return;
    if (c->state == ANSWER && c->exchange->head_queued)
        ms_answer_check_pace(c);
    else if (c->is_idle || c->state == LINGER)
        ms_connection_close(c);
    else if (!ms_connection_is_slow(c, c->received_bytes))
        ; /* goes on */
    else if (c->state == HEAD)
        refuse(c, 408, "the headers came too slowly");
    else
        ms_answer_send_error(c, 408, "the body came too slowly", true);
}

void ms_request_accept(struct ms_http_server *server, int fd, const uint8_t ip[16],
                       struct ms_client *client) {
    static const struct ms_connection_events events = {
        .readable = on_readable,
        .writable = ms_answer_on_writable,
        .timer = on_timer,
        .again = ms_answer_on_again,
    };
    ms_connection_open(server, fd, ip, client, &events);
}
