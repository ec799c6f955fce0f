/* Bodies that are taken in pieces: the head goes to the handler first, then each piece that body.c
 * has moved into its file. Only one thing happens at a time: nothing is read while a piece is
 * taken, so that a client is never faster than what takes its bytes. On the loop; run_* on the
 * pools. */
#include "connection.h"

#include <math.h>

#include <event2/event.h>

#include "msaas/sys.h"

static const char *const too_large = "the body is too large";

static void run_head(void *user) {
    struct ms_exchange *e = user;
    if (ms_exchange_goes_on(e)) {
        e->route->handle(&e->call);
        if (e->intake.take != NULL && e->status == 0 && !ms_exchange_brings_body(e))
            ms_exchange_take(e, MS_HTTP_LAST);
    }
    ms_server_give_back(e);
}

static void run_piece(void *user) {
    struct ms_exchange *e = user;
    ms_exchange_take(e, e->body.complete ? MS_HTTP_LAST : MS_HTTP_MORE);
    ms_server_give_back(e);
}

/* What the client sends meanwhile waits in the kernel. */
static void hand_over(struct ms_connection *c, void (*run)(void *exchange)) {
    struct ms_exchange *e = c->exchange;
    c->state = ANSWER;
    (void)event_del(c->timer);
    ms_connection_want_to_read(c, false);
    e->task = MS_TASK_TAKE;
    if (!ms_server_post(e, run)) {
        e->task = MS_TASK_NONE;
        ms_answer_send_error(c, 503, MS_HTTP_TOO_MANY_WAIT, true);
    }
}

void ms_intake_begin(struct ms_connection *c) {
    hand_over(c, run_head);
}

void ms_intake_give(struct ms_connection *c) {
    hand_over(c, run_piece);
}

static void begin_body(struct ms_connection *c) {
    struct ms_exchange *e = c->exchange;
    e->body.is_kept = true;
    e->body.is_chunked = e->head.chunked;
    e->body.left = e->head.content_length;
    e->body.most = e->intake.most_bytes;
    e->body.piece_bytes = e->intake.piece_bytes;
    c->body_taken = 0;
    ms_answer_continue(c);
}

static void read_on(struct ms_connection *c) {
    c->state = BODY;
    c->body_seen = c->body_taken;
    c->body_seen_s = ms_monotonic_s();
    c->body_rate = HUGE_VAL;
    ms_connection_pace(c, c->received_bytes);
    ms_connection_want_to_read(c, true);
    if (c->in_bytes > 0) /* in the next turn of the loop, after the other connections */
        event_active(c->readable, EV_READ, 1);
}

void ms_intake_returned(struct ms_exchange *e) {
    struct ms_connection *c = e->connection;
    const bool begun = e->body.piece_bytes > 0;
    e->task = MS_TASK_NONE;
    if (c == NULL) {
        ms_exchange_release(e);
    } else if (e->status == 0 && e->body.status != 0) {
        ms_answer_send_error(c, e->body.status, e->body.reason, true);
    } else if (e->status != 0 || e->intake.take == NULL) { /* answered, or should have been */
        if (ms_exchange_brings_body(e) && !e->body.complete) {
            c->keep_alive = false;
            c->linger = true;
        }
        ms_answer_send(c);
    } else if (!begun && e->head.content_length > e->intake.most_bytes) {
        ms_answer_send_error(c, 413, too_large, true);
    } else {
        if (!begun)
            begin_body(c);
        if (c->fd >= 0)
            read_on(c);
    }
}
