/* What the client commands share: the server that they talk to, calls to it, jobs as it shows them.
 * Main thread. */
#ifndef MSAAS_CMD_CLIENT_H
#define MSAAS_CMD_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "msaas/http_client.h"
#include "msaas/json.h"
#include "msaas/option.h"
#include "report.h"

struct ms_client {
    struct ms_options *options;
    struct ms_http_client *http;
    char *server; /* --server without a slash at its end */
    struct ms_report report;
    bool json;
};

/* Parses the command line and makes the client. False: nothing to do, *exit_code is the program's.
 */
MS_MUST_CHECK bool ms_client_begin(struct ms_client *client, const struct ms_call *call,
                                   int *exit_code);
/* Whether --server is a URL that can be talked to. */
MS_MUST_CHECK int ms_client_check_server(const struct ms_options *options, struct ms_error *err);
/* Reports err where rc is not 0, frees everything; returns the exit code. */
int ms_client_end(struct ms_client *client, const char *command_name, int rc,
                  const struct ms_error *err);

/* Sends a request to `path` below the server (request->url is set here). *out: the answer's JSON,
 * the caller's, NULL for an empty answer; out may be NULL. An answer that is an error is one here,
 * with the server's own words. */
MS_MUST_CHECK int ms_client_call(struct ms_client *client, const char *path,
                                 struct ms_http_request request, struct ms_json **out,
                                 struct ms_error *err);
/* Makes what ms_http_send returned one that says where no server was, and what to do. */
int ms_client_unreachable(const struct ms_client *client, int rc, struct ms_error *err);

struct ms_client_job { /* borrowed from document, but that */
    struct ms_json *document;
    const char *id, *state;
    double progress;   /* 0..1 */
    double eta_s;      /* < 0: not known */
    int64_t position;  /* < 0: not waiting */
    const char *error; /* NULL: none */
    const char *error_code;
};
MS_MUST_CHECK int ms_client_get_job(struct ms_client *client, const char *id,
                                    struct ms_client_job *job, struct ms_error *err);
/* Reads the job's fields from job->document: MS_ECORRUPT. */
MS_MUST_CHECK int ms_client_read_job(const struct ms_client *client, struct ms_client_job *job,
                                     struct ms_error *err);
void ms_client_job_fini(struct ms_client_job *job);
/* Until the job has ended, with a bar; a server that is away for a while is waited for. An end
 * other than success is MS_EINPUT, with the job's error. */
MS_MUST_CHECK int ms_client_wait(struct ms_client *client, const char *id,
                                 struct ms_client_job *job, struct ms_error *err);
/* What a job that ended without success says. */
int ms_client_job_failed(const struct ms_client_job *job, struct ms_error *err);

/* One line of JSON on standard output, at once. */
void ms_client_print_json(const struct ms_json *node);
/* Every argument is a job's ID, and there is at least one. */
MS_MUST_CHECK int ms_client_check_ids(const struct ms_client *client, struct ms_error *err);

#endif
