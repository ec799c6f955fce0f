/* A binary that was built without the page has a short one in its place. */
#include "api_site.h"

#include "msaas/embedded.h"

const struct ms_embedded ms_embedded_web[] = {{0}};

static void a_short_page_is_there(void **state) {
    (void)state;
    struct answer answer = call_at(peer.port, "GET", "/", "Accept-Encoding: gzip\r\n", NULL, 0);
    expect("the page", &answer, 200);
    assert_string_equal(header(&answer, "Content-Type"), "text/html; charset=utf-8");
    assert_string_equal(header(&answer, "Content-Encoding"), "");
    assert_non_null(strstr(answer.body, "<h1>Music separation as a service</h1>"));
    assert_null(strstr(answer.body, "/assets/"));
    answer_free(&answer);
    expect_problem("a file", call("GET", "/assets/main.js"), 404, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_short_page_is_there)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
