/* The page of metrics: Prometheus' text format, whatever the labels hold. */
#include "msaas/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct ms_metric jobs = {.name = "jobs", .help = "Jobs.", .kind = MS_METRIC_GAUGE};
static struct ms_metric errors = {.name = "errors_total", .help = "E.", .kind = MS_METRIC_COUNTER};
static struct ms_metric ended = {
    .name = "ended_total",
    .help = "Ended.",
    .kind = MS_METRIC_COUNTER,
    .labels = {"state"},
    .known = {"done", "failed"},
};
static struct ms_metric requests = {
    .name = "requests_total",
    .help = "Requests.",
    .kind = MS_METRIC_COUNTER,
    .labels = {"route", "code"},
};
static struct ms_metric seconds = {
    .name = "seconds",
    .help = "Seconds.",
    .kind = MS_METRIC_HISTOGRAM,
    .labels = {"route"},
};
static struct ms_metric retries = {
    .name = "retries_total",
    .help = "Retries.",
    .kind = MS_METRIC_COUNTER,
    .labels = {"code"},
};
static struct ms_metric unlisted = {.name = "unlisted", .help = "U.", .kind = MS_METRIC_GAUGE};
static struct ms_metric *const list[] = {&jobs,    &errors,  &ended, &requests,
                                         &seconds, &retries, NULL};

static void check_page(const char *expected, int present) {
    char *page = ms_metrics_page("test");
    assert_non_null(page);
    if ((strstr(page, expected) != NULL) != present)
        fail_msg("%s: %s", present ? "missing" : "unexpected", expected);
    free(page);
}

static void values_are_shown(void **state) {
    (void)state;
    check_page("msaas_build_info{version=\"" MSAAS_VERSION "\",role=\"test\"} 1\n", 1);
    check_page("jobs", 0);         /* not before it was used */
    check_page("errors_total", 0); /* nor before it is listed */
    ms_metrics_use(list);
    check_page("\nerrors_total 0\n", 1); /* counters begin at 0 */
    check_page("\nended_total{state=\"failed\"} 0\n", 1);
    check_page("ended_total{state=\"\"}", 0);
    ms_metric_set(&jobs, 3, NULL);
    ms_metric_add(&jobs, -1, NULL, NULL);
    check_page("# HELP jobs Jobs.\n# TYPE jobs gauge\njobs 2\n", 1);
    ms_metric_add(&requests, 1, "/a\"b\\\n", "200");
    ms_metric_add(&requests, 1, "/a\"b\\\n", "200");
    check_page("requests_total{route=\"/a\\\"b\\\\?\",code=\"200\"} 2\n", 1);
    ms_metric_clear(&jobs);
    check_page("jobs", 0);
    ms_metric_set(&jobs, 5, NULL);
    check_page("\njobs 5\n", 1);
    ms_metric_set(&unlisted, 1, NULL);
    check_page("unlisted", 0);
}

static void histograms_add_up(void **state) {
    (void)state;
    ms_metric_observe(&seconds, 0.001, "/");
    ms_metric_observe(&seconds, 0.3, "/");
    ms_metric_observe(&seconds, 100, "/");
    check_page("seconds_bucket{route=\"/\",le=\"0.005\"} 1\n", 1);
    check_page("seconds_bucket{route=\"/\",le=\"0.5\"} 2\n", 1);
    check_page("seconds_bucket{route=\"/\",le=\"+Inf\"} 3\n", 1);
    check_page("seconds_count{route=\"/\"} 3\n", 1);
}

static void labels_cannot_make_it_grow(void **state) {
    (void)state;
    char label[32];
    for (int i = 0; i < 2000; i++) {
        (void)snprintf(label, sizeof label, "code%d", i);
        ms_metric_add(&retries, 1, label, NULL);
    }
    check_page("retries_total{code=\"code510\"} 1\n", 1);
    check_page("retries_total{code=\"code511\"}", 0);
    check_page("retries_total{code=\"other\"} 1489\n", 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_shown),
        cmocka_unit_test(histograms_add_up),
        cmocka_unit_test(labels_cannot_make_it_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
