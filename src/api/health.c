/* What orchestrators and Prometheus ask: liveness, readiness, metrics; and the same for workers.
 * Liveness never depends on queue or store: a restart would not bring them back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "access_log.h"
#include "disks.h"
#include "handlers.h"
#include "link.h"
#include "msaas/log.h"
#include "msaas/metrics.h"
#include "reply.h"

struct ms_metric ms_api_jobs = {
    .name = "msaas_jobs",
    .help = "Jobs in the queue, by state.",
    .kind = MS_METRIC_GAUGE,
    .labels = {"state"},
};
struct ms_metric ms_api_queue_depth = {
    .name = "msaas_queue_depth",
    .help = "Jobs that wait for a worker.",
    .kind = MS_METRIC_GAUGE,
};
struct ms_metric ms_api_jobs_waiting = {
    .name = "msaas_jobs_waiting",
    .help = "Jobs that wait for a worker, by model.",
    .kind = MS_METRIC_GAUGE,
    .labels = {"model"},
};
struct ms_metric ms_api_jobs_unfinished = {
    .name = "msaas_jobs_unfinished",
    .help = "Jobs that wait or run.",
    .kind = MS_METRIC_GAUGE,
};
struct ms_metric ms_api_oldest_waiting_seconds = {
    .name = "msaas_queue_oldest_waiting_seconds",
    .help = "Age of the job that has waited longest.",
    .kind = MS_METRIC_GAUGE,
};
struct ms_metric ms_api_callbacks_due = {
    .name = "msaas_callbacks_due",
    .help = "Callbacks not delivered yet.",
    .kind = MS_METRIC_GAUGE,
};

#define PROBE_STALL_S 3

/* ---- quick, on the loop ---- */

void ms_api_healthz(const struct ms_http_call *call) {
    ms_api_reply_json(call, 200, "{\"status\":\"ok\"}");
}

/* ---- on the pool ---- */

/* A store that tries each call once, because a probe cannot wait. */
static int ping_store(const struct ms_api *api, struct ms_error *err) {
    struct ms_store_options options = api->options.store;
    struct ms_store *store = NULL;
    options.attempts = 1;
    options.stall_timeout_s = PROBE_STALL_S;
    int rc = ms_store_open(&options, &store, err);
    if (rc == 0)
        rc = ms_store_ping(store, err);
    ms_store_close(store);
    return rc;
}

static bool probe(struct ms_api *api, struct ms_problem *problem) {
    struct ms_error err = {0};
    const char *warning = NULL;
    if (!ms_api_has_space(api, problem))
        return false;
    struct ms_api_link *link = ms_api_borrow(api, problem);
    if (link == NULL)
        return false;
    int rc = ms_queue_ping(link->queue, &warning, &err);
    if (rc == 0 && warning != NULL && !atomic_exchange(&api->warned, true))
        ms_log(MS_LOG_WARN, "%s", warning);
    ms_api_give_back(api, link);
    if (rc != 0)
        return ms_problem_of_queue(problem, &err);
    rc = ping_store(api, &err);
    return rc == 0 || ms_problem_of_store(problem, &err);
}

/* One probe at a time checks queue and store; the others get its last result, so that probes do not
 * fill the pool while queue or store hang. */
static bool is_ready(struct ms_api *api, struct ms_problem *problem) {
    if (atomic_load(&api->draining))
        return ms_problem_set(problem, 503, "draining", "the server is about to stop");
    (void)pthread_mutex_lock(&api->lock);
    const bool others = api->probing;
    bool ready = api->ready;
    *problem = api->unready;
    api->probing = true;
    (void)pthread_mutex_unlock(&api->lock);
    if (others)
        return ready;
    ready = probe(api, problem);
    (void)pthread_mutex_lock(&api->lock);
    api->probing = false;
    api->ready = ready;
    if (!ready)
        api->unready = *problem;
    (void)pthread_mutex_unlock(&api->lock);
    return ready;
}

void ms_api_readyz(const struct ms_http_call *call) {
    struct ms_problem problem;
    if (is_ready(call->context, &problem)) {
        ms_api_reply_json(call, 200, "{\"status\":\"ready\"}");
        return;
    }
    problem.status = 503; /* whatever is wrong: no traffic is wanted */
    if (problem.retry_after_s == 0)
        problem.retry_after_s = 5;
    ms_api_reply_problem(call, &problem);
}

static void reply_page_of(const struct ms_http_call *call, const char *role) {
    char *page = ms_metrics_page(role);
    if (page != NULL)
        ms_http_reply(call, 200, "text/plain; version=0.0.4; charset=utf-8", page, strlen(page));
    free(page);
}

static bool look_at_queue(struct ms_api *api, struct ms_queue_stats *stats) {
    struct ms_problem unused;
    struct ms_error err = {0};
    struct ms_api_link *link = ms_api_borrow(api, &unused);
    if (link == NULL)
        return false;
    const int rc = ms_queue_stats(link->queue, stats, &err);
    ms_api_give_back(api, link);
    return rc == 0 || ms_problem_of_queue(&unused, &err);
}

/* What the queue does not tell now is not shown: yesterday's values would look like today's. */
static void measure_queue(struct ms_api *api) {
    static struct ms_metric *const gauges[] = {
        &ms_api_jobs,
        &ms_api_queue_depth,
        &ms_api_jobs_waiting,
        &ms_api_jobs_unfinished,
        &ms_api_oldest_waiting_seconds,
        &ms_api_callbacks_due,
    };
    struct ms_queue_stats stats;
    if (!look_at_queue(api, &stats)) {
        for (size_t i = 0; i < sizeof gauges / sizeof *gauges; i++)
            ms_metric_clear(gauges[i]);
        return;
    }
    for (int i = 0; i < MS_JOB_STATES; i++)
        ms_metric_set(&ms_api_jobs, (double)stats.jobs[i], ms_job_state_name((enum ms_job_state)i));
    for (int i = 0; i < api->options.model_count; i++) /* for which none waits any more */
        ms_metric_set(&ms_api_jobs_waiting, 0, api->options.models[i].name);
    for (int i = 0; i < stats.model_count; i++)
        ms_metric_set(&ms_api_jobs_waiting, (double)stats.models[i].waiting, stats.models[i].name);
    ms_metric_set(&ms_api_queue_depth, (double)stats.jobs[MS_JOB_QUEUED], NULL);
    ms_metric_set(&ms_api_jobs_unfinished,
                  (double)(stats.jobs[MS_JOB_QUEUED] + stats.jobs[MS_JOB_RUNNING]), NULL);
    ms_metric_set(&ms_api_oldest_waiting_seconds, (double)stats.oldest_waiting_ms / 1e3, NULL);
    ms_metric_set(&ms_api_callbacks_due, (double)stats.callbacks_due, NULL);
}

/* If the queue cannot be reached, all other metrics are shown, queue_errors among them. */
void ms_api_metrics(const struct ms_http_call *call) {
    struct ms_problem unused;
    measure_queue(call->context);
    (void)ms_api_has_space(call->context, &unused);
    reply_page_of(call, "rest");
}

void ms_api_serve_admin(struct ms_api *api, struct ms_http_server_options *options) {
    static const struct ms_http_route routes[] = {
        {"GET", "/healthz", ms_api_healthz, MS_HTTP_LOOP, 0},
        {"GET", "/readyz", ms_api_readyz, MS_HTTP_POOL, 0},
        {"GET", "/metrics", ms_api_metrics, MS_HTTP_POOL, 0},
        {NULL, NULL, NULL, MS_HTTP_POOL, 0},
    };
    options->routes = routes;
    options->context = api;
    options->error_body = ms_api_error_body;
    options->done = ms_api_done;
}

/* ---- of workers ---- */

/* Set before the listener serves; a process has one. */
static bool (*worker_is_alive)(void);
static void (*worker_why_unready)(char reason[MS_API_REASON_BYTES]);

static void worker_healthz(const struct ms_http_call *call) {
    if (worker_is_alive == NULL || worker_is_alive()) {
        ms_api_healthz(call);
        return;
    }
    struct ms_problem problem;
    (void)ms_problem_set(&problem, 503, "stuck", "the worker makes no progress");
    ms_api_reply_problem(call, &problem);
}

static void worker_readyz(const struct ms_http_call *call) {
    struct ms_problem problem;
    char reason[MS_API_REASON_BYTES];
    worker_why_unready(reason);
    if (reason[0] == '\0') {
        ms_api_reply_json(call, 200, "{\"status\":\"ready\"}");
        return;
    }
    (void)ms_problem_set(&problem, 503, "unwell", "%s", reason);
    ms_api_reply_problem(call, &problem);
}

static void worker_metrics(const struct ms_http_call *call) {
    reply_page_of(call, "worker");
}

void ms_api_serve_worker(struct ms_http_server_options *options, bool (*is_alive)(void),
                         void (*why_unready)(char reason[MS_API_REASON_BYTES])) {
    static const struct ms_http_route routes[] = {
        {"GET", "/healthz", worker_healthz, MS_HTTP_LOOP, 0},
        {"GET", "/readyz", worker_readyz, MS_HTTP_LOOP, 0},
        {"GET", "/metrics", worker_metrics, MS_HTTP_POOL, 0},
        {NULL, NULL, NULL, MS_HTTP_POOL, 0},
    };
    worker_is_alive = is_alive;
    worker_why_unready = why_unready;
    options->routes = routes;
    options->context = NULL;
    options->error_body = ms_api_error_body;
    options->done = NULL;
}
