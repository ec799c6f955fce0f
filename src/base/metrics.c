/* The metrics of the process. Owns one table of metrics, each with its series (one for each
 * combination of label values), under one lock. The page has the text format 0.0.4 of Prometheus.
 * Any thread. */
#include "msaas/metrics.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SERIES_MAX 512
#define LABEL_MAX 96

enum kind { COUNTER, GAUGE, HISTOGRAM };

static const struct {
    const char *name;
    enum kind kind;
    const char *labels[2];
    const char *help;
    const char *known[4]; /* values of the only label of a counter that are shown from the start */
} table[MS_METRIC_COUNT] = {
    [MS_METRIC_HTTP_REQUESTS] = {"msaas_http_requests_total",
                                 COUNTER,
                                 {"route", "code"},
                                 "Requests answered."},
    [MS_METRIC_HTTP_SECONDS] = {"msaas_http_request_seconds",
                                HISTOGRAM,
                                {"route"},
                                "Time from the first byte of a request to the last of its answer."},
    [MS_METRIC_HTTP_CONNECTIONS] = {"msaas_http_connections", GAUGE, {NULL}, "Open connections."},
    [MS_METRIC_JOBS] = {"msaas_jobs", GAUGE, {"state"}, "Jobs in the queue, by state."},
    [MS_METRIC_QUEUE_DEPTH] = {"msaas_queue_depth", GAUGE, {NULL}, "Jobs that wait for a worker."},
    [MS_METRIC_UNFINISHED] = {"msaas_jobs_unfinished", GAUGE, {NULL}, "Jobs that wait or run."},
    [MS_METRIC_QUEUE_OLDEST] = {"msaas_queue_oldest_waiting_seconds",
                                GAUGE,
                                {NULL},
                                "Age of the job that has waited longest."},
    [MS_METRIC_CALLBACKS_DUE] = {"msaas_callbacks_due",
                                 GAUGE,
                                 {NULL},
                                 "Callbacks not delivered yet."},
    [MS_METRIC_JOBS_DONE] = {"msaas_jobs_finished_total",
                             COUNTER,
                             {"state"},
                             "Jobs that this worker finished.",
                             {"succeeded", "failed", "canceled"}},
    [MS_METRIC_IN_FLIGHT] = {"msaas_jobs_in_flight",
                             GAUGE,
                             {NULL},
                             "Jobs running in this process."},
    [MS_METRIC_AUDIO_SECONDS] = {"msaas_audio_seconds_total",
                                 COUNTER,
                                 {NULL},
                                 "Seconds of music separated."},
    [MS_METRIC_WORK_SECONDS] = {"msaas_work_seconds_total",
                                COUNTER,
                                {NULL},
                                "Seconds spent on jobs that succeeded."},
    [MS_METRIC_SPEED] = {"msaas_speed_ratio",
                         GAUGE,
                         {NULL},
                         "Seconds of music per second of work, of the last job."},
    [MS_METRIC_RETRIES] = {"msaas_retries_total",
                           COUNTER,
                           {"code"},
                           "Jobs put back into the queue after a temporary failure."},
    [MS_METRIC_REAPED] = {"msaas_reaped_total",
                          COUNTER,
                          {NULL},
                          "Jobs put back because their worker disappeared."},
    [MS_METRIC_QUEUE_ERRORS] = {"msaas_queue_errors_total",
                                COUNTER,
                                {NULL},
                                "Failed calls to the queue."},
    [MS_METRIC_STORE_ERRORS] = {"msaas_store_errors_total",
                                COUNTER,
                                {NULL},
                                "Failed calls to the store."},
    [MS_METRIC_CALLBACKS] = {"msaas_callbacks_total",
                             COUNTER,
                             {"result"},
                             "Attempts to deliver callbacks."},
};

static const double bounds[] = {0.005, 0.025, 0.1, 0.5, 1, 5, 30};
#define BOUNDS (sizeof bounds / sizeof *bounds)

struct series {
    char labels[2][LABEL_MAX];
    double value; /* of a histogram: the sum */
    uint64_t buckets[BOUNDS + 1];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    struct series *series;
    size_t count, capacity;
} metrics[MS_METRIC_COUNT];

static struct series *find(enum ms_metric metric, const char *a, const char *b) {
    for (size_t i = 0; i < metrics[metric].count; i++) {
        struct series *series = &metrics[metric].series[i];
        if (strncmp(series->labels[0], a, LABEL_MAX - 1) == 0 &&
            strncmp(series->labels[1], b, LABEL_MAX - 1) == 0)
            return series;
    }
    return NULL;
}

/* NULL only when memory ran out. The caller holds the lock. */
static struct series *get(enum ms_metric metric, const char *label_a, const char *label_b) {
    const char *a = label_a != NULL ? label_a : "", *b = label_b != NULL ? label_b : "";
    struct series *series = find(metric, a, b);
    if (series != NULL)
        return series;
    if (metrics[metric].count >=
        SERIES_MAX - 1) { /* made-up labels must not make the table grow without end */
        a = table[metric].labels[0] != NULL ? "other" : "";
        b = table[metric].labels[1] != NULL ? "other" : "";
    }
    series = find(metric, a, b);
    if (series != NULL)
        return series;
    if (metrics[metric].count == metrics[metric].capacity) {
        const size_t capacity = metrics[metric].capacity == 0 ? 4 : 2 * metrics[metric].capacity;
        struct series *more = realloc(metrics[metric].series, capacity * sizeof *more);
        if (more == NULL)
            return NULL;
        metrics[metric].series = more;
        metrics[metric].capacity = capacity;
    }
    series = &metrics[metric].series[metrics[metric].count++];
    memset(series, 0, sizeof *series);
    (void)snprintf(series->labels[0], LABEL_MAX, "%s", a);
    (void)snprintf(series->labels[1], LABEL_MAX, "%s", b);
    return series;
}

void ms_metric_add(enum ms_metric metric, double value, const char *label_a, const char *label_b) {
    (void)pthread_mutex_lock(&lock);
    struct series *series = get(metric, label_a, label_b);
    if (series != NULL)
        series->value += value;
    (void)pthread_mutex_unlock(&lock);
}

void ms_metric_set(enum ms_metric metric, double value, const char *label_a) {
    (void)pthread_mutex_lock(&lock);
    struct series *series = get(metric, label_a, NULL);
    if (series != NULL)
        series->value = value;
    (void)pthread_mutex_unlock(&lock);
}

void ms_metric_observe(enum ms_metric metric, double value, const char *label_a) {
    (void)pthread_mutex_lock(&lock);
    struct series *series = get(metric, label_a, NULL);
    if (series != NULL) {
        size_t i = 0;
        while (i < BOUNDS && value > bounds[i])
            i++;
        series->buckets[i]++;
        series->value += value;
    }
    (void)pthread_mutex_unlock(&lock);
}

/* ---- the page ---- */

static void print_escaped(FILE *page, const char *value) {
    for (; *value != '\0'; value++) {
        if (*value == '\\' || *value == '"')
            (void)fputc('\\', page);
        (void)fputc((unsigned char)*value < ' ' ? '?' : *value, page);
    }
}

/* extra: one more label, as text to print; NULL: none. */
static void print_sample(FILE *page, enum ms_metric metric, const struct series *series,
                         const char *suffix, const char *extra, double value) {
    bool open = false;
    (void)fprintf(page, "%s%s", table[metric].name, suffix);
    for (int i = 0; i < 2 && table[metric].labels[i] != NULL; i++) {
        (void)fprintf(page, "%s%s=\"", open ? "," : "{", table[metric].labels[i]);
        print_escaped(page, series->labels[i]);
        (void)fputc('"', page);
        open = true;
    }
    if (extra != NULL) {
        (void)fprintf(page, "%s%s", open ? "," : "{", extra);
        open = true;
    }
    (void)fprintf(page, "%s %.17g\n", open ? "}" : "", value);
}

static void print_histogram(FILE *page, enum ms_metric metric, const struct series *series) {
    uint64_t below = 0;
    char extra[40];
    for (size_t i = 0; i <= BOUNDS; i++) {
        below += series->buckets[i];
        if (i < BOUNDS)
            (void)snprintf(extra, sizeof extra, "le=\"%g\"", bounds[i]);
        else
            (void)snprintf(extra, sizeof extra, "le=\"+Inf\"");
        print_sample(page, metric, series, "_bucket", extra, (double)below);
    }
    print_sample(page, metric, series, "_sum", NULL, series->value);
    print_sample(page, metric, series, "_count", NULL, (double)below);
}

static double resident_bytes(void) {
    long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "re");
    if (statm == NULL)
        return 0;
    char line[100];
    if (fgets(line, sizeof line, statm) != NULL) {
        char *second = strchr(line, ' ');
        pages = second != NULL ? strtol(second, NULL, 10) : 0;
    }
    (void)fclose(statm);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static time_t started;

__attribute__((constructor)) static void note_start(void) {
    started = time(NULL);
}

/* Every counter begins at 0: if it appeared with its first event, rate() would not see that
 * event. */
static void begin_counters(void) {
    for (enum ms_metric metric = 0; metric < MS_METRIC_COUNT; metric++) {
        if (table[metric].kind == COUNTER && table[metric].labels[0] == NULL)
            (void)get(metric, NULL, NULL);
        for (int i = 0; table[metric].known[i] != NULL; i++)
            (void)get(metric, table[metric].known[i], NULL);
    }
}

char *ms_metrics_page(const char *role) {
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    char *text = NULL;
    size_t size = 0;
    FILE *page = open_memstream(&text, &size);
    if (page == NULL)
        return NULL;
    (void)fprintf(page,
                  "# HELP msaas_build_info What is running.\n# TYPE msaas_build_info gauge\n"
                  "msaas_build_info{version=\"" MSAAS_VERSION "\",role=\"%s\"} 1\n"
                  "# HELP process_resident_memory_bytes Memory in use.\n# TYPE "
                  "process_resident_memory_bytes gauge\n"
                  "process_resident_memory_bytes %.17g\n"
                  "# HELP process_start_time_seconds Start, Unix time.\n# TYPE "
                  "process_start_time_seconds gauge\n"
                  "process_start_time_seconds %lld\n",
                  role, resident_bytes(), (long long)started);
    (void)pthread_mutex_lock(&lock);
    begin_counters();
    for (enum ms_metric metric = 0; metric < MS_METRIC_COUNT; metric++) {
        if (metrics[metric].count == 0)
            continue;
        (void)fprintf(page, "# HELP %s %s\n# TYPE %s %s\n", table[metric].name, table[metric].help,
                      table[metric].name, kinds[table[metric].kind]);
        for (size_t i = 0; i < metrics[metric].count; i++) {
            const struct series *series = &metrics[metric].series[i];
            if (table[metric].kind == HISTOGRAM)
                print_histogram(page, metric, series);
            else
                print_sample(page, metric, series, "", NULL, series->value);
        }
    }
    (void)pthread_mutex_unlock(&lock);
    if (fclose(page) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
