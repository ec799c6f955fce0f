/* The process's metrics and their page in Prometheus' text format. Owns the table and all series, which live as long as the
 * process; any thread. */
#include "msaas/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "msaas/buf.h"

enum type { COUNTER, GAUGE, HISTOGRAM };
static const char *const type_names[] = {"counter", "gauge", "histogram"};

enum { MAX_SERIES = 512, MAX_LABEL = 64, BUCKETS = 12, MAX_PAGE_BYTES = 16 << 20 };

static const double bucket_ends[BUCKETS] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                            0.5,   1,    2.5,   5,    10,  INFINITY};

static const struct {
    const char *name, *help;
    enum type type;
    const char *label_a, *label_b; /* NULL: none */
} table[MS_METRIC_COUNT] = {
    [MS_METRIC_HTTP_REQUESTS] = {"msaas_http_requests_total", "HTTP requests answered.", COUNTER,
                                 "route", "code"},
    [MS_METRIC_HTTP_SECONDS] = {"msaas_http_request_seconds", "Time to answer a request.",
                                HISTOGRAM, "route", NULL},
    [MS_METRIC_HTTP_CONNECTIONS] = {"msaas_http_connections", "Connections open.", GAUGE, NULL,
                                    NULL},
    [MS_METRIC_JOBS] = {"msaas_jobs", "Jobs in the queue by state.", GAUGE, "state", NULL},
    [MS_METRIC_QUEUE_DEPTH] = {"msaas_queue_depth", "Jobs that wait.", GAUGE, NULL, NULL},
    [MS_METRIC_QUEUE_OLDEST] = {"msaas_queue_oldest_waiting_seconds",
                                "Age of the job that has waited longest.", GAUGE, NULL, NULL},
    [MS_METRIC_CALLBACKS_DUE] = {"msaas_callbacks_due", "Callbacks not delivered yet.", GAUGE, NULL,
                                 NULL},
    [MS_METRIC_JOBS_DONE] = {"msaas_jobs_finished_total", "Jobs that this worker ended, by state.",
                             COUNTER, "state", NULL},
    [MS_METRIC_IN_FLIGHT] = {"msaas_jobs_in_flight", "Jobs that this worker has in hand.", GAUGE,
                             NULL, NULL},
    [MS_METRIC_AUDIO_SECONDS] = {"msaas_audio_seconds_total", "Audio separated, in seconds.",
                                 COUNTER, NULL, NULL},
    [MS_METRIC_WORK_SECONDS] = {"msaas_work_seconds_total", "Time spent on jobs, in seconds.",
                                COUNTER, NULL, NULL},
    [MS_METRIC_SPEED] = {"msaas_speed_ratio", "Seconds of audio per second of work, last job.",
                         GAUGE, NULL, NULL},
    [MS_METRIC_RETRIES] = {"msaas_retries_total", "Jobs put back after a passing failure, by code.",
                           COUNTER, "code", NULL},
    [MS_METRIC_REAPED] = {"msaas_reaped_total", "Jobs taken from workers whose lease lapsed.",
                          COUNTER, NULL, NULL},
    [MS_METRIC_QUEUE_ERRORS] = {"msaas_queue_errors_total", "Failed calls of the queue.", COUNTER,
                                NULL, NULL},
    [MS_METRIC_STORE_ERRORS] = {"msaas_store_errors_total", "Failed calls of the store.", COUNTER,
                                NULL, NULL},
    [MS_METRIC_CALLBACKS] = {"msaas_callbacks_total", "Attempts of callbacks, by result.", COUNTER,
                             "result", NULL},
};

struct series {
    char label_a[MAX_LABEL], label_b[MAX_LABEL];
    double value; /* of a histogram: the sum */
    uint64_t buckets[BUCKETS];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* for all below */
static struct {
    struct series *series;
    int count, capacity;
} metrics[MS_METRIC_COUNT];

static time_t start_time;
__attribute__((constructor)) static void note_start(void) {
    start_time = time(NULL);
}

/* NULL: no memory; what was to be counted is lost. With the mutex. */
static struct series *find(enum ms_metric metric, const char *label_a, const char *label_b) {
    struct series *series = metrics[metric].series;
    char a[MAX_LABEL] = "", b[MAX_LABEL] = "";
    if (table[metric].label_a != NULL)
        (void)snprintf(a, sizeof a, "%s", label_a != NULL ? label_a : "");
    if (table[metric].label_b != NULL)
        (void)snprintf(b, sizeof b, "%s", label_b != NULL ? label_b : "");
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < metrics[metric].count; i++)
            if (strcmp(series[i].label_a, a) == 0 && strcmp(series[i].label_b, b) == 0)
                return &series[i];
        if (metrics[metric].count < MAX_SERIES - 1)
            break;
        (void)snprintf(a, sizeof a, "other");
        (void)snprintf(b, sizeof b, "%s", table[metric].label_b != NULL ? "other" : "");
    }
    if (metrics[metric].count == metrics[metric].capacity) {
        const int capacity = metrics[metric].capacity == 0 ? 4 : 2 * metrics[metric].capacity;
        series = realloc(series, (size_t)capacity * sizeof *series);
        if (series == NULL)
            return NULL;
        metrics[metric].series = series;
        metrics[metric].capacity = capacity;
    }
    series = &series[metrics[metric].count++];
    memset(series, 0, sizeof *series);
    memcpy(series->label_a, a, sizeof a);
    memcpy(series->label_b, b, sizeof b);
    return series;
}

void ms_metric_add(enum ms_metric metric, double value, const char *label_a, const char *label_b) {
    (void)pthread_mutex_lock(&mutex);
    struct series *series = find(metric, label_a, label_b);
    if (series != NULL)
        series->value += value;
    (void)pthread_mutex_unlock(&mutex);
}

void ms_metric_set(enum ms_metric metric, double value, const char *label_a) {
    (void)pthread_mutex_lock(&mutex);
    struct series *series = find(metric, label_a, NULL);
    if (series != NULL)
        series->value = value;
    (void)pthread_mutex_unlock(&mutex);
}

void ms_metric_observe(enum ms_metric metric, double value, const char *label_a) {
    int bucket = 0;
    while (bucket < BUCKETS - 1 && !(value <= bucket_ends[bucket]))
        bucket++;
    (void)pthread_mutex_lock(&mutex);
    struct series *series = find(metric, label_a, NULL);
    if (series != NULL) {
        series->value += value;
        series->buckets[bucket]++;
    }
    (void)pthread_mutex_unlock(&mutex);
}

/* ---- the page ------------------------------------------------------------------------------------------------- */

static void put_value(struct ms_buf *page, double value) {
    if (isnan(value))
        ms_buf_puts(page, " NaN\n");
    else if (isinf(value))
        ms_buf_puts(page, value > 0 ? " +Inf\n" : " -Inf\n");
    else
        ms_buf_printf(page, " %.15g\n", value);
}

static void put_label(struct ms_buf *page, const char *name, const char *value, bool *any) {
    if (name == NULL)
        return;
    ms_buf_printf(page, "%s%s=\"", *any ? "," : "{", name);
    for (const char *c = value; *c != '\0'; c++) {
        if (*c == '\n')
            ms_buf_puts(page, "\\n");
        else
            ms_buf_printf(page, "%s%c", *c == '"' || *c == '\\' ? "\\" : "", *c);
    }
    ms_buf_puts(page, "\"");
    *any = true;
}

/* NAME{labels}, le being one more label. */
static void put_name(struct ms_buf *page, enum ms_metric metric, const struct series *series,
                     const char *suffix, const char *le) {
    bool any = false;
    ms_buf_printf(page, "%s%s", table[metric].name, suffix);
    put_label(page, table[metric].label_a, series->label_a, &any);
    put_label(page, table[metric].label_b, series->label_b, &any);
    put_label(page, le != NULL ? "le" : NULL, le, &any);
    if (any)
        ms_buf_puts(page, "}");
}

static void put_series(struct ms_buf *page, enum ms_metric metric, const struct series *series) {
    uint64_t sum = 0;
    if (table[metric].type != HISTOGRAM) {
        put_name(page, metric, series, "", NULL);
        put_value(page, series->value);
        return;
    }
    for (int i = 0; i < BUCKETS; i++) {
        char le[32] = "+Inf";
        if (i < BUCKETS - 1)
            (void)snprintf(le, sizeof le, "%g", bucket_ends[i]);
        sum += series->buckets[i];
        put_name(page, metric, series, "_bucket", le);
        put_value(page, (double)sum);
    }
    put_name(page, metric, series, "_sum", NULL);
    put_value(page, series->value);
    put_name(page, metric, series, "_count", NULL);
    put_value(page, (double)sum);
}

static void put_process(struct ms_buf *page, const char *role) {
    long long pages = 0;
    bool any = false;
    FILE *file = fopen("/proc/self/statm", "re");
    char line[128] = "";
    if (file != NULL) {
        if (fgets(line, sizeof line, file) != NULL && strchr(line, ' ') != NULL)
            pages = strtoll(strchr(line, ' '), NULL, 10); /* the second of them */
        (void)fclose(file);
    }
    ms_buf_puts(page, "# HELP msaas_build_info Which msaas this is.\n"
                      "# TYPE msaas_build_info gauge\nmsaas_build_info");
    put_label(page, "version", MSAAS_VERSION, &any);
    put_label(page, "role", role, &any);
    ms_buf_printf(
        page,
        "} 1\n# HELP process_resident_memory_bytes Resident memory.\n"
        "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes %lld\n",
        pages * (long long)sysconf(_SC_PAGESIZE));
    ms_buf_printf(page,
                  "# HELP process_start_time_seconds When the process began, Unix time.\n"
                  "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %lld\n",
                  (long long)start_time);
}

char *ms_metrics_page(const char *role) {
    static const struct series none;
    struct ms_buf page = {.max = MAX_PAGE_BYTES};
    put_process(&page, role);
    (void)pthread_mutex_lock(&mutex);
    for (int m = 0; m < MS_METRIC_COUNT; m++) {
        /* A counter without labels begins at 0, so that its rate is known from the first event on. */
        const bool zero =
            metrics[m].count == 0 && table[m].type == COUNTER && table[m].label_a == NULL;
        if (metrics[m].count == 0 && !zero)
            continue;
        ms_buf_printf(&page, "# HELP %s %s\n# TYPE %s %s\n", table[m].name, table[m].help,
                      table[m].name, type_names[table[m].type]);
        if (zero)
            put_series(&page, (enum ms_metric)m, &none);
        for (int i = 0; i < metrics[m].count; i++)
            put_series(&page, (enum ms_metric)m, &metrics[m].series[i]);
    }
    (void)pthread_mutex_unlock(&mutex);
    return ms_buf_take(&page);
}
