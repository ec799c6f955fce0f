/* /apiv1: the API of the course, to the letter, so that its clients work unchanged. On the threads
 * of the pool. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "caller.h"
#include "downloads.h"
#include "handlers.h"
#include "jobs.h"
#include "link.h"
#include "msaas/http_range.h"
#include "owner.h"
#include "reply.h"
#include "stems.h"

/* ---- POST separate ---- */

/* curl -d sends everything with the type of a form, so that type is accepted, and so is none. */
static bool is_json_type(const char *type) {
    return type == NULL || *type == '\0' || ms_http_is_media_type(type, "application/json") ||
           ms_http_is_media_type(type, "application/x-www-form-urlencoded");
}

void ms_api_v1_separate(const struct ms_http_call *call) {
    struct ms_api *api = call->context;
    struct ms_song_request request = {0};
    struct ms_job job = {0};
    struct ms_problem problem;
    bool ok = is_json_type(ms_http_header(call, "Content-Type")) ||
              ms_problem_set(&problem, 415, "unsupported_media_type",
                             "the Content-Type must be application/json");
    ok = ok &&
         ms_song_request_v1(call->body, call->body_bytes, api->options.max_song_bytes, &request,
                            &problem) &&
         ms_api_accept(api, call, &request, NULL, &job, &problem);
    if (ok) {
        struct ms_json_writer *w = ms_json_writer_new();
        if (w != NULL) {
            ms_json_begin_object(w, NULL);
            ms_json_put_string(w, "hash", job.id);
            ms_json_put_string(w, "reason", "Song enqueued for separation");
            ms_json_end_object(w);
        }
        ms_api_reply_writer(call, 200, w);
    } else {
        ms_api_reply_problem(call, &problem);
    }
    ms_job_fini(&job);
    ms_song_request_fini(&request);
}

/* ---- GET queue ---- */

struct reader {
    struct ms_waiting_lists *lists;
    struct ms_waiting *list;
    size_t sent_bytes;
};

static int read_queue(void *context, void *buffer, size_t capacity, size_t *size, int *again_ms,
                      struct ms_error *err) {
    struct reader *reader = context;
    *again_ms = 0;
    const int rc = ms_waiting_text(reader->lists, reader->list, reader->sent_bytes, buffer,
                                   capacity, size, err);
    reader->sent_bytes += *size;
    return rc;
}

static void close_queue(void *context) {
    struct reader *reader = context;
    ms_waiting_give_back(reader->lists, reader->list);
    free(reader);
}

static bool get_list(struct ms_api *api, const struct ms_account *caller, struct ms_waiting **out,
                     struct ms_problem *problem) {
    struct ms_error err = {0};
    struct ms_api_link *link = ms_api_borrow(api, problem);
    if (link == NULL)
        return false;
    const int rc = ms_waiting_get(&api->lists, link->queue, ms_api_owner_seen(caller), out, &err);
    ms_api_give_back(api, link);
    return rc == 0 || ms_problem_of_queue(problem, &err);
}

void ms_api_v1_queue(const struct ms_http_call *call) {
    struct ms_api *api = call->context;
    struct ms_problem problem;
    struct reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL)
        return; /* 500 */
    reader->lists = &api->lists;
    if (!get_list(api, ms_api_caller(call->exchange), &reader->list, &problem)) {
        free(reader);
        ms_api_reply_problem(call, &problem);
        return;
    }
    ms_http_add_header(call, "Cache-Control", "no-store");
    const struct ms_http_stream stream = {.length = (int64_t)ms_waiting_text_bytes(reader->list),
                                          .read = read_queue,
                                          .close = close_queue,
                                          .context = reader};
    ms_http_reply_stream(call, 200, "application/json", &stream);
}

/* ---- tracks ---- */

static bool unknown_track(struct ms_problem *problem) {
    return ms_problem_set(problem, 404, "unknown_stem", "there is no such track");
}

/* "bass", "bass.mp3", "base" and "base.mp3" mean "bass". */
static bool read_track(const char *text, char name[MS_JOB_LABEL_MAX], struct ms_problem *problem) {
    size_t length = strlen(text);
    if (length > 4 && strcmp(text + length - 4, ".mp3") == 0)
        length -= 4;
    if (length >= MS_JOB_LABEL_MAX)
        return unknown_track(problem);
    memcpy(name, text, length);
    name[length] = '\0';
    if (strcmp(name, "base") == 0) /* a slip in the client of the course */
        memcpy(name, "bass", 5);
    return ms_job_label_is_valid(name) || unknown_track(problem);
}

/* As MP3, whatever format the song was sent for. */
static bool reply_track(const struct ms_http_call *call, const struct ms_job *job,
                        const struct ms_job_stem *stem, struct ms_problem *problem) {
    const struct ms_render_options options = {.format = "mp3"};
    struct ms_render_plan plan;
    struct ms_error err = {0};
    char disposition[200];
    if (ms_render_plan_stem(job, stem, &options, &plan, &err) != 0)
        return ms_api_refuse_plan(problem, &err);
    (void)snprintf(disposition, sizeof disposition, "attachment; filename=\"%s-%s.mp3\"", job->id,
                   stem->name);
    if (!plan.as_stored)
        return ms_api_reply_render(call, job, &plan, disposition, problem);
    ms_api_reply_stem(call, job, &plan.parts[0], disposition, false);
    return true;
}

void ms_api_v1_track(const struct ms_http_call *call) {
    struct ms_job job = {0};
    struct ms_problem problem;
    const struct ms_job_stem *stem = NULL;
    char name[MS_JOB_LABEL_MAX];
    bool ok = read_track(call->params[1], name, &problem) &&
              ms_api_find_track(call->context, ms_api_caller(call->exchange), call->params[0], name,
                                &job, &problem) &&
              ms_api_is_finished(&job, &problem);
    if (ok) {
        stem = ms_api_stem_of(&job, name);
        ok = stem != NULL || unknown_track(&problem);
    }
    if (!ok || !reply_track(call, &job, stem, &problem))
        ms_api_reply_problem(call, &problem);
    ms_job_fini(&job);
}

void ms_api_v1_remove(const struct ms_http_call *call) {
    struct ms_api *api = call->context;
    if (strcmp(call->method, "HEAD") == 0) { /* GET removes, as in the course; HEAD must not */
        ms_api_reply_method(call, "GET, DELETE");
        return;
    }
    struct ms_problem problem;
    /* A page of somebody else's can have a browser GET anything, as an image or a link, and without
     * Origin. */
    if (ms_api_is_foreign(call)) {
        (void)ms_problem_set(&problem, 403, "foreign_origin",
                             "the request comes from a web page of another origin");
        ms_api_reply_problem(call, &problem);
        return;
    }
    char name[MS_JOB_LABEL_MAX];
    bool gone;
    if (!read_track(call->params[1], name, &problem) ||
        !ms_api_erase(api, ms_api_caller(call->exchange), call->params[0], name, &gone, &problem)) {
        ms_api_reply_problem(call, &problem);
        return;
    }
    struct ms_json_writer *w = ms_json_writer_new();
    if (w != NULL) {
        ms_json_begin_object(w, NULL);
        ms_json_put_string(w, "hash", call->params[0]);
        ms_json_put_string(w, "track", call->params[1]);
        ms_json_put_string(w, "reason", "Track removed");
        ms_json_end_object(w);
    }
    ms_api_reply_writer(call, 200, w);
}
