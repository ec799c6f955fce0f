/* A connection (connection.c), what goes out on it (answer.c), what comes in (request.c), and which
 * connections there may be (accept.c): each of these files calls only those before it. All of it is
 * the loop's. Any of these functions may close the connection: then fd is -1, and nothing else of
 * it may be used. */
#ifndef MSAAS_HTTP_CONNECTION_H
#define MSAAS_HTTP_CONNECTION_H

#include <sys/queue.h>

#include "clients.h"
#include "exchange.h"
#include "server.h"

struct evbuffer;
struct event;

#define MS_LEAST_IN_BYTES 2048
#define MS_LINGER_IDLE_MS 5000  /* without a byte from the client */
#define MS_LINGER_DRAIN_MS 1000 /* in all, while the server drains */

enum ms_connection_state {
    HEAD,   /* waits for a request, or has part of its head in `in` */
    BODY,   /* has the head, reads the body */
    ANSWER, /* a handler is at work, or the answer is being written */
    /* answered; reads and drops what the client still sends, because a reset would destroy the
     * answer */
    LINGER,
};

struct ms_connection {
    struct ms_http_server *server;
    struct ms_connection *previous, *next;
    /* -1: closed, and waits to be freed */
    int fd;
    enum ms_connection_state state;
    /* address of the peer */
    uint8_t ip[16];
    /* whose connection it is; NULL: a trusted proxy's, whose requests are counted instead */
    struct ms_client *client;
    TAILQ_ENTRY(ms_connection) idle, idle_of_client;
    struct event *readable, *writable;
    /* the deadline of the state */
    struct event *timer;
    /* when to ask a stream again that had nothing */
    struct event *again;
    char *in;
    size_t in_bytes, in_capacity, scanned;
    /* when the first byte of the request came */
    double begun_s;
    /* all that the client ever sent */
    int64_t received_bytes;
    /* of what it is measured by, see ms_connection_pace, that many at the last look */
    int64_t paced_bytes;
    int64_t lingered_bytes;

    struct ms_exchange *exchange; /* NULL in HEAD and LINGER */
    /* of the body, dropped bytes included; and how many of them at the last look, when that was,
     * and the bytes a second before it */
    int64_t body_taken, body_seen;
    double body_seen_s, body_rate;

    struct evbuffer *out;
    /* all that was ever put into `out`, to see whether the client reads */
    int64_t queued_bytes;
    /* queued_bytes at the last look at its pace */
    int64_t owed_bytes;

    /* nothing is asked on it: it is in the server's list of those and in its client's */
    bool is_idle;
    bool blank_skipped; /* one empty line before a request is allowed */
    bool eof;           /* the client sends no more */
    bool keep_alive;
    bool linger;   /* reads on after the answer, see LINGER */
    bool complete; /* all of the answer is in `out` */
};

struct ms_connection_events {
    void (*readable)(int fd, short what, void *connection);
    void (*writable)(int fd, short what, void *connection);
    /* a deadline has passed */
    void (*timer)(int fd, short what, void *connection);
    /* time to ask the stream again */
    void (*again)(int fd, short what, void *connection);
};

/* connection.c */
/* Takes `fd` and one of the client's count. Without memory for a connection it is closed. */
void ms_connection_open(struct ms_http_server *server, int fd, const uint8_t ip[16],
                        struct ms_client *client, const struct ms_connection_events *events);
void ms_connection_close(struct ms_connection *c);
/* What it asks may have come, and waits in the kernel for its turn on the loop. */
bool ms_connection_has_unread_bytes(const struct ms_connection *c);
/* Closes those on which no request has come. */
void ms_connection_close_idle(struct ms_http_server *server);
/* Nothing is asked on it from now on: it is the last of those. */
void ms_connection_fall_asleep(struct ms_connection *c);
/* Its first bytes came: it is not idle any more. */
void ms_connection_wake(struct ms_connection *c);
/* Frees those that are closed. */
void ms_connection_bury(struct ms_http_server *server);
void ms_connection_set_timer(struct ms_connection *c, int ms);
/* The server waits for the client from now on: its timer fires every options.rate_window_ms. moved:
 * a number of bytes that grows as the client sends or takes. */
void ms_connection_pace(struct ms_connection *c, int64_t moved);
/* On that timer: whether less than options.min_rate was moved since the last look. Looks again
 * later. */
bool ms_connection_is_slow(struct ms_connection *c, int64_t moved);
void ms_connection_want_to_read(struct ms_connection *c, bool wanted);
/* How much `in` may hold: a whole head, and little of the requests behind the one at work. */
size_t ms_connection_most_in(const struct ms_connection *c);
/* Gives back what `in` has room for and does not hold. */
void ms_connection_fit_in(struct ms_connection *c);
/* Closes with a reset, so that the client cannot take a part of an answer for the whole. */
void ms_connection_break_off(struct ms_connection *c);
/* The answer is written: goes on to the next request, or closes. */
void ms_connection_answered(struct ms_connection *c);

/* answer.c */
/* Sends the answer in c->exchange. */
void ms_answer_send(struct ms_connection *c);
/* Sends an error of the server itself. close_after: because the request may be incomplete. */
void ms_answer_send_error(struct ms_connection *c, int status, const char *reason,
                          bool close_after);
/* Tells a client that waits for it to send the body. May close the connection. */
void ms_answer_continue(struct ms_connection *c);
/* Writes what is in `out`, as much as the client takes. */
void ms_answer_flush(struct ms_connection *c);
void ms_answer_check_pace(struct ms_connection *c);
void ms_answer_on_writable(int fd, short what, void *user);
void ms_answer_on_again(int fd, short what, void *user);
/* Continues with an exchange that came back from a pool. Its connection may be closed already. */
void ms_answer_returned(struct ms_exchange *exchange);

/* intake.c */
/* Has the handler of a route that takes its body in pieces called with the head. */
void ms_intake_begin(struct ms_connection *c);
/* A piece of the body has come, or its end. */
void ms_intake_give(struct ms_connection *c);
/* Continues with an exchange whose head or piece was taken. Its connection may be closed already.
 */
void ms_intake_returned(struct ms_exchange *exchange);

/* request.c */
/* Continues with a request that came back from a pool before its handler ran: admitted or not, or
 * with bytes of its body. Its connection may be closed already. */
void ms_request_returned(struct ms_exchange *exchange);
/* A new connection: reads requests from it, has them answered. Takes `fd` and one of the client's
 * count. */
void ms_request_accept(struct ms_http_server *server, int fd, const uint8_t ip[16],
                       struct ms_client *client);

/* accept.c */
/* Listens, and sets server->port and ->listener. */
MS_MUST_CHECK int ms_accept_start(struct ms_http_server *server, struct ms_error *err);
/* No new connections from now on. */
void ms_accept_stop(struct ms_http_server *server);

#endif
