/* What a request was, after its answer: a line of the log, and the metrics. On the loop, so it
 * never blocks. */
#include "access_log.h"

#include <stdio.h>
#include <string.h>

#include "caller.h"
#include "msaas/api.h"
#include "msaas/log.h"
#include "msaas/metrics.h"

struct ms_metric ms_api_requests = {
    .name = "msaas_http_requests_total",
    .help = "Requests answered.",
    .kind = MS_METRIC_COUNTER,
    .labels = {"route", "code"},
};
struct ms_metric ms_api_request_seconds = {
    .name = "msaas_http_request_seconds",
    .help = "Time from the first byte of a request to the last of its answer.",
    .kind = MS_METRIC_HISTOGRAM,
    .labels = {"route"},
};

#define MAX_LOGGED_PATH 200

static bool is_probe(const char *route) {
    return strcmp(route, "/healthz") == 0 || strcmp(route, "/readyz") == 0 ||
           strcmp(route, "/metrics") == 0 || strcmp(route, "/") == 0;
}

void ms_api_done(void *context, const char *method, const char *route, const char *path, int status,
                 double seconds, int64_t sent_bytes, const char *request_id, const char *peer,
                 const struct ms_exchange *exchange) {
    const struct ms_account *caller = ms_api_caller(exchange);
    const bool is_named = caller != NULL && caller->name[0] != '\0';
    (void)context;
    char code[16];
    (void)snprintf(code, sizeof code, "%d", status);
    char took[32];
    (void)snprintf(took, sizeof took, "%.1f", seconds * 1e3);
    char sent[32];
    (void)snprintf(sent, sizeof sent, "%lld", (long long)sent_bytes);
    char text[MAX_LOGGED_PATH + 64];
    (void)snprintf(text, sizeof text, "%.16s %.*s %d", method, MAX_LOGGED_PATH, path, status);
    /* probes come every few seconds and are not worth a line */
    ms_log_fields(is_probe(route) && status < 500 ? MS_LOG_DEBUG : MS_LOG_INFO, text, "ms", took,
                  "bytes", sent, "peer", peer, "request", request_id, is_named ? "account" : NULL,
                  is_named ? caller->name : "", NULL);
    if (*route == '\0')
        route = "none";
    ms_metric_add(&ms_api_requests, 1, route, code);
    ms_metric_observe(&ms_api_request_seconds, seconds, route);
}
