/* The names of precisions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "msaas/precision.h"

static void there_and_back(void **state) {
    static const char *const names[] = {"auto", "float32", "bf16"};
    (void)state;
    for (int i = 0; i < 3; i++) {
        enum ms_precision read = (enum ms_precision)((i + 1) % 3);
        assert_string_equal(ms_precision_name((enum ms_precision)i), names[i]);
        assert_int_equal(ms_precision_parse(names[i], &read, NULL), 0);
        assert_int_equal(read, i);
    }
}

static void what_is_none(void **state) {
    static const char *const words[] = {"", "float", "float32 ", "FLOAT32", "bf16x", "unknown"};
    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        enum ms_precision kept = MS_PRECISION_BF16;
        struct ms_error err = {0};
        assert_int_equal(ms_precision_parse(words[i], &kept, &err), MS_EUSAGE);
        assert_int_equal(kept, MS_PRECISION_BF16);
        for (int p = 0; p < 3; p++)
            assert_non_null(strstr(err.text, ms_precision_name((enum ms_precision)p)));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(what_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
