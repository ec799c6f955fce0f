/* The way of an exchange from the loop to a pool of threads and back. The pool reaches the loop
 * through the list `finished` and an eventfd, so that libevent needs no locks. */
#include "server.h"

#include <errno.h>
#include <unistd.h>

#include "exchange.h"
#include "msaas/sys.h"

void ms_server_wake(struct ms_http_server *server) {
    const uint64_t one = 1;
    const int saved = errno;
    (void)!write(server->wake_fd, &one, sizeof one); /* full: the loop is awake already */
    errno = saved;
}

bool ms_server_post(struct ms_exchange *exchange, void (*run)(void *exchange)) {
    struct ms_http_server *server = exchange->server;
    struct ms_tasks *pool = server->pool;
    const bool takes = exchange->intake.take != NULL; /* its end may block like any piece */
    if (exchange->task == MS_TASK_BODY || (exchange->task == MS_TASK_CLOSE && !takes))
        pool = server->disk_pool;
    else if (exchange->task != MS_TASK_ADMIT && exchange->route->where == MS_HTTP_SLOW)
        pool = server->slow_pool;
    exchange->posted_s = ms_monotonic_s();
    return pool != NULL && ms_tasks_post(pool, run, exchange, NULL) == 0;
}

double ms_server_waited(const struct ms_exchange *exchange) {
    return (ms_monotonic_s() - exchange->posted_s) * 1000 / exchange->server->options.max_wait_ms;
}

void ms_server_give_back(struct ms_exchange *exchange) {
    struct ms_http_server *server = exchange->server;
    pthread_mutex_lock(&server->lock);
    bool first = server->finished == NULL;
    exchange->next = server->finished;
    server->finished = exchange;
    /* Under the lock: once the loop has the last exchange, it may free the server. */
    if (first)
        ms_server_wake(server);
    pthread_mutex_unlock(&server->lock);
}

struct ms_exchange *ms_server_take_finished(struct ms_http_server *server) {
    pthread_mutex_lock(&server->lock);
    struct ms_exchange *list = server->finished;
    server->finished = NULL;
    pthread_mutex_unlock(&server->lock);
    struct ms_exchange *oldest = NULL;
    while (list != NULL) {
        struct ms_exchange *next = list->next;
        list->next = oldest;
        oldest = list;
        list = next;
    }
    return oldest;
}
