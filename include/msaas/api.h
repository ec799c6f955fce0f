/* The service's HTTP interface: /apiv1, /apiv2, /, health and metrics, as routes for the server
 * (http_server.h).
 *
 * Handlers run on the server's pool; each borrows a queue and a store connection from a small set
 * that the API keeps. Stateless: any number of replicas on the same queue and store. */
#ifndef MSAAS_API_H
#define MSAAS_API_H

#include <stdatomic.h>

#include "msaas/http_server.h"
#include "msaas/job.h"
#include "msaas/store.h"

struct ms_api_model { /* one on offer */
    char name[64];
    char licence[256];
    int stem_count;
    char stems[MS_JOB_MAX_STEMS][32];
};

struct ms_api_options {
    const char *queue_url;
    struct ms_store_options store;
    /* the first is the default; borrowed, must outlive the API */
    const struct ms_api_model *models;
    int model_count;
    int64_t max_song_bytes; /* decoded; 0: 256 MiB */
    int presign_s; /* > 0: stems are answered by 302 to a presigned URL that holds so long */
    int64_t max_waiting_jobs; /* beyond: 503, Retry-After; 0: 100,000 */
};

struct ms_api;
MS_MUST_CHECK int ms_api_new(const struct ms_api_options *options, struct ms_api **out,
                             struct ms_error *err);
void ms_api_free(struct ms_api *api);
/* For ms_http_server_options: routes; context is the api itself; error_body and done as the API
 * wants them (access log, metrics). */
void ms_api_serve(struct ms_api *api, struct ms_http_server_options *options);
/* From now on /readyz says 503: the server is to be stopped. */
void ms_api_set_draining(struct ms_api *api);

/* The worker's listener: /healthz, /metrics and nothing else. */
void ms_api_serve_worker(struct ms_http_server_options *options, bool (*is_alive)(void));

#endif
