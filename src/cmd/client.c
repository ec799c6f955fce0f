/* The client commands talk to the server here: HTTP request -> JSON -> job, and waiting for a job.
 * Text from the server reaches the terminal without control characters. Main thread. */
#include "client.h"

#include <stdlib.h>
#include <string.h>

#include "msaas/cmd.h"
#include "msaas/job.h"
#include "msaas/sys.h"
#include "msaas/url.h"

#define MAX_HEADERS 14
#define POLL_MS 300 /* between two requests for a job, at first */
#define POLL_MAX_MS 2000
#define PATIENCE_S 120 /* how long to wait for a server that does not answer */

static bool is_fit_for_header(const char *token) {
    for (; *token > ' ' && *token < 0x7f; token++)
        ;
    return *token == '\0';
}

int ms_client_check_url(const char *server, const char *whence, struct ms_error *err) {
    struct ms_url url;
    if (ms_url_parse(server, &url, NULL) == 0 &&
        (strcmp(url.scheme, "http") == 0 || strcmp(url.scheme, "https") == 0) &&
        url.host[0] != '\0')
        return 0;
    return ms_error_about(err, MS_EUSAGE, whence, "must be http://HOST:PORT or https://HOST:PORT");
}

char *ms_client_url(const char *server, const char *path) {
    size_t length = strlen(server);
    while (length > 0 && server[length - 1] == '/')
        length--;
    return ms_strdupf("%.*s%s", (int)length, server, path);
}

int ms_client_check_server(const struct ms_options *options, struct ms_error *err) {
    const char *token = ms_options_string(options, MS_OPTION_TOKEN);
    if (token != NULL && !is_fit_for_header(token)) {
        char whence[MS_OPTION_ORIGIN_BYTES];
        return ms_error_about(err, MS_EUSAGE, ms_options_origin(options, MS_OPTION_TOKEN, whence),
                              "must be one token, without blanks or line breaks");
    }
    char origin[MS_OPTION_ORIGIN_BYTES];
    return ms_client_check_url(ms_options_string(options, MS_OPTION_SERVER),
                               ms_options_origin(options, MS_OPTION_SERVER, origin), err);
}

static int init(struct ms_client *client, struct ms_error *err) {
    int rc = ms_client_check_server(client->options, err);
    if (rc != 0)
        return rc;
    client->server = ms_client_url(ms_options_string(client->options, MS_OPTION_SERVER), "");
    const char *token = ms_options_string(client->options, MS_OPTION_TOKEN);
    if (token != NULL)
        client->authorization = ms_strdupf("Authorization: Bearer %s", token);
    if (client->server == NULL || (token != NULL && client->authorization == NULL))
        return ms_error_set(err, MS_ENOMEM, "no memory for a name");
    (void)ms_cmd_interrupted();
    return ms_http_client_new(&client->http, err);
}

bool ms_client_begin(struct ms_client *client, const struct ms_call *call, int *exit_code) {
    struct ms_error err = {0};
    *client = (struct ms_client){0};
    if (!ms_cmd_begin(call, &client->options, exit_code))
        return false;
    client->json = ms_options_flag(client->options, MS_OPTION_JSON);
    struct ms_option_view quiet;
    ms_report_init(&client->report, client->json,
                   ms_options_view(client->options, MS_OPTION_QUIET, &quiet) && quiet.text != NULL,
                   false);
    int rc = init(client, &err);
    if (rc == 0)
        return true;
    *exit_code = ms_client_end(client, call->argv[0], rc, &err);
    return false;
}

int ms_client_end(struct ms_client *client, const char *command_name, int rc,
                  const struct ms_error *err) {
    int exit_code = client->report.failures > 0 ? MS_EXIT_FAILED : MS_EXIT_OK;
    ms_report_clear(&client->report);
    if (rc != 0)
        exit_code = ms_cmd_failed(command_name, err);
    ms_http_client_free(client->http);
    free(client->server);
    free(client->authorization);
    ms_options_free(client->options);
    return exit_code;
}

/* ---- calls ---- */

int ms_client_send(struct ms_client *client, struct ms_http_request request,
                   struct ms_http_response *response, struct ms_error *err) {
    const char *headers[MAX_HEADERS + 2] = {NULL};
    int count = 0;
    for (; request.headers != NULL && request.headers[count] != NULL; count++) {
        if (count == MAX_HEADERS)
            return ms_error_set(err, MS_EINTERNAL, "more than %d headers", MAX_HEADERS);
        headers[count] = request.headers[count];
    }
    headers[count] = client->authorization; /* NULL: the end */
    request.headers = headers;
    return ms_http_send(client->http, &request, response, err);
}

int ms_client_unreachable(const struct ms_client *client, int rc, struct ms_error *err) {
    if (rc != MS_ENET)
        return rc;
    char server[300];
    ms_url_public(client->server, server, sizeof server);
    char why[sizeof err->text];
    (void)snprintf(why, sizeof why, "%s", err->text);
    return ms_error_set(err, rc,
                        "cannot reach a server at %s: start one with \"msaas up\", or name "
                        "another with --server URL or MSAAS_SERVER (%s)",
                        server, why);
}

/* The first of the names that is a string in the object. */
static const char *string_of(const struct ms_json *object, const char *a, const char *b) {
    const char *text = ms_json_string(ms_json_get(object, a));
    return text != NULL ? text : ms_json_string(ms_json_get(object, b));
}

int ms_client_refused(const struct ms_client *client, int status, const char *body, size_t size,
                      struct ms_error *err) {
    int code = status == 404                    ? MS_ENOTFOUND
               : status == 413                  ? MS_ETOOLARGE
               : status == 409                  ? MS_ECONFLICT
               : status == 503 || status == 429 ? MS_ENET
               : status == 401 || status == 403 ? MS_EDENIED
               : status >= 500                  ? MS_EINTERNAL
                                                : MS_EINPUT;
    struct ms_json *problem = NULL;
    char server[300];
    ms_url_public(client->server, server, sizeof server);
    if (size > 0 && ms_json_parse(body, size, &problem, NULL) == 0 &&
        string_of(problem, "detail", "reason") != NULL) {
        const char *title = ms_json_string(ms_json_get(problem, "code"));
        (void)ms_error_set(err, code, "%s says: %s (%d%s%s)", server,
                           string_of(problem, "detail", "reason"), status, title != NULL ? " " : "",
                           title != NULL ? title : "");
    } else {
        (void)ms_error_set(err, code, "%s answered with status %d, but not as an msaas server does",
                           server, status);
    }
    if (status == 401)
        ms_error_append(err, "; the token for it goes into MSAAS_TOKEN, or into a file for "
                             "--token-file");
    ms_json_free(problem);
    return code;
}

int ms_client_call(struct ms_client *client, const char *path, struct ms_http_request request,
                   struct ms_json **out, struct ms_error *err) {
    char *url = ms_strdupf("%s%s", client->server, path);
    if (url == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a URL");
    request.url = url;
    request.cancel = ms_cmd_interrupted();
    struct ms_http_response response;
    int rc = ms_client_unreachable(client, ms_client_send(client, request, &response, err), err);
    if (rc == 0 && (response.status < 200 || response.status > 299))
        rc = ms_client_refused(client, response.status, response.body, response.body_bytes, err);
    if (rc == 0 && out != NULL) {
        *out = NULL;
        if (response.body_bytes > 0 &&
            ms_json_parse(response.body, response.body_bytes, out, err) != 0) {
            char server[300];
            ms_url_public(client->server, server, sizeof server);
            rc = ms_error_set(err, MS_ECORRUPT, "%s is not an msaas server: its answer is not JSON",
                              server);
        }
    }
    free(url);
    return rc;
}

/* ---- jobs ---- */

int ms_client_read_job(const struct ms_client *client, struct ms_client_job *job,
                       struct ms_error *err) {
    const struct ms_json *error = ms_json_get(job->document, "error");
    char server[300];
    ms_url_public(client->server, server, sizeof server);
    job->id = ms_json_string(ms_json_get(job->document, "id"));
    job->state = ms_json_string(ms_json_get(job->document, "state"));
    enum ms_job_state state;
    if (job->id == NULL || !ms_job_id_is_valid(job->id) || job->state == NULL ||
        ms_job_state_parse(job->state, &state, NULL) != 0)
        return ms_error_set(err, MS_ECORRUPT, "%s is not an msaas server: its answer is not a job",
                            server);
    if (!ms_json_double(ms_json_get(job->document, "progress"), &job->progress) ||
        !(job->progress >= 0 && job->progress <= 1))
        job->progress = 0;
    if (!ms_json_double(ms_json_get(job->document, "eta_seconds"), &job->eta_s))
        job->eta_s = -1;
    if (!ms_json_int(ms_json_get(job->document, "position"), &job->position))
        job->position = -1;
    job->error = ms_json_string(ms_json_get(error, "message"));
    job->error_code = ms_json_string(ms_json_get(error, "code"));
    return 0;
}

int ms_client_get_job(struct ms_client *client, const char *id, struct ms_client_job *job,
                      struct ms_error *err) {
    *job = (struct ms_client_job){0};
    char path[100];
    (void)snprintf(path, sizeof path, "/apiv2/jobs/%s", id);
    int rc = ms_client_call(client, path, (struct ms_http_request){.method = "GET"}, &job->document,
                            err);
    return rc == 0 ? ms_client_read_job(client, job, err) : rc;
}

void ms_client_job_fini(struct ms_client_job *job) {
    ms_json_free(job->document);
    *job = (struct ms_client_job){0};
}

void ms_client_song_name(const struct ms_client_job *job, char out[MS_FILE_NAME_BYTES]) {
    const char *name = ms_json_string(ms_json_get(ms_json_get(job->document, "input"), "name"));
    ms_file_name(name != NULL ? name : "", out);
    if (out[0] == '\0')
        (void)snprintf(out, MS_FILE_NAME_BYTES, "%s", job->id);
}

int ms_client_job_failed(const struct ms_client_job *job, struct ms_error *err) {
    if (strcmp(job->state, "expired") == 0)
        return ms_error_set(err, MS_EINPUT,
                            "job %s expired: its stems are gone from the server's store; send the "
                            "song again",
                            job->id);
    if (job->error == NULL)
        return ms_error_set(err, MS_EINPUT, "job %s was %s", job->id, job->state);
    return ms_error_set(err, MS_EINPUT, "job %s %s: %s (%s)", job->id, job->state, job->error,
                        job->error_code != NULL ? job->error_code : "no code");
}

static void show(struct ms_client *client, const struct ms_client_job *job) {
    char note[60] = "running";
    if (job->position >= 0)
        (void)snprintf(note, sizeof note, "waiting, %lld ahead of it", (long long)job->position);
    else if (strcmp(job->state, "queued") == 0)
        (void)snprintf(note, sizeof note, "waiting");
    ms_report_bar(&client->report, job->progress, note, job->eta_s);
}

int ms_client_wait(struct ms_client *client, const char *id, struct ms_client_job *job,
                   struct ms_error *err) {
    int wait_ms = POLL_MS;
    double heard_s = ms_monotonic_s();
    for (;;) {
        int rc = ms_client_get_job(client, id, job, err);
        if (rc != 0 && (rc != MS_ENET || ms_monotonic_s() - heard_s > PATIENCE_S)) {
            ms_report_clear(&client->report);
            return rc;
        }
        if (rc == 0) {
            bool ended = strcmp(job->state, "queued") != 0 && strcmp(job->state, "running") != 0;
            heard_s = ms_monotonic_s();
            if (!ended)
                show(client, job);
            else
                ms_report_clear(&client->report);
            if (ended)
                return strcmp(job->state, "succeeded") == 0 ? 0 : ms_client_job_failed(job, err);
        }
        ms_client_job_fini(job);
        if (ms_cmd_wait_interrupted(wait_ms)) {
            ms_report_clear(&client->report);
            return ms_error_set(err, MS_ECANCELED, "interrupted");
        }
        wait_ms = wait_ms * 5 / 4 < POLL_MAX_MS ? wait_ms * 5 / 4 : POLL_MAX_MS;
    }
}

/* ---- command line and terminal ---- */

int ms_client_format(const struct ms_options *options, const char **format, struct ms_error *err) {
    static const struct {
        enum ms_option_id id;
        const char *name;
    } formats[] = {
        {MS_OPTION_WAV, "wav"},   {MS_OPTION_MP3, "mp3"}, {MS_OPTION_FLAC, "flac"},
        {MS_OPTION_OPUS, "opus"}, {MS_OPTION_M4A, "m4a"},
    };
    *format = NULL;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (!ms_options_flag(options, formats[i].id))
            continue;
        if (*format != NULL)
            return ms_error_set(err, MS_EUSAGE, "--%s and --%s exclude each other", *format,
                                formats[i].name);
        *format = formats[i].name;
    }
    return 0;
}

void ms_client_print_json(const struct ms_json *node) {
    char *text = ms_json_print(node);
    if (text != NULL)
        (void)puts(text);
    (void)fflush(stdout);
    free(text);
}

int ms_client_check_ids(const struct ms_client *client, struct ms_error *err) {
    int count = ms_options_argument_count(client->options);
    if (count == 0)
        return ms_error_set(err, MS_EUSAGE, "name a job by its ID, as printed by msaas submit");
    for (int i = 0; i < count; i++)
        if (!ms_job_id_is_valid(ms_options_argument(client->options, i)))
            return ms_error_set(err, MS_EUSAGE,
                                "\"%s\" is not a job ID: an ID has %d digits, 0-9 and a-f",
                                ms_options_argument(client->options, i), MS_JOB_ID_HEX - 1);
    return 0;
}
