/* What serve, work and logs share: their configuration, checked before anything starts, and their log. Main thread. */
#ifndef MSAAS_CMD_SERVICE_H
#define MSAAS_CMD_SERVICE_H

#include <stdbool.h>

#include "msaas/logship.h"
#include "msaas/option.h"
#include "msaas/store.h"

struct ms_service {
    struct ms_options *options;
    const char *queue_url;         /* borrowed */
    struct ms_store_options store; /* borrowed strings; not of logs */
};

/* Parses, checks and begins the log; from then on SIGINT and SIGTERM are noted (ms_cmd_interrupted). False: nothing to
 * do, *exit_code is the program's. role: the log's, "rest", "worker", "logs". */
MS_MUST_CHECK bool ms_service_begin(struct ms_service *service, enum ms_command command,
                                    const char *role, const char *usage, int argc, char **argv,
                                    int *exit_code);
/* Frees the options. Reports err, in one line, where rc is not 0. Having been asked to stop is success. */
int ms_service_end(struct ms_service *service, int rc, const struct ms_error *err);

/* Begins the log as --log-format and --log-level say. */
void ms_service_begin_log(const struct ms_options *options, const char *role);
/* Log lines go to the queue's list too, from now on until ms_service_unship_log; not at all where memory is short. */
void ms_service_ship_log(const struct ms_service *service, struct ms_logship **out);
void ms_service_unship_log(struct ms_logship *logship);
/* The folder that `chosen` names, else msaas/LEAF in the directory that the variable names, else in HOME/below; LEAF may
 * be "". The caller's to free. */
MS_MUST_CHECK int ms_service_folder(const char *chosen, const char *variable, const char *below,
                                    const char *leaf, char **out, struct ms_error *err);

#endif
