/* HTTP requests, sent by libcurl; src/net/http_client.c is its only user. Calls block the calling
 * thread.
 *
 * A client keeps its connections from request to request; one client serves one thread at a time.
 * What HTTP answers is no error here: a 404 is a response whose status is 404. Error texts show
 * URLs without user, password and query. */
#ifndef MSAAS_HTTP_CLIENT_H
#define MSAAS_HTTP_CLIENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "msaas/err.h"

struct ms_http_client;
MS_MUST_CHECK int ms_http_client_new(struct ms_http_client **out, struct ms_error *err);
void ms_http_client_free(struct ms_http_client *client);

/* Borrowed from the client until its next request. */
struct ms_http_response {
    int status;   /* 0: none came */
    bool refused; /* no connection was tried, because allow_address refused every address */
    /* collected if the request has no `write`; a NUL follows it */
    const char *body;
    size_t body_bytes;
    struct ms_http_client *client;
};
/* The first field of that name, compared without case; NULL: there is none. */
const char *ms_http_response_header(const struct ms_http_response *response, const char *name);

struct ms_http_request {
    const char *method; /* "GET", "HEAD", "PUT", "POST", "DELETE", ... */
    const char *url;    /* http: or https: */
    /* "Name: value", ended by NULL; may be NULL. "Name:" removes a header that libcurl would
     * send */
    const char *const *headers;

    /* The body of the request: bytes in memory, or read() gives exactly body_bytes in portions,
     * each of *size in [1, capacity]. */
    const void *body;
    int64_t body_bytes; /* 0 with neither body nor read: no body is sent */
    int (*read)(void *context, void *buffer, size_t capacity, size_t *size, struct ms_error *err);
    /* Goes back to the first byte of the body, for a second attempt after a kept connection turned
     * out to be closed. Returns whether it could. NULL: it cannot. */
    bool (*rewind)(void *context);

    /* Of the response: head() is called once, before the first byte of the body and also if there
     * is none; write() gets the bytes in order. Either may be NULL. If one fails, the request ends
     * with its error. */
    int (*head)(void *context, const struct ms_http_response *response, struct ms_error *err);
    int (*write)(void *context, const void *bytes, size_t size, struct ms_error *err);
    int64_t max_bytes; /* of the body of the response, else MS_ETOOLARGE; 0: 1 MiB */

    void (*progress)(void *context, int64_t received_bytes,
                     int64_t total_bytes); /* total 0: unknown; may be NULL */
    /* Whether a connection to an address is allowed, asked before each one; else MS_EDENIED. host:
     * as the URL names it, or the URL of a redirect; "" if it cannot be told. NULL: to any. No
     * proxy is used with it. */
    bool (*allow_address)(void *context, const char *host, const struct sockaddr *address);
    void *context; /* of all functions above */

    int max_redirects; /* 0: a redirect is a response like any other; never from https to http */
    int connect_timeout_s;     /* 0: 10 */
    int stall_timeout_s;       /* without a byte in either direction; 0: 30 */
    int total_timeout_s;       /* of the whole request, a name server that hangs too; 0: none */
    bool secret_path;          /* errors name scheme, host and port of the URL only */
    const char *ca_file;       /* PEM: authorities to trust instead of those of the system; NULL */
    const atomic_bool *cancel; /* MS_ECANCELED within a second once it is true; may be NULL */
};

/* MS_ENET: the peer was not reached, broke off or was too slow. MS_EDENIED: its certificate is not
 * trusted, or allow_address refused. MS_EUSAGE: url or ca_file is wrong. */
MS_MUST_CHECK int ms_http_send(struct ms_http_client *client, const struct ms_http_request *request,
                               struct ms_http_response *response, struct ms_error *err);

/* Downloads url into the file `path` and continues a partial file. Tries again, a few times, if the
 * connection breaks. The caller checks the content, because a file that an earlier run began may be
 * of another version. *resumed: whether bytes of an earlier run are part of it. MS_ENOTFOUND: 404
 * or 410; MS_EDENIED: 401 or 403. */
struct ms_http_download {
    const char *url;
    const char *path;
    int64_t max_bytes;
    void (*progress)(void *context, int64_t received_bytes,
                     int64_t total_bytes); /* of the whole file; may be NULL */
    void *context;
    const atomic_bool *cancel; /* may be NULL */
};
MS_MUST_CHECK int ms_http_download(struct ms_http_client *client,
                                   const struct ms_http_download *download, bool *resumed,
                                   struct ms_error *err);

#endif
