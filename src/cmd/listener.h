/* A second HTTP server of the process, on a thread and a loop of its own: probes and metrics, which
 * nothing else must hold up. Main thread. */
#ifndef MSAAS_CMD_LISTENER_H
#define MSAAS_CMD_LISTENER_H

#include <pthread.h>

#include "msaas/http_server.h"

struct ms_listener {
    struct ms_http_server *server; /* NULL: it does not listen */
    pthread_t thread;
};

/* options: their port, and what they serve; port 0: nothing is done. A fault of host or port is
 * MS_EUSAGE. */
MS_MUST_CHECK int ms_listener_start(struct ms_listener *listener,
                                    const struct ms_http_server_options *options,
                                    struct ms_error *err);
/* Waits for its last answers. Zeroed ones are fine. */
void ms_listener_stop(struct ms_listener *listener);

#endif
