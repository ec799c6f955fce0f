/* From options to the configuration of a service. If a value is missing or contradictory, the
 * program ends at its start with one line that names the option and the environment variable. Main
 * thread. */
#include "service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
        ms_log(MS_LOG_WARN, "log lines are not copied to the queue's list: %s", err.text);
}

void ms_service_unship_log(struct ms_logship *logship) {
    ms_log_set_shipper(NULL, NULL);
    ms_logship_free(logship);
}

/* ---- places ---- */

/* A local file or folder that cannot be opened is an error, because waiting does not help. A busy
 * one is fine. */
static int open_places(const struct ms_service *service, struct ms_error *err) {
    char origin[MS_OPTION_ORIGIN_BYTES];
    int rc = 0;
    if (strncmp(service->queue_url, "sqlite:", 7) == 0) {
        struct ms_queue *queue = NULL;
        const char *warning = NULL;
        rc = ms_queue_open(service->queue_url, &queue, err);
        if (rc == 0)
            rc = ms_queue_ping(queue, &warning, err);
        ms_queue_close(queue);
        if (rc == MS_EIO) {
            rc = err->code = MS_EUSAGE;
            ms_error_append(err, "; name a file in a folder with write permission");
        }
        if (rc != 0 && rc != MS_ENET)
            return ms_error_prefix(err, "%s",
                                   ms_options_origin(service->options, MS_OPTION_QUEUE, origin));
    }
    if (service->store.url != NULL && strncmp(service->store.url, "file:", 5) == 0) {
        struct ms_store *store = NULL;
        rc = ms_store_open(&service->store, &store, err);
        ms_store_close(store);
        if (rc == MS_EIO)
            rc = err->code = MS_EUSAGE;
        if (rc != 0)
            return ms_error_prefix(err, "%s",
                                   ms_options_origin(service->options, MS_OPTION_STORE, origin));
    }
    return 0;
}

int ms_service_place(const struct ms_options *options, enum ms_option_id id, char **out,
                     struct ms_error *err) {
    static const struct {
        enum ms_option_id id;
        const char *variable;  /* of the folder above it, */
        const char *otherwise; /* and its default, below HOME unless absolute */
        const char *leaf;
    } places[] = {
        {MS_OPTION_DATA, "XDG_DATA_HOME", ".local/share", "/data"},
        {MS_OPTION_CACHE, "XDG_CACHE_HOME", ".cache", ""},
        {MS_OPTION_SCRATCH, "TMPDIR", "/tmp", ""},
    };
    size_t i = 0;
    while (places[i].id != id)
        i++;
    const char *chosen = ms_options_string(options, id);
    const char *base = getenv(places[i].variable);
    const char *home = getenv("HOME");
    char origin[MS_OPTION_ORIGIN_BYTES];
    if (chosen != NULL)
        *out = strdup(chosen);
    else if (base != NULL && base[0] == '/') /* the XDG rules ignore relative ones */
        *out = ms_strdupf("%s/msaas%s", base, places[i].leaf);
    else if (places[i].otherwise[0] == '/')
        *out = ms_strdupf("%s/msaas%s", places[i].otherwise, places[i].leaf);
    else if (home != NULL && home[0] != '\0')
        *out = ms_strdupf("%s/%s/msaas%s", home, places[i].otherwise, places[i].leaf);
    else
        return ms_error_about(
            err, MS_EUSAGE, ms_options_origin(options, id, origin),
            "cannot find a default, because neither HOME nor %s is set: name a folder",
            places[i].variable);
    return *out != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "no memory for the name of a folder");
}

int ms_service_make_place(const struct ms_options *options, enum ms_option_id id, char **out,
                          struct ms_error *err) {
    int rc = ms_service_place(options, id, out, err);
    if (rc != 0)
        return rc;
    rc = ms_make_dirs(*out, err);
    if (rc == 0 && access(*out, W_OK | X_OK) != 0)
        rc = ms_error_about(err, MS_EIO, *out, "%s", strerror(errno));
    char origin[MS_OPTION_ORIGIN_BYTES];
    return rc == 0 ? 0 : ms_error_prefix(err, "%s", ms_options_origin(options, id, origin));
}

void ms_service_tell_ready(void) {
    const char *text = getenv(MS_SERVICE_READY);
    int fd = text != NULL ? (int)strtol(text, NULL, 10) : -1;
    if (fd <= STDERR_FILENO)
        return;
    ssize_t written = write(fd, "", 1); /* fails when the parent has closed its end */
    (void)written;
    (void)close(fd);
}

const char *ms_service_host(const struct ms_options *options) {
    const char *host = ms_options_string(options, MS_OPTION_HOST);
    const bool of_cluster =
        ms_options_has(options, MS_OPTION_QUEUE); /* only serve and work have it */
    return host != NULL ? host : of_cluster ? "0.0.0.0" : "127.0.0.1";
}

/* ---- beginning and end ---- */

bool ms_service_begin(struct ms_service *service, const struct ms_call *call, const char *role,
                      int *exit_code) {
    struct ms_error err = {0};
    *service = (struct ms_service){0};
    if (!ms_cmd_begin(call, &service->options, exit_code))
        return false;
    (void)ms_cmd_interrupted();
    ms_service_begin_log(service->options, role);
    int rc = 0;
    if (ms_options_argument_count(service->options) > 0)
        rc = ms_error_set(&err, MS_EUSAGE, "%s takes no arguments, but was given \"%s\"",
                          call->argv[0], ms_options_argument(service->options, 0));
    if (rc == 0)
        rc = ms_service_check(service->options, true, &err);
    if (rc == 0) {
        service->queue_url = ms_options_string(service->options, MS_OPTION_QUEUE);
        if (ms_options_has(service->options, MS_OPTION_STORE))
            service->store = ms_service_store(service->options);
        rc = open_places(service, &err);
    }
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
