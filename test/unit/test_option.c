/* The option table: forms of the command line, precedence, refusals and their texts, help. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "msaas/cmd.h"
#include "msaas/option.h"

#define ARGUMENTS(...) ((char *[]){"separate", __VA_ARGS__, NULL})

static const struct ms_command *const commands[] = {
    &ms_cmd_separate, &ms_cmd_bench, &ms_cmd_model,  &ms_cmd_up,     &ms_cmd_serve,
    &ms_cmd_work,     &ms_cmd_logs,  &ms_cmd_submit, &ms_cmd_status, &ms_cmd_fetch,
    &ms_cmd_queue,    &ms_cmd_rm,    &ms_cmd_health, &ms_cmd_config, NULL,
};

static int parse_as(const struct ms_command *command, char **argv, struct ms_options **out,
                    struct ms_error *err) {
    struct ms_call call = {.command = command, .commands = commands, .argv = argv};
    while (argv[call.argc] != NULL)
        call.argc++;
    return ms_options_parse(&call, out, err);
}

static int parse(char **argv, struct ms_options **out, struct ms_error *err) {
    return parse_as(&ms_cmd_separate, argv, out, err);
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
    static const char *const names[] = {"MSAAS_MODEL",          "MSAAS_LANES",
                                        "MSAAS_MODELS_DIR",     "MSAAS_DEVICE",
                                        "MSAAS_QUEUE",          "REDIS_URL",
                                        "REDIS_HOST",           "REDIS_PORT",
                                        "MSAAS_PORT",           "MSAAS_S3_VIRTUAL_HOST",
                                        "MSAAS_WEBHOOK_SECRET", "MINIO_HOST",
                                        "MINIO_ENDPOINT",       "AWS_ENDPOINT_URL_S3",
                                        "AWS_ENDPOINT_URL"};
    int rc = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        rc |= unsetenv(names[i]);
    return rc;
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

static struct ms_options *served(const char *const environment[][2]) {
    for (int i = 0; environment[i][0] != NULL; i++)
        assert_int_equal(setenv(environment[i][0], environment[i][1], 1), 0);
    struct ms_options *options = NULL;
    struct ms_error err = {0};
    if (parse_as(&ms_cmd_serve, (char *[]){"serve", NULL}, &options, &err) != 0)
        fail_msg("%s", err.text);
    return options;
}

static void several_variables_in_order(void **state) {
    (void)state;
    static const struct {
        const char *environment[3][2];
        const char *queue;
        const char *env;
    } cases[] = {
        {{{NULL}}, NULL, ""},
        {{{"REDIS_PORT", "7000"}}, NULL, ""},
        {{{"REDIS_HOST", "redis"}},
         "redis://redis:7000/0",
         "redis://{REDIS_HOST}:{REDIS_PORT=6379}/0"},
        {{{"REDIS_PORT", "tcp://10.0.0.1:6380"}}, /* what Kubernetes sets */
         "redis://redis:6379/0",
         "redis://{REDIS_HOST}:{REDIS_PORT=6379}/0"},
        {{{"REDIS_URL", "redis://b/1"}}, "redis://b/1", "REDIS_URL"},
        {{{"MSAAS_QUEUE", "sqlite:x"}}, "sqlite:x", "MSAAS_QUEUE"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ms_options *options = served(cases[i].environment);
        const char *queue = ms_options_string(options, MS_OPTION_QUEUE);
        if (cases[i].queue == NULL)
            assert_null(queue);
        else
            assert_string_equal(queue, cases[i].queue);
        struct ms_option_view view;
        assert_true(ms_options_view(options, MS_OPTION_QUEUE, &view));
        assert_string_equal(view.env, cases[i].env);
        assert_false(ms_options_view(options, MS_OPTION_LANES, &view));
        ms_options_free(options);
    }
    char long_host[2000];
    memset(long_host, 'h', sizeof long_host - 1);
    long_host[sizeof long_host - 1] = '\0';
    struct ms_options *options = NULL;
    struct ms_error err = {0};
    assert_int_equal(setenv("MINIO_HOST", long_host, 1), 0);
    assert_int_equal(parse_as(&ms_cmd_serve, (char *[]){"serve", NULL}, &options, &err), MS_EUSAGE);
    assert_non_null(strstr(err.text, "MINIO_HOST"));
}

static void origins(void **state) {
    (void)state;
    static const struct {
        const char *environment[3][2];
        const char *says;
    } cases[] = {
        {{{NULL}}, "--queue (MSAAS_QUEUE)"},
        {{{"REDIS_HOST", "redis"}}, "REDIS_HOST (--queue)"},
        {{{"REDIS_PORT", "7"}}, "REDIS_HOST, REDIS_PORT (--queue)"},
        {{{"REDIS_URL", "redis://b/1"}}, "REDIS_URL (--queue)"},
    };
    char origin[MS_OPTION_ORIGIN_BYTES];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ms_options *options = served(cases[i].environment);
        assert_string_equal(ms_options_origin(options, MS_OPTION_QUEUE, origin), cases[i].says);
        ms_options_free(options);
    }
    struct ms_options *options = NULL;
    char *given[] = {"serve", "--queue=redis://c", NULL};
    assert_int_equal(parse_as(&ms_cmd_serve, given, &options, NULL), 0);
    assert_string_equal(ms_options_origin(options, MS_OPTION_QUEUE, origin),
                        "--queue (MSAAS_QUEUE)");
    ms_options_free(options);
}

static void hosts_and_ports(void **state) {
    (void)state;
    static const struct {
        const char *name, *value;
        enum ms_option_id id;
        const char *says; /* NULL: it is good */
    } cases[] = {
        {"REDIS_HOST", "redis", MS_OPTION_QUEUE, NULL},
        {"REDIS_HOST", "10.0.0.1", MS_OPTION_QUEUE, NULL},
        {"REDIS_HOST", "[::1]", MS_OPTION_QUEUE, NULL},
        {"REDIS_HOST", "redis:6379", MS_OPTION_QUEUE, "REDIS_HOST (--queue): must be a host's"},
        {"REDIS_HOST", "redis://h", MS_OPTION_QUEUE, "REDIS_HOST (--queue): must be a host's"},
        {"REDIS_HOST", "me:hush@h", MS_OPTION_QUEUE, "REDIS_HOST (--queue): must be a host's"},
        {"REDIS_HOST", "h", MS_OPTION_QUEUE, NULL},
        {"REDIS_PORT", "7", MS_OPTION_QUEUE, NULL},
        {"REDIS_PORT", "hush", MS_OPTION_QUEUE, "REDIS_PORT (--queue): must be a port's"},
        {"REDIS_PORT", "65536", MS_OPTION_QUEUE, "REDIS_PORT (--queue): must be a port's"},
        {"REDIS_PORT", "7/1", MS_OPTION_QUEUE, "REDIS_PORT (--queue): must be a port's"},
        {"MINIO_HOST", "minio", MS_OPTION_S3_ENDPOINT, NULL},
        {"MINIO_HOST", "minio:9000", MS_OPTION_S3_ENDPOINT, NULL},
        {"MINIO_HOST", "http://h:9000", MS_OPTION_S3_ENDPOINT,
         "MINIO_HOST (--s3-endpoint): must be HOST or HOST:PORT"},
        {"MINIO_HOST", "", MS_OPTION_S3_ENDPOINT, NULL},
        {"MINIO_ENDPOINT", "minio:9000", MS_OPTION_S3_ENDPOINT, NULL},
        {"MINIO_ENDPOINT", "https://h:9000", MS_OPTION_S3_ENDPOINT,
         "MINIO_ENDPOINT (--s3-endpoint): must be HOST or HOST:PORT"},
        {"MINIO_HOST", "h:x", MS_OPTION_S3_ENDPOINT, "MINIO_HOST (--s3-endpoint): must be HOST"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ms_options *options =
            served((const char *const[][2]){{cases[i].name, cases[i].value}, {NULL, NULL}});
        struct ms_error err = {0};
        int rc = ms_options_check_parts(options, cases[i].id, &err);
        assert_int_equal(rc, cases[i].says != NULL ? MS_EUSAGE : 0);
        if (cases[i].says != NULL && strstr(err.text, cases[i].says) == NULL)
            fail_msg("\"%s\" is not \"%s\"", err.text, cases[i].says);
        assert_null(strstr(err.text, "hush"));
        ms_options_free(options);
    }
}

static void flags_and_ports_from_the_environment(void **state) {
    (void)state;
    struct ms_options *options = served((const char *const[][2]){
        {"MSAAS_S3_VIRTUAL_HOST", "no"}, {"MSAAS_PORT", "tcp://10.0.0.1:80"}, {NULL, NULL}});
    assert_false(ms_options_flag(options, MS_OPTION_S3_VIRTUAL_HOST));
    assert_int_equal(ms_options_int(options, MS_OPTION_PORT), 5000);
    ms_options_free(options);
    options = served((const char *const[][2]){{"MSAAS_S3_VIRTUAL_HOST", "true"}, {NULL, NULL}});
    assert_true(ms_options_flag(options, MS_OPTION_S3_VIRTUAL_HOST));
    ms_options_free(options);
    struct ms_error err = {0};
    assert_int_equal(setenv("MSAAS_S3_VIRTUAL_HOST", "perhaps", 1), 0);
    assert_int_equal(parse_as(&ms_cmd_serve, (char *[]){"serve", NULL}, &options, &err), MS_EUSAGE);
    assert_non_null(strstr(err.text, "MSAAS_S3_VIRTUAL_HOST (--s3-virtual-host)"));
}

static void secrets(void **state) {
    (void)state;
    char path[] = "/tmp/msaas-secret-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "from file\n", 10), 10);
    assert_int_equal(close(fd), 0);
    struct ms_options *options = NULL;
    struct ms_error err = {0};
    assert_int_equal(setenv("MSAAS_WEBHOOK_SECRET", "from environment", 1), 0);
    assert_int_equal(parse_as(&ms_cmd_work, (char *[]){"work", NULL}, &options, &err), 0);
    assert_string_equal(ms_options_string(options, MS_OPTION_WEBHOOK_SECRET), "from environment");
    ms_options_free(options);
    char *given[] = {"work", "--webhook-secret-file", path, "--webhook-secret-file", path, NULL};
    assert_int_equal(parse_as(&ms_cmd_work, given, &options, &err), 0);
    assert_string_equal(ms_options_string(options, MS_OPTION_WEBHOOK_SECRET), "from file");
    struct ms_option_view view;
    assert_true(ms_options_view(options, MS_OPTION_WEBHOOK_SECRET, &view));
    assert_string_equal(view.given, path);
    assert_true(view.is_secret);
    ms_options_free(options);
    assert_int_equal(truncate(path, 5000), 0);
    assert_int_equal(parse_as(&ms_cmd_work, given, &options, &err), MS_EUSAGE);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(parse_as(&ms_cmd_work, given, &options, &err), MS_EUSAGE);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(parse_as(&ms_cmd_work, given, &options, &err), MS_EUSAGE);
    assert_non_null(strstr(err.text, path));
    char *told[] = {"work", "--webhook-secret=hunter2", NULL};
    assert_int_equal(parse_as(&ms_cmd_work, told, &options, &err), MS_EUSAGE);
    assert_non_null(strstr(err.text, "MSAAS_WEBHOOK_SECRET"));
    assert_null(strstr(err.text, "hunter2"));
    static const char *const urls[][2] = {
        {"--queue=redis://me:hunter2@h", "MSAAS_QUEUE"},
        {"--queue=rediss://:hunter2@h/0", "MSAAS_QUEUE"},
        {"--queue=redis://me:hunter2@[", "MSAAS_QUEUE"},
        {"--store=s3://me:hunter2@h", "MSAAS_STORE"},
        {"--s3-endpoint=http://me:hunter2@h:9000", "AWS_ENDPOINT_URL_S3"},
    };
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        char word[80];
        (void)snprintf(word, sizeof word, "%s", urls[i][0]);
        char *argv[] = {"work", word, NULL};
        assert_int_equal(parse_as(&ms_cmd_work, argv, &options, &err), MS_EUSAGE);
        assert_non_null(strstr(err.text, urls[i][1]));
        assert_null(strstr(err.text, "hunter2"));
    }
    char *harmless[] = {"work", "--queue=redis://me@h/0", "--model=/a:b@c", NULL};
    assert_int_equal(parse_as(&ms_cmd_work, harmless, &options, &err), 0);
    ms_options_free(options);
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
        {{"separate", "--callback-allow", "3"}, "option of other commands, not of \"msaas sep"},
        {{"separate", "-x"}, "unknown option -x"},
        {{"separate", "-qx"}, "\"-qx\""},
        {{"separate", "--out"}, "--out needs a value: DIR"},
        {{"separate", "-o"}, "-o needs a value: DIR"},
        {{"separate", "--out="}, "--out: must not be empty"},
        {{"separate", "--mp3=yes"}, "--mp3 takes no value"},
        {{"separate", "--shifts", "101"}, "from 0 to 20, not 101"},
        {{"separate", "--shifts", "-1"}, "from 0 to 20, not -1"},
        {{"separate", "--shifts", "1.5"}, "whole number"},
        {{"separate", "--shifts", ""}, "whole number"},
        {{"separate", "--shifts", " 1"}, "whole number"},
        {{"separate", "--shifts", "99999999999999999999"}, "from 0 to 20"},
        {{"separate", "--seed", "-1"}, "from 0 to 9007199254740992"},
        {{"separate", "--overlap", "1"}, "from 0 to 0.99"},
        {{"separate", "--overlap", "nan"}, "a number"},
        {{"separate", "--overlap", "0x0"}, "a number"},
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

static void times_have_units(void **state) {
    (void)state;
    static const struct {
        char *text;
        double seconds;   /* 0: it is refused */
        const char *says; /* part of the message */
    } cases[] = {
        {"72h", 259200, NULL},      {"90s", 90, NULL},
        {"1.5h", 5400, NULL},       {"30m", 1800, NULL},
        {"7d", 604800, NULL},       {"72", 0, "such as 90s, 30m, 72h or 7d"},
        {"", 0, "such as 90s"},     {"h", 0, "such as 90s"},
        {"-1h", 0, "such as 90s"},  {"1e3h", 0, "such as 90s"},
        {"72 h", 0, "such as 90s"}, {"72hours", 0, "such as 90s"},
        {"0x1h", 0, "such as 90s"}, {"infd", 0, "such as 90s"},
        {"0.5s", 0, "from 1s"},     {"0h", 0, "from 1s"},
        {"4000d", 0, "to 3650d"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ms_options *options = NULL;
        struct ms_error err = {0};
        char *argv[] = {"work", "--keep", cases[i].text, NULL};
        const int rc = parse_as(&ms_cmd_work, argv, &options, &err);
        if (rc != (cases[i].says == NULL ? 0 : MS_EUSAGE))
            fail_msg("\"%s\": %d %s", cases[i].text, rc, err.text);
        if (cases[i].says != NULL && strstr(err.text, cases[i].says) == NULL)
            fail_msg("\"%s\" says nothing of \"%s\"", err.text, cases[i].says);
        if (rc == 0)
            assert_true(ms_options_time_s(options, MS_OPTION_KEEP) == cases[i].seconds);
        ms_options_free(options);
    }
}

static void help_fits_the_terminal(void **state) {
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    assert_non_null(to);
    for (int i = 0; commands[i] != NULL; i++)
        ms_options_print_help(commands[i], to);
    assert_int_equal(fclose(to), 0);
    assert_non_null(strstr(text, "  -n, --model NAME "));
    assert_non_null(strstr(text, "[env: MSAAS_MODEL]"));
    assert_non_null(strstr(text, "[default: rescale]"));
    assert_non_null(strstr(text, "[env: MSAAS_QUEUE, REDIS_URL,"));
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
    ms_options_print_markdown(commands, to);
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
        CLEAN(several_variables_in_order),
        CLEAN(origins),
        CLEAN(hosts_and_ports),
        CLEAN(flags_and_ports_from_the_environment),
        CLEAN(secrets),
        CLEAN(refusals),
        CLEAN(times_have_units),
        cmocka_unit_test(help_fits_the_terminal),
        cmocka_unit_test(markdown_has_every_option_once),
        cmocka_unit_test(resembling_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
