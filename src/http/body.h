/* The body of a request: it grows in a file without a name, in the scratch folder, as its bytes
 * come, so that it costs no memory however slow they come. Handlers see the file as memory. */
#ifndef MSAAS_HTTP_BODY_H
#define MSAAS_HTTP_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parse.h"

struct ms_exchange;
struct ms_http_server;

struct ms_body {
    int fd;                       /* -1: no byte was kept yet */
    int64_t bytes, counted_bytes; /* in the file; in the server's inflight_bytes */
    void *map;                    /* all of it, and a NUL; NULL as long as nobody looks at it */

    /* What is still to come. */
    bool is_chunked;
    struct ms_http_chunked chunked;
    int64_t left;  /* of Content-Length */
    int64_t most;  /* longer ones are refused */
    bool is_kept;  /* otherwise its bytes are dropped */
    int64_t taken; /* dropped bytes included */
    bool complete; /* all has come */
    bool gone;     /* the client will not send the rest */
    bool crowded;  /* max_inflight_bytes are reached */
    /* > 0: the body is given away in pieces of so many bytes. full: one has come */
    int64_t piece_bytes;
    bool full;
    int status; /* not 0: the body is refused with it */
    const char *reason;
    /* What was read from the socket and not taken yet: at first the body's beginning, at the end
     * what follows it. It goes back and forth between connection and exchange. */
    char *rest;
    size_t rest_bytes;
};

/* A new file without a name in the scratch folder. -1: errno says why not; EMFILE also where only
 * the descriptors are left that new connections and others need. */
int ms_http_file_new(const struct ms_http_server *server);
/* False: errno says why not. */
bool ms_http_file_write(int fd, const char *bytes, size_t size);

/* On the disk's pool: moves what has come, without waiting for more, from the exchange's socket
 * into the file. Takes a limited amount at once, so that other connections get their turn. */
void ms_body_take(void *user);
/* Makes the file visible in body->map. False: the disk is full, and the body is refused for that.
 * */
bool ms_body_map(struct ms_http_server *server, struct ms_body *body);
/* The piece in the file is taken: the next one may come. */
void ms_body_empty(struct ms_http_server *server, struct ms_body *body);
/* The file does not count any more, because it is about to be closed. */
void ms_body_forget(struct ms_http_server *server, struct ms_body *body);
/* Closes the file. May block for as long as the disk needs to free it. */
void ms_body_free(struct ms_http_server *server, struct ms_body *body);

#endif
