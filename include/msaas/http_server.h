/* The HTTP/1.1 server: the engine behind one header, so that it can be changed in one file
 * (src/http). RFC 9110, 9112.
 *
 * One event loop on the thread that calls ms_http_server_run. Handlers run on pools of threads and
 * may block, except routes marked MS_HTTP_LOOP, which run on the loop and must not. The loop itself
 * never waits on anything. Slow routes have a pool of their own, so that a store that hangs holds
 * up nobody but those that want something of it. Limits: bytes of headers, of bodies, of bodies in
 * flight together, of connections (beyond the last two: 503, Retry-After, close); absolute
 * deadlines for headers and for bodies, whatever drips in. Ambiguous framing (two Content-Lengths,
 * CL with TE, other TEs, bare CR/LF, blank before colon, ...): 400 and close. */
#ifndef MSAAS_HTTP_SERVER_H
#define MSAAS_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "msaas/err.h"

struct ms_http_server;
struct ms_exchange; /* one request and its answer */

#define MS_HTTP_MAX_PARAMS 8
struct ms_http_call {   /* borrowed, valid until the answer is complete */
    const char *method; /* "GET"; a HEAD is handed to GET's handler as "HEAD" */
    /* decoded once; no NUL, no control characters, no "." or ".." segments (those are answered 400)
     */
    const char *path;
    const char *query;                      /* raw, "" when none; see ms_http_query */
    const char *params[MS_HTTP_MAX_PARAMS]; /* what the pattern's {} matched, in order, decoded */
    void *body;                             /* whole; NUL behind it; may be written over */
    size_t body_bytes;
    /* the client's X-Request-Id when it is sane, else made here; in answer and logs */
    const char *request_id;
    const char *peer; /* address */
    void *context;    /* the server's options.context */
    struct ms_exchange *exchange;
};
const char *ms_http_header(const struct ms_http_call *call,
                           const char *name); /* NULL: none; compared without case */
/* Decoded value of a query parameter, the caller's to free; NULL: none. MS_EUSAGE: its
 * percent-encoding is malformed, or no UTF-8. */
MS_MUST_CHECK int ms_http_query(const struct ms_http_call *call, const char *name, char **out);

/* Percent-decoding of `size` bytes into out (capacity > size). Refuses bad escapes, control
 * characters, NUL among them, and what is not UTF-8. */
MS_MUST_CHECK bool ms_http_percent_decode(const char *text, size_t size, bool plus_is_blank,
                                          char *out);

/* The answer, built by the handler on its thread; sent when it returns. Without a call to any of
 * these: 500. */
void ms_http_add_header(const struct ms_http_call *call, const char *name,
                        const char *value); /* CR, LF refused */
void ms_http_reply(const struct ms_http_call *call, int status, const char *content_type,
                   const void *body, size_t size); /* copied */
/* Streamed, with back-pressure: read() runs on the pool when the connection can take more. *size 0
 * and *again_ms > 0: nothing now, ask again after so long (events); *size 0 and *again_ms 0: the
 * end. An error, or an end before `length`, breaks the connection off. length -1: unknown
 * (chunked). close() always comes once, at the end or when the client went away. For HEAD only the
 * headers go out, and read() is never called. */
struct ms_http_stream {
    int64_t length;
    int (*read)(void *context, void *buffer, size_t capacity, size_t *size, int *again_ms,
                struct ms_error *err);
    void (*close)(void *context);
    void *context;
};
void ms_http_reply_stream(const struct ms_http_call *call, int status, const char *content_type,
                          const struct ms_http_stream *stream);

enum ms_http_where {               /* a handler runs, and the stream of its answer */
                     MS_HTTP_POOL, /* may block a moment: a look into the queue */
                     MS_HTTP_LOOP, /* must not block */
                     MS_HTTP_SLOW, /* on the pool of slow ones: may block for seconds (the store) */
};

struct ms_http_route {
    const char *method; /* "GET" serves HEAD too */
    /* "/apiv2/jobs/{}/stems/{}"; a {} is one segment, never empty; a final slash matters */
    const char *pattern;
    void (*handle)(const struct ms_http_call *call);
    enum ms_http_where where;
    int64_t max_body_bytes; /* 0: none is read, one up to 64 KiB is dropped */
};

struct ms_http_server_options {
    const char *host; /* "0.0.0.0", "127.0.0.1", "::" */
    int port;         /* 0: a free one, see ms_http_server_port */
    /* ended by a NULL method. Unknown path: 404; known path, other method: 405 and Allow */
    const struct ms_http_route *routes;
    void *context;
    int threads; /* of the slow pool, half as many of the other; 0: 8 */
    /* a request that waited longer for a thread is answered 503; a stream that waited thrice as
     * long is broken off. 0: 10 s */
    int max_wait_ms;
    int max_connections;        /* 0: 4096 */
    int64_t max_inflight_bytes; /* of bodies; 0: 512 MiB */
    size_t max_header_bytes;    /* 0: 16 KiB */
    int header_deadline_ms, body_deadline_ms, idle_ms,
        write_stall_ms; /* 0: 10 s, 120 s, 60 s, 60 s */
    /* Errors of the server's own (400, 404, 405, 408, 411, 413, 414, 415, 431, 500, 503): fills the
     * body, by the path's API. May be NULL: {"reason":…}. */
    void (*error_body)(void *context, const char *path, int status, const char *reason, char *body,
                       size_t capacity, const char **content_type);
    /* After each answer, on the loop: for the access log and metrics. route: the pattern, "" for
     * none. */
    void (*done)(void *context, const char *method, const char *route, const char *path, int status,
                 double seconds, int64_t sent_bytes, const char *request_id, const char *peer);
};
MS_MUST_CHECK int ms_http_server_new(const struct ms_http_server_options *options,
                                     struct ms_http_server **out,
                                     struct ms_error *err); /* listens */
int ms_http_server_port(const struct ms_http_server *server);
/* Serves until ms_http_server_stop, then drains: no new connections, keep-alive ones closed,
 * answers at work finished, at most drain_ms. */
MS_MUST_CHECK int ms_http_server_run(struct ms_http_server *server, struct ms_error *err);
void ms_http_server_stop(struct ms_http_server *server,
                         int drain_ms); /* any thread, or a signal handler */
void ms_http_server_free(struct ms_http_server *server);

#endif
