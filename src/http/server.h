/* The state of the server, and the way between its loop and its pools of threads. Only the loop
 * uses it, except `lock` with what it guards, and the atomics. */
#ifndef MSAAS_HTTP_SERVER_ROOM_H
#define MSAAS_HTTP_SERVER_ROOM_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "clients.h"
#include "msaas/http_server.h"
#include "msaas/tasks.h"

struct event;
struct event_base;
struct evconnlistener;
struct ms_connection;

#define MS_HTTP_SCRATCH_BYTES (64 << 10)

struct ms_http_server {
    struct ms_http_server_options options; /* with the defaults filled in */
    struct event_base *base;
    /* NULL: draining */
    struct evconnlistener *listener;
    /* wake_fd is readable: an exchange came back from a pool, or the server is to stop */
    struct event *wake;
    /* when to accept again after the descriptors ran out */
    struct event *accept_again;
    struct event *drain_end;
    /* frees `dead` at a moment when no function uses one of them */
    struct event *bury;
    /* gives freed memory back to the system, some time after connections were closed */
    struct event *trim;
    int closed_count; /* since then */
    int wake_fd;
    int port;
    /* of a connection: those above are left to everything else */
    int highest_fd;
    /* listens on loopback */
    bool loopback;
    bool draining;
    /* slow_pool NULL: no route is slow; disk_pool: for bodies, and what is closed */
    struct ms_tasks *pool, *slow_pool, *disk_pool;
    struct ms_connection *connections, *dead;
    int connection_count;
    struct ms_clients clients;
    /* connections on which nothing is asked, longest first */
    struct ms_idle_list idle;
    double refusal_logged_s; /* 0: never */
    /* those whose connection is closed count too */
    int exchange_count;
    /* of all bodies together */
    _Atomic int64_t inflight_bytes;
    /* dropped bytes are read into it */
    char *scratch;
    char date[40];
    time_t date_of;

    pthread_mutex_t lock;
    /* came back from a pool, newest first */
    struct ms_exchange *finished;
    atomic_bool stopping;
    atomic_int drain_ms;
};

/* Wakes the loop. Any thread, or a signal handler. */
void ms_server_wake(struct ms_http_server *server);
/* Has `run` called on the pool of the exchange's task and route. False: too many tasks wait there.
 * */
bool ms_server_post(struct ms_exchange *exchange, void (*run)(void *exchange));
/* On the pool: how long the exchange waited for a thread, in units of options.max_wait_ms. */
double ms_server_waited(const struct ms_exchange *exchange);
/* On the pool: hands the exchange back to the loop. The pool must not use it any more. */
void ms_server_give_back(struct ms_exchange *exchange);
/* The exchanges that came back since the last call, oldest first, linked by `next`. */
struct ms_exchange *ms_server_take_finished(struct ms_http_server *server);

#endif
