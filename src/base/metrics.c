/* The metrics of the process: each metric's series, one for each combination of label values, under
 * one lock, and the page, in the text format 0.0.4 of Prometheus. Any thread. */
#include "msaas/metrics.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SERIES_MAX 512
#define LABEL_MAX 96

static const double bounds[] = {0.005, 0.025, 0.1, 0.5, 1, 5, 30};
#define BOUNDS (sizeof bounds / sizeof *bounds)

struct ms_metric_series {
    char labels[2][LABEL_MAX];
    double value; /* of a histogram: the sum */
    uint64_t buckets[BOUNDS + 1];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ms_metric *const none[] = {NULL};
static struct ms_metric *const *shown = none;

void ms_metrics_use(struct ms_metric *const *list) {
    shown = list;
}

static struct ms_metric_series *find(const struct ms_metric *metric, const char *a, const char *b) {
    for (size_t i = 0; i < metric->count; i++) {
        struct ms_metric_series *series = &metric->series[i];
        if (strncmp(series->labels[0], a, LABEL_MAX - 1) == 0 &&
            strncmp(series->labels[1], b, LABEL_MAX - 1) == 0)
            return series;
    }
    return NULL;
}

/* NULL only when memory ran out. The caller holds the lock. */
static struct ms_metric_series *get(struct ms_metric *metric, const char *label_a,
                                    const char *label_b) {
    const char *a = label_a != NULL ? label_a : "", *b = label_b != NULL ? label_b : "";
    struct ms_metric_series *series = find(metric, a, b);
    if (series != NULL)
        return series;
    if (metric->count >=
        SERIES_MAX - 1) { /* made-up labels must not make the table grow without end */
        a = metric->labels[0] != NULL ? "other" : "";
        b = metric->labels[1] != NULL ? "other" : "";
    }
    series = find(metric, a, b);
    if (series != NULL)
        return series;
    if (metric->count == metric->capacity) {
        const size_t capacity = metric->capacity == 0 ? 4 : 2 * metric->capacity;
        struct ms_metric_series *more = realloc(metric->series, capacity * sizeof *more);
        if (more == NULL)
            return NULL;
        metric->series = more;
        metric->capacity = capacity;
    }
    series = &metric->series[metric->count++];
    memset(series, 0, sizeof *series);
    (void)snprintf(series->labels[0], LABEL_MAX, "%s", a);
    (void)snprintf(series->labels[1], LABEL_MAX, "%s", b);
    return series;
}

void ms_metric_add(struct ms_metric *metric, double value, const char *label_a,
                   const char *label_b) {
    (void)pthread_mutex_lock(&lock);
    struct ms_metric_series *series = get(metric, label_a, label_b);
    if (series != NULL)
        series->value += value;
    (void)pthread_mutex_unlock(&lock);
}

void ms_metric_set(struct ms_metric *metric, double value, const char *label_a) {
    (void)pthread_mutex_lock(&lock);
    struct ms_metric_series *series = get(metric, label_a, NULL);
    if (series != NULL)
        series->value = value;
    (void)pthread_mutex_unlock(&lock);
}

void ms_metric_clear(struct ms_metric *metric) {
    (void)pthread_mutex_lock(&lock);
    metric->count = 0;
    (void)pthread_mutex_unlock(&lock);
}

void ms_metric_observe(struct ms_metric *metric, double value, const char *label_a) {
    (void)pthread_mutex_lock(&lock);
    struct ms_metric_series *series = get(metric, label_a, NULL);
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
static void print_sample(FILE *page, const struct ms_metric *metric,
                         const struct ms_metric_series *series, const char *suffix,
                         const char *extra, double value) {
    bool open = false;
    (void)fprintf(page, "%s%s", metric->name, suffix);
    for (int i = 0; i < 2 && metric->labels[i] != NULL; i++) {
        (void)fprintf(page, "%s%s=\"", open ? "," : "{", metric->labels[i]);
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

static void print_histogram(FILE *page, const struct ms_metric *metric,
                            const struct ms_metric_series *series) {
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
    for (int n = 0; shown[n] != NULL; n++) {
        struct ms_metric *metric = shown[n];
        if (metric->kind == MS_METRIC_COUNTER && metric->labels[0] == NULL)
            (void)get(metric, NULL, NULL);
        for (int i = 0; metric->known[i] != NULL; i++)
            (void)get(metric, metric->known[i], NULL);
    }
}

char *ms_metrics_page(const char *role) {
    static const char *const kinds[] = {
        [MS_METRIC_COUNTER] = "counter",
        [MS_METRIC_GAUGE] = "gauge",
        [MS_METRIC_HISTOGRAM] = "histogram",
    };
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
    for (int n = 0; shown[n] != NULL; n++) {
        const struct ms_metric *metric = shown[n];
        if (metric->count == 0)
            continue;
        (void)fprintf(page, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help,
                      metric->name, kinds[metric->kind]);
        for (size_t i = 0; i < metric->count; i++) {
            const struct ms_metric_series *series = &metric->series[i];
            if (metric->kind == MS_METRIC_HISTOGRAM)
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
