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
    struct ms_store_options store; /* borrowed strings; not of logs */
};

/* Parses, checks and begins the log; from then on SIGINT and SIGTERM are noted
 * (ms_cmd_interrupted). False: nothing to do, *exit_code is the program's. role: the log's, "rest",
 * "worker", "logs". */
MS_MUST_CHECK bool ms_service_begin(struct ms_service *service, const struct ms_call *call,
                                    const char *role, int *exit_code);
/* Frees the options. Reports err, in one line, where rc is not 0. Having been asked to stop is
 * success. */
int ms_service_end(struct ms_service *service, int rc, const struct ms_error *err);

/* Begins the log as --log-format and --log-level say. */
void ms_service_begin_log(const struct ms_options *options, const char *role);
/* Log lines go to the queue's list too, from now on until ms_service_unship_log; not at all where
 * memory is short. */
void ms_service_ship_log(const struct ms_service *service, struct ms_logship **out);
void ms_service_unship_log(struct ms_logship *logship);

/* Everything about the values of these options that needs no look at files to be written, servers
 * and models: MS_EUSAGE, in one line that names where the wrong value came from and not what it
 * holds. complete: what is missing is wrong too. */
MS_MUST_CHECK int ms_service_check(const struct ms_options *options, bool complete,
                                   struct ms_error *err);
/* The store of serve and work; its url is NULL where none was named. */
struct ms_store_options ms_service_store(const struct ms_options *options);
/* The folder that --data, --cache or --scratch stands for, its default included; the caller's to
 * free. */
MS_MUST_CHECK int ms_service_place(const struct ms_options *options, enum ms_option_id id,
                                   char **out, struct ms_error *err);
/* And makes it, and sees that it can be written. *out is the caller's in any case (NULL: no name).
 */
MS_MUST_CHECK int ms_service_make_place(const struct ms_options *options, enum ms_option_id id,
                                        char **out, struct ms_error *err);
/* A child of `msaas up` tells its parent that nothing is left that could keep it from working. The
 * environment variable MS_SERVICE_READY names the pipe's end, which it writes a byte to and closes;
 * without it nothing happens. */
#define MS_SERVICE_READY "MSAAS_READY_FD"
void ms_service_tell_ready(void);
/* --host, its default included. */
const char *ms_service_host(const struct ms_options *options);

#endif
