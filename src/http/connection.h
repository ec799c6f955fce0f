/* A connection (connection.c), what goes out on it (answer.c), and what comes in (request.c): each
 * of these files calls only those before it. All of it is the loop's. Any of these functions may
 * close the connection: then fd is -1, and nothing else of it may be used. */
#ifndef MSAAS_HTTP_CONNECTION_H
#define MSAAS_HTTP_CONNECTION_H

#include "exchange.h"
#include "server.h"

struct evbuffer;
struct event;

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
    struct event *readable, *writable;
    /* the deadline of the state */
    struct event *timer;
    /* when to ask a stream again that had nothing */
    struct event *again;
    char peer[64];
    char *in;
    size_t in_bytes, in_capacity, scanned;
    bool blank_skipped; /* one empty line before a request is allowed */
    /* when the first byte of the request came */
    double begun_s;
    bool eof; /* the client sends no more */
    bool keep_alive;
    /* reads on after the answer, see LINGER */
    bool linger;
    int64_t lingered_bytes;

    struct ms_exchange *exchange; /* NULL in HEAD and LINGER */
    struct ms_http_chunked chunked;
    int64_t body_left; /* of Content-Length */
    /* what the route accepts */
    int64_t max_body;
    int64_t body_taken; /* dropped bytes included */

    struct evbuffer *out;
    bool complete; /* all of the answer is in `out` */
    /* all that was ever put into `out`, to see whether the client reads */
    int64_t queued_bytes;
    /* of these, what the kernel of the client had at the last check */
    int64_t taken_bytes;
    /* queued_bytes at the last check */
    int64_t owed_bytes;
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
/* Takes `fd`. Without memory for a connection it is closed. */
void ms_connection_open(struct ms_http_server *server, int fd, const char *peer,
                        const struct ms_connection_events *events);
void ms_connection_close(struct ms_connection *c);
/* Closes those on which no request has begun. */
void ms_connection_close_idle(struct ms_http_server *server);
/* Frees those that are closed. */
void ms_connection_bury(struct ms_http_server *server);
void ms_connection_set_timer(struct ms_connection *c, int ms);
void ms_connection_want_to_read(struct ms_connection *c, bool wanted);
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
/* Writes what is in `out`, as much as the client takes. */
void ms_answer_flush(struct ms_connection *c);
void ms_answer_check_stall(struct ms_connection *c);
void ms_answer_on_writable(int fd, short what, void *user);
void ms_answer_on_again(int fd, short what, void *user);
/* Continues with an exchange that came back from a pool. Its connection may be closed already. */
void ms_answer_returned(struct ms_exchange *exchange);

/* request.c */
/* A new connection: reads requests from it, has them answered. Takes `fd`. */
void ms_request_accept(struct ms_http_server *server, int fd, const char *peer);

#endif
