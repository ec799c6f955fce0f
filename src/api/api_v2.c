/* /apiv2: jobs and models. On the threads of the pool; the list of models on the loop. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "expiry.h"
#include "handlers.h"
#include "idempotency.h"
#include "job_reply.h"
#include "jobs.h"
#include "link.h"
#include "owner.h"
#include "prefer.h"
#include "query.h"
#include "reply.h"

#define PAGE_JOBS 50
#define MAX_PAGE_JOBS 200

/* ---- POST jobs ---- */

static void reply_accepted(const struct ms_http_call *call, struct ms_api_key *key,
                           const struct ms_job *job) {
    const int wait_s = ms_api_wait_s(call);
    const bool with_owner = ms_api_shows_owner(ms_api_caller(call->exchange));
    char location[128], *json = NULL;
    if (key->answer != NULL)
        json = strdup(key->answer);
    else if (ms_job_to_public_json(job, with_owner, &json, NULL) != 0)
        json = NULL; /* there is no answer, and the client gets 500 */
    ms_api_key_end(call->context, key, json);
    if (json == NULL)
        return;
    (void)snprintf(location, sizeof location, "/apiv2/jobs/%s", job->id);
    ms_http_add_header(call, "Location", location);
    if (wait_s > 0)
        ms_api_reply_job_later(call, job->id, wait_s, 202);
    else
        ms_api_reply_json(call, 202, json);
    free(json);
}

void ms_api_v2_submit(const struct ms_http_call *call) {
    struct ms_api *api = call->context;
    struct ms_song_request request = {0};
    struct ms_job job = {0};
    struct ms_api_key key;
    struct ms_problem problem;
    if (ms_api_key_read(call, &key, &problem) &&
        ms_song_request_v2(ms_http_header(call, "Content-Type"), call->query, call->body,
                           call->body_bytes, api->options.max_song_bytes, &request, &problem) &&
        ms_api_accept(api, call, &request, &key, &job, &problem)) {
        reply_accepted(call, &key, &job);
    } else {
        ms_api_key_end(api, &key, NULL);
        ms_api_reply_problem(call, &problem);
    }
    ms_job_fini(&job);
    ms_song_request_fini(&request);
}

/* ---- GET, DELETE a job ---- */

void ms_api_v2_get(const struct ms_http_call *call) {
    struct ms_job job = {0};
    struct ms_problem problem;
    const int wait_s = ms_api_wait_s(call);
    if (ms_api_find_asked(call, &job, &problem)) {
        ms_api_look_now_and_then(call->context, &job);
        if (wait_s > 0)
            ms_api_reply_job_later(call, job.id, wait_s, 200);
        else
            ms_api_reply_job(call, 200, &job);
    } else {
        ms_api_reply_problem(call, &problem);
    }
    ms_job_fini(&job);
}

static bool may_erase(const struct ms_http_call *call, struct ms_problem *problem) {
    struct ms_job job = {0};
    if (ms_http_header(call, "If-Match") == NULL)
        return true;
    const bool ok =
        ms_api_find_asked(call, &job, problem) && ms_api_job_matches(call, &job, problem);
    ms_job_fini(&job);
    return ok;
}

void ms_api_v2_erase(const struct ms_http_call *call) {
    struct ms_problem problem;
    bool gone;
    if (!may_erase(call, &problem) || !ms_api_erase(call->context, ms_api_caller(call->exchange),
                                                    call->params[0], NULL, &gone, &problem))
        ms_api_reply_problem(call, &problem);
    else if (gone)
        ms_http_reply(call, 204, NULL, NULL, 0);
    else /* when its worker stops, within the time of a segment */
        ms_api_reply_json(call, 202, "{\"state\":\"canceling\"}");
}

/* ---- GET jobs ---- */

static bool read_state(const struct ms_http_call *call, int *out, struct ms_problem *problem) {
    enum ms_job_state state = MS_JOB_QUEUED;
    struct ms_error err = {0};
    *out = -1;
    char *text;
    bool ok = ms_api_query(call, "state", &text, problem);
    if (text != NULL && text[0] != '\0') {
        ok = ms_job_state_parse(text, &state, &err) == 0 ||
             ms_problem_set(problem, 422, "invalid_state", "%.390s", err.text);
        *out = (int)state;
    }
    free(text);
    return ok;
}

static bool read_limit(const struct ms_http_call *call, int *out, struct ms_problem *problem) {
    *out = PAGE_JOBS;
    char *text;
    if (!ms_api_query(call, "limit", &text, problem))
        return false;
    if (text != NULL && text[0] != '\0') {
        const size_t digits = strspn(text, "0123456789");
        *out = digits > 0 && digits < 9 && text[digits] == '\0' ? (int)strtol(text, NULL, 10) : 0;
    }
    free(text);
    return (*out >= 1 && *out <= MAX_PAGE_JOBS) ||
           ms_problem_set(problem, 422, "invalid_limit", "limit: must be from 1 to %d",
                          MAX_PAGE_JOBS);
}

static bool read_cursor(const struct ms_http_call *call, char out[MS_CURSOR_MAX],
                        struct ms_problem *problem) {
    char *text;
    if (!ms_api_query(call, "cursor", &text, problem))
        return false;
    const bool fits = text == NULL || strlen(text) < MS_CURSOR_MAX;
    (void)snprintf(out, MS_CURSOR_MAX, "%s", text != NULL && fits ? text : "");
    free(text);
    return fits || ms_problem_set(problem, 422, "invalid_cursor",
                                  "cursor: must be the \"next_cursor\" of an earlier answer");
}

static bool get_page(struct ms_api *api, const struct ms_queue_filter *filter, struct ms_job *jobs,
                     int *count, char next[MS_CURSOR_MAX], struct ms_problem *problem) {
    struct ms_error err = {0};
    struct ms_api_link *link = ms_api_borrow(api, problem);
    if (link == NULL)
        return false;
    const int rc = ms_queue_list(link->queue, filter, jobs, count, next, &err);
    ms_api_give_back(api, link);
    if (rc == MS_EUSAGE)
        return ms_problem_set(problem, 422, "invalid_cursor",
                              "cursor: must be the \"next_cursor\" of an earlier answer");
    return rc == 0 || ms_problem_of_queue(problem, &err);
}

static bool put_job(FILE *out, const struct ms_job *job, bool with_owner) {
    char *json = NULL;
    const bool ok =
        ms_job_to_public_json(job, with_owner, &json, NULL) == 0 && fputs(json, out) >= 0;
    free(json);
    return ok;
}

/* If memory runs out there is no answer, and the client gets 500. */
static void reply_page(const struct ms_http_call *call, const struct ms_job *jobs, int count,
                       const char *next) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return;
    const bool with_owner = ms_api_shows_owner(ms_api_caller(call->exchange));
    bool ok = fputs("{\"jobs\":[", out) >= 0;
    for (int i = 0; ok && i < count; i++)
        ok = (i == 0 || fputc(',', out) != EOF) && put_job(out, &jobs[i], with_owner);
    if (next[0] != '\0')
        ok = ok && fprintf(out, "],\"next_cursor\":\"%s\"}", next) > 0; /* it contains no quotes */
    else
        ok = ok && fputs("],\"next_cursor\":null}", out) >= 0;
    ok = fclose(out) == 0 && ok;
    if (ok)
        ms_api_reply_json(call, 200, text);
    free(text);
}

void ms_api_v2_list(const struct ms_http_call *call) {
    struct ms_queue_filter filter = {.owner = ms_api_owner_seen(ms_api_caller(call->exchange)),
                                     .state = -1};
    char cursor[MS_CURSOR_MAX], next[MS_CURSOR_MAX] = "";
    int count = 0;
    filter.cursor = cursor;
    struct ms_problem problem;
    if (!read_state(call, &filter.state, &problem) || !read_limit(call, &filter.limit, &problem) ||
        !read_cursor(call, cursor, &problem)) {
        ms_api_reply_problem(call, &problem);
        return;
    }
    struct ms_job *jobs = calloc(MAX_PAGE_JOBS, sizeof *jobs);
    if (jobs == NULL)
        return; /* 500 */
    if (get_page(call->context, &filter, jobs, &count, next, &problem))
        reply_page(call, jobs, count, next);
    else
        ms_api_reply_problem(call, &problem);
    for (int i = 0; i < count; i++)
        ms_job_fini(&jobs[i]);
    free(jobs);
}

/* ---- GET models ---- */

void ms_api_v2_models(const struct ms_http_call *call) {
    const struct ms_api *api = call->context;
    struct ms_json_writer *w = ms_json_writer_new();
    if (w == NULL)
        return; /* 500 */
    ms_json_begin_object(w, NULL);
    ms_json_begin_array(w, "models");
    for (int i = 0; i < api->options.model_count; i++) {
        const struct ms_api_model *model = &api->options.models[i];
        ms_json_begin_object(w, NULL);
        ms_json_put_string(w, "name", model->name);
        ms_json_put_bool(w, "default", i == 0);
        ms_json_put_string(w, "licence", model->licence[0] != '\0' ? model->licence : NULL);
        ms_json_begin_array(w, "stems");
        for (int s = 0; s < model->stem_count; s++)
            ms_json_put_string(w, NULL, model->stems[s]);
        ms_json_end_array(w);
        ms_json_end_object(w);
    }
    ms_json_end_array(w);
    ms_json_end_object(w);
    ms_api_reply_writer(call, 200, w);
}
