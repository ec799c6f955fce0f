/* What serve, work and logs share: their configuration, checked before anything starts, and their
 * log. Main thread. */
#ifndef MSAAS_CMD_SERVICE_H
#define MSAAS_CMD_SERVICE_H

#include <stdbool.h>

#include "msaas/logship.h"
#include "msaas/option.h"
#include "msaas/store.h"

struct ms_service {
    struct ms_options *options;
    const char *queue_url;         /* borrowed */
    struct ms_store_options store; /* borrowed strings; logs has no store */
};

/* Parses and checks the options and begins the log. From then on SIGINT and SIGTERM are recorded
 * (ms_cmd_interrupted). role: of the log, "rest", "worker" or "logs". False: there is nothing to do
 * but return *exit_code. */
MS_MUST_CHECK bool ms_service_begin(struct ms_service *service, const struct ms_call *call,
                                    const char *role, int *exit_code);
/* Frees the options, and reports err in one line if rc is not 0. Returns the exit code; being asked
 * to stop is success. */
int ms_service_end(struct ms_service *service, int rc, const struct ms_error *err);

/* Begins the log as --log-format and --log-level say. */
void ms_service_begin_log(const struct ms_options *options, const char *role);
/* From now on until ms_service_unship_log, log lines go to the list in the queue as well. Without
 * memory for that they do not. */
void ms_service_ship_log(const struct ms_service *service, struct ms_logship **out);
void ms_service_unship_log(struct ms_logship *logship);

/* Checks the values of these options, as far as that needs no server, no model and no writing.
 * MS_EUSAGE names where the wrong value came from, but not the value, which may be secret.
 * complete: missing values are errors, too. */
MS_MUST_CHECK int ms_service_check(const struct ms_options *options, bool complete,
                                   struct ms_error *err);
/* What a command that uses ms_service_store has in its list of options. */
#define MS_SERVICE_STORE_OPTIONS                                                                   \
    MS_OPTION_STORE, MS_OPTION_S3_ENDPOINT, MS_OPTION_S3_REGION, MS_OPTION_S3_ACCESS_KEY,          \
        MS_OPTION_S3_SECRET_KEY, MS_OPTION_S3_SESSION_TOKEN, MS_OPTION_S3_VIRTUAL_HOST,            \
        MS_OPTION_S3_CA_FILE, MS_OPTION_NO_CREATE_BUCKETS
/* The store of serve, work and model pull; url is NULL if none is set. */
struct ms_store_options ms_service_store(const struct ms_options *options);
/* *out: the folder of --data, --cache or --scratch, or its default. The caller frees it. */
MS_MUST_CHECK int ms_service_place(const struct ms_options *options, enum ms_option_id id,
                                   char **out, struct ms_error *err);
/* Also makes the folder and checks that it can be written to. The caller frees *out, also after an
 * error. */
MS_MUST_CHECK int ms_service_make_place(const struct ms_options *options, enum ms_option_id id,
                                        char **out, struct ms_error *err);
/* A child of `msaas up` tells its parent that it is ready: it writes a byte to the pipe that the
 * environment variable MS_SERVICE_READY names, and closes it. Without the variable nothing
 * happens. */
#define MS_SERVICE_READY "MSAAS_READY_FD"
void ms_service_tell_ready(void);
/* The value of --host, or its default. */
const char *ms_service_host(const struct ms_options *options);

#endif
