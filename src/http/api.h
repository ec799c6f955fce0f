/* What the files of the API share. A handler reads the request, asks queue and store over a link that it borrows, answers; when something is
 * wrong it fills in a problem, which is answered in the form of the path's API. Functions that may end in a problem return true when all went well. */
#ifndef MSAAS_HTTP_API_ROOM_H
#define MSAAS_HTTP_API_ROOM_H

#include <pthread.h>
#include <stdbool.h>

#include "msaas/api.h"
#include "msaas/json.h"
#include "msaas/queue.h"
#include "song_request.h"

#define MS_API_ROUTES 24

struct ms_api_link { /* one thread's way to queue and store */
    struct ms_queue *queue;
    struct ms_store *store;
    struct ms_api_link *next;
};

struct ms_api {
    struct ms_api_options options;
    struct ms_http_route routes[MS_API_ROUTES];
    atomic_bool draining;
    atomic_bool warned; /* of a queue that may lose jobs */

    pthread_mutex_t lock;
    struct ms_api_link *idle;
    bool probing; /* one probe at a time; the last one found: */
    bool ready;
    struct ms_problem unready;
    double waiting_at_s; /* when `waiting` was looked up; 0: never */
    int64_t waiting;
};

/* ---- links (api.c) ---------------------------------------------------------------------------------------------- */
struct ms_api_link *ms_api_borrow(struct ms_api *api,
                                  struct ms_problem *problem); /* NULL: problem */
void ms_api_give_back(struct ms_api *api, struct ms_api_link *link);

/* ---- answers (reply.c) ----------------------------------------------------------------------------------------- */
/* What a failed call of queue or store means to the client, told in the log in full and to the client without details. Always false. */
bool ms_problem_of_queue(struct ms_problem *problem, const struct ms_error *err);
bool ms_problem_of_store(struct ms_problem *problem, const struct ms_error *err);
void ms_api_reply_problem(const struct ms_http_call *call, const struct ms_problem *problem);
void ms_api_reply_json(const struct ms_http_call *call, int status, const char *json);
/* Answers with what the writer holds, and frees it. */
void ms_api_reply_writer(const struct ms_http_call *call, int status,
                         struct ms_json_writer *writer);
/* 405 for a method that the route table cannot tell apart. */
void ms_api_reply_method(const struct ms_http_call *call, const char *allow);
void ms_api_error_body(void *context, const char *path, int status, const char *reason, char *body,
                       size_t capacity, const char **content_type);
void ms_api_done(void *context, const char *method, const char *route, const char *path, int status,
                 double seconds, int64_t sent_bytes, const char *request_id, const char *peer);

/* ---- jobs (jobs.c), the same for both versions ------------------------------------------------------------------ */
/* Checks the request, stores the song, puts the job into the queue. *now: the job as it is then, the caller's to ms_job_fini. */
bool ms_api_accept(struct ms_api *api, struct ms_song_request *request, struct ms_job *now,
                   struct ms_problem *problem);
/* 404 for what is no id as well. *job is the caller's. */
bool ms_api_find(struct ms_api *api, const char *id, struct ms_job *job,
                 struct ms_problem *problem);
/* The job, or one stem of it (NULL: all), with its objects. *gone: at once; else when its worker lets go of it. */
bool ms_api_erase(struct ms_api *api, const char *id, const char *stem, bool *gone,
                  struct ms_problem *problem);

/* ---- stems (stems.c) -------------------------------------------------------------------------------------------- */
/* NULL: the job has none of this name. */
const struct ms_job_stem *ms_api_stem_of(const struct ms_job *job, const char *name);
/* Whether there are results; else 409 with Retry-After, or 410. */
bool ms_api_is_finished(const struct ms_job *job, struct ms_problem *problem);
/* Answers with the stem: whole, in part, or that the client has it already. may_redirect: to the store, when the server is told to. */
void ms_api_reply_stem(const struct ms_http_call *call, const struct ms_job *job,
                       const struct ms_job_stem *stem, bool may_redirect);

/* ---- handlers --------------------------------------------------------------------------------------------------- */
void ms_api_v1_separate(const struct ms_http_call *call);
void ms_api_v1_queue(const struct ms_http_call *call);
void ms_api_v1_track(const struct ms_http_call *call);
void ms_api_v1_remove(const struct ms_http_call *call);
void ms_api_v2_submit(const struct ms_http_call *call);
void ms_api_v2_list(const struct ms_http_call *call);
void ms_api_v2_get(const struct ms_http_call *call);
void ms_api_v2_erase(const struct ms_http_call *call);
void ms_api_v2_events(const struct ms_http_call *call);
void ms_api_v2_stem(const struct ms_http_call *call);
void ms_api_v2_models(const struct ms_http_call *call);
void ms_api_page(const struct ms_http_call *call);
void ms_api_healthz(const struct ms_http_call *call);
void ms_api_readyz(const struct ms_http_call *call);
void ms_api_metrics(const struct ms_http_call *call);

#endif
