/* What the client commands share: the server that they talk to, requests to it, and jobs as it
 * describes them. Main thread. */
#ifndef MSAAS_CMD_CLIENT_H
#define MSAAS_CMD_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "msaas/file_name.h"
#include "msaas/http_client.h"
#include "msaas/json.h"
#include "msaas/option.h"
#include "report.h"

struct ms_client {
    struct ms_options *options;
    struct ms_http_client *http;
    char *server;        /* --server without a slash at its end */
    char *authorization; /* the header with the token; NULL: there is no token */
    struct ms_report report;
    bool json;
};

/* Parses the command line and makes the client. False: there is nothing to do but return
 * *exit_code. */
MS_MUST_CHECK bool ms_client_begin(struct ms_client *client, const struct ms_call *call,
                                   int *exit_code);
/* Whether `server` is the URL of one; `whence` names it in the error. */
MS_MUST_CHECK int ms_client_check_url(const char *server, const char *whence, struct ms_error *err);
/* The server's URL without slashes at its end, and `path` behind it. The caller frees it. NULL: no
 * memory. */
char *ms_client_url(const char *server, const char *path);
/* Whether --server is a usable URL, and the token fit for a header. */
MS_MUST_CHECK int ms_client_check_server(const struct ms_options *options, struct ms_error *err);
/* Reports err if rc is not 0 and frees the client. Returns the exit code. */
int ms_client_end(struct ms_client *client, const char *command_name, int rc,
                  const struct ms_error *err);

/* Sends a request to `path` on the server; request->url is set here. *out: the JSON of the answer,
 * owned by the caller; NULL if the answer is empty. out may be NULL. If the server answers with an
 * error, that is the error, in its words. */
MS_MUST_CHECK int ms_client_call(struct ms_client *client, const char *path,
                                 struct ms_http_request request, struct ms_json **out,
                                 struct ms_error *err);
/* Sends a request to an address on the server, with the token. As ms_http_send. */
MS_MUST_CHECK int ms_client_send(struct ms_client *client, struct ms_http_request request,
                                 struct ms_http_response *response, struct ms_error *err);
/* The error that an answer with this status is, in the words of its body. Returns its code. */
int ms_client_refused(const struct ms_client *client, int status, const char *body, size_t size,
                      struct ms_error *err);
/* If rc (of ms_client_send) is MS_ENET, replaces the error by one that says which server cannot be
 * reached, and what to do. Returns rc. */
int ms_client_unreachable(const struct ms_client *client, int rc, struct ms_error *err);

struct ms_client_job { /* strings are borrowed from document */
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
/* Waits until the job has ended, and shows a progress bar. It also waits for a server that cannot
 * be reached for a while. MS_EINPUT with the error of the job if it did not succeed. */
MS_MUST_CHECK int ms_client_wait(struct ms_client *client, const char *id,
                                 struct ms_client_job *job, struct ms_error *err);
/* The error of a job that ended without success. */
int ms_client_job_failed(const struct ms_client_job *job, struct ms_error *err);

/* Which of --wav, --mp3 and so on was given; NULL: none. MS_EUSAGE: more than one. */
MS_MUST_CHECK int ms_client_format(const struct ms_options *options, const char **format,
                                   struct ms_error *err);
/* The job's song as the name of a file or folder; without a name, the job's id. */
void ms_client_song_name(const struct ms_client_job *job, char out[MS_FILE_NAME_BYTES]);

/* Prints one line of JSON on standard output and flushes it. */
void ms_client_print_json(const struct ms_json *node);
/* Checks that every argument is the ID of a job, and that there is one. */
MS_MUST_CHECK int ms_client_check_ids(const struct ms_client *client, struct ms_error *err);

#endif
