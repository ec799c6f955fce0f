/* Which connections there may be: listens, and accepts or refuses each. On the loop. */
#include "connection.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/listener.h>

#include "msaas/log.h"
#include "msaas/metrics.h"
#include "msaas/networks.h"
#include "msaas/sys.h"

#define BACKLOG 1024
#define ACCEPT_AGAIN_MS 100
#define LOG_S 60 /* between two lines about connections that are refused */
#define DROPS 16 /* reads of what a client sent that is turned away: it may send for ever */
#define LOOKS 8  /* for one that is idle, at each new connection */

/* ---- limits ---- */

/* Without a body: it may be a HEAD that is not read any more. */
static void turn_away(struct ms_http_server *server, int fd, int status, const char *phrase,
                      const char *limit) {
    char answer[160], drop[4096];
    const int size = snprintf(answer, sizeof answer,
                              "HTTP/1.1 %d %s\r\nContent-Length: 0\r\nRetry-After: 2\r\n"
                              "Connection: close\r\n\r\n",
                              status, phrase);
    (void)!send(fd, answer, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)shutdown(fd, SHUT_WR);
    for (int i = 0; i < DROPS && recv(fd, drop, sizeof drop, MSG_DONTWAIT) > 0; i++)
        ;
    close(fd);
    ms_metric_add(&ms_http_refused, 1, limit, NULL);
    if (server->refusal_logged_s > 0 && ms_monotonic_s() < server->refusal_logged_s + LOG_S)
        return;
    server->refusal_logged_s = ms_monotonic_s();
    ms_log_fields(MS_LOG_WARN, "connections are refused", "limit", limit, NULL);
}

static bool close_longest_idle(const struct ms_idle_list *list) {
    for (int i = 0; i < LOOKS && !TAILQ_EMPTY(list); i++) {
        struct ms_connection *c = TAILQ_FIRST(list);
        if (!ms_connection_has_unread_bytes(c)) {
            ms_connection_close(c);
            return true;
        }
        ms_connection_wake(c);
        ms_connection_fall_asleep(c);
    }
    return false;
}

/* The kernel gives out the lowest free descriptor, so one above highest_fd says that few are left.
 * Returns the descriptor to use; -1: none, and fd is still open. */
static int leave_spare(struct ms_http_server *server, int fd) {
    if (fd <= server->highest_fd)
        return fd;
    if (!close_longest_idle(&server->idle))
        return -1;
    const int lower = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (lower > server->highest_fd)
        close(lower);
    if (lower < 0 || lower > server->highest_fd)
        return -1;
    close(fd);
    return lower;
}

/* An address at its limit makes room among its own connections only. */
static void admit(struct ms_http_server *server, int accepted, const uint8_t ip[16]) {
    const struct ms_http_server_options *options = &server->options;
    struct ms_client *client = NULL;
    if (!ms_networks_hold(options->trusted_proxies, ip)) {
        client = ms_clients_enter(&server->clients, ip);
        if (client == NULL) {
            close(accepted);
            return;
        }
        if (client->count > options->max_client_connections && !close_longest_idle(&client->idle)) {
            turn_away(server, accepted, 429, "Too Many Requests", "address");
            ms_clients_leave(&server->clients, client);
            return;
        }
    }
    const char *limit = "connections";
    int fd = -1;
    if (server->connection_count < options->max_connections || close_longest_idle(&server->idle)) {
        limit = "descriptors";
        fd = leave_spare(server, accepted);
    }
    if (fd >= 0) {
        ms_request_accept(server, fd, ip, client);
        return;
    }
    turn_away(server, accepted, 503, "Service Unavailable", limit);
    ms_clients_leave(&server->clients, client);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int size, void *user) {
    uint8_t ip[16] = {0};
    (void)listener;
    (void)size;
    if (ms_ip_of(address, ip))
        admit(user, fd, ip);
    else
        close(fd);
}

/* Most likely others have taken the spare descriptors: makes room, or pauses instead of failing
 * again at once. */
static void on_accept_failed(struct evconnlistener *listener, void *user) {
    const struct timeval after = {0, ACCEPT_AGAIN_MS * 1000L};
    struct ms_http_server *server = user;
    if (errno == EMFILE && close_longest_idle(&server->idle))
        return;
    ms_log(MS_LOG_WARN, "cannot accept connections: %s; trying again", strerror(errno));
    (void)evconnlistener_disable(listener);
    (void)event_add(server->accept_again, &after);
}

static void on_accept_again(evutil_socket_t fd, short what, void *user) {
    struct ms_http_server *server = user;
    (void)fd;
    (void)what;
    if (server->listener != NULL)
        (void)evconnlistener_enable(server->listener);
}

/* ---- the socket ---- */

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

static void note_address(struct ms_http_server *server, int fd) {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {.v6 = {0}};
    socklen_t size = sizeof address;
    uint8_t ip[16];
    if (getsockname(fd, &address.any, &size) != 0 || !ms_ip_of(&address.any, ip))
        return;
    server->port =
        ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
    server->loopback = ms_ip_is_loopback(ip);
}

int ms_accept_start(struct ms_http_server *server, struct ms_error *err) {
    int fd = -1;
    int rc = listen_on(server->options.host, server->options.port, &fd, err);
    if (rc != 0)
        return rc;
    note_address(server, fd);
    server->accept_again = evtimer_new(server->base, on_accept_again, server);
    server->listener = evconnlistener_new(server->base, on_accept, server,
                                          LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (server->listener == NULL)
        close(fd);
    if (server->listener == NULL || server->accept_again == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for an HTTP server");
    evconnlistener_set_error_cb(server->listener, on_accept_failed);
    return 0;
}

void ms_accept_stop(struct ms_http_server *server) {
    if (server->listener != NULL)
        evconnlistener_free(server->listener);
    server->listener = NULL;
    if (server->accept_again != NULL)
        event_free(server->accept_again);
    server->accept_again = NULL;
}
