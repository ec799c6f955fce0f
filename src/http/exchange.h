/* One request and its answer. The loop makes it, a handler fills in the answer on its thread, and
 * the loop sends it. At any time one thread holds it. */
#ifndef MSAAS_HTTP_EXCHANGE_H
#define MSAAS_HTTP_EXCHANGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "body.h"
#include "msaas/http_server.h"
#include "msaas/networks.h"
#include "parse.h"

struct evbuffer;
struct ms_connection;

/* the most that one read() of a stream may give */
#define MS_HTTP_CHUNK_BYTES ((16 << 10) - 2 * MS_HTTP_CHUNK_ROOM)
/* free bytes before and behind it, for the chunked coding */
#define MS_HTTP_CHUNK_ROOM 24

enum ms_exchange_task {
    MS_TASK_NONE,
    MS_TASK_ADMIT,
    MS_TASK_BODY, /* takes what has come of the body */
    MS_TASK_HANDLE,
    MS_TASK_TAKE, /* hands the head, or a piece of the body, to whoever takes the body */
    MS_TASK_READ,
    MS_TASK_PASS,
    MS_TASK_CLOSE,
};

/* One call of a stream's pass(). */
struct ms_http_outlet {
    int socket;
    int64_t left; /* to be sent in this call */
    int64_t sent;
    bool gone;
};

struct ms_exchange {
    struct ms_http_server *server;
    /* The loop's, like what follows. NULL: the client went away */
    struct ms_connection *connection;
    /* in the list of those that come back from a pool */
    struct ms_exchange *next;
    /* what a pool does with it now */
    enum ms_exchange_task task;
    /* of the connection, for MS_TASK_BODY and MS_TASK_PASS. A connection that is closed meanwhile
     * leaves it to the exchange. */
    int socket;
    int counted_status;
    bool told; /* options.done was called */
    bool socket_left;
    bool head_queued; /* the answer has begun */
    /* set by the loop: the client went away while a pool has the exchange */
    atomic_bool abandoned;
    const struct ms_http_route *route;
    double started_s, posted_s;
    int64_t sent_bytes;

    struct ms_http_call call;
    struct ms_http_head head;
    /* holds the strings of head */
    char *text;
    /* holds those of call.path and call.params; NULL: none yet */
    char *path;
    /* see ms_http_notes */
    max_align_t notes[MS_HTTP_NOTES_BYTES / sizeof(max_align_t)];
    char request_id[65];
    char peer[MS_IP_TEXT_BYTES];
    /* Who asks: of clients behind a proxy, and of those whose connection is closed already. It is
     * counted until the exchange is over. Else NULL */
    struct ms_client *client;
    struct ms_body body;
    /* the Origin of a page of another origin that may ask; NULL: none does */
    const char *foreign;
    /* .take set: the body is taken in pieces; .close set: it is still to be called */
    struct ms_http_intake intake;

    /* The answer. */
    int status;                   /* 0: none yet */
    enum ms_http_verdict verdict; /* of MS_TASK_ADMIT */
    struct evbuffer *headers;     /* "Name: value\r\n" lines; NULL: none */
    struct evbuffer *content;     /* NULL: none */
    char *content_type;
    bool out_of_memory;
    /* again_ms from now on `later` is asked, for the last time */
    bool is_put_off, is_last;
    /* .read or .pass set: the answer is a stream; .close set: it is still to be called */
    struct ms_http_stream stream;
    int64_t streamed_bytes;
    char *chunk; /* read() fills it from MS_HTTP_CHUNK_ROOM on */
    size_t chunk_bytes;
    struct ms_http_outlet outlet; /* of the last pass() */
    int again_ms;
    int read_rc;
    struct ms_http_later later; /* .close set: it is still to be called */
    struct ms_error read_err;
};

/* text: the whole head, which is copied; size 0 for a request that could not be read. NULL: no
 * memory. */
struct ms_exchange *ms_exchange_new(struct ms_http_server *server, const uint8_t ip[16],
                                    const char *text, size_t size);
/* Its connection is done with it. Closes stream and body on the pool, because that may block, and
 * frees the exchange, at once or when it comes back from the pool. */
void ms_exchange_release(struct ms_exchange *exchange);
/* Whether a pool has the connection's socket now. */
bool ms_exchange_has_socket(const struct ms_exchange *exchange);
/* Whether there is a body to be read. */
bool ms_exchange_brings_body(const struct ms_exchange *exchange);
/* On the pool, before a handler: whether it is called. No: its client went away, or has waited for
 * so long that the exchange now answers 503. */
bool ms_exchange_goes_on(struct ms_exchange *exchange);
#define MS_HTTP_TOO_MANY_WAIT "too many requests are waiting; try again later"
/* On the pool: gives what has come of the body to its taker. */
void ms_exchange_take(struct ms_exchange *exchange, enum ms_http_part part);
/* Whether the answer is a stream. */
bool ms_exchange_is_stream(const struct ms_exchange *exchange);
/* Calls options.done, once for each exchange. */
void ms_exchange_tell(struct ms_exchange *exchange, int status);
/* Sets call.request_id to that of the client, or makes one. */
void ms_exchange_name(struct ms_exchange *exchange);
/* Replaces the answer by an error of the server itself, made by options.error_body. */
void ms_exchange_error(struct ms_exchange *exchange, int status, const char *reason);
/* Writes the status line and all headers to out. length -1: chunked, or to the end of the
 * connection for HTTP/1.0. */
MS_MUST_CHECK bool ms_exchange_put_head(const struct ms_exchange *exchange, int64_t length,
                                        bool keep_alive, const char *date, struct evbuffer *out);
/* Whether an answer to this method with this status has a body. */
bool ms_exchange_has_body(const struct ms_exchange *exchange);

/* Makes bytes the answer, as a stream. False: there is no memory or disk for that. */
bool ms_exchange_answer_by_file(struct ms_exchange *exchange, const void *bytes, size_t size);
/* Calls read() of the stream once, into exchange->chunk, or pass() with exchange->outlet. Blocks as
 * long as the stream does. */
void ms_exchange_read(struct ms_exchange *exchange);
void ms_exchange_pass(struct ms_exchange *exchange);

#endif
