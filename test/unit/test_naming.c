/* Names of results: what a template gives, and that nothing leaves the folder of the results. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "naming.h"

static void expands(void **state) {
    (void)state;
    const struct ms_naming values = {"htdemucs", "S\xC3\xB6ng {stem}", "flac", "no_vocals", "mp3"};
    static const char *const cases[][2] = {
        {"{track}/{stem}.{ext}", "S\xC3\xB6ng {stem}/no_vocals.mp3"}, /* values are not expanded */
        {"{model}_{trackext}}", "htdemucs_flac}"},
        {"plain...", "plain..."},
        {"{stem}/.../..x", "no_vocals/.../..x"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = NULL;
        assert_int_equal(ms_naming_expand(cases[i][0], &values, &path, NULL), 0);
        assert_string_equal(path, cases[i][1]);
        free(path);
    }
}

static void refuses(void **state) {
    (void)state;
    const struct ms_naming values = {"m", "..", "", "s", "e"};
    static const char *const cases[][2] = {
        {"{foo}", "{foo}"},
        {"{Track}", "{Track}"},
        {"{}", "{}"},
        {"{track", "closes"},
        {"", "empty"},
        {"/{stem}", "empty"},
        {"a//b", "empty"},
        {"a/", "empty"},
        {"{trackext}", "empty"},
        {"../a", "\"..\""},
        {"a/./b", "\".\""},
        {"a/..", "\"..\""},
        {"{track}/{stem}.{ext}", "\"..\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = NULL;
        struct ms_error err = {0};
        assert_int_equal(ms_naming_expand(cases[i][0], &values, &path, &err), MS_EUSAGE);
        assert_null(path);
        if (strstr(err.text, cases[i][1]) == NULL)
            fail_msg("\"%s\" says nothing of %s", err.text, cases[i][1]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expands),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
