/* `msaas config`: every option as it stands and where its value came from, without secrets. Main
 * thread. */
#include <stdlib.h>
#include <string.h>

#include "msaas/cmd.h"
#include "msaas/json.h"
#include "msaas/sys.h"
#include "msaas/url.h"
#include "offer.h"
#include "service.h"

static const char usage[] =
    "Shows the options that a command would run with, and where each value came from.\n"
    "Secrets are hidden, and so are user and password in URLs.\n"
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
    "Exit code: 0 all values are good; 1 or 2 one is wrong: the message and the code are\n"
    "those of the command itself.\n";

/* The value without what must stay secret; "" where there is none. Everything before an "@" may be
 * user and password, except in the names of files. */
static void mask(const struct ms_option_view *view, const char *text, char *out, size_t capacity) {
    bool is_file = text[0] == '/' || text[0] == '.' || strncmp(text, "file:", 5) == 0 ||
                   strncmp(text, "sqlite:", 7) == 0;
    const char *scheme_end = strstr(text, "://");
    const char *at = is_file ? NULL : strrchr(text, '@');
    int kept = scheme_end != NULL ? (int)(scheme_end + 3 - text) : 0;
    struct ms_url url;
    if (view->is_secret)
        (void)snprintf(out, capacity, "%s", text[0] != '\0' ? "***" : "");
    else if (at != NULL && at - text >= kept)
        (void)snprintf(out, capacity, "%.*s***%s", kept, text, at);
    else if (view->is_url && text[0] != '\0' && ms_url_parse(text, &url, NULL) != 0)
        (void)snprintf(out, capacity, "(not a URL)");
    else
        (void)snprintf(out, capacity, "%s", text);
    if (scheme_end != NULL && !is_file)
        out[strcspn(out, "?#")] = '\0';
}

static void origin_of(const struct ms_option_view *view, char *out, size_t capacity) {
    if (view->given != NULL)
        (void)snprintf(out, capacity, "command line");
    else if (view->env[0] != '\0')
        (void)snprintf(out, capacity, "environment: %s", view->env);
    else
        (void)snprintf(out, capacity, "%s", view->text != NULL ? "default" : "not set");
}

/* ---- defaults that depend on the machine ---- */

static char *name_offer(const struct ms_options *options) {
    struct ms_offer offer;
    char *names = NULL;
    int rc = ms_offer_gather(options, &offer, NULL);
    for (int i = 0; rc == 0 && i < offer.count; i++) {
        char *longer =
            ms_strdupf("%s%s%s", i > 0 ? names : "", i > 0 ? "," : "", offer.models[i].name);
        free(names);
        names = longer;
        rc = names != NULL ? 0 : MS_ENOMEM;
    }
    ms_offer_fini(&offer);
    return names;
}

/* Defaults that option_table.c cannot hold, because they depend on the machine or on other options.
 * The caller frees it; NULL: there is none. */
static char *default_of(const struct ms_options *options, int id) {
    const char *store = NULL;
    char *text = NULL;
    int rc = 0;
    switch (id) {
    case MS_OPTION_MODELS_DIR: rc = ms_models_dir(NULL, &text, NULL); break;
    case MS_OPTION_MODEL_OUT:
        rc = ms_models_dir(ms_options_string(options, MS_OPTION_MODELS_DIR), &text, NULL);
        break;
    case MS_OPTION_DATA:
    case MS_OPTION_CACHE:
    case MS_OPTION_SCRATCH:
        rc = ms_service_place(options, (enum ms_option_id)id, &text, NULL);
        break;
    case MS_OPTION_HOST: text = strdup(ms_service_host(options)); break;
    case MS_OPTION_OFFER: text = name_offer(options); break;
    case MS_OPTION_S3_ENDPOINT:
        store = ms_service_store(options).url;
        if (store != NULL && strncmp(store, "s3:", 3) == 0)
            text = ms_strdupf("https://s3.%s.amazonaws.com",
                              ms_options_string(options, MS_OPTION_S3_REGION));
        break;
    default: break;
    }
    return rc == 0 ? text : NULL;
}

/* ---- rows ---- */

/* One row; false: nothing to show. */
static bool row(const struct ms_options *options, int id, const char **name, char value[1100],
                char origin[200]) {
    struct ms_option_view view;
    if (id == MS_OPTION_HELP || id == MS_OPTION_JSON || !ms_options_view(options, id, &view))
        return false;
    *name = view.name;
    char *text = view.text == NULL ? default_of(options, id) : NULL;
    origin_of(&view, origin, 200);
    if (text != NULL)
        (void)snprintf(origin, 200, "default");
    mask(&view, text != NULL ? text : view.text != NULL ? view.text : "", value, 1100);
    free(text);
    if (id == MS_OPTION_STORE && view.text == NULL && ms_service_store(options).url != NULL) {
        (void)snprintf(value, 1100, "%s", ms_service_store(options).url);
        (void)snprintf(origin, 200, "follows from s3-endpoint");
    }
    return true;
}

static void show(const struct ms_options *options, const char *command,
                 struct ms_json_writer *writer) {
    const char *name = NULL;
    if (writer == NULL)
        (void)printf("%s:\n", command);
    else
        ms_json_begin_object(writer, command);
    char value[1100];
    char origin[200];
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

/* The fault that would end the command itself. Values that are only missing are no fault here. */
static int check(const struct ms_options *options, struct ms_error *err) {
    int rc = ms_service_check(options, false, err);
    if (rc == 0 && ms_options_has(options, MS_OPTION_OFFER) &&
        ms_options_is_set(options, MS_OPTION_OFFER)) {
        struct ms_offer offer;
        rc = ms_offer_gather(options, &offer, err);
        ms_offer_fini(&offer);
    }
    return rc;
}

/* The arguments are those of the shown command, and --json. `wrong` keeps the first fault. */
static int show_command(const struct ms_command *command, const struct ms_call *call,
                        struct ms_json_writer *writer, bool *json, struct ms_error *wrong,
                        struct ms_error *err) {
    enum ms_option_id ids[MS_OPTION_COUNT + 1];
    int count = 0;
    for (const enum ms_option_id *id = command->options; *id != MS_OPTION_COUNT; id++)
        ids[count++] = *id;
    ids[count++] = MS_OPTION_JSON;
    ids[count] = MS_OPTION_COUNT;
    const struct ms_command with_json = {.name = command->name, .options = ids};
    struct ms_call of_command = *call;
    of_command.command = &with_json;
    struct ms_options *options = NULL;
    struct ms_error of_this = {0};
    int rc = ms_options_parse(&of_command, &options, err);
    if (rc != 0)
        return rc;
    *json = ms_options_flag(options, MS_OPTION_JSON);
    if (ms_options_flag(options, MS_OPTION_HELP)) {
        (void)printf("%s\n", call->command->usage);
        ms_options_print_help(call->command, stdout);
    } else {
        show(options, command->name, *json ? writer : NULL);
        if (check(options, &of_this) != 0 && wrong->code == 0)
            *wrong = of_this;
    }
    ms_options_free(options);
    return 0;
}

static int run_config(const struct ms_call *call) {
    const struct ms_command *const services[] = {&ms_cmd_serve, &ms_cmd_work, &ms_cmd_logs};
    struct ms_error err = {0};
    struct ms_error wrong = {0};
    bool named = call->argc > 1 && call->argv[1][0] != '-';
    bool asks_help = call->argc > 1 &&
                     (strcmp(call->argv[1], "--help") == 0 || strcmp(call->argv[1], "-h") == 0);
    bool json = false;
    struct ms_json_writer *writer = ms_json_writer_new();
    int rc = writer != NULL ? 0 : ms_error_set(&err, MS_ENOMEM, "no memory");
    const struct ms_command *command =
        named ? ms_command_find(call->commands, call->argv[1]) : NULL;
    if (rc == 0 && named && command == NULL)
        rc = ms_error_set(&err, MS_EUSAGE,
                          "unknown command \"%s\": msaas --help lists the commands", call->argv[1]);
    if (rc == 0)
        ms_json_begin_object(writer, NULL);
    if (rc == 0 && named) {
        struct ms_call of_command = *call;
        of_command.argc--;
        of_command.argv++;
        rc = show_command(command, &of_command, writer, &json, &wrong, &err);
    }
    for (size_t i = 0; rc == 0 && !named && i < (asks_help ? 1 : 3); i++)
        rc = show_command(services[i], call, writer, &json, &wrong, &err);
    if (rc == 0)
        ms_json_end_object(writer);
    const char *text = rc == 0 && json ? ms_json_writer_text(writer, NULL) : NULL;
    if (text != NULL)
        (void)puts(text);
    ms_json_writer_free(writer);
    (void)fflush(stdout); /* the values first, then the faults */
    if (rc == 0 && wrong.code != 0) {
        struct ms_service none = {0};
        return ms_service_end(&none, wrong.code, &wrong);
    }
    return rc == 0 ? MS_EXIT_OK : ms_cmd_failed(call->argv[0], &err);
}

static const enum ms_option_id option_ids[] = {MS_OPTION_JSON, MS_OPTION_COUNT};

const struct ms_command ms_cmd_config = {
    .name = "config",
    .summary = "show the options that a command would run with",
    .usage = usage,
    .options = option_ids,
    .run = run_config,
};
