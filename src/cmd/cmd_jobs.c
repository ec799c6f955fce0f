/* `msaas status`, `queue`, `rm` and `health`: questions to a server about its jobs and itself. Main
 * thread. */
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "msaas/cmd.h"
#include "msaas/sys.h"
#include "msaas/url.h"

#define PAGE_JOBS 100
#define MAX_PAGES 100

static const char status_usage[] =
    "Shows how far jobs have come.\n"
    "\n"
    "Usage: msaas status [OPTIONS] ID...\n"
    "\n"
    "Examples:\n"
    "  msaas status $ID\n"
    "  msaas status --json $ID | jq .state\n"
    "\n"
    "Exit code: 0 shown; 1 no such job, or no server; 2 wrong usage.\n";

static const char queue_usage[] = "Lists the waiting jobs, the next one first.\n"
                                  "\n"
                                  "Usage: msaas queue [OPTIONS]\n"
                                  "\n"
                                  "Examples:\n"
                                  "  msaas queue\n"
                                  "  msaas queue --server http://msaas.example:5000 --json\n"
                                  "\n"
                                  "Exit code: 0 shown; 1 no server; 2 wrong usage.\n";

static const char rm_usage[] =
    "Removes jobs with their songs and stems. A job that waits or runs is canceled.\n"
    "\n"
    "Usage: msaas rm [OPTIONS] ID...\n"
    "\n"
    "Example:\n"
    "  msaas rm $ID\n"
    "\n"
    "Exit code: 0 all removed; 1 at least one was not; 2 wrong usage.\n";

static const char health_usage[] =
    "Asks the msaas on this machine whether it is alive: serve or up, on their admin port\n"
    "if there is one, else work. Meant for the health checks of containers. With a URL it\n"
    "asks the msaas there whether it is ready; that needs no token.\n"
    "\n"
    "Usage: msaas health [OPTIONS] [URL]\n"
    "\n"
    "Examples:\n"
    "  HEALTHCHECK CMD [\"msaas\", \"health\"]\n"
    "  msaas health https://music.example\n"
    "\n"
    "Exit code: 0 alive, or ready; 1 not; 2 wrong usage.\n";

/* ---- status ---- */

static void print_line(const char *label, const char *text) {
    if (text == NULL || text[0] == '\0')
        return;
    (void)printf("  %-10s", label);
    ms_cmd_print_plain(text, stdout);
    (void)putchar('\n');
}

static void print_job(const struct ms_client_job *job) {
    const struct ms_json *input = ms_json_get(job->document, "input");
    const struct ms_json *options = ms_json_get(job->document, "options");
    const struct ms_json *stems = ms_json_get(job->document, "stems");
    int64_t bytes = 0;
    (void)puts(job->id);
    (void)printf("  %-10s%s", "state", job->state);
    if (strcmp(job->state, "running") == 0)
        (void)printf(", %d %%", (int)(job->progress * 100));
    if (strcmp(job->state, "running") == 0 && job->eta_s >= 0 && job->eta_s < 1e6)
        (void)printf(", %d s left", (int)(job->eta_s + 0.5));
    if (job->position >= 0)
        (void)printf(", %lld ahead of it", (long long)job->position);
    (void)putchar('\n');
    print_line("error", job->error);
    print_line("song", ms_json_string(ms_json_get(input, "name")));
    if (ms_json_int(ms_json_get(input, "bytes"), &bytes))
        (void)printf("  %-10s%.1f MB\n", "size", (double)bytes / 1e6);
    print_line("model", ms_json_string(ms_json_get(options, "model")));
    print_line("format", ms_json_string(ms_json_get(options, "format")));
    print_line("created", ms_json_string(ms_json_get(job->document, "created_at")));
    print_line("started", ms_json_string(ms_json_get(job->document, "started_at")));
    print_line("finished", ms_json_string(ms_json_get(job->document, "finished_at")));
    for (const struct ms_json *stem = ms_json_first(stems); stem != NULL; stem = ms_json_next(stem))
        print_line("stem", ms_json_string(ms_json_get(stem, "name")));
}

static int run_status(const struct ms_call *call) {
    struct ms_client client;
    struct ms_error err = {0};
    int exit_code = MS_EXIT_OK;
    if (!ms_client_begin(&client, call, &exit_code))
        return exit_code;
    int rc = ms_client_check_ids(&client, &err);
    for (int i = 0; rc == 0 && i < ms_options_argument_count(client.options); i++) {
        struct ms_client_job job;
        rc = ms_client_get_job(&client, ms_options_argument(client.options, i), &job, &err);
        if (rc == 0 && client.json)
            ms_client_print_json(job.document);
        else if (rc == 0)
            print_job(&job);
        ms_client_job_fini(&job);
        if (rc == MS_ENOTFOUND) {
            ms_report_failed(&client.report, NULL, &err);
            rc = 0;
        }
    }
    return ms_client_end(&client, call->argv[0], rc, &err);
}

static const enum ms_option_id status_option_ids[] = {MS_OPTION_SERVER, MS_OPTION_TOKEN,
                                                      MS_OPTION_JSON, MS_OPTION_COUNT};

const struct ms_command ms_cmd_status = {
    .name = "status",
    .summary = "show how far a job has come",
    .usage = status_usage,
    .options = status_option_ids,
    .run = run_status,
};

/* ---- queue ---- */

struct waiting {
    struct ms_client_job *jobs;
    size_t count;
};

static const char *created_at(const struct ms_client_job *job) {
    const char *text = ms_json_string(ms_json_get(job->document, "created_at"));
    return text != NULL ? text : "";
}

/* Jobs without a position are too far behind to have one: they come last, the oldest first. */
static int by_position(const void *a, const void *b) {
    const struct ms_client_job *x = a;
    const struct ms_client_job *y = b;
    const uint64_t before_x = (uint64_t)x->position, before_y = (uint64_t)y->position;
    if (before_x != before_y)
        return before_x > before_y ? 1 : -1;
    return strcmp(created_at(x), created_at(y));
}

/* Takes the jobs from one page of the list; their documents are copies of its nodes. */
static int add_page(struct ms_client *client, const struct ms_json *list, struct waiting *waiting,
                    struct ms_error *err) {
    size_t count = ms_json_count(list);
    struct ms_client_job *jobs =
        realloc(waiting->jobs, (waiting->count + count + 1) * sizeof *waiting->jobs);
    int rc = 0;
    if (jobs == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the queue");
    waiting->jobs = jobs;
    for (const struct ms_json *node = ms_json_first(list); rc == 0 && node != NULL;
         node = ms_json_next(node)) {
        struct ms_client_job *job = &jobs[waiting->count];
        char *text = ms_json_print(node);
        *job = (struct ms_client_job){0};
        rc = text == NULL ? ms_error_set(err, MS_ENOMEM, "no memory for the queue")
                          : ms_json_parse(text, strlen(text), &job->document, err);
        free(text);
        if (rc == 0) {
            waiting->count++;
            rc = ms_client_read_job(client, job, err);
        }
    }
    return rc;
}

static int read_page(struct ms_client *client, const char *cursor, struct ms_json **page,
                     struct ms_error *err) {
    char *encoded = ms_percent_encode(cursor, false);
    char *path = encoded == NULL ? NULL
                                 : ms_strdupf("/apiv2/jobs?state=queued&limit=%d%s%s", PAGE_JOBS,
                                              cursor[0] != '\0' ? "&cursor=" : "", encoded);
    int rc = path == NULL ? ms_error_set(err, MS_ENOMEM, "no memory for a URL")
                          : ms_client_call(client, path, (struct ms_http_request){.method = "GET"},
                                           page, err);
    free(path);
    free(encoded);
    return rc;
}

static int read_queue(struct ms_client *client, struct waiting *waiting, struct ms_error *err) {
    char cursor[400] = "";
    int rc = 0;
    bool more = true;
    for (int i = 0; rc == 0 && more && i < MAX_PAGES; i++) {
        struct ms_json *page = NULL;
        rc = read_page(client, cursor, &page, err);
        if (rc == 0)
            rc = add_page(client, ms_json_get(page, "jobs"), waiting, err);
        const char *next = ms_json_string(ms_json_get(page, "next_cursor"));
        more = next != NULL && next[0] != '\0' && strlen(next) < sizeof cursor;
        if (more)
            (void)snprintf(cursor, sizeof cursor, "%s", next);
        ms_json_free(page);
    }
    return rc;
}

static void print_queue(const struct ms_client *client, const struct waiting *waiting) {
    for (size_t i = 0; i < waiting->count; i++) {
        const struct ms_client_job *job = &waiting->jobs[i];
        const char *name = ms_json_string(ms_json_get(ms_json_get(job->document, "input"), "name"));
        if (client->json) {
            ms_client_print_json(job->document);
            continue;
        }
        (void)printf("%4zu  %s  ", i + 1, job->id);
        ms_cmd_print_plain(name != NULL ? name : "", stdout);
        (void)putchar('\n');
    }
    if (waiting->count == 0 && !client->json)
        (void)puts("no jobs are waiting");
}

static int run_queue(const struct ms_call *call) {
    struct ms_client client;
    struct waiting waiting = {0};
    struct ms_error err = {0};
    int exit_code = MS_EXIT_OK;
    if (!ms_client_begin(&client, call, &exit_code))
        return exit_code;
    int rc = 0;
    if (ms_options_argument_count(client.options) > 0)
        rc = ms_error_set(&err, MS_EUSAGE,
                          "queue takes no arguments; \"msaas status ID\" shows one job");
    if (rc == 0)
        rc = read_queue(&client, &waiting, &err);
    if (rc == 0 && waiting.count > 0)
        qsort(waiting.jobs, waiting.count, sizeof *waiting.jobs, by_position);
    if (rc == 0)
        print_queue(&client, &waiting);
    for (size_t i = 0; i < waiting.count; i++)
        ms_client_job_fini(&waiting.jobs[i]);
    free(waiting.jobs);
    return ms_client_end(&client, call->argv[0], rc, &err);
}

static const enum ms_option_id queue_option_ids[] = {MS_OPTION_SERVER, MS_OPTION_TOKEN,
                                                     MS_OPTION_JSON, MS_OPTION_COUNT};

const struct ms_command ms_cmd_queue = {
    .name = "queue",
    .summary = "list the waiting jobs",
    .usage = queue_usage,
    .options = queue_option_ids,
    .run = run_queue,
};

/* ---- rm ---- */

static int remove_job(struct ms_client *client, const char *id, struct ms_error *err) {
    char path[100];
    (void)snprintf(path, sizeof path, "/apiv2/jobs/%s", id);
    int rc = ms_client_call(client, path, (struct ms_http_request){.method = "DELETE"}, NULL, err);
    if (rc != 0)
        return rc;
    if (client->json)
        (void)printf("{\"id\":\"%s\",\"removed\":true}\n", id);
    else
        (void)printf("removed %s\n", id);
    return 0;
}

static int run_rm(const struct ms_call *call) {
    struct ms_client client;
    struct ms_error err = {0};
    int exit_code = MS_EXIT_OK;
    if (!ms_client_begin(&client, call, &exit_code))
        return exit_code;
    int rc = ms_client_check_ids(&client, &err);
    for (int i = 0; rc == 0 && i < ms_options_argument_count(client.options); i++) {
        rc = remove_job(&client, ms_options_argument(client.options, i), &err);
        if (rc == MS_ENOTFOUND) {
            ms_report_failed(&client.report, NULL, &err);
            rc = 0;
        }
    }
    return ms_client_end(&client, call->argv[0], rc, &err);
}

static const enum ms_option_id rm_option_ids[] = {MS_OPTION_SERVER, MS_OPTION_TOKEN, MS_OPTION_JSON,
                                                  MS_OPTION_COUNT};

const struct ms_command ms_cmd_rm = {
    .name = "rm",
    .summary = "cancel or erase jobs",
    .usage = rm_usage,
    .options = rm_option_ids,
    .run = run_rm,
};

/* ---- health ---- */

static int ask(struct ms_http_client *http, const char *url, struct ms_error *err) {
    const struct ms_http_request request = {
        .method = "GET", .url = url, .connect_timeout_s = 3, .total_timeout_s = 4};
    struct ms_http_response response;
    int rc = ms_http_send(http, &request, &response, err);
    if (rc == 0 && response.status != 200)
        rc = ms_error_set(err, MS_ENET, "%s answered with status %d: %.*s", url, response.status,
                          (int)(response.body_bytes < 500 ? response.body_bytes : 500),
                          response.body);
    return rc;
}

static int ask_other(struct ms_http_client *http, const char *server, struct ms_error *err) {
    int rc = ms_client_check_url(server, server, err);
    if (rc != 0)
        return rc;
    char *url = ms_client_url(server, "/readyz");
    rc = url != NULL ? ask(http, url, err) : ms_error_set(err, MS_ENOMEM, "no memory for a URL");
    free(url);
    return rc;
}

static int ask_here(struct ms_http_client *http, const char *host, int64_t port,
                    struct ms_error *err) {
    bool any = host == NULL || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
    bool v6 = !any && strchr(host, ':') != NULL;
    char url[300];
    (void)snprintf(url, sizeof url, "http://%s%s%s:%lld/healthz", v6 ? "[" : "",
                   any ? "127.0.0.1" : host, v6 ? "]" : "", (long long)port);
    return ask(http, url, err);
}

static int run_health(const struct ms_call *call) {
    struct ms_options *options = NULL;
    struct ms_options *of_work = NULL; /* because of the variable for its port */
    struct ms_http_client *http = NULL;
    struct ms_error err = {0};
    int exit_code = MS_EXIT_OK;
    if (!ms_cmd_begin(call, &options, &exit_code))
        return exit_code;
    char name[] = "work";
    char *no_words[] = {name, NULL};
    const struct ms_call work = {
        .command = &ms_cmd_work, .commands = call->commands, .argc = 1, .argv = no_words};
    const char *host = ms_options_string(options, MS_OPTION_HOST);
    int rc = ms_http_client_new(&http, &err);
    const int64_t admin = ms_options_int(options, MS_OPTION_ADMIN_PORT);
    const int64_t port = admin > 0 ? admin : ms_options_int(options, MS_OPTION_PORT);
    if (rc == 0 && ms_options_argument_count(options) > 1)
        rc = ms_error_set(&err, MS_EUSAGE, "health takes one URL, or none");
    else if (rc == 0 && ms_options_argument_count(options) == 1)
        rc = ask_other(http, ms_options_argument(options, 0), &err);
    else if (rc == 0 && ask_here(http, host, port, &err) != 0 &&
             (ms_options_parse(&work, &of_work, NULL) != 0 ||
              ask_here(http, host, ms_options_int(of_work, MS_OPTION_WORKER_PORT), NULL) != 0))
        rc = err.code;
    if (rc != 0)
        exit_code = ms_cmd_failed(call->argv[0], &err);
    ms_http_client_free(http);
    ms_options_free(of_work);
    ms_options_free(options);
    return exit_code;
}

static const enum ms_option_id health_option_ids[] = {MS_OPTION_HOST, MS_OPTION_PORT,
                                                      MS_OPTION_ADMIN_PORT, MS_OPTION_COUNT};

const struct ms_command ms_cmd_health = {
    .name = "health",
    .summary = "ask whether the msaas on this machine is alive, or another ready",
    .usage = health_usage,
    .options = health_option_ids,
    .run = run_health,
};
