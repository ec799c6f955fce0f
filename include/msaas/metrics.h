/* Counters, gauges and histograms of the process, as Prometheus' text format shows them. Any
 * thread. A metric is declared once, statically, in src/base/metrics.c's table: name, help, type,
 * label names. */
#ifndef MSAAS_METRICS_H
#define MSAAS_METRICS_H

#include <stdint.h>

#include "msaas/err.h"

enum ms_metric {
    MS_METRIC_HTTP_REQUESTS,    /* msaas_http_requests_total{route,code} */
    MS_METRIC_HTTP_SECONDS,     /* msaas_http_request_seconds{route}, histogram */
    MS_METRIC_HTTP_CONNECTIONS, /* msaas_http_connections */
    MS_METRIC_JOBS,             /* msaas_jobs{state}: gauge, from the queue */
    MS_METRIC_QUEUE_DEPTH,      /* msaas_queue_depth */
    /* msaas_jobs_unfinished: waiting and running, what workers are scaled by */
    MS_METRIC_UNFINISHED,
    MS_METRIC_QUEUE_OLDEST,  /* msaas_queue_oldest_waiting_seconds */
    MS_METRIC_CALLBACKS_DUE, /* msaas_callbacks_due */
    MS_METRIC_JOBS_DONE,     /* msaas_jobs_finished_total{state} by this worker */
    MS_METRIC_IN_FLIGHT,     /* msaas_jobs_in_flight */
    MS_METRIC_AUDIO_SECONDS, /* msaas_audio_seconds_total */
    MS_METRIC_WORK_SECONDS,  /* msaas_work_seconds_total */
    MS_METRIC_SPEED,         /* msaas_speed_ratio: audio seconds per second, last job */
    MS_METRIC_RETRIES,       /* msaas_retries_total{code} */
    MS_METRIC_REAPED,        /* msaas_reaped_total */
    MS_METRIC_QUEUE_ERRORS,  /* msaas_queue_errors_total */
    MS_METRIC_STORE_ERRORS,  /* msaas_store_errors_total */
    MS_METRIC_CALLBACKS,     /* msaas_callbacks_total{result} */
    MS_METRIC_COUNT
};
/* label_a, label_b: values of the labels of the metric, in order; NULL if it has fewer. A metric
 * keeps at most 512 combinations; all others count as "other". */
void ms_metric_add(enum ms_metric metric, double value, const char *label_a,
                   const char *label_b);                                      /* counters, gauges */
void ms_metric_set(enum ms_metric metric, double value, const char *label_a); /* gauges */
void ms_metric_observe(enum ms_metric metric, double value, const char *label_a); /* histograms */
/* The page with all metrics, and msaas_build_info{version,role}, process_resident_memory_bytes and
 * process_start_time_seconds. The caller frees it. NULL: no memory. */
char *ms_metrics_page(const char *role);

#endif
