/* What goes out: the answers of handlers and of the server itself, and streams. On the loop; only
 * read(), pass() and close() of a stream run on the pool. A stream is asked for more when all that
 * it gave is in the kernel's buffers, so that a slow client does not cost memory. */
#include "connection.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <event2/buffer.h>
#include <event2/event.h>

#include "msaas/log.h"

/* ---- answers ---- */

static const char *date_now(struct ms_http_server *server) {
    const time_t now = time(NULL);
    struct tm parts;
    if (now != server->date_of && gmtime_r(&now, &parts) != NULL) {
        strftime(server->date, sizeof server->date, "%a, %d %b %Y %H:%M:%S GMT", &parts);
        server->date_of = now;
    }
    return server->date;
}

void ms_answer_send(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;
    struct ms_http_server *server = c->server;
    c->state = ANSWER;
    if (e->out_of_memory || e->status == 0)
        ms_exchange_error(
            e, 500, e->out_of_memory ? "no memory for the answer" : "the handler gave no answer");
    int64_t length = ms_exchange_is_stream(e) ? e->stream.length
                     : e->content != NULL     ? (int64_t)evbuffer_get_length(e->content)
                                              : 0;
    if ((c->eof && c->in_bytes == 0) || server->draining)
        c->keep_alive = false; /* HTTP/1.0 never keeps it */
    e->counted_status = e->status;
    if (!ms_exchange_put_head(e, length, c->keep_alive, date_now(server), c->out)) {
        ms_connection_close(c);
        return;
    }
    e->head_queued = true;
    c->complete = !ms_exchange_is_stream(e) || !ms_exchange_has_body(e) || length == 0;
    if (e->content != NULL && ms_exchange_has_body(e) &&
        evbuffer_add_buffer(c->out, e->content) != 0) {
        ms_connection_close(c);
        return;
    }
    c->queued_bytes = (int64_t)evbuffer_get_length(c->out);
    c->owed_bytes = c->queued_bytes;
    ms_connection_want_to_read(c, c->in_bytes < ms_connection_most_in(c));
    ms_connection_pace(c, 0);
    ms_answer_flush(c);
}

void ms_answer_send_error(struct ms_connection *c, int status, const char *reason,
                          bool close_after) {
    struct ms_exchange *e = c->exchange;
    ms_exchange_error(e, status, reason);
    if (status == 503)
        ms_http_add_header(&e->call, "Retry-After", "2");
    if (close_after) {
        c->keep_alive = false;
        c->linger = true;
    }
    ms_answer_send(c);
}

void ms_answer_continue(struct ms_connection *c) {
    if (!c->exchange->head.expect_continue || c->in_bytes > 0)
        return;
    if (evbuffer_add(c->out, "HTTP/1.1 100 Continue\r\n\r\n", 25) != 0)
        ms_connection_close(c);
    else
        ms_answer_flush(c);
}

/* ---- answers that are not known yet ---- */

static void run_look(void *user) {
    struct ms_exchange *e = user;
    if (!atomic_load(&e->abandoned)) {
        e->is_put_off = false;
        e->later.look(&e->call, e->later.context, e->is_last);
    }
    ms_server_give_back(e);
}

static void look_again(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;
    e->task = MS_TASK_HANDLE;
    e->is_last = c->server->draining;
    if (!ms_server_post(e, run_look)) {
        e->task = MS_TASK_NONE;
        ms_answer_send_error(c, 503, "too many requests are waiting; try again later", false);
    }
}

static void handler_returned(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;
    if (!e->is_put_off || e->status != 0 || e->is_last) {
        ms_answer_send(c);
    } else if (c->eof) {
        ms_connection_close(c); /* the client is gone */
    } else {
        const int after_ms = c->server->draining ? 0 : e->again_ms;
        const struct timeval after = {after_ms / 1000, after_ms % 1000 * 1000L};
        (void)event_add(c->again, &after);
    }
}

/* ---- streams ---- */

static void run_stream(void *user) {
    struct ms_exchange *e = user;
    if (atomic_load(&e->abandoned)) /* nobody waits for it */
        e->read_rc = 0;
    else if (ms_server_waited(e) > 3) /* the next one would wait as long: better an early error */
        e->read_rc = ms_error_set(&e->read_err, MS_ENET, "no thread was free for it in time");
    else if (e->task == MS_TASK_PASS)
        ms_exchange_pass(e);
    else
        ms_exchange_read(e);
    ms_server_give_back(e);
}

static void ask_stream(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;
    e->task = e->stream.pass != NULL ? MS_TASK_PASS : MS_TASK_READ;
    e->outlet = (struct ms_http_outlet){0};
    e->socket = c->fd;
    if (!ms_server_post(e, run_stream)) {
        e->task = MS_TASK_NONE;
        ms_connection_break_off(c);
    }
}

static void free_chunk(const void *data, size_t size, void *chunk) {
    (void)data;
    (void)size;
    free(chunk);
}

/* Passes exchange->chunk to the connection, in the chunked coding if the answer has no length. */
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
            ms_connection_break_off(c);
            return;
        }
        c->queued_bytes += 5;
    }
    c->complete = true;
    ms_answer_flush(c);
}

static void pass_returned(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;
    e->streamed_bytes += e->outlet.sent;
    e->sent_bytes += e->outlet.sent;
    c->queued_bytes += e->outlet.sent;
    if (e->outlet.gone) {
        ms_connection_close(c);
    } else if (e->streamed_bytes == e->stream.length) {
        c->complete = true;
        ms_answer_flush(c);
    } else {
        (void)event_add(c->writable, NULL);
    }
}

static void stream_returned(struct ms_connection *c, enum ms_exchange_task task) {
    struct ms_exchange *e = c->exchange;
    if (task == MS_TASK_PASS && (e->read_rc == 0 || e->outlet.gone)) {
        pass_returned(c);
    } else if (e->read_rc != 0) {
        ms_log_fields(MS_LOG_WARN, "an answer was broken off", "path", e->call.path, "error",
                      e->read_err.text, "request_id", e->request_id, NULL);
        ms_connection_break_off(c);
    } else if (e->chunk_bytes > 0) {
        if (!queue_chunk(c)) {
            ms_connection_break_off(c);
            return;
        }
        if (e->streamed_bytes == e->stream.length)
            end_stream(c);
        else
            ms_answer_flush(c);
    } else if (e->again_ms > 0 && c->eof) {
        ms_connection_close(c); /* the client is gone */
    } else if (e->again_ms > 0 && !c->server->draining) {
        const struct timeval after = {e->again_ms / 1000, e->again_ms % 1000 * 1000L};
        (void)event_add(c->again, &after);
    } else if (e->stream.length >= 0) {
        ms_connection_break_off(c); /* shorter than its length says */
    } else {
        end_stream(
            c); /* also while draining: the clients of events connect again, to another server */
    }
}

void ms_answer_returned(struct ms_exchange *e) {
    struct ms_connection *c = e->connection;
    const enum ms_exchange_task task = e->task;
    e->task = MS_TASK_NONE;
    if (c == NULL)
        ms_exchange_release(e);
    else if (task == MS_TASK_HANDLE)
        handler_returned(c);
    else
        stream_returned(c, task);
}

void ms_answer_on_again(evutil_socket_t fd, short what, void *user) {
    struct ms_connection *c = user;
    (void)fd;
    (void)what;
    if (c->fd < 0)
        return;
    if (c->exchange->head_queued)
        ask_stream(c);
    else
        look_again(c);
}

/* ---- writing ---- */

static bool stream_may_read(const struct ms_connection *c) {
    return c->state == ANSWER && c->exchange->head_queued && !c->complete &&
           c->exchange->task == MS_TASK_NONE && event_pending(c->again, EV_TIMEOUT, NULL) == 0 &&
           evbuffer_get_length(c->out) == 0;
}

void ms_answer_flush(struct ms_connection *c) {
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
        c->exchange->sent_bytes += sent; /* there is an exchange as long as `out` is not empty */
    }
    if (evbuffer_get_length(c->out) == 0) {
        (void)event_del(c->writable);
        if (c->state == ANSWER && c->exchange->head_queued && c->complete) {
            ms_connection_answered(c);
            return;
        }
    }
    if (stream_may_read(c))
        ask_stream(c);
}

void ms_answer_on_writable(evutil_socket_t fd, short what, void *user) {
    struct ms_connection *c = user;
    (void)fd;
    (void)what;
    if (c->fd >= 0)
        ms_answer_flush(c);
}

/* The kernel reports room only when there is much of it, so a slow reader is judged by the bytes
 * that it has acknowledged. One that took all there was at the last look is not slow: the answer
 * is, as events are. */
void ms_answer_check_pace(struct ms_connection *c) {
    int unsent = 0;
    (void)ioctl(c->fd, SIOCOUTQ, &unsent);
    const int64_t taken = c->queued_bytes - (int64_t)evbuffer_get_length(c->out) - unsent;
    const bool owed = taken < c->owed_bytes;
    if (ms_connection_is_slow(c, taken) && owed)
        ms_connection_break_off(c);
    else
        c->owed_bytes = c->queued_bytes;
}
