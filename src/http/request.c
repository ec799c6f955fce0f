/* What comes in: heads, bodies and the routes that they lead to. On the loop; a body's bytes are
 * moved into its file by the disk's pool (body.c). Files are counted by the bytes that have come,
 * whatever Content-Length says, for all connections together. */
#include "connection.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <event2/buffer.h>
#include <event2/event.h>

#include "cors.h"
#include "forwarded.h"
#include "msaas/metrics.h"
#include "msaas/networks.h"
#include "msaas/sys.h"
#include "origin.h"
#include "router.h"

#define DROP_BYTES (64 << 10) /* of a body that the route does not accept */
#define RATE_S 2              /* the least that a body's rate is measured over */
#define AGAIN_MS 100
#define GUESS_BYTES 256 /* of a head that is refused */
#define LINGER_S 30
#define LINGER_BYTES (INT64_C(256) << 20)

/* ---- requests ---- */

static void run_handle(void *user) {
    struct ms_exchange *e = user;
    if (ms_exchange_goes_on(e))
        e->route->handle(&e->call);
    ms_body_free(e->server, &e->body);
    ms_server_give_back(e);
}

static void dispatch(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;
    c->state = ANSWER;
    (void)event_del(c->timer);
    ms_connection_want_to_read(c, c->in_bytes < ms_connection_most_in(c));
    e->call.body = e->body.map != NULL ? e->body.map : "";
    e->call.body_bytes = (size_t)e->body.bytes;
    if (e->route->where == MS_HTTP_LOOP) {
        e->route->handle(&e->call);
        ms_answer_send(c);
        return;
    }
    e->task = MS_TASK_HANDLE;
    if (!ms_server_post(e, run_handle)) {
        e->task = MS_TASK_NONE;
        ms_answer_send_error(c, 503, MS_HTTP_TOO_MANY_WAIT, false);
    }
}

static const char *const too_busy = "too many uploads at the same time; try again later";
static const char *const too_large = "the body is too large";

/* Lends the socket, and what was read from it, to the disk's pool, until it has moved what has come
 * of the body. */
static void take_body(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;
    ms_connection_want_to_read(c, false);
    e->body.rest = c->in;
    e->body.rest_bytes = c->in_bytes;
    c->in = NULL;
    c->in_bytes = c->in_capacity = 0;
    e->task = MS_TASK_BODY;
    e->socket = c->fd;
    if (!ms_server_post(e, ms_body_take)) {
        e->task = MS_TASK_NONE;
        ms_answer_send_error(c, 503, MS_HTTP_TOO_MANY_WAIT, true);
    }
}

/* How fast its body comes, in bytes a second; one that has just begun is fast. */
static double body_rate(struct ms_connection *c, double now_s) {
    const double passed_s = now_s - c->body_seen_s;
    if (passed_s > RATE_S) {
        c->body_rate = (double)(c->body_taken - c->body_seen) / passed_s;
        c->body_seen = c->body_taken;
        c->body_seen_s = now_s;
    }
    return c->body_rate;
}

/* The bodies fill their share of the disk: the slowest gives way. It is not one that the pool has
 * now, because of that one bytes have just come. */
static void make_room(struct ms_connection *c) {
    const double now_s = ms_monotonic_s();
    struct ms_connection *slowest = c;
    for (struct ms_connection *other = c->server->connections; other != NULL; other = other->next)
        if (other->state == BODY && other->exchange->task == MS_TASK_NONE &&
            other->exchange->body.bytes > 0 && body_rate(other, now_s) < body_rate(slowest, now_s))
            slowest = other;
    ms_body_forget(c->server, &slowest->exchange->body);
    ms_answer_send_error(slowest, 503, too_busy, true);
}

static void body_returned(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;
    c->in = e->body.rest;
    c->in_bytes = c->in_capacity = e->body.rest_bytes;
    e->body.rest = NULL;
    e->body.rest_bytes = 0;
    c->received_bytes += e->body.taken - c->body_taken;
    c->body_taken = e->body.taken;
    (void)body_rate(c, ms_monotonic_s());
    if (e->body.status != 0) {
        ms_answer_send_error(c, e->body.status, e->body.reason, true);
    } else if (e->body.gone) {
        ms_connection_close(c);
    } else if (e->intake.take != NULL && (e->body.complete || e->body.full)) {
        ms_intake_give(c);
    } else if (e->body.complete) {
        dispatch(c);
    } else {
        if (e->body.crowded)
            make_room(c);
        if (c->fd >= 0 && c->state == BODY)
            ms_connection_want_to_read(c, true);
    }
}

/* Decides whether the body is accepted: before it is read, and before 100 Continue. */
static void begin_body(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;
    struct ms_http_server *server = c->server;
    const int64_t length = e->head.content_length;
    const bool has_body = ms_exchange_brings_body(e);
    if (server->exchange_count > 2 * server->options.max_connections) {
        ms_answer_send_error(c, 503, too_busy, has_body);
        return;
    }
    if (e->route->max_body_bytes == MS_HTTP_IN_PIECES) {
        ms_intake_begin(c);
        return;
    }
    e->body.is_kept = e->route->max_body_bytes > 0;
    e->body.most = e->body.is_kept ? e->route->max_body_bytes : DROP_BYTES;
    if (length > e->body.most || length > server->options.max_inflight_bytes) {
        ms_answer_send_error(c, 413, too_large, true);
        return;
    }
    if (!has_body) {
        dispatch(c);
        return;
    }
    c->state = BODY;
    e->body.is_chunked = e->head.chunked;
    e->body.left = length;
    c->body_taken = c->body_seen = 0;
    c->body_seen_s = ms_monotonic_s();
    c->body_rate = HUGE_VAL;
    ms_connection_pace(c, c->received_bytes);
    ms_answer_continue(c);
    if (c->fd < 0)
        return;
    if (c->in_bytes > 0)
        take_body(c);
    else
        ms_connection_want_to_read(c, true);
}

/* ---- whether it may be asked ---- */

static void admitted(struct ms_connection *c, enum ms_http_verdict verdict) {
    if (verdict == MS_HTTP_ADMIT) {
        begin_body(c);
        return;
    }
    if (ms_exchange_brings_body(c->exchange)) {
        c->keep_alive = false;
        c->linger = true;
    }
    ms_answer_send(c);
}

static void run_admit(void *user) {
    struct ms_exchange *e = user;
    e->verdict = MS_HTTP_REFUSE;
    if (ms_exchange_goes_on(e))
        e->verdict = e->server->options.admit(&e->call, e->route, true);
    ms_server_give_back(e);
}

/* Finds the route of a head, and asks whether it may be taken. */
static void find_route(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;
    const struct ms_http_server_options *options = &c->server->options;
    char allow[128];
    int status;
    if (!ms_exchange_brings_body(e) && ms_cors_preflight(e)) {
        ms_answer_send(c);
        return;
    }
    e->route = ms_http_route_find(options->routes, e->head.method, e->call.path, &status, allow,
                                  sizeof allow);
    if (e->route == NULL) {
        if (status == 405)
            ms_http_add_header(&e->call, "Allow", allow);
        ms_answer_send_error(c, status,
                             status == 404 ? "nothing is served at this path"
                                           : "this method is not allowed here",
                             ms_exchange_brings_body(e));
        return;
    }
    if (e->path != NULL)
        (void)ms_http_route_params(e->route->pattern, e->path, e->path + strlen(e->path) + 1,
                                   e->call.params);
    const enum ms_http_verdict verdict =
        options->admit != NULL ? options->admit(&e->call, e->route, false) : MS_HTTP_ADMIT;
    if (verdict != MS_HTTP_BLOCKS) {
        admitted(c, verdict);
        return;
    }
    c->state = ANSWER;
    (void)event_del(c->timer);
    ms_connection_want_to_read(c, false);
    e->task = MS_TASK_ADMIT;
    if (!ms_server_post(e, run_admit)) {
        e->task = MS_TASK_NONE;
        ms_answer_send_error(c, 503, MS_HTTP_TOO_MANY_WAIT, ms_exchange_brings_body(e));
    }
}

void ms_request_returned(struct ms_exchange *e) {
    const enum ms_exchange_task task = e->task;
    e->task = MS_TASK_NONE;
    if (e->connection == NULL)
        ms_exchange_release(e);
    else if (task == MS_TASK_ADMIT)
        admitted(e->connection, e->verdict);
    else
        body_returned(e->connection);
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
    ms_connection_fit_in(c);
    return e;
}

/* Answers bytes that could not be read as a request. HEAD gets no body all the same, and each API
 * its own form of errors. */
static void refuse(struct ms_connection *c, int status, const char *reason) {
    const size_t most = c->in_bytes < GUESS_BYTES ? c->in_bytes : GUESS_BYTES;
    struct ms_exchange *e = begin_exchange(c, most);
    if (e == NULL)
        return;
    ms_http_guess_line(e->text, &e->head);
    ms_exchange_name(e);
    e->call.method = e->head.method;
    ms_answer_send_error(c, status, reason, true);
}

/* Decides whether this client may ask this now; otherwise it is answered. */
static bool admit(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;
    struct ms_http_server *server = c->server;
    const bool proxied = ms_networks_hold(server->options.trusted_proxies, c->ip);
    const bool has_body = ms_exchange_brings_body(e);
    const struct ms_origin_rules rules = {server->loopback, server->options.allowed_hosts,
                                          server->options.cors_origins};
    const char *reason = NULL;
    const int status = ms_origin_judge(&e->head, &rules, proxied, &reason);
    if (status == 0)
        e->foreign = ms_origin_foreign(&e->head, proxied);
    ms_cors_add_headers(e);
    if (status != 0) {
        ms_answer_send_error(c, status, reason, has_body);
        return false;
    }
    if (!proxied)
        return true;
    uint8_t ip[16];
    ms_forwarded_client(&e->head, server->options.trusted_proxies, c->ip, ip);
    (void)ms_ip_text(ip, e->peer);
    e->call.is_https = ms_forwarded_https(&e->head);
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
        e->path = malloc(2 * (strlen(e->head.path) + 1));
        if (e->path == NULL) {
            ms_connection_close(c);
            return true;
        }
        if (!ms_http_decode_path(e->head.path, e->path)) {
            ms_answer_send_error(c, 400, "the path is malformed", true);
            return true;
        }
        e->call.path = e->path;
    }
    if (admit(c))
        find_route(c);
    return true;
}

/* ---- reading ---- */

/* Reads into `in` as much as it has room for. */
static void fill_in(struct ms_connection *c) {
    const size_t most = ms_connection_most_in(c);
    if (c->in_bytes == c->in_capacity && c->in_capacity < most) {
        size_t capacity =
            c->in_capacity < MS_LEAST_IN_BYTES ? MS_LEAST_IN_BYTES : 2 * c->in_capacity;
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
    if (c->state == BODY) {
        take_body(c);
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
    /* The client has gone, or will not complete its request. Running answers are still written,
     * because it may have closed its half only. */
    if (c->fd >= 0 && c->eof &&
        ((c->state == HEAD && !taken) || event_pending(c->again, EV_TIMEOUT, NULL) != 0))
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
    if (c->exchange != NULL && ms_exchange_has_socket(c->exchange)) /* bytes move just now */
        ms_connection_set_timer(c, AGAIN_MS);
    else if (c->state == ANSWER && c->exchange != NULL && c->exchange->head_queued)
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
