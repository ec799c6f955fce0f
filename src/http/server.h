/* What the files of the engine share: the server and its connections. All of it is the loop's, but
 * for `lock` and what it guards, and the atomics. */
#ifndef MSAAS_HTTP_SERVER_ROOM_H
#define MSAAS_HTTP_SERVER_ROOM_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "exchange.h"
#include "msaas/tasks.h"

struct event;
struct event_base;
struct evconnlistener;

struct ms_http_server {
    struct ms_http_server_options options; /* with the defaults filled in */
    struct event_base *base;
    struct evconnlistener *listener; /* NULL: draining */
    struct event *wake;              /* wake_fd: from the pool, and from stop */
    struct event *accept_again;      /* after accept failed for want of descriptors */
    struct event *drain_end;
    struct event *bury; /* frees `dead` when no function has one in hand */
    int wake_fd;
    int port;
    bool draining;
    struct ms_tasks *pool, *slow_pool; /* slow_pool NULL: no route is slow */
    struct ms_connection *connections, *dead;
    int connection_count;
    int exchange_count; /* those without a connection too */
    int64_t inflight_bytes;
    char *scratch; /* where dropped bytes are read to */
    char date[40];
    time_t date_of;

    pthread_mutex_t lock;
    struct ms_exchange *finished; /* come back from the pool, newest first */
    atomic_bool stopping;
    atomic_int drain_ms;
};

#define MS_HTTP_SCRATCH_BYTES (64 << 10)

/* connection.c: a connection takes `fd`. */
void ms_connection_open(struct ms_http_server *server, int fd, const char *peer);
void ms_connection_close(struct ms_connection *connection);
void ms_connection_close_idle(struct ms_http_server *server); /* those with no request begun */
void ms_connection_bury(struct ms_http_server *server);
/* The pool is done with what it had to do for this exchange. */
void ms_exchange_returned(struct ms_exchange *exchange);
void ms_exchange_release(struct ms_exchange *exchange);   /* connection.c: no more needed */
void ms_exchange_free_body(struct ms_exchange *exchange); /* connection.c */
/* The pool of the exchange's route is to do it. False: none is there, or too many wait. */
bool ms_server_post(struct ms_exchange *exchange, void (*run)(void *exchange));
/* Called on the pool. How long it waited for its thread, in units of options.max_wait_ms. */
double ms_server_waited(const struct ms_exchange *exchange);
void ms_server_give_back(struct ms_exchange *exchange);

#endif
