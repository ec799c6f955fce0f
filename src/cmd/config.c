/* `msaas config`: every option as it stands and where its value came from, without secrets. Main thread. */
#include <stdlib.h>
#include <string.h>

#include "msaas/cmd.h"
#include "msaas/json.h"
#include "msaas/url.h"

static const char usage[] =
    "Shows what a command would run with, and where each value came from. Secrets, and\n"
    "passwords in URLs, are not shown.\n"
    "\n"
    "Usage: msaas config [COMMAND [OPTIONS OF COMMAND]] [--json]\n"
    "\n"
    "Examples:\n"
    "  msaas config serve\n"
    "  REDIS_HOST=redis msaas config work --lease 10\n"
    "  msaas config --json | jq -r .serve.queue.value\n"
    "\n"
    "Without a command it shows serve, work and logs.\n"
    "\n"
    "Exit code: 0 shown; 2 a value is wrong.\n";

/* The value as it may be seen; "" where there is none. */
static void mask(const struct ms_option_view *view, char *out, size_t capacity) {
    const char *text = view->text != NULL ? view->text : "";
    if (view->is_secret)
        text = view->text != NULL ? "***" : "";
    if (strstr(text, "://") != NULL && strpbrk(text, "@?#") != NULL)
        ms_url_public(text, out, capacity);
    else
        (void)snprintf(out, capacity, "%s", text);
}

static void origin_of(const struct ms_option_view *view, char *out, size_t capacity) {
    if (view->given != NULL)
        (void)snprintf(out, capacity, "command line");
    else if (view->env[0] != '\0')
        (void)snprintf(out, capacity, "environment: %s", view->env);
    else
        (void)snprintf(out, capacity, "%s", view->text != NULL ? "default" : "not set");
}

/* One row; false: nothing to show. */
static bool row(const struct ms_options *options, int id, const char **name, char value[1100],
                char origin[200]) {
    struct ms_option_view view;
    struct ms_option_view endpoint;
    if (id == MS_OPTION_HELP || id == MS_OPTION_JSON || !ms_options_view(options, id, &view))
        return false;
    *name = view.name;
    mask(&view, value, 1100);
    origin_of(&view, origin, 200);
    if (id == MS_OPTION_STORE && view.text == NULL &&
        ms_options_view(options, MS_OPTION_S3_ENDPOINT, &endpoint) && endpoint.text != NULL) {
        (void)snprintf(value, 1100, "s3://");
        (void)snprintf(origin, 200, "because of s3-endpoint");
    }
    return true;
}

static void show(const struct ms_options *options, const char *command,
                 struct ms_json_writer *writer) {
    const char *name = NULL;
    char value[1100];
    char origin[200];
    if (writer == NULL)
        (void)printf("%s:\n", command);
    else
        ms_json_begin_object(writer, command);
    for (int id = 0; id < MS_OPTION_COUNT; id++) {
        if (!row(options, id, &name, value, origin))
            continue;
        if (writer != NULL) {
            ms_json_begin_object(writer, name);
            ms_json_put_string(writer, "value", value[0] != '\0' ? value : NULL);
            ms_json_put_string(writer, "from", origin);
            ms_json_end_object(writer);
            continue;
        }
        (void)printf("  %-22s ", name);
        ms_cmd_print_plain(value[0] != '\0' ? value : "-", stdout);
        (void)printf("  (%s)\n", origin);
    }
    if (writer != NULL)
        ms_json_end_object(writer);
}

/* With argv as that command's own, but for --json and --help. */
static int show_command(const char *command, int argc, char **argv, struct ms_json_writer *writer,
                        bool *json, struct ms_error *err) {
    struct ms_options *options = NULL;
    unsigned bits = ms_option_command_find(command) | MS_CMD_CONFIG;
    int rc = ms_options_parse((enum ms_command)bits, argc, argv, &options, err);
    if (rc != 0)
        return rc;
    *json = ms_options_flag(options, MS_OPTION_JSON);
    if (ms_options_flag(options, MS_OPTION_HELP)) {
        (void)printf("%s\n", usage);
        ms_options_print_help(MS_CMD_CONFIG, stdout);
    } else {
        show(options, command, *json ? writer : NULL);
    }
    ms_options_free(options);
    return 0;
}

int ms_cmd_config(int argc, char **argv) {
    static const char *const services[] = {"serve", "work", "logs"};
    struct ms_error err = {0};
    bool named = argc > 1 && argv[1][0] != '-';
    bool asks_help = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    bool json = false;
    struct ms_json_writer *writer = ms_json_writer_new();
    int rc = writer != NULL ? 0 : ms_error_set(&err, MS_ENOMEM, "no memory");
    if (rc == 0 && named && ms_option_command_find(argv[1]) == 0)
        rc = ms_error_set(&err, MS_EUSAGE, "there is no command \"%s\"", argv[1]);
    if (rc == 0)
        ms_json_begin_object(writer, NULL);
    if (rc == 0 && named)
        rc = show_command(argv[1], argc - 1, argv + 1, writer, &json, &err);
    for (size_t i = 0; rc == 0 && !named && i < (asks_help ? 1 : 3); i++)
        rc = show_command(services[i], argc, argv, writer, &json, &err);
    if (rc == 0)
        ms_json_end_object(writer);
    const char *text = rc == 0 && json ? ms_json_writer_text(writer, NULL) : NULL;
    if (text != NULL)
        (void)puts(text);
    ms_json_writer_free(writer);
    return rc == 0 ? MS_EXIT_OK : ms_cmd_failed(argv[0], &err);
}
