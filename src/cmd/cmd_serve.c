/* `msaas serve`: options -> models on offer, API, server -> the loop, until SIGTERM. The loop runs
 * on the main thread; a second thread waits for the signal and then drains the server. Probes and
 * metrics may have a port and a thread of their own. */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "listener.h"
#include "msaas/api.h"
#include "msaas/cmd.h"
#include "msaas/http_server.h"
#include "msaas/log.h"
#include "msaas/queue.h"
#include "msaas/sys.h"
#include "offer.h"
#include "service.h"
#include "token_watch.h"

#define STORE_THREADS 8 /* that may wait for the store at the same time */

static const char usage[] =
    "Serves the REST API: accepts songs, queues them and hands out their stems. Any number\n"
    "of these may share a queue and a store. The songs are separated by \"msaas work\".\n"
    "\n"
    "Usage: msaas serve [OPTIONS]\n"
    "\n"
    "Examples:\n"
    "  msaas serve --queue redis://redis:6379/0 --store s3:// --s3-endpoint http://minio:9000\n"
    "      with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment\n"
    "  REDIS_HOST=redis MINIO_HOST=minio:9000 MINIO_USER=u MINIO_PASSWD=p msaas serve\n"
    "  msaas serve --queue sqlite:/srv/queue.db --store file:/srv/objects --port 8080\n"
    "  msaas config serve\n"
    "      shows the options that it would run with\n"
    "\n"
    "GET /healthz says that the process lives, /readyz that queue and store answer and\n"
    "their disks have space; /metrics is for Prometheus. --admin-port gives them a port of\n"
    "their own. When the queue cannot be reached, requests get status 503 until it is back.\n"
    "After SIGTERM it is no longer ready, finishes the requests at work and ends with exit\n"
    "code 0.\n";

struct end {
    struct ms_api *api;
    struct ms_http_server *server;
    int linger_ms, grace_ms;
    atomic_bool over; /* the loop has ended without a signal */
};

static void *wait_for_the_end(void *context) {
    struct end *end = context;
    while (!ms_cmd_wait_interrupted(1000))
        if (atomic_load(&end->over))
            return NULL;
    ms_log(MS_LOG_INFO, "stopping: not ready any more, finishing the running requests");
    ms_api_set_draining(end->api);
    (void)poll(NULL, 0, end->linger_ms);
    ms_http_server_stop(end->server, end->grace_ms);
    return NULL;
}

static int run_server(struct ms_service *service, struct ms_api *api, struct ms_http_server *server,
                      struct ms_error *err) {
    struct end end = {
        .api = api,
        .server = server,
        .linger_ms = (int)(ms_options_double(service->options, MS_OPTION_LINGER) * 1000),
        .grace_ms = (int)(ms_options_double(service->options, MS_OPTION_GRACE) * 1000),
    };
    pthread_t thread;
    if (pthread_create(&thread, NULL, wait_for_the_end, &end) != 0)
        return ms_error_set(err, MS_ENOMEM, "cannot start a thread");
    int rc = ms_http_server_run(server, err);
    atomic_store(&end.over, true);
    (void)pthread_join(thread, NULL);
    return rc;
}

/* --max-renders, or one for each processor. */
static int count_renders(const struct ms_options *options) {
    struct ms_limits limits;
    const int64_t most = ms_options_int(options, MS_OPTION_MAX_RENDERS);
    if (most > 0)
        return (int)most;
    ms_limits_read("", &limits);
    return limits.cpus > 1 ? (int)limits.cpus : 1;
}

/* The server without its routes. *proxies: to be freed after it. */
static int plan_server(const struct ms_options *options, struct ms_http_server_options *listen,
                       struct ms_networks **proxies, struct ms_error *err) {
    const int64_t min_rate = ms_options_int(options, MS_OPTION_MIN_RATE);
    int rc = ms_networks_parse(ms_options_string(options, MS_OPTION_TRUSTED_PROXIES), proxies, err);
    *listen = (struct ms_http_server_options){
        .host = ms_service_host(options),
        .port = (int)ms_options_int(options, MS_OPTION_PORT),
        .threads = STORE_THREADS + count_renders(options), /* renders compute on them */
        .max_connections = (int)ms_options_int(options, MS_OPTION_MAX_CONNECTIONS),
        .max_client_connections = (int)ms_options_int(options, MS_OPTION_MAX_CLIENT_CONNECTIONS),
        .min_rate = min_rate > 0 ? min_rate : -1,
        .trusted_proxies = *proxies,
        .allowed_hosts = ms_options_string(options, MS_OPTION_ALLOWED_HOSTS),
        .cors_origins = ms_options_string(options, MS_OPTION_CORS_ORIGINS),
    };
    return rc;
}

/* On the same host as the server. */
static int start_admin(struct ms_listener *listener, struct ms_api *api,
                       const struct ms_http_server_options *server,
                       const struct ms_options *options, struct ms_error *err) {
    struct ms_http_server_options listen = {
        .host = server->host,
        .port = (int)ms_options_int(options, MS_OPTION_ADMIN_PORT),
        .allowed_hosts = server->allowed_hosts,
    };
    ms_api_serve_admin(api, &listen);
    int rc = ms_listener_start(listener, &listen, err);
    return rc == 0 ? 0 : ms_error_prefix(err, "--admin-port (MSAAS_ADMIN_PORT)");
}

static enum ms_api_v1 v1_access(const char *word) {
    return strcmp(word, "open") == 0  ? MS_API_V1_OPEN
           : strcmp(word, "off") == 0 ? MS_API_V1_OFF
                                      : MS_API_V1_TOKEN;
}

/* The accounts of --tokens, and the watch over their file; both NULL without. */
static int open_accounts(const struct ms_options *options, struct ms_accounts **accounts,
                         struct ms_token_watch **watch, struct ms_error *err) {
    const char *path = ms_options_string(options, MS_OPTION_TOKENS);
    char origin[MS_OPTION_ORIGIN_BYTES];
    if (path == NULL)
        return 0;
    if (ms_accounts_open(path, accounts, err) != 0)
        return ms_error_prefix(err, "%s", ms_options_origin(options, MS_OPTION_TOKENS, origin));
    return ms_token_watch_new(*accounts, watch, err);
}

static void warn_of_others(const char *host, const struct ms_accounts *accounts) {
    uint8_t ip[16];
    if (accounts == NULL && strcmp(host, "localhost") != 0 &&
        !(ms_ip_parse(host, ip) && ms_ip_is_loopback(ip)))
        ms_log(MS_LOG_WARN,
               "other machines may ask, and nobody needs a token: whoever reaches this port may "
               "list and erase all jobs. Give --tokens (MSAAS_TOKENS), or --host 127.0.0.1");
}

static int serve(struct ms_service *service, struct ms_error *err) {
    const struct ms_options *options = service->options;
    struct ms_offer offer = {0};
    struct ms_api *api = NULL;
    struct ms_http_server *server = NULL;
    struct ms_logship *logship = NULL;
    struct ms_listener admin = {0};
    struct ms_networks *proxies = NULL;
    struct ms_accounts *accounts = NULL;
    struct ms_token_watch *watch = NULL;
    struct ms_http_server_options listen;
    char *scratch = NULL;
    int rc = plan_server(options, &listen, &proxies, err);
    if (rc == 0)
        rc = ms_service_make_place(options, MS_OPTION_SCRATCH, &scratch, err);
    if (rc == 0)
        rc = ms_offer_gather(options, &offer, err);
    if (rc == 0)
        rc = open_accounts(options, &accounts, &watch, err);
    if (rc != 0)
        goto out;
    listen.scratch_dir = scratch;
    const struct ms_api_options api_options = {
        .queue_url = service->queue_url,
        .store = service->store,
        .models = offer.models,
        .model_count = offer.count,
        .max_song_bytes = ms_options_int(options, MS_OPTION_MAX_SONG_MB) * 1000000,
        .presign_s = (int)ms_options_int(options, MS_OPTION_PRESIGN),
        .upload_keep_s = (int64_t)(ms_options_double(options, MS_OPTION_UPLOAD_KEEP) * 3600),
        .max_cost = ms_options_double(options, MS_OPTION_MAX_COST),
        .max_waiting_jobs = ms_options_int(options, MS_OPTION_MAX_WAITING),
        .max_renders = count_renders(options),
        .disks = {{"queue", ms_queue_file(service->queue_url)},
                  {"store", ms_store_folder(service->store.url)},
                  {"scratch", scratch}},
        .min_free_bytes = ms_options_int(options, MS_OPTION_MIN_FREE_MB) * 1000000,
        .course_items = strcmp(ms_options_string(options, MS_OPTION_COURSE_ITEMS), "json") == 0,
        .accounts = accounts,
        .v1 = v1_access(ms_options_string(options, MS_OPTION_APIV1)),
    };
    rc = ms_api_new(&api_options, &api, err);
    if (rc != 0)
        goto out;
    ms_api_serve(api, &listen);
    rc = ms_http_server_new(&listen, &server, err);
    if (rc != 0) {
        (void)ms_error_prefix(err, "--host, --port (MSAAS_HOST, MSAAS_PORT)");
        goto out;
    }
    rc = start_admin(&admin, api, &listen, options, err);
    if (rc != 0)
        goto out;
    ms_service_ship_log(service, &logship);
    bool v6 = strchr(listen.host, ':') != NULL;
    ms_log(MS_LOG_INFO, "listening on http://%s%s%s:%d, model %s", v6 ? "[" : "", listen.host,
           v6 ? "]" : "", ms_http_server_port(server), offer.models[0].name);
    warn_of_others(listen.host, accounts);
    rc = run_server(service, api, server, err);
    ms_log(MS_LOG_INFO, "stopped");
out:
    ms_service_unship_log(logship);
    ms_http_server_free(server);
    ms_listener_stop(&admin);
    ms_networks_free(proxies);
    ms_api_free(api);
    ms_token_watch_free(watch);
    ms_accounts_close(accounts);
    ms_offer_fini(&offer);
    free(scratch);
    return rc;
}

static int run_serve(const struct ms_call *call) {
    struct ms_service service;
    struct ms_error err = {0};
    int exit_code = MS_EXIT_OK;
    if (!ms_service_begin(&service, call, "rest", &exit_code))
        return exit_code;
    int rc = serve(&service, &err);
    return ms_service_end(&service, rc, &err);
}

static const enum ms_option_id option_ids[] = {MS_OPTION_MODEL,
                                               MS_OPTION_MODELS_DIR,
                                               MS_OPTION_QUEUE,
                                               MS_SERVICE_STORE_OPTIONS,
                                               MS_OPTION_HOST,
                                               MS_OPTION_PORT,
                                               MS_OPTION_ADMIN_PORT,
                                               MS_OPTION_ALLOWED_HOSTS,
                                               MS_OPTION_CORS_ORIGINS,
                                               MS_OPTION_TRUSTED_PROXIES,
                                               MS_OPTION_TOKENS,
                                               MS_OPTION_APIV1,
                                               MS_OPTION_MAX_CONNECTIONS,
                                               MS_OPTION_MAX_CLIENT_CONNECTIONS,
                                               MS_OPTION_MIN_RATE,
                                               MS_OPTION_OFFER,
                                               MS_OPTION_MAX_SONG_MB,
                                               MS_OPTION_UPLOAD_KEEP,
                                               MS_OPTION_MAX_COST,
                                               MS_OPTION_MAX_WAITING,
                                               MS_OPTION_MAX_RENDERS,
                                               MS_OPTION_MIN_FREE_MB,
                                               MS_OPTION_COURSE_ITEMS,
                                               MS_OPTION_PRESIGN,
                                               MS_OPTION_LINGER,
                                               MS_OPTION_GRACE,
                                               MS_OPTION_SCRATCH,
                                               MS_OPTION_CACHE,
                                               MS_OPTION_LOG_FORMAT,
                                               MS_OPTION_LOG_LEVEL,
                                               MS_OPTION_COUNT};

const struct ms_command ms_cmd_serve = {
    .name = "serve",
    .summary = "serve the REST API on a queue and a store",
    .usage = usage,
    .options = option_ids,
    .run = run_serve,
};
