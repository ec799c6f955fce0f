/* Answers, and errors in the form of the API that the path belongs to. Functions that may set a
 * problem return true if all went well. */
#ifndef MSAAS_API_REPLY_H
#define MSAAS_API_REPLY_H

#include <stdbool.h>

#include "msaas/http_server.h"
#include "msaas/json.h"
#include "song_request.h"

/* Sets the problem that a failed call to queue or store is for the client, without details, and
 * logs all of them. Always false. */
bool ms_problem_of_queue(struct ms_problem *problem, const struct ms_error *err);
bool ms_problem_of_store(struct ms_problem *problem, const struct ms_error *err);
void ms_api_reply_problem(const struct ms_http_call *call, const struct ms_problem *problem);
void ms_api_reply_json(const struct ms_http_call *call, int status, const char *json);
/* Answers with the JSON of the writer, and frees the writer. */
void ms_api_reply_writer(const struct ms_http_call *call, int status,
                         struct ms_json_writer *writer);
/* Answers 405, where the table of routes cannot tell the methods apart. */
void ms_api_reply_method(const struct ms_http_call *call, const char *allow);
void ms_api_error_body(void *context, const char *path, int status, const char *reason, char *body,
                       size_t capacity, const char **content_type);

#endif
