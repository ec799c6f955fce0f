/* The HTTP/1.1 server (RFC 9110, 9112).
 *
 * One event loop on the thread that calls ms_http_server_run; it never blocks. Handlers run on
 * pools of threads and may block, except those of routes marked MS_HTTP_LOOP. Slow routes have a
 * pool of their own, so that a store that hangs delays no other requests. Limits: the size of
 * headers, of a body, of all bodies together (the slowest gets 503), and the number of connections,
 * in all (503, Retry-After, close) and of one address (429). Where connections are at a limit or
 * descriptors run low, the one on which nothing was asked for longest gives way. A client that
 * moves less than min_rate while the server waits for it is closed, whether it sends or reads; a
 * read request is answered 408 before. One that takes all that there is to take is never too slow.
 * A connection holds at most 16 KiB of its body or answer in memory. Ambiguous framing (two
 * Content-Lengths, Content-Length with Transfer-Encoding, bare CR or LF, a blank before a colon,
 * ...) is answered 400, and the connection is closed.
 *
 * Of browsers only pages of the service itself may ask, and those of cors_origins: another Origin
 * is answered 403, and on loopback a Host that is no name of loopback 421 (src/http/origin.h). */
#ifndef MSAAS_HTTP_SERVER_H
#define MSAAS_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "msaas/err.h"
#include "msaas/metrics.h"
#include "msaas/networks.h"

struct ms_http_server;
struct ms_exchange; /* one request and its answer */

#define MS_HTTP_MAX_PARAMS 8
struct ms_http_call { /* borrowed, valid until the answer is complete; the body: until the handler
                       * returns */
    /* "HEAD" requests go to the handler of GET */
    const char *method;
    /* decoded; without control characters and "." or ".." segments, which are answered 400 */
    const char *path;
    /* raw, "" if there is none; see ms_http_query */
    const char *query;
    /* what the {} of the pattern match, in order, decoded */
    const char *params[MS_HTTP_MAX_PARAMS];
    /* the whole body, a file that is mapped; a NUL follows it; the handler may overwrite it */
    void *body;
    size_t body_bytes;
    /* the client's X-Request-Id if it is valid, else a new one; in answer and logs */
    const char *request_id;
    const char *peer; /* address of the client, also behind a trusted proxy */
    bool is_https;    /* the client speaks TLS with a trusted proxy, which says so */
    void *context;    /* options.context of the server */
    struct ms_exchange *exchange;
};
/* Space for what whoever uses the server wants to keep with an exchange: zeros at first. */
#define MS_HTTP_NOTES_BYTES 128
void *ms_http_notes(const struct ms_exchange *exchange);
/* A page of another origin asks, which cors_origins admits. */
bool ms_http_is_foreign(const struct ms_http_call *call);
const char *ms_http_header(const struct ms_http_call *call,
                           /* The name is compared without case. NULL: there is no such header. */
                           const char *name);
/* *out: the decoded value of a query parameter, which the caller frees; NULL: there is none.
 * MS_EUSAGE: it is not percent-encoded UTF-8. */
MS_MUST_CHECK int ms_http_query(const struct ms_http_call *call, const char *name, char **out);

/* Decodes `size` bytes into out, which has room for size + 1. False: malformed escapes, control
 * characters (NUL among them), or not UTF-8. */
MS_MUST_CHECK bool ms_http_percent_decode(const char *text, size_t size, bool plus_is_blank,
                                          char *out);

/* The answer. The handler builds it on its thread; it is sent when the handler returns. Without an
 * answer the client gets 500. */
void ms_http_add_header(const struct ms_http_call *call, const char *name,
                        const char *value); /* CR, LF refused */
void ms_http_reply(const struct ms_http_call *call, int status, const char *content_type,
                   const void *body, size_t size); /* copied */
/* The same for a body that lasts as long as the server, and is not copied. */
void ms_http_reply_static(const struct ms_http_call *call, int status, const char *content_type,
                          const void *body, size_t size);
/* A body that is taken in pieces, as it comes, so that it costs neither memory nor much of the
 * scratch folder, and what has come is not lost when the rest does not. Only for routes with
 * MS_HTTP_IN_PIECES: their handlers are called with the head alone. A handler answers then, and the
 * body is not read (100 Continue is not sent either), or calls ms_http_take_body.
 *
 * take() runs on the route's pool with one piece after the other, piece_bytes each but the last; no
 * more is read meanwhile. If it answers, the body is not read on. At MS_HTTP_LAST it must answer
 * (a request without a body has this part alone, of no bytes). MS_HTTP_BROKEN: the rest will not
 * come, because the client is gone or too slow, or the server stops; no answer is sent. A body of
 * more than most_bytes is answered 413, and what came before is broken off. close() is called once,
 * when all is over. */
enum ms_http_part { MS_HTTP_MORE, MS_HTTP_LAST, MS_HTTP_BROKEN };
struct ms_http_intake {
    int64_t most_bytes, piece_bytes;
    void (*take)(void *context, const struct ms_http_call *call, const void *bytes, size_t size,
                 enum ms_http_part part);
    void (*close)(void *context);
    void *context;
};
void ms_http_take_body(const struct ms_http_call *call, const struct ms_http_intake *intake);
struct ms_http_outlet;
/* A streamed answer. read() runs on the pool when all that it gave is written. *size 0 and
 * *again_ms > 0: nothing now, ask again after this time (events); *size 0 and *again_ms 0: the end.
 * An error, or an end before `length`, breaks the connection off. length -1: unknown (chunked).
 * close() is called once, at the end or when the client has gone. For HEAD only the headers are
 * sent, and read() is never called.
 *
 * pass(), in place of read(), is for what lies in a file or elsewhere: it gives the next bytes to
 * the outlet, which sends them at once, and is called again when the client can take more. It never
 * waits for the client, and passes at least one byte unless the outlet takes none. It needs a
 * length. */
struct ms_http_stream {
    int64_t length;
    int (*pass)(void *context, struct ms_http_outlet *outlet, struct ms_error *err);
    int (*read)(void *context, void *buffer, size_t capacity, size_t *size, int *again_ms,
                struct ms_error *err);
    void (*close)(void *context);
    void *context;
};
void ms_http_reply_stream(const struct ms_http_call *call, int status, const char *content_type,
                          const struct ms_http_stream *stream);
/* A new file without a name in scratch_dir, for an answer that must be complete before it is sent;
 * the caller's to close. -1: errno says why. */
MS_MUST_CHECK int ms_http_scratch_file(const struct ms_http_call *call);
/* Returns how many of the bytes the client took. Fewer than `size`: it takes no more now, and the
 * rest must be given again, by the next pass(). */
MS_MUST_CHECK size_t ms_http_outlet_write(struct ms_http_outlet *outlet, const void *bytes,
                                          size_t size);
/* The same for `count` bytes of a file from `first` on; *taken: how many the client took.
 * MS_ECORRUPT: the file ends before them; MS_EIO. */
MS_MUST_CHECK int ms_http_outlet_file(struct ms_http_outlet *outlet, int fd, int64_t first,
                                      int64_t count, int64_t *taken, struct ms_error *err);
/* The client will take nothing any more. */
bool ms_http_outlet_is_gone(const struct ms_http_outlet *outlet);

/* An answer that is not known yet. look() runs in the place of the handler after some time: it
 * answers, or puts the answer off again. The request's body is gone then. is_last: the server is
 * about to stop, so that it must answer now. close() is called once, when the answer is sent or the
 * client has gone. No thread waits meanwhile. */
struct ms_http_later {
    void (*look)(const struct ms_http_call *call, void *context, bool is_last);
    void (*close)(void *context);
    void *context;
};
/* Called by the handler and by look(), each time with the same `later`. */
void ms_http_reply_later(const struct ms_http_call *call, int after_ms,
                         const struct ms_http_later *later);

/* Where a handler and the stream of its answer run. */
enum ms_http_where {
    /* may block for a moment: calls to the queue */
    MS_HTTP_POOL,
    /* must not block */
    MS_HTTP_LOOP,
    /* a pool of its own; may block for seconds: calls to the store */
    MS_HTTP_SLOW,
};

#define MS_HTTP_IN_PIECES (-1)
struct ms_http_route {
    const char *method; /* "GET" serves HEAD too */
    /* "/apiv2/jobs/{}/stems/{}"; a {} is one segment that is not empty; a final slash counts */
    const char *pattern;
    void (*handle)(const struct ms_http_call *call);
    enum ms_http_where where;
    /* 0: bodies are dropped, up to 64 KiB. MS_HTTP_IN_PIECES: see struct ms_http_intake; not on the
     * loop */
    int64_t max_body_bytes;
};

/* Whether a request may go on. */
enum ms_http_verdict {
    MS_HTTP_ADMIT,
    MS_HTTP_REFUSE, /* the call has its answer */
    MS_HTTP_BLOCKS, /* to decide it would block: asked again where it may */
};

struct ms_http_server_options {
    const char *host; /* "0.0.0.0", "127.0.0.1", "::" */
    /* 0: any free one, see ms_http_server_port */
    int port;
    /* ended by a NULL method. An unknown path is answered 404, an unknown method 405 with Allow */
    const struct ms_http_route *routes;
    void *context;
    /* Asked when the head of a request for this route was read, before its body is: on the loop
     * with may_block false, and then perhaps on a thread of the pool with may_block true. NULL: all
     * are admitted. */
    enum ms_http_verdict (*admit)(const struct ms_http_call *call,
                                  const struct ms_http_route *route, bool may_block);
    /* of the slow pool; the other pool has half as many; 0: 8 */
    int threads;
    /* how long a request may wait for a thread before it is answered 503; a stream that waits three
     * times as long is broken off; 0: 10 s */
    int max_wait_ms;
    int max_connections; /* 0: 4096 */
    /* Of one address, or one /64 of IPv6; of clients behind a proxy: requests at the same time. 0:
     * as max_connections */
    int max_client_connections;
    /* Descriptors for everything else, half of which connections never take; the limit of the
     * process (ulimit -n) is raised to all together, if it may be. 0: 256 */
    int spare_descriptors;
    /* Those that say whom they ask for (Forwarded, X-Forwarded-For, X-Forwarded-Host). Their
     * connections count in all only. Borrowed; NULL: none */
    const struct ms_networks *trusted_proxies;
    /* names that Host may have, see src/http/origin.h. Borrowed; NULL: none are given */
    const char *allowed_hosts;
    /* Origins whose pages may ask, too, without cookies (CORS): "https://a.example,...", or "*"
     * for any; which headers of requests they may set, and which of answers they may see, "A, B".
     * Borrowed; NULL: none */
    const char *cors_origins, *cors_asked, *cors_exposed;
    /* where bodies grow, as files without names; NULL: "/tmp" */
    const char *scratch_dir;
    /* of all bodies together; beyond it the slowest is broken off; 0: 2 GiB, but at most half of
     * what is free in scratch_dir */
    int64_t max_inflight_bytes;
    size_t max_header_bytes; /* 0: 16 KiB */
    /* Bytes a second that a client must move while the server waits for it, over rate_window_ms; 0:
     * 1024, in 20 s. Negative: none */
    int64_t min_rate;
    int rate_window_ms;
    /* how long nothing may be asked on a connection; 0: 60 s */
    int idle_ms;
    /* Makes the body of an error of the server itself (400, 403, 404, 405, 408, 413, 414, 417, 421,
     * 429, 431, 500, 503, 505), in the form of the API that the path belongs to. NULL:
     * {"reason":"..."}. */
    void (*error_body)(void *context, const char *path, int status, const char *reason, char *body,
                       size_t capacity, const char **content_type);
    /* Called after each answer, on the loop, for the access log and metrics. route: the pattern, ""
     * if none fitted. path: as it came, percent-encoded. exchange: for its notes. */
    void (*done)(void *context, const char *method, const char *route, const char *path, int status,
                 double seconds, int64_t sent_bytes, const char *request_id, const char *peer,
                 const struct ms_exchange *exchange);
};
/* MS_EUSAGE: a word of a list for cors_origins is neither an origin nor "*". NULL is fine. */
MS_MUST_CHECK int ms_http_cors_check(const char *cors_origins, struct ms_error *err);
MS_MUST_CHECK int ms_http_server_new(const struct ms_http_server_options *options,
                                     struct ms_http_server **out,
                                     /* Listens at once. MS_EUSAGE: it cannot listen on this host
                                      * and port. */
                                     struct ms_error *err);
int ms_http_server_port(const struct ms_http_server *server);
/* Serves until ms_http_server_stop. Then it drains, for at most drain_ms: no new connections, idle
 * ones are closed, running answers are completed. */
MS_MUST_CHECK int ms_http_server_run(struct ms_http_server *server, struct ms_error *err);
void ms_http_server_stop(struct ms_http_server *server,
                         /* Any thread, or a signal handler. */
                         int drain_ms);
void ms_http_server_free(struct ms_http_server *server);

/* Metrics: connections that are open, and those that were refused. */
extern struct ms_metric ms_http_connections, ms_http_refused;

#endif
