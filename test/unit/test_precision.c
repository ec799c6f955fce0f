/* The names of precisions, and that the command line knows them all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "msaas/cmd.h"
#include "msaas/option.h"
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

/* The table of options holds the names once more, as choices. */
static void options_know_them(void **state) {
    static const struct {
        const struct ms_command *command;
        enum ms_option_id id;
        const char *standard; /* NULL: none */
    } options[] = {
        {&ms_cmd_separate, MS_OPTION_PRECISION, "float32"},
        {&ms_cmd_bench, MS_OPTION_PRECISION, "float32"},
        {&ms_cmd_work, MS_OPTION_WORK_PRECISION, "auto"},
        {&ms_cmd_up, MS_OPTION_WORK_PRECISION, "auto"},
        {&ms_cmd_submit, MS_OPTION_JOB_PRECISION, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        struct ms_options *parsed = NULL;
        char *none[] = {"x", NULL};
        const struct ms_command *const commands[] = {options[i].command, NULL};
        const struct ms_call nothing = {
            .command = options[i].command, .commands = commands, .argc = 1, .argv = none};
        assert_int_equal(ms_options_parse(&nothing, &parsed, NULL), 0);
        const char *standard = ms_options_string(parsed, options[i].id);
        assert_int_equal(standard == NULL, options[i].standard == NULL);
        if (standard != NULL)
            assert_string_equal(standard, options[i].standard);
        ms_options_free(parsed);
        for (int p = 0; p < 3; p++) {
            const char *name = ms_precision_name((enum ms_precision)p);
            char *argv[] = {"x", "--precision", (char *)(uintptr_t)name, NULL};
            struct ms_call call = nothing;
            call.argc = 3;
            call.argv = argv;
            assert_int_equal(ms_options_parse(&call, &parsed, NULL), 0);
            assert_string_equal(ms_options_string(parsed, options[i].id), name);
            ms_options_free(parsed);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(what_is_none),
        cmocka_unit_test(options_know_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
