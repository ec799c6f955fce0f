/* The option table: forms of the command line, precedence, refusals and their texts, help. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/option.h"

#define ARGUMENTS(...) ((char *[]){"separate", __VA_ARGS__, NULL})

static int parse(char **argv, struct ms_options **out, struct ms_error *err) {
    int argc = 0;
    while (argv[argc] != NULL)
        argc++;
    return ms_options_parse(MS_CMD_SEPARATE, argc, argv, out, err);
}

static struct ms_options *parsed(char **argv) {
    struct ms_options *options = NULL;
    struct ms_error err = {0};
    if (parse(argv, &options, &err) != 0)
        fail_msg("%s", err.text);
    return options;
}

static int clear_environment(void **state) {
    (void)state;
    return unsetenv("MSAAS_MODEL") | unsetenv("MSAAS_LANES") | unsetenv("MSAAS_MODELS_DIR") |
           unsetenv("MSAAS_DEVICE");
}

static void defaults(void **state) {
    (void)state;
    struct ms_options *options = parsed((char *[]){"separate", NULL});
    assert_string_equal(ms_options_string(options, MS_OPTION_MODEL), "htdemucs");
    assert_string_equal(ms_options_string(options, MS_OPTION_OUT), "separated");
    assert_string_equal(ms_options_string(options, MS_OPTION_OTHER_METHOD), "add");
    assert_null(ms_options_string(options, MS_OPTION_STEMS));
    assert_int_equal(ms_options_int(options, MS_OPTION_SHIFTS), 0);
    assert_true(ms_options_double(options, MS_OPTION_OVERLAP) == 0.25);
    assert_false(ms_options_flag(options, MS_OPTION_MP3));
    assert_false(ms_options_is_set(options, MS_OPTION_OVERLAP));
    assert_int_equal(ms_options_argument_count(options), 0);
    ms_options_free(options);
    ms_options_free(NULL);
}

static void forms_and_order(void **state) {
    (void)state;
    struct ms_options *options =
        parsed(ARGUMENTS("b.mp3", "--overlap", "0.5", "-qr", "--shifts=3", "a.mp3", "-nfirst", "-n",
                         "x y", "-", "-rdcpu", "--seed=9007199254740992", "--", "--mp3", "-q"));
    assert_true(ms_options_double(options, MS_OPTION_OVERLAP) == 0.5);
    assert_true(ms_options_is_set(options, MS_OPTION_OVERLAP));
    assert_true(ms_options_flag(options, MS_OPTION_QUIET));
    assert_true(ms_options_flag(options, MS_OPTION_RECURSIVE));
    assert_false(ms_options_flag(options, MS_OPTION_MP3));
    assert_int_equal(ms_options_int(options, MS_OPTION_SHIFTS), 3);
    assert_true(ms_options_int(options, MS_OPTION_SEED) == INT64_C(9007199254740992));
    assert_string_equal(ms_options_string(options, MS_OPTION_MODEL), "x y");
    assert_string_equal(ms_options_string(options, MS_OPTION_DEVICE), "cpu");
    static const char *const expected[] = {"b.mp3", "a.mp3", "-", "--mp3", "-q"};
    assert_int_equal(ms_options_argument_count(options), 5);
    for (int i = 0; i < 5; i++)
        assert_string_equal(ms_options_argument(options, i), expected[i]);
    ms_options_free(options);
}

static void command_line_then_environment_then_default(void **state) {
    (void)state;
    assert_int_equal(setenv("MSAAS_MODEL", "from-env", 1), 0);
    assert_int_equal(setenv("MSAAS_LANES", "", 1), 0); /* empty: not set */
    struct ms_options *options = parsed((char *[]){"separate", NULL});
    assert_string_equal(ms_options_string(options, MS_OPTION_MODEL), "from-env");
    assert_true(ms_options_is_set(options, MS_OPTION_MODEL));
    assert_false(ms_options_is_set(options, MS_OPTION_LANES));
    ms_options_free(options);
    options = parsed(ARGUMENTS("--model=given"));
    assert_string_equal(ms_options_string(options, MS_OPTION_MODEL), "given");
    ms_options_free(options);
    struct ms_error err = {0};
    assert_int_equal(setenv("MSAAS_LANES", "many", 1), 0);
    assert_int_equal(parse((char *[]){"separate", NULL}, &options, &err), MS_EUSAGE);
    assert_non_null(strstr(err.text, "MSAAS_LANES"));
    assert_non_null(strstr(err.text, "--lanes"));
}

static void refusals(void **state) {
    (void)state;
    static const struct {
        char *argv[4];
        const char *text; /* part of the message */
    } cases[] = {
        {{"separate", "--mp4"}, "did you mean --mp3?"},
        {{"separate", "--two-stem=vocals"}, "did you mean --two-stems?"},
        {{"separate", "--overlpa", "1"}, "did you mean --overlap?"},
        {{"separate", "--nonsense"}, "unknown option --nonsense"},
        {{"separate", "--segments", "3"}, "did you mean --segment?"},
        {{"separate", "--url", "3"}, "option of \"msaas model\""},
        {{"separate", "-x"}, "unknown option -x"},
        {{"separate", "-qx"}, "\"-qx\""},
        {{"separate", "--out"}, "--out needs a value: DIR"},
        {{"separate", "-o"}, "-o needs a value: DIR"},
        {{"separate", "--out="}, "--out: must not be empty"},
        {{"separate", "--mp3=yes"}, "--mp3 takes no value"},
        {{"separate", "--shifts", "101"}, "from 0 to 100, not 101"},
        {{"separate", "--shifts", "-1"}, "from 0 to 100, not -1"},
        {{"separate", "--shifts", "1.5"}, "whole number"},
        {{"separate", "--shifts", ""}, "whole number"},
        {{"separate", "--shifts", " 1"}, "whole number"},
        {{"separate", "--shifts", "99999999999999999999"}, "from 0 to 100"},
        {{"separate", "--seed", "-1"}, "from 0 to 9007199254740992"},
        {{"separate", "--overlap", "1"}, "from 0 to 0.99"},
        {{"separate", "--overlap", "nan"}, "a number"},
        {{"separate", "--overlap", "0x0"}, "a number"},
        {{"separate", "--overlap", "1e-999"}, "from 0 to 0.99"},
        {{"separate", "--mp3-preset", "8"}, "from 2 to 7"},
        {{"separate", "--clip-mode", "scale"}, "one of rescale|clamp|none"},
        {{"separate", "--clip-mode", "clamp|none"}, "one of rescale|clamp|none"},
        {{"separate", "--clip-mode", ""}, "one of rescale|clamp|none"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ms_options *options = NULL;
        struct ms_error err = {0};
        assert_int_equal(parse((char **)cases[i].argv, &options, &err), MS_EUSAGE);
        assert_int_equal(err.code, MS_EUSAGE);
        if (strstr(err.text, cases[i].text) == NULL)
            fail_msg("\"%s\" says nothing of \"%s\"", err.text, cases[i].text);
    }
    char long_name[400] = "--";
    memset(long_name + 2, 'x', sizeof long_name - 3);
    struct ms_options *options = NULL;
    assert_int_equal(parse(ARGUMENTS(long_name), &options, NULL), MS_EUSAGE);
}

static void help_fits_the_terminal(void **state) {
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    assert_non_null(to);
    ms_options_print_help(MS_CMD_SEPARATE, to);
    assert_int_equal(fclose(to), 0);
    assert_non_null(strstr(text, "  -n, --model NAME "));
    assert_non_null(strstr(text, "[env: MSAAS_MODEL]"));
    assert_non_null(strstr(text, "[default: rescale]"));
    assert_null(strstr(text, "--url"));
    int lines = 0;
    for (const char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1, lines++)
        assert_true(strcspn(line, "\n") <= 80);
    assert_true(lines > 30);
    free(text);
}

static void markdown_has_every_option_once(void **state) {
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    assert_non_null(to);
    ms_options_print_markdown(to);
    assert_int_equal(fclose(to), 0);
    int lines = 0;
    for (const char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1, lines++)
        assert_int_equal(line[0], '|');
    assert_int_equal(lines, MS_OPTION_COUNT + 2);
    assert_non_null(strstr(text, "`--clip-mode rescale\\|clamp\\|none`"));
    free(text);
}

static void resembling_words(void **state) {
    (void)state;
    assert_true(ms_option_resembles("seperate", "separate"));
    assert_true(ms_option_resembles("sep", "separate"));
    assert_true(ms_option_resembles("bnch", "bench"));
    assert_false(ms_option_resembles("s", "separate"));
    assert_false(ms_option_resembles("serve", "bench"));
    assert_false(ms_option_resembles("", "bench"));
}

int main(void) {
#define CLEAN(test) cmocka_unit_test_setup_teardown(test, clear_environment, clear_environment)
    const struct CMUnitTest tests[] = {
        CLEAN(defaults),
        CLEAN(forms_and_order),
        CLEAN(command_line_then_environment_then_default),
        CLEAN(refusals),
        cmocka_unit_test(help_fits_the_terminal),
        cmocka_unit_test(markdown_has_every_option_once),
        cmocka_unit_test(resembling_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
