/* From options to the configuration of a service: what is missing or contradicts itself ends the program at its start
 * with one line that names option and environment variable. Main thread. */
#include "service.h"

#include <stdlib.h>
#include <string.h>

#include "msaas/cmd.h"
#include "msaas/log.h"
#include "msaas/queue.h"
#include "msaas/sys.h"

void ms_service_begin_log(const struct ms_options *options, const char *role) {
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    const char *asked = ms_options_string(options, MS_OPTION_LOG_LEVEL);
    int level = MS_LOG_ERROR;
    while (level > MS_LOG_DEBUG && strcmp(levels[level], asked) != 0)
        level--;
    ms_log_init(role, (enum ms_log_level)level,
                strcmp(ms_options_string(options, MS_OPTION_LOG_FORMAT), "json") == 0);
}

void ms_service_ship_log(const struct ms_service *service, struct ms_logship **out) {
    struct ms_error err = {0};
    if (ms_logship_new(service->queue_url, out, &err) == 0)
        ms_log_set_shipper(ms_logship_line, *out);
    else
        ms_log(MS_LOG_WARN, "log lines do not go to the queue's list: %s", err.text);
}

void ms_service_unship_log(struct ms_logship *logship) {
    ms_log_set_shipper(NULL, NULL);
    ms_logship_free(logship);
}

/* ---- checks -------------------------------------------------------------------------------------------------------- */

static int check_queue(struct ms_service *service, struct ms_error *err) {
    struct ms_queue *queue = NULL;
    service->queue_url = ms_options_string(service->options, MS_OPTION_QUEUE);
    if (service->queue_url == NULL)
        return ms_error_set(err, MS_EUSAGE,
                            "no queue: give --queue or set MSAAS_QUEUE, redis://HOST:6379/0 or "
                            "sqlite:PATH (or set REDIS_URL, or REDIS_HOST)");
    int rc = ms_queue_open(service->queue_url, &queue, err); /* does not connect */
    ms_queue_close(queue);
    return rc == 0 ? 0 : ms_error_prefix(err, "--queue (MSAAS_QUEUE)");
}

static int check_s3(const struct ms_store_options *store, struct ms_error *err) {
    if (store->access_key == NULL)
        return ms_error_set(err, MS_EUSAGE,
                            "--store s3:// needs an access key: give --s3-access-key or set "
                            "AWS_ACCESS_KEY_ID (or MINIO_USER)");
    if (store->secret_key == NULL)
        return ms_error_set(err, MS_EUSAGE,
                            "--store s3:// needs the secret of its access key: give "
                            "--s3-secret-key-file or set AWS_SECRET_ACCESS_KEY (or MINIO_PASSWD)");
    return 0;
}

/* What was said of S3 on the command line beside another store was meant for something. */
static int refuse_s3_options(const struct ms_options *options, struct ms_error *err) {
    static const enum ms_option_id of_s3[] = {
        MS_OPTION_S3_ENDPOINT, MS_OPTION_S3_ACCESS_KEY,    MS_OPTION_S3_SECRET_KEY,
        MS_OPTION_S3_CA_FILE,  MS_OPTION_S3_SESSION_TOKEN, MS_OPTION_S3_VIRTUAL_HOST,
    };
    struct ms_option_view view;
    for (size_t i = 0; i < sizeof of_s3 / sizeof *of_s3; i++)
        if (ms_options_view(options, (int)of_s3[i], &view) && view.given != NULL)
            return ms_error_set(err, MS_EUSAGE,
                                "--%s is for --store s3:// (MSAAS_STORE), which is %s here",
                                view.name, ms_options_string(options, MS_OPTION_STORE));
    return 0;
}

static int check_store(struct ms_service *service, struct ms_error *err) {
    const struct ms_options *options = service->options;
    struct ms_store *store = NULL;
    service->store = (struct ms_store_options){
        .url = ms_options_string(options, MS_OPTION_STORE),
        .endpoint = ms_options_string(options, MS_OPTION_S3_ENDPOINT),
        .region = ms_options_string(options, MS_OPTION_S3_REGION),
        .access_key = ms_options_string(options, MS_OPTION_S3_ACCESS_KEY),
        .secret_key = ms_options_string(options, MS_OPTION_S3_SECRET_KEY),
        .session_token = ms_options_string(options, MS_OPTION_S3_SESSION_TOKEN),
        .virtual_host = ms_options_flag(options, MS_OPTION_S3_VIRTUAL_HOST),
        .ca_file = ms_options_string(options, MS_OPTION_S3_CA_FILE),
        .create_buckets = !ms_options_flag(options, MS_OPTION_NO_CREATE_BUCKETS),
    };
    if (service->store.url == NULL && service->store.endpoint != NULL)
        service->store.url = "s3://";
    if (service->store.url == NULL)
        return ms_error_set(err, MS_EUSAGE,
                            "no store: give --store or set MSAAS_STORE, s3:// or file:DIR (or set "
                            "AWS_ENDPOINT_URL_S3, or MINIO_HOST)");
    int rc = strncmp(service->store.url, "s3:", 3) == 0 ? check_s3(&service->store, err)
                                                        : refuse_s3_options(options, err);
    if (rc != 0)
        return rc;
    rc = ms_store_open(&service->store, &store, err);
    ms_store_close(store);
    return rc == 0 ? 0 : ms_error_prefix(err, "--store (MSAAS_STORE)");
}

/* ---- beginning and end --------------------------------------------------------------------------------------------- */

bool ms_service_begin(struct ms_service *service, enum ms_command command, const char *role,
                      const char *usage, int argc, char **argv, int *exit_code) {
    struct ms_error err = {0};
    *service = (struct ms_service){0};
    if (!ms_cmd_begin(command, usage, argc, argv, &service->options, exit_code))
        return false;
    (void)ms_cmd_interrupted();
    ms_service_begin_log(service->options, role);
    int rc = 0;
    if (ms_options_argument_count(service->options) > 0)
        rc = ms_error_set(&err, MS_EUSAGE, "%s takes no argument; it was given \"%s\"", argv[0],
                          ms_options_argument(service->options, 0));
    if (rc == 0)
        rc = check_queue(service, &err);
    if (rc == 0 && command != MS_CMD_LOGS)
        rc = check_store(service, &err);
    if (rc == 0)
        return true;
    *exit_code = ms_service_end(service, rc, &err);
    return false;
}

int ms_service_end(struct ms_service *service, int rc, const struct ms_error *err) {
    ms_options_free(service->options);
    if (rc == 0 || rc == MS_ECANCELED)
        return MS_EXIT_OK;
    (void)fputs("msaas: ", stderr);
    ms_cmd_print_plain(err->text, stderr);
    (void)fputc('\n', stderr);
    return err->code == MS_EUSAGE ? MS_EXIT_USAGE : MS_EXIT_FAILED;
}

int ms_service_folder(const char *chosen, const char *variable, const char *below, const char *leaf,
                      char **out, struct ms_error *err) {
    const char *base = getenv(variable);
    const char *home = getenv("HOME");
    if (chosen != NULL)
        *out = strdup(chosen);
    else if (base != NULL && base[0] == '/') /* the XDG rules ignore relative ones */
        *out = ms_strdupf("%s/msaas%s%s", base, leaf[0] != '\0' ? "/" : "", leaf);
    else if (below[0] == '/')
        *out = ms_strdupf("%s/msaas%s%s", below, leaf[0] != '\0' ? "/" : "", leaf);
    else if (home != NULL && home[0] != '\0')
        *out = ms_strdupf("%s/%s/msaas%s%s", home, below, leaf[0] != '\0' ? "/" : "", leaf);
    else
        return ms_error_set(err, MS_EUSAGE, "neither HOME nor %s is set: name the folder",
                            variable);
    return *out != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "no memory for the name of a folder");
}
