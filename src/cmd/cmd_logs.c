/* `msaas logs`: the list of log lines in the queue -> standard output, in order, each line once.
 * Main thread. */
#include <stdlib.h>
#include <string.h>

#include "msaas/cmd.h"
#include "msaas/json.h"
#include "msaas/log.h"
#include "msaas/queue.h"
#include "service.h"

static const char usage[] =
    "Prints the log lines of every serve and work process on a queue as they arrive, and\n"
    "removes them from the queue's list. In a cluster, kubectl logs of this pod shows them.\n"
    "\n"
    "Usage: msaas logs [OPTIONS]\n"
    "\n"
    "Examples:\n"
    "  msaas logs --queue redis://redis:6379/0\n"
    "  REDIS_HOST=redis msaas logs --json | jq 'select(.level == \"error\")'\n"
    "\n"
    "--log-format json does what --json does, for its own lines, too.\n"
    "When the queue cannot be reached it waits. Exit code: 0 after SIGTERM or Ctrl-C.\n";

#define WAIT_MS 1000
#define BACKOFF_MS 500
#define BACKOFF_MAX_MS 15000

/* "HOST.ROLE.LEVEL:TEXT"; HOST may hold dots. Anything else is all text. The members are those of
 * the log's own JSON; such lines bear no time of their own, so it is the time at which one came. */
static void print_json(char *line) {
    struct ms_json_writer *writer = ms_json_writer_new();
    char stamp[MS_LOG_STAMP_BYTES];
    char *colon = strchr(line, ':');
    char *level = NULL;
    char *role = NULL;
    if (writer == NULL)
        return;
    ms_log_stamp(stamp);
    ms_json_begin_object(writer, NULL);
    ms_json_put_string(writer, "time", stamp);
    if (colon != NULL) {
        *colon = '\0';
        level = strrchr(line, '.');
        if (level != NULL)
            *level = '\0';
        role = level != NULL ? strrchr(line, '.') : NULL;
        if (role != NULL) {
            *role = '\0';
            ms_json_put_string(writer, "level", level + 1);
            ms_json_put_string(writer, "role", role + 1);
            ms_json_put_string(writer, "host", line);
        } else {
            *colon = ':';
            if (level != NULL)
                *level = '.';
        }
    }
    ms_json_put_string(writer, "message", role != NULL ? colon + 1 : line);
    ms_json_end_object(writer);
    const char *text = ms_json_writer_text(writer, NULL);
    if (text != NULL)
        (void)puts(text);
    ms_json_writer_free(writer);
}

static int print_line(char *line, bool json, struct ms_error *err) {
    if (json) {
        print_json(line);
    } else {
        ms_cmd_print_plain(line, stdout);
        (void)putchar('\n');
    }
    if ((fflush(stdout) != 0 || ferror(stdout)) && ms_cmd_reader_is_gone())
        return ms_error_set(err, MS_ECANCELED, "nobody reads the output any more");
    if (ferror(stdout))
        return ms_error_set(err, MS_EIO, "cannot write to standard output");
    return 0;
}

static int print_all(struct ms_queue *queue, bool json, struct ms_error *err) {
    int backoff_ms = 0;
    while (!atomic_load(ms_cmd_interrupted())) {
        struct ms_error why = {0};
        char *line = NULL;
        int rc = ms_loglist_pop(queue, WAIT_MS, &line, &why);
        if (rc == 0) {
            rc = print_line(line, json, err);
            free(line);
            if (rc != 0)
                return rc;
        }
        if (rc == 0 || rc == MS_ENOTFOUND) {
            if (backoff_ms > 0)
                ms_log(MS_LOG_INFO, "the queue is back");
            backoff_ms = 0;
            continue;
        }
        backoff_ms = backoff_ms == 0                   ? BACKOFF_MS
                     : backoff_ms * 2 < BACKOFF_MAX_MS ? backoff_ms * 2
                                                       : BACKOFF_MAX_MS;
        ms_log(MS_LOG_WARN, "waiting for the queue: %s", why.text);
        (void)ms_cmd_wait_interrupted(backoff_ms);
    }
    return 0;
}

/* The pod of the logs is told once how all logs look. */
static bool wants_json(const struct ms_options *options) {
    return ms_options_flag(options, MS_OPTION_JSON) ||
           strcmp(ms_options_string(options, MS_OPTION_LOG_FORMAT), "json") == 0;
}

static int run_logs(const struct ms_call *call) {
    struct ms_service service;
    struct ms_queue *queue = NULL;
    struct ms_error err = {0};
    int exit_code = MS_EXIT_OK;
    if (!ms_service_begin(&service, call, "logs", &exit_code))
        return exit_code;
    int rc = ms_queue_open(service.queue_url, &queue, &err);
    if (rc == 0)
        rc = print_all(queue, wants_json(service.options), &err);
    ms_queue_close(queue);
    return ms_service_end(&service, rc, &err);
}

static const enum ms_option_id option_ids[] = {
    MS_OPTION_QUEUE, MS_OPTION_LOG_FORMAT, MS_OPTION_LOG_LEVEL, MS_OPTION_JSON, MS_OPTION_COUNT};

const struct ms_command ms_cmd_logs = {
    .name = "logs",
    .summary = "print the service's log as it comes",
    .usage = usage,
    .options = option_ids,
    .run = run_logs,
};
