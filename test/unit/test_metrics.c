/* The page of metrics: Prometheus' text format, whatever the labels hold. */
#include "msaas/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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
    check_page("msaas_jobs_in_flight", 0);           /* not before it was used */
    check_page("\nmsaas_store_errors_total 0\n", 1); /* counters begin at 0 */
    check_page("\nmsaas_jobs_finished_total{state=\"failed\"} 0\n", 1);
    check_page("msaas_jobs_finished_total{state=\"\"}", 0);
    ms_metric_set(MS_METRIC_IN_FLIGHT, 3, NULL);
    ms_metric_add(MS_METRIC_IN_FLIGHT, -1, NULL, NULL);
    check_page("# TYPE msaas_jobs_in_flight gauge\nmsaas_jobs_in_flight 2\n", 1);
    ms_metric_add(MS_METRIC_HTTP_REQUESTS, 1, "/a\"b\\\n", "200");
    ms_metric_add(MS_METRIC_HTTP_REQUESTS, 1, "/a\"b\\\n", "200");
    check_page("msaas_http_requests_total{route=\"/a\\\"b\\\\?\",code=\"200\"} 2\n", 1);
}

static void histograms_add_up(void **state) {
    (void)state;
    ms_metric_observe(MS_METRIC_HTTP_SECONDS, 0.001, "/");
    ms_metric_observe(MS_METRIC_HTTP_SECONDS, 0.3, "/");
    ms_metric_observe(MS_METRIC_HTTP_SECONDS, 100, "/");
    check_page("msaas_http_request_seconds_bucket{route=\"/\",le=\"0.005\"} 1\n", 1);
    check_page("msaas_http_request_seconds_bucket{route=\"/\",le=\"0.5\"} 2\n", 1);
    check_page("msaas_http_request_seconds_bucket{route=\"/\",le=\"+Inf\"} 3\n", 1);
    check_page("msaas_http_request_seconds_count{route=\"/\"} 3\n", 1);
}

static void labels_cannot_make_it_grow(void **state) {
    (void)state;
    char label[32];
    for (int i = 0; i < 2000; i++) {
        (void)snprintf(label, sizeof label, "code%d", i);
        ms_metric_add(MS_METRIC_RETRIES, 1, label, NULL);
    }
    check_page("msaas_retries_total{code=\"code510\"} 1\n", 1);
    check_page("msaas_retries_total{code=\"code511\"}", 0);
    check_page("msaas_retries_total{code=\"other\"} 1489\n", 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_shown),
        cmocka_unit_test(histograms_add_up),
        cmocka_unit_test(labels_cannot_make_it_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
