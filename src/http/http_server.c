/* The HTTP server as a whole: listens, accepts connections, continues what comes back from the
 * pools, drains. The loop is the thread that calls ms_http_server_run. Handlers run on the
 * pools; those that never block may run on the loop. The files call each other in one direction
 * only: http_server -> request -> answer -> connection -> exchange -> server; request -> parse,
 * router. */
#include "connection.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/listener.h>

#include "msaas/log.h"
#include "msaas/sys.h"

#define BACKLOG 1024
#define SPARE_DESCRIPTORS 256 /* descriptors for everything else */
#define ACCEPT_AGAIN_MS 100

/* ---- from the pools, and from stop ---- */

static void take_finished(struct ms_http_server *server) {
    struct ms_exchange *next;
    for (struct ms_exchange *e = ms_server_take_finished(server); e != NULL; e = next) {
        next = e->next;
        ms_answer_returned(e);
    }
}

static void set_timer(struct event *timer, int ms) {
    const struct timeval after = {ms / 1000, ms % 1000 * 1000L};
    (void)event_add(timer, &after);
}

static void drain(struct ms_http_server *server) {
    server->draining = true;
    if (server->listener != NULL)
        evconnlistener_free(server->listener);
    server->listener = NULL;
    (void)event_del(server->accept_again);
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
    (void)fd;
    (void)what;
    ms_connection_bury(user);
}

/* ---- connections ---- */

static void turn_away(int fd) {
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\n"
                                 "Content-Type: application/json\r\n"
                                 "Content-Length: 34\r\n"
                                 "Retry-After: 2\r\n"
                                 "Connection: close\r\n\r\n"
                                 "{\"reason\":\"too many connections\"}\n";
    (void)!send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)shutdown(fd, SHUT_WR);
    char drop[4096];
    while (recv(fd, drop, sizeof drop, MSG_DONTWAIT) == (ssize_t)sizeof drop)
        ;
    close(fd);
}

static void name_peer(const struct sockaddr *address, socklen_t size, char out[64]) {
    char name[64] = "?";
    (void)getnameinfo(address, size, name, sizeof name, NULL, 0, NI_NUMERICHOST);
    snprintf(out, 64, "%s", strncmp(name, "::ffff:", 7) == 0 ? name + 7 : name);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int size, void *user) {
    struct ms_http_server *server = user;
    (void)listener;
    if (server->connection_count >= server->options.max_connections) {
        turn_away(fd);
        return;
    }
    char peer[64];
    name_peer(address, (socklen_t)size, peer);
    ms_request_accept(server, fd, peer);
}

/* Most likely the descriptors have run out: pauses, instead of failing again at once. */
static void on_accept_failed(struct evconnlistener *listener, void *user) {
    struct ms_http_server *server = user;
    ms_log(MS_LOG_WARN, "cannot accept connections: %s; trying again", strerror(errno));
    (void)evconnlistener_disable(listener);
    set_timer(server->accept_again, ACCEPT_AGAIN_MS);
}

static void on_accept_again(evutil_socket_t fd, short what, void *user) {
    struct ms_http_server *server = user;
    (void)fd;
    (void)what;
    if (server->listener != NULL)
        (void)evconnlistener_enable(server->listener);
}

/* ---- life ---- */

static void fill_in_defaults(struct ms_http_server_options *options) {
    if (options->threads <= 0)
        options->threads = 8;
    if (options->max_wait_ms <= 0)
        options->max_wait_ms = 10000;
    if (options->max_connections <= 0)
        options->max_connections = 4096;
    if (options->max_inflight_bytes <= 0)
        options->max_inflight_bytes = INT64_C(512) << 20;
    if (options->max_header_bytes == 0)
        options->max_header_bytes = 16 << 10;
    if (options->header_deadline_ms <= 0)
        options->header_deadline_ms = 10000;
    if (options->body_deadline_ms <= 0)
        options->body_deadline_ms = 120000;
    if (options->idle_ms <= 0)
        options->idle_ms = 60000;
    if (options->write_stall_ms <= 0)
        options->write_stall_ms = 60000;
}

/* Each connection needs a descriptor. Without this they would run out at 1024, also for the queue
 * and the store. */
static void fit_descriptors(struct ms_http_server_options *options) {
    const rlim_t wanted = (rlim_t)options->max_connections + SPARE_DESCRIPTORS;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < wanted)
        options->max_connections = limit.rlim_cur / 2 > SPARE_DESCRIPTORS
                                       ? (int)(limit.rlim_cur - SPARE_DESCRIPTORS)
                                       : SPARE_DESCRIPTORS;
}

static int listen_on(const char *host, int port, int *out, struct ms_error *err) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char service[8];
    int fd = -1, one = 1, zero = 0, rc;
    snprintf(service, sizeof service, "%d", port);
    rc = getaddrinfo(host, service, &hints, &found);
    if (rc != 0)
        return ms_error_set(err, MS_EUSAGE, "cannot listen on \"%s\": %s", host, gai_strerror(rc));
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (found->ai_family == AF_INET6)
            (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
    }
    rc = 0;
    if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        const bool is_port = errno == EADDRINUSE || errno == EACCES;
        const bool is_host = errno == EADDRNOTAVAIL;
        rc = ms_error_set(err, is_port || is_host ? MS_EUSAGE : MS_EIO,
                          "cannot listen on port %d of %s: %s%s", port, host,
                          is_host ? "this machine has no such address" : strerror(errno),
                          is_port ? "; choose another port" : "");
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    *out = fd;
    return rc;
}

static int port_of(int fd) {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {.v6 = {0}};
    socklen_t size = sizeof address;
    if (getsockname(fd, &address.any, &size) != 0)
        return 0;
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
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
    if (rc == 0 && has_slow_routes(server->options.routes))
        rc = ms_tasks_new(threads, waiting, &server->slow_pool, err);
    return rc;
}

int ms_http_server_new(const struct ms_http_server_options *options, struct ms_http_server **out,
                       struct ms_error *err) {
    struct ms_http_server *server = calloc(1, sizeof *server);
    int fd = -1, rc;
    *out = NULL;
    if (server == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for an HTTP server");
    server->wake_fd = -1;
    server->options = *options;
    fill_in_defaults(&server->options);
    fit_descriptors(&server->options);
    pthread_mutex_init(&server->lock, NULL);
    rc = start_pools(server, err);
    if (rc != 0)
        goto out;
    rc = listen_on(server->options.host, server->options.port, &fd, err);
    if (rc != 0)
        goto out;
    server->port = port_of(fd);
    server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    server->base = new_base();
    server->scratch = malloc(MS_HTTP_SCRATCH_BYTES);
    if (server->wake_fd < 0 || server->base == NULL || server->scratch == NULL) {
        rc = ms_error_set(err, MS_ENOMEM, "no memory or descriptors for an HTTP server");
        goto out;
    }
    server->wake = event_new(server->base, server->wake_fd, EV_READ | EV_PERSIST, on_wake, server);
    server->accept_again = evtimer_new(server->base, on_accept_again, server);
    server->drain_end = evtimer_new(server->base, on_drain_end, server);
    server->bury = evtimer_new(server->base, on_bury, server);
    server->listener = evconnlistener_new(server->base, on_accept, server,
                                          LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (server->listener != NULL)
        fd = -1;
    if (server->wake == NULL || server->accept_again == NULL || server->drain_end == NULL ||
        server->bury == NULL || server->listener == NULL || event_add(server->wake, NULL) != 0) {
        rc = ms_error_set(err, MS_ENOMEM, "no memory for an HTTP server");
        goto out;
    }
    evconnlistener_set_error_cb(server->listener, on_accept_failed);
    *out = server;
    server = NULL;
out:
    if (fd >= 0)
        close(fd);
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
    if (server->listener != NULL)
        evconnlistener_free(server->listener);
    close_all(server);
    ms_tasks_free(server->pool); /* waits for running handlers */
    ms_tasks_free(server->slow_pool);
    server->pool = server->slow_pool = NULL;
    take_finished(server);
    if (server->bury != NULL)
        ms_connection_bury(server);
    if (server->wake != NULL)
        event_free(server->wake);
    if (server->accept_again != NULL)
        event_free(server->accept_again);
    if (server->drain_end != NULL)
        event_free(server->drain_end);
    if (server->bury != NULL)
        event_free(server->bury);
    if (server->base != NULL)
        event_base_free(server->base);
    if (server->wake_fd >= 0)
        close(server->wake_fd);
    free(server->scratch);
    pthread_mutex_destroy(&server->lock);
    free(server);
}
