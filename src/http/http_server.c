/* The HTTP server as a whole: starts its parts, continues what comes back from the pools, drains.
 * The loop is the thread that calls ms_http_server_run. Handlers run on the pools; those that never
 * block may run on the loop. The files call each other in one direction only: http_server -> accept
 * -> request -> intake -> answer -> connection -> exchange -> server, clients; request -> parse,
 * router, forwarded, origin. */
#include "connection.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <event2/event.h>

#include "msaas/log.h"
#include "msaas/sys.h"

#define DISK_THREADS 2
#define INFLIGHT_BYTES (INT64_C(2) << 30)
/* Memory goes back to the system after so many connections were closed, a little later, because
 * more may follow. */
#define TRIM_CONNECTIONS 64
#define TRIM_MS 1000

/* ---- from the pools, and from stop ---- */

static void take_finished(struct ms_http_server *server) {
    struct ms_exchange *next;
    for (struct ms_exchange *e = ms_server_take_finished(server); e != NULL; e = next) {
        next = e->next;
        if (e->task == MS_TASK_BODY || e->task == MS_TASK_ADMIT)
            ms_request_returned(e);
        else if (e->task == MS_TASK_TAKE)
            ms_intake_returned(e);
        else
            ms_answer_returned(e);
    }
}

static void set_timer(struct event *timer, int ms) {
    const struct timeval after = {ms / 1000, ms % 1000 * 1000L};
    (void)event_add(timer, &after);
}

static void drain(struct ms_http_server *server) {
    server->draining = true;
    ms_accept_stop(server);
    ms_connection_close_idle(server);
    event_active(server->bury, EV_TIMEOUT, 1); /* which ends the loop if no connection is left */
    set_timer(server->drain_end, atomic_load(&server->drain_ms));
}

static void on_wake(evutil_socket_t fd, short what, void *user) {
    struct ms_http_server *server = user;
    (void)what;
    uint64_t count;
    (void)!read(fd, &count, sizeof count);
    take_finished(server);
    if (atomic_exchange(&server->stopping, false))
        drain(server);
}

static void close_all(struct ms_http_server *server) {
    while (server->connections != NULL)
        ms_connection_close(server->connections);
}

static void on_drain_end(evutil_socket_t fd, short what, void *user) {
    (void)fd;
    (void)what;
    close_all(user);
}

static void on_bury(evutil_socket_t fd, short what, void *user) {
    struct ms_http_server *server = user;
    (void)fd;
    (void)what;
    ms_connection_bury(server);
    if (server->closed_count >= TRIM_CONNECTIONS && !event_pending(server->trim, EV_TIMEOUT, NULL))
        set_timer(server->trim, TRIM_MS);
}

static void run_trim(void *unused) {
    (void)unused;
    ms_memory_trim();
}

static void on_trim(evutil_socket_t fd, short what, void *user) {
    struct ms_http_server *server = user;
    (void)fd;
    (void)what;
    if (server->exchange_count > server->connection_count) /* the pools still have some */
        set_timer(server->trim, TRIM_MS);
    else
        server->closed_count = 0;
    (void)!ms_tasks_post(server->disk_pool, run_trim, NULL, NULL);
}

/* ---- life ---- */

static int64_t share_of_disk(const char *folder) {
    struct statvfs disk;
    if (statvfs(folder, &disk) != 0)
        return INFLIGHT_BYTES;
    const int64_t half = (int64_t)(disk.f_bavail / 2) * (int64_t)disk.f_frsize;
    return half < INFLIGHT_BYTES ? half : INFLIGHT_BYTES;
}

static void fill_in_defaults(struct ms_http_server_options *options) {
    if (options->threads <= 0)
        options->threads = 8;
    if (options->max_wait_ms <= 0)
        options->max_wait_ms = 10000;
    if (options->max_connections <= 0)
        options->max_connections = 4096;
    if (options->scratch_dir == NULL)
        options->scratch_dir = "/tmp";
    if (options->max_inflight_bytes <= 0)
        options->max_inflight_bytes = share_of_disk(options->scratch_dir);
    if (options->max_header_bytes == 0)
        options->max_header_bytes = 16 << 10;
    if (options->max_client_connections <= 0)
        options->max_client_connections = options->max_connections;
    if (options->spare_descriptors <= 0)
        options->spare_descriptors = 256;
    if (options->min_rate == 0)
        options->min_rate = 1024;
    if (options->rate_window_ms <= 0)
        options->rate_window_ms = 20000;
    if (options->idle_ms <= 0)
        options->idle_ms = 60000;
}

/* Each connection needs a descriptor, and perhaps one for the file of its body or answer; so do
 * queue and store. */
static void fit_descriptors(struct ms_http_server *server) {
    struct ms_http_server_options *options = &server->options;
    rlim_t spare = (rlim_t)options->spare_descriptors;
    const rlim_t wanted = (rlim_t)options->max_connections + spare;
    const rlim_t best = wanted + (rlim_t)options->max_connections;
    struct rlimit limit = {best, best};
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < best) {
        limit.rlim_cur = limit.rlim_max < best ? limit.rlim_max : best;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur < wanted) {
        spare = spare < limit.rlim_cur / 4 ? spare : limit.rlim_cur / 4;
        const int most = (int)(limit.rlim_cur - spare);
        ms_log(MS_LOG_WARN,
               "the limit of open files (ulimit -n) is %d, too low for %d connections: at most %d "
               "are taken. Raise it to %d, or lower --max-connections",
               (int)limit.rlim_cur, options->max_connections, most, (int)wanted);
        options->max_connections = most;
    }
    const rlim_t highest = limit.rlim_cur - spare / 2 - 1;
    server->highest_fd = highest < INT_MAX ? (int)highest : INT_MAX;
}

static struct event_base *new_base(void) {
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;
    if (config != NULL && event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0)
        base = event_base_new_with_config(config);
    if (config != NULL)
        event_config_free(config);
    return base;
}

static bool has_slow_routes(const struct ms_http_route *routes) {
    while (routes->method != NULL && routes->where != MS_HTTP_SLOW)
        routes++;
    return routes->method != NULL;
}

static int start_pools(struct ms_http_server *server, struct ms_error *err) {
    const int threads = server->options.threads;
    const int waiting = 2 * server->options.max_connections + 64;
    int rc = ms_tasks_new((threads + 1) / 2, waiting, &server->pool, err);
    if (rc == 0)
        rc = ms_tasks_new(DISK_THREADS, waiting, &server->disk_pool, err);
    if (rc == 0 && has_slow_routes(server->options.routes))
        rc = ms_tasks_new(threads, waiting, &server->slow_pool, err);
    return rc;
}

int ms_http_server_new(const struct ms_http_server_options *options, struct ms_http_server **out,
                       struct ms_error *err) {
    struct ms_http_server *server = calloc(1, sizeof *server);
    int rc;
    *out = NULL;
    if (server == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for an HTTP server");
    server->wake_fd = -1;
    server->options = *options;
    fill_in_defaults(&server->options);
    fit_descriptors(server);
    pthread_mutex_init(&server->lock, NULL);
    ms_clients_init(&server->clients);
    TAILQ_INIT(&server->idle);
    rc = start_pools(server, err);
    if (rc != 0)
        goto out;
    server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    server->base = new_base();
    server->scratch = malloc(MS_HTTP_SCRATCH_BYTES);
    if (server->wake_fd < 0 || server->base == NULL || server->scratch == NULL) {
        rc = ms_error_set(err, MS_ENOMEM, "no memory or descriptors for an HTTP server");
        goto out;
    }
    server->wake = event_new(server->base, server->wake_fd, EV_READ | EV_PERSIST, on_wake, server);
    server->drain_end = evtimer_new(server->base, on_drain_end, server);
    server->bury = evtimer_new(server->base, on_bury, server);
    server->trim = evtimer_new(server->base, on_trim, server);
    if (server->wake == NULL || server->drain_end == NULL || server->bury == NULL ||
        server->trim == NULL || event_add(server->wake, NULL) != 0) {
        rc = ms_error_set(err, MS_ENOMEM, "no memory for an HTTP server");
        goto out;
    }
    rc = ms_accept_start(server, err);
    if (rc != 0)
        goto out;
    *out = server;
    server = NULL;
out:
    ms_http_server_free(server);
    return rc;
}

int ms_http_server_port(const struct ms_http_server *server) {
    return server->port;
}

int ms_http_server_run(struct ms_http_server *server, struct ms_error *err) {
    if (event_base_loop(server->base, EVLOOP_NO_EXIT_ON_EMPTY) < 0)
        return ms_error_set(err, MS_EINTERNAL, "the event loop failed: %s", strerror(errno));
    return 0;
}

void ms_http_server_stop(struct ms_http_server *server, int drain_ms) {
    atomic_store(&server->drain_ms, drain_ms > 0 ? drain_ms : 0);
    atomic_store(&server->stopping, true);
    ms_server_wake(server);
}

void ms_http_server_free(struct ms_http_server *server) {
    if (server == NULL)
        return;
    ms_accept_stop(server);
    close_all(server);
    ms_tasks_free(server->pool); /* waits for running handlers */
    ms_tasks_free(server->slow_pool);
    server->pool = server->slow_pool = NULL;
    take_finished(server); /* which may close something on the pool of the disk */
    ms_tasks_free(server->disk_pool);
    server->disk_pool = NULL;
    take_finished(server);
    if (server->bury != NULL)
        ms_connection_bury(server);
    if (server->wake != NULL)
        event_free(server->wake);
    if (server->drain_end != NULL)
        event_free(server->drain_end);
    if (server->bury != NULL)
        event_free(server->bury);
    if (server->trim != NULL)
        event_free(server->trim);
    if (server->base != NULL)
        event_base_free(server->base);
    if (server->wake_fd >= 0)
        close(server->wake_fd);
    free(server->scratch);
    pthread_mutex_destroy(&server->lock);
    free(server);
}
