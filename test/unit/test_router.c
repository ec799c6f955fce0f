#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "router.h"

static void handle(const struct ms_http_call *call) {
    (void)call;
}

static const struct ms_http_route routes[] = {
    {.method = "GET", .pattern = "/", .handle = handle},
    {.method = "GET", .pattern = "/apiv1/queue", .handle = handle},
    {.method = "GET", .pattern = "/apiv1/queue/", .handle = handle},
    {.method = "POST", .pattern = "/apiv1/separate", .handle = handle},
    {.method = "GET", .pattern = "/jobs/latest", .handle = handle},
    {.method = "GET", .pattern = "/jobs/{}", .handle = handle},
    {.method = "DELETE", .pattern = "/jobs/{}", .handle = handle},
    {.method = "GET", .pattern = "/jobs/{}/stems/{}.zip", .handle = handle},
    {.method = "GET", .pattern = "/jobs/{}/stems/{}", .handle = handle},
    {0},
};

static const char *find(const char *method, const char *path, int *status, char allow[64]) {
    const struct ms_http_route *route = ms_http_route_find(routes, method, path, status, allow, 64);
    return route != NULL ? route->pattern : "";
}

static void finds_the_route(void **state) {
    static const struct {
        const char *method, *path, *pattern;
        int status;
        const char *allow;
    } cases[] = {
        {"GET", "/", "/", 0, ""},
        {"HEAD", "/", "/", 0, ""},
        {"GET", "/apiv1/queue", "/apiv1/queue", 0, ""},
        {"GET", "/apiv1/queue/", "/apiv1/queue/", 0, ""},
        {"GET", "/apiv1/queue//", "", 404, ""},
        {"POST", "/apiv1/separate", "/apiv1/separate", 0, ""},
        {"GET", "/apiv1/separate", "", 405, "POST"},
        {"get", "/", "", 405, "GET, HEAD"},
        {"PUT", "/jobs/a", "", 405, "GET, HEAD, DELETE"},
        {"GET", "/jobs/latest", "/jobs/latest", 0, ""},
        {"DELETE", "/jobs/latest", "/jobs/{}", 0, ""},
        {"GET", "/jobs/", "", 404, ""},
        {"GET", "/jobs/a/", "", 404, ""},
        {"GET", "/jobs", "", 404, ""},
        {"GET", "/jobs/a/stems/b", "/jobs/{}/stems/{}", 0, ""},
        {"GET", "/jobs//stems/b", "", 404, ""},
        {"GET", "/jobs/a/stems/b/c", "", 404, ""},
        {"GET", "", "", 404, ""},
        {"GET", "*", "", 404, ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char allow[64];
        int status;
        assert_string_equal(find(cases[i].method, cases[i].path, &status, allow), cases[i].pattern);
        if (*cases[i].pattern == '\0')
            assert_int_equal(status, cases[i].status);
        if (cases[i].status == 405)
            assert_string_equal(allow, cases[i].allow);
    }
}

static void cuts_out_the_parameters(void **state) {
    const char *params[MS_HTTP_MAX_PARAMS] = {NULL};
    char space[64];
    (void)state;
    assert_true(ms_http_route_params("/jobs/{}/stems/{}", "/jobs/a b/stems/v.mp3", space, params));
    assert_string_equal(params[0], "a b");
    assert_string_equal(params[1], "v.mp3");
    assert_null(params[2]);
    assert_false(ms_http_route_params("/{}/{}/{}/{}/{}/{}/{}/{}/{}", "/1/2/3/4/5/6/7/8/9", space,
                                      params)); /* one more than there is room for */
}

static void says_so_much_of_the_methods_as_fits(void **state) {
    char allow[8];
    int status;
    (void)state;
    assert_null(ms_http_route_find(routes, "PUT", "/jobs/a", &status, allow, sizeof allow));
    assert_int_equal(status, 405);
    assert_int_equal(strlen(allow), sizeof allow - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_route),
        cmocka_unit_test(cuts_out_the_parameters),
        cmocka_unit_test(says_so_much_of_the_methods_as_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
