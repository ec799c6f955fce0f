/* See listener.h. Owns the server and its thread. */
#include "listener.h"

#include "msaas/log.h"

#define STOP_MS 1000 /* for the last answers */
/* Probes and scrapers are few. They must get through when all other connections are there: these
 * may use descriptors that those leave. Nor may one of them keep out the others. */
#define CONNECTIONS 16
#define CONNECTIONS_OF_ONE 8
#define SPARE_DESCRIPTORS 16

static void *run(void *server) {
    struct ms_error err = {0};
    if (ms_http_server_run(server, &err) != 0)
        ms_log(MS_LOG_ERROR, "probes and metrics: %s", err.text);
    return NULL;
}

int ms_listener_start(struct ms_listener *listener, const struct ms_http_server_options *options,
                      struct ms_error *err) {
    struct ms_http_server_options listen = *options;
    if (listen.port == 0)
        return 0;
    listen.threads = 2;
    listen.max_connections = CONNECTIONS;
    listen.max_client_connections = CONNECTIONS_OF_ONE;
    listen.spare_descriptors = SPARE_DESCRIPTORS;
    int rc = ms_http_server_new(&listen, &listener->server, err);
    if (rc != 0)
        return rc;
    if (pthread_create(&listener->thread, NULL, run, listener->server) == 0)
        return 0;
    ms_http_server_free(listener->server);
    listener->server = NULL;
    return ms_error_set(err, MS_ENOMEM, "cannot start a thread");
}

void ms_listener_stop(struct ms_listener *listener) {
    if (listener->server == NULL)
        return;
    ms_http_server_stop(listener->server, STOP_MS);
    (void)pthread_join(listener->thread, NULL);
    ms_http_server_free(listener->server);
    listener->server = NULL;
}
