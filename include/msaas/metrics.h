/* Counters, gauges and histograms of the process, as Prometheus' text format shows them. Any
 * thread.
 *
 * A metric is declared once, as a static object of the file that counts it. The list of all that a
 * program shows is cmd's (ms_metrics_use). */
#ifndef MSAAS_METRICS_H
#define MSAAS_METRICS_H

#include <stddef.h>

enum ms_metric_kind { MS_METRIC_COUNTER, MS_METRIC_GAUGE, MS_METRIC_HISTOGRAM };

struct ms_metric {
    const char *name, *help;
    enum ms_metric_kind kind;
    const char *labels[2]; /* names of its labels */
    /* Values of the only label of a counter that are shown from the start. */
    const char *known[4];
    /* One for each combination of label values; metrics.c's. */
    struct ms_metric_series *series;
    size_t count, capacity;
};

/* label_a, label_b: values of the labels of the metric, in order; NULL if it has fewer. A metric
 * keeps at most 512 combinations; all others count as "other". */
/* Counters, gauges: */
void ms_metric_add(struct ms_metric *metric, double value, const char *label_a,
                   const char *label_b);
/* Gauges: */
void ms_metric_set(struct ms_metric *metric, double value, const char *label_a);
/* Nobody knows the gauge now: the page leaves it out until it is set again. */
void ms_metric_clear(struct ms_metric *metric);
/* Histograms: */
void ms_metric_observe(struct ms_metric *metric, double value, const char *label_a);

/* What the page shows, in this order; NULL ends it. It outlives the process. Before other threads
 * are there. */
void ms_metrics_use(struct ms_metric *const *list);
/* The page with all metrics, and msaas_build_info{version,role}, process_resident_memory_bytes and
 * process_start_time_seconds. The caller frees it. NULL: no memory. */
char *ms_metrics_page(const char *role);

#endif
