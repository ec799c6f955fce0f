/* What tells of the server itself: its health, its metrics, the models on offer; and the listener
 * of workers. */
#include "api_site.h"

static void tells_health_and_models(void **state) {
    (void)state;
    struct answer answer = call("GET", "/");
    expect("the page", &answer, 200);
    assert_non_null(strstr(header(&answer, "Content-Type"), "text/html"));
    answer_free(&answer);
    answer = call("GET", "/healthz");
    expect("liveness", &answer, 200);
    answer_free(&answer);
    answer = call("GET", "/readyz");
    expect("readiness", &answer, 200);
    answer_free(&answer);
    char id[MS_JOB_ID_HEX];
    submit("", id);
    static struct ms_metric *const list[] = {&ms_api_jobs, &ms_api_queue_depth, &ms_api_requests,
                                             NULL};
    ms_metrics_use(list);
    answer = call("GET", "/metrics");
    expect("metrics", &answer, 200);
    assert_non_null(strstr(answer.body, "\nmsaas_jobs{state=\"queued\"} 1\n"));
    assert_non_null(strstr(answer.body, "\nmsaas_queue_depth 1\n"));
    assert_non_null(
        strstr(answer.body, "msaas_http_requests_total{route=\"/apiv2/jobs\",code=\"202\"}"));
    answer_free(&answer);
    erase(id);
    answer = call("GET", "/apiv2/models");
    expect("models", &answer, 200);
    assert_string_equal(answer.body,
                        "{\"models\":[{\"name\":\"tiny\",\"default\":true,\"licence\":\"MIT\","
                        "\"stems\":[\"drums\",\"bass\",\"other\",\"vocals\"]},"
                        "{\"name\":\"six\",\"default\":false,\"licence\":null,\"stems\":[\"drums\","
                        "\"bass\",\"other\",\"vocals\",\"guitar\",\"piano\"]}]}");
    answer_free(&answer);
}

static bool alive = true;
static bool is_alive(void) {
    return alive;
}

static char reason[MS_API_REASON_BYTES];
static void why_unready(char out[MS_API_REASON_BYTES]) {
    memcpy(out, reason, sizeof reason);
}

static void the_workers_listener_tells_health_and_metrics(void **state) {
    struct ms_http_server_options options = {.host = "127.0.0.1", .threads = 1};
    (void)state;
    ms_api_serve_worker(&options, is_alive, why_unready);
    struct peer worker;
    peer_start(&worker, &options);
    struct answer answer = call_at(worker.port, "GET", "/healthz", "", NULL, 0);
    expect("alive", &answer, 200);
    answer_free(&answer);
    alive = false;
    answer = call_at(worker.port, "GET", "/healthz", "", NULL, 0);
    expect("stuck", &answer, 503);
    answer_free(&answer);
    answer = call_at(worker.port, "GET", "/readyz", "", NULL, 0);
    expect("ready", &answer, 200);
    answer_free(&answer);
    strcpy(reason, "/scratch: No space left on device");
    answer = call_at(worker.port, "GET", "/readyz", "", NULL, 0);
    expect("unready", &answer, 503);
    assert_non_null(strstr(answer.body, reason));
    answer_free(&answer);
    answer = call_at(worker.port, "GET", "/metrics", "", NULL, 0);
    expect("metrics", &answer, 200);
    answer_free(&answer);
    expect_problem("nothing else", call_at(worker.port, "GET", "/apiv1/queue", "", NULL, 0), 404,
                   NULL);
    peer_stop(&worker, 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_health_and_models),
        cmocka_unit_test(the_workers_listener_tells_health_and_metrics),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
