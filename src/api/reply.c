/* The last step of every request: the answer, or an error in the form of the API that the path
 * belongs to. On the threads of the pool; ms_api_error_body also on the loop: it never blocks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/json.h"
#include "msaas/log.h"
#include "msaas/metrics.h"
#include "msaas/queue.h"
#include "msaas/store.h"
#include "reply.h"

/* ---- problems ---- */

/* Details (addresses, paths) are for the log, not for clients. */
static bool problem_of(struct ms_problem *problem, const char *what, const char *code,
                       const struct ms_error *err) {
    if (ms_code_is_transient(err->code) || err->code == MS_EDENIED || err->code == MS_ECANCELED) {
        ms_log(MS_LOG_WARN, "the %s failed: %s", what, err->text);
        (void)ms_problem_set(problem, 503, code, "the %s cannot be reached now; try again later",
                             what);
        problem->retry_after_s = 5;
        return false;
    }
    ms_log(MS_LOG_ERROR, "the %s failed: %s: %s", what, ms_code_name(err->code), err->text);
    return ms_problem_set(problem, 500, "internal", "the server failed; its log says why");
}

bool ms_problem_of_queue(struct ms_problem *problem, const struct ms_error *err) {
    ms_metric_add(&ms_queue_errors, 1, NULL, NULL);
    return problem_of(problem, "queue", "queue_unavailable", err);
}

bool ms_problem_of_store(struct ms_problem *problem, const struct ms_error *err) {
    ms_metric_add(&ms_store_errors, 1, NULL, NULL);
    return problem_of(problem, "store", "store_unavailable", err);
}

static const char *title_of(int status) {
    switch (status) {
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 421: return "Misdirected Request";
    case 422: return "Unprocessable Content";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 460: return "Checksum Mismatch";
    case 503: return "Service Unavailable";
    default: return status < 500 ? "Refused" : "Internal Server Error";
    }
}

/* For errors that the server answers itself. */
static const char *code_of(int status) {
    static const struct {
        int status;
        const char *code;
    } codes[] = {
        {403, "foreign_origin"},    {404, "not_found"},          {405, "method_not_allowed"},
        {408, "request_timeout"},   {411, "length_required"},    {413, "too_large"},
        {414, "uri_too_long"},      {417, "expectation_failed"}, {421, "unknown_host"},
        {429, "too_many_requests"}, {431, "headers_too_large"},  {501, "not_implemented"},
        {503, "overloaded"},        {505, "http_version"},
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i].status == status)
            return codes[i].code;
    return status < 500 ? "bad_request" : "internal";
}

static bool is_v2(const char *path) {
    return strcmp(path, "/apiv2") == 0 || strncmp(path, "/apiv2/", 7) == 0;
}

static const char *body_of(struct ms_json_writer *w, const char *path, int status, const char *code,
                           const char *text) {
    ms_json_begin_object(w, NULL);
    if (is_v2(path)) {
        ms_json_put_string(w, "type", "about:blank");
        ms_json_put_string(w, "title", title_of(status));
        ms_json_put_int(w, "status", status);
        ms_json_put_string(w, "code", code);
        ms_json_put_string(w, "detail", text);
    } else {
        ms_json_put_string(w, "reason", text);
    }
    ms_json_end_object(w);
    const char *body = ms_json_writer_text(w, NULL);
    return body != NULL ? body : "{\"reason\":\"no memory\"}";
}

static const char *type_of(const char *path) {
    return is_v2(path) ? "application/problem+json" : "application/json";
}

void ms_api_error_body(void *context, const char *path, int status, const char *reason, char *body,
                       size_t capacity, const char **content_type) {
    struct ms_json_writer *w = ms_json_writer_new();
    (void)context;
    *content_type = type_of(path);
    (void)snprintf(body, capacity, "%s",
                   w != NULL ? body_of(w, path, status, code_of(status), reason)
                             : "{\"reason\":\"no memory\"}");
    ms_json_writer_free(w);
}

void ms_api_reply_problem(const struct ms_http_call *call, const struct ms_problem *problem) {
    struct ms_json_writer *w = ms_json_writer_new();
    if (w == NULL)
        return; /* without an answer, the client gets 500 */
    if (problem->retry_after_s > 0) {
        char seconds[16];
        (void)snprintf(seconds, sizeof seconds, "%d", problem->retry_after_s);
        ms_http_add_header(call, "Retry-After", seconds);
    }
    const char *body = body_of(w, call->path, problem->status, problem->code, problem->text);
    ms_http_reply(call, problem->status, type_of(call->path), body, strlen(body));
    ms_json_writer_free(w);
}

void ms_api_reply_method(const struct ms_http_call *call, const char *allow) {
    struct ms_problem problem;
    (void)ms_problem_set(&problem, 405, "method_not_allowed", "this method is not allowed here");
    ms_http_add_header(call, "Allow", allow);
    ms_api_reply_problem(call, &problem);
}

/* ---- answers ---- */

void ms_api_reply_json(const struct ms_http_call *call, int status, const char *json) {
    ms_http_add_header(call, "Cache-Control", "no-store");
    ms_http_reply(call, status, "application/json", json, strlen(json));
}

void ms_api_reply_writer(const struct ms_http_call *call, int status,
                         struct ms_json_writer *writer) {
    const char *json = writer != NULL ? ms_json_writer_text(writer, NULL) : NULL;
    if (json != NULL)
        ms_api_reply_json(call, status, json);
    ms_json_writer_free(writer);
}
