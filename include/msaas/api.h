/* The HTTP interface of the service: /apiv1, /apiv2, /, health and metrics, as routes for the
 * server (http_server.h).
 *
 * Handlers run on the pools of the server and borrow connections to queue and store from the API.
 * It keeps no state: any number of replicas may use the same queue and store. */
#ifndef MSAAS_API_H
#define MSAAS_API_H

#include <stdatomic.h>

#include "msaas/account.h"
#include "msaas/http_server.h"
#include "msaas/job.h"
#include "msaas/metrics.h"
#include "msaas/store.h"

struct ms_api_model { /* a model that clients may ask for */
    char name[64];
    char licence[256];
    int stem_count;
    char stems[MS_JOB_MAX_STEMS][32];
    int networks; /* 0: one */
};

struct ms_api_disk {   /* a disk that must not be full */
    const char *holds; /* "queue", "store", "scratch": for the metric */
    const char *path;  /* a file or folder on it; NULL: there is none */
};
#define MS_API_DISKS 3

enum ms_api_v1 {                  /* who may use /apiv1 where there are accounts */
                 MS_API_V1_TOKEN, /* accounts, as elsewhere */
                 MS_API_V1_OPEN,  /* everybody: jobs without an owner */
                 MS_API_V1_OFF,   /* nobody: it is not there, with or without accounts */
};

struct ms_api_options {
    const char *queue_url;
    struct ms_store_options store;
    /* the first is the default; borrowed, must outlive the API */
    const struct ms_api_model *models;
    int model_count;
    int64_t max_song_bytes; /* decoded; 0: 256 MiB */
    /* mixes and other formats that are made at the same time (msaas/render.h); 0: one */
    int max_renders;
    /* > 0: stems are answered by a redirect (302) to a presigned URL, valid for this long; and so
     * long are the URLs that take uploads */
    int presign_s;
    int64_t upload_keep_s; /* how long an upload may take and wait; 0: MS_UPLOAD_KEEP_S */
    double max_cost;       /* see ms_job_check_cost */
    /* more are answered 503 with Retry-After; 0: 100,000 */
    int64_t max_waiting_jobs;
    struct ms_api_disk disks[MS_API_DISKS]; /* borrowed strings */
    int64_t min_free_bytes;                 /* not ready while one of the disks has less */
    /* Jobs are queued as JSON that the workers of the course's programs read, and songs are stored
     * under both their names. */
    bool course_items;
    /* Who may ask. Borrowed, must outlive the API; NULL: everybody */
    struct ms_accounts *accounts;
    enum ms_api_v1 v1;
};

struct ms_api;
MS_MUST_CHECK int ms_api_new(const struct ms_api_options *options, struct ms_api **out,
                             struct ms_error *err);
void ms_api_free(struct ms_api *api);
/* For ms_http_server_options: routes, error_body and done (access log, metrics). context: the API
 * itself. */
void ms_api_serve(struct ms_api *api, struct ms_http_server_options *options);
/* The same for /healthz, /readyz and /metrics alone, on a server of their own. */
void ms_api_serve_admin(struct ms_api *api, struct ms_http_server_options *options);
/* From now on /readyz answers 503, because the server is about to stop. */
void ms_api_set_draining(struct ms_api *api);

/* The routes of a worker: /healthz, /readyz and /metrics. why_unready: "" if it is ready. */
#define MS_API_REASON_BYTES 400
void ms_api_serve_worker(struct ms_http_server_options *options, bool (*is_alive)(void),
                         void (*why_unready)(char reason[MS_API_REASON_BYTES]));

/* Metrics: of requests, and of the queue when the page is asked for. */
extern struct ms_metric ms_api_requests, ms_api_request_seconds, ms_api_jobs, ms_api_queue_depth,
    ms_api_jobs_waiting, ms_api_jobs_unfinished, ms_api_oldest_waiting_seconds,
    ms_api_callbacks_due, ms_api_disk_free;

#endif
