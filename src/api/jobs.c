/* Adding and removing jobs, for both versions of the API: the steps on store and queue, in an order
 * that leaves nothing half done whatever fails in between. On the threads of the pool. */
#include <stdio.h>
#include <string.h>

#include "expiry.h"
#include "idempotency.h"
#include "jobs.h"
#include "limits.h"
#include "msaas/log.h"
#include "msaas/objects.h"
#include "msaas/sys.h"
#include "owner.h"
#include "reply.h"
#include "sniff.h"
#include "song_source.h"
#include "stems.h"

/* ---- adding ---- */

static bool unknown_model(const struct ms_api *api, const char *name, struct ms_problem *problem) {
    char known[250] = "";
    for (int i = 0; i < api->options.model_count; i++) {
        const size_t used = strlen(known);
        (void)snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "",
                       api->options.models[i].name);
    }
    return ms_problem_set(problem, 422, "unknown_model",
                          "model \"%.64s\" is not on offer; these are (GET /apiv2/models): %s",
                          name, known);
}

/* name "": the default. NULL: it is not on offer. */
static const struct ms_api_model *find_model(const struct ms_api *api, const char *name) {
    for (int i = 0; i < api->options.model_count; i++)
        if (name[0] == '\0' || strcmp(api->options.models[i].name, name) == 0)
            return &api->options.models[i];
    return NULL;
}

static bool check_options(const struct ms_api *api, struct ms_song_request *request,
                          int *label_count, struct ms_problem *problem) {
    const struct ms_api_model *model = find_model(api, request->options.model);
    struct ms_error err = {0};
    if (model == NULL)
        return unknown_model(api, request->options.model, problem);
    if (ms_job_options_check(&request->options, &err) != 0)
        return ms_problem_set(problem, 422, "invalid_option", "%.390s", err.text);
    char labels[MS_JOB_MAX_STEMS][MS_JOB_LABEL_MAX];
    if (ms_job_labels(&request->options, model->stems, model->stem_count, labels, label_count,
                      &err) != 0)
        return ms_problem_set(problem, 422, "unknown_stem", "%.390s", err.text);
    return true;
}

static bool check_song(const struct ms_song_source *song, struct ms_problem *problem) {
    if (song->bytes == 0)
        return ms_problem_set(problem, 422, "empty_audio", "the song is empty");
    if (!ms_sniff_is_media(song->head, song->head_bytes))
        return ms_problem_set(problem, 422, "not_audio",
                              "its first bytes are not those of a known audio format");
    return true;
}

/* Looked up at most once a second: a limit that protects memory and disk need not be exact. */
static bool check_room(struct ms_api *api, struct ms_api_link *link, struct ms_problem *problem) {
    struct ms_error err = {0};
    const double now_s = ms_monotonic_s();
    (void)pthread_mutex_lock(&api->lock);
    int64_t waiting = api->waiting;
    const bool known = api->waiting_at_s > 0 && now_s - api->waiting_at_s < 1 &&
                       waiting < api->options.max_waiting_jobs;
    (void)pthread_mutex_unlock(&api->lock);
    struct ms_queue_stats stats;
    if (!known) {
        if (ms_queue_stats(link->queue, &stats, &err) != 0)
            return ms_problem_of_queue(problem, &err);
        waiting = stats.jobs[MS_JOB_QUEUED];
        (void)pthread_mutex_lock(&api->lock);
        api->waiting = waiting;
        api->waiting_at_s = now_s;
        (void)pthread_mutex_unlock(&api->lock);
    }
    if (waiting < api->options.max_waiting_jobs)
        return true;
    (void)ms_problem_set(problem, 503, "queue_full", "%lld songs wait already; try again later",
                         (long long)waiting);
    problem->retry_after_s = 60;
    return false;
}

/* Under the id; where the workers of the course's programs are served too, also under the name that
 * they know. */
static bool put_song(const struct ms_api *api, struct ms_api_link *link, const struct ms_job *job,
                     const struct ms_song_source *song, struct ms_problem *problem) {
    struct ms_error err = {0};
    const int last = api->options.course_items ? MS_JOB_SONG_COURSE : MS_JOB_SONG_ID;
    struct ms_object_source source = song->object;
    source.content_type = "application/octet-stream";
    char key[MS_JOB_SONG_KEY_BYTES];
    for (int name = MS_JOB_SONG_ID; name <= last; name++) {
        (void)ms_job_song_key(job, (enum ms_job_song_name)name, key);
        if (ms_store_put(link->store, MS_BUCKET_SONGS, key, &source, NULL, &err) != 0)
            return ms_problem_of_store(problem, &err);
    }
    return true;
}

/* Whether the queue would keep the job as it is; then its song is in the store already. */
static bool stays(const struct ms_job *job, int label_count) {
    return job->state == MS_JOB_QUEUED || job->state == MS_JOB_RUNNING ||
           (job->state == MS_JOB_SUCCEEDED && job->stem_count == label_count);
}

/* Others of the account's jobs came first. Nobody else needs the song that was stored for this one,
 * unless its job exists: then a limit kept it from being queued anew. */
static bool refuse(struct ms_api_link *link, const struct ms_api_limits *limits,
                   const struct ms_job *job, int64_t bytes, struct ms_problem *problem) {
    struct ms_job present = {0};
    struct ms_error err = {0};
    if (ms_queue_get(link->queue, job->id, &present, NULL) == MS_ENOTFOUND &&
        ms_objects_remove_song(link->store, job, &err) != 0)
        return ms_problem_of_store(problem, &err);
    ms_job_fini(&present);
    if (!ms_api_limits_allow(limits, job, bytes, problem))
        return false;
    (void)ms_problem_set(problem, 429, "quota", "a limit of account %s is reached", job->owner);
    problem->retry_after_s = 5;
    return false;
}

/* bytes: as ms_queue_enqueue_within. */
static bool enqueue(struct ms_api_link *link, const struct ms_job *job, int64_t bytes,
                    struct ms_api_limits *limits, bool *created, struct ms_job *now,
                    struct ms_problem *problem) {
    struct ms_error err = {0};
    struct ms_usage usage;
    const int rc = ms_queue_enqueue_within(link->queue, job, bytes,
                                           limits->account != NULL ? &limits->quota : NULL, created,
                                           now, &usage, &err);
    if (*created || rc == MS_EQUOTA)
        limits->usage = usage;
    if (rc == MS_EQUOTA)
        return refuse(link, limits, job, bytes, problem);
    if (rc == MS_ECONFLICT) {
        (void)ms_problem_set(problem, 503, "canceling",
                             "the same song is being canceled; send it again in a moment");
        problem->retry_after_s = 5;
        return false;
    }
    if (rc == MS_ETOOLARGE)
        return ms_problem_set(problem, 422, "too_many_callbacks",
                              "%s. They are called when it is done; send it again then, or without "
                              "a callback",
                              err.text);
    return rc == 0 || ms_problem_of_queue(problem, &err);
}

/* False only if it is certain. */
static bool song_is_there(struct ms_api_link *link, const struct ms_job *job) {
    struct ms_object_info info;
    return ms_store_head(link->store, MS_BUCKET_SONGS, job->id, &info, NULL) != MS_ENOTFOUND;
}

/* What the song costs its owner: nothing, if the upload that it is has paid for it. Whoever makes
 * another job of the same upload pays for another copy. */
static bool price(struct ms_api_link *link, const struct ms_song_source *song,
                  const struct ms_job *job, int64_t *bytes, struct ms_problem *problem) {
    const struct ms_upload *upload = &song->upload;
    struct ms_error err = {0};
    bool paid = false;
    if (upload->id[0] != '\0' && job->owner[0] != '\0' && strcmp(upload->owner, job->owner) == 0 &&
        ms_queue_pay(link->queue, upload->id, job->id, upload->expires_ms - upload->created_ms,
                     &paid, &err) != 0)
        return ms_problem_of_queue(problem, &err);
    *bytes = paid ? 0 : job->input_bytes;
    return true;
}

/* The song is stored first, so that no worker finds a job without a song. */
static bool submit(struct ms_api *api, struct ms_api_link *link, const struct ms_song_source *song,
                   const struct ms_job *job, int label_count, struct ms_api_limits *limits,
                   struct ms_job *now, struct ms_problem *problem) {
    struct ms_job present = {0};
    struct ms_error err = {0};
    bool created = false;
    int64_t bytes = job->input_bytes;
    const int rc = ms_queue_get(link->queue, job->id, &present, &err);
    if (rc != 0 && rc != MS_ENOTFOUND && rc != MS_ECORRUPT)
        return ms_problem_of_queue(problem, &err);
    if (rc == 0)
        (void)ms_api_look_for_stems(link, &present);
    const bool skip = rc == 0 && stays(&present, label_count);
    ms_job_fini(&present);
    if (!skip && (!price(link, song, job, &bytes, problem) ||
                  !ms_api_limits_allow(limits, job, bytes, problem) ||
                  !check_room(api, link, problem) || !put_song(api, link, job, song, problem)))
        return false;
    if (!enqueue(link, job, bytes, limits, &created, now, problem))
        return false;
    /* The job was erased meanwhile, and its song; a worker may have missed it already. */
    if (created && !song_is_there(link, job)) {
        ms_job_fini(now);
        if (!put_song(api, link, job, song, problem) ||
            !enqueue(link, job, bytes, limits, &created, now, problem))
            return false;
        created = true;
    }
    if (created)
        ms_log(MS_LOG_INFO, "job %s%s%s queued: %lld bytes for %s", job->id,
               job->owner[0] != '\0' ? " of " : "", job->owner, (long long)job->input_bytes,
               job->options.model);
    return true;
}

/* As far as the song's head tells its length; else the worker decides. */
static bool check_cost(const struct ms_api *api, const struct ms_song_source *song,
                       struct ms_job *job, struct ms_problem *problem) {
    struct ms_error err = {0};
    const struct ms_api_model *model = find_model(api, job->options.model);
    if (model != NULL)
        job->networks = model->networks;
    job->audio_seconds = song->seconds;
    return ms_job_check_cost(job, api->options.max_cost, &err) == 0 ||
           ms_problem_set(problem, 422, "too_costly", "%.390s", err.text);
}

/* The caller's job. */
static int make_job(const struct ms_api *api, const struct ms_account *caller,
                    const struct ms_song_request *request, const struct ms_song_source *song,
                    const char *digest, struct ms_job *job, struct ms_error *err) {
    int rc = ms_job_init_of_digest(job, digest, song->bytes, &request->options,
                                   api->options.models[0].name, err);
    if (rc == 0 && caller != NULL && caller->name[0] != '\0')
        rc = ms_job_set_owner(job, caller->name, err);
    return rc;
}

static bool take_song(struct ms_api *api, const struct ms_http_call *call,
                      struct ms_song_request *request, struct ms_song_source *song, int label_count,
                      struct ms_api_key *key, struct ms_job *now, struct ms_problem *problem) {
    const struct ms_account *caller = ms_api_caller(call->exchange);
    struct ms_error err = {0};
    struct ms_job job;
    char digest[MS_SHA224_HEX];
    if (!check_song(song, problem) || !ms_song_source_digest(song, digest, problem))
        return false;
    if (make_job(api, caller, request, song, digest, &job, &err) != 0) {
        ms_log(MS_LOG_ERROR, "no job could be made: %s", err.text);
        return ms_problem_set(problem, 500, "internal", "the server failed; its log says why");
    }
    memcpy(job.input_name, request->input_name, sizeof job.input_name);
    if (request->callback.version != 0)
        job.callbacks[job.callback_count++] = request->callback;
    request->callback = (struct ms_job_callback){0};
    struct ms_api_link *link = NULL;
    struct ms_api_limits limits = {0};
    if (check_cost(api, song, &job, problem))
        link = ms_api_borrow(api, problem);
    bool ok = link != NULL && (key == NULL || ms_api_key_begin(link, key, &job, problem));
    if (ok && key != NULL && key->answer != NULL)
        memcpy(now->id, job.id, sizeof now->id);
    else
        ok = ok && ms_api_limits_read(link, caller, &limits, problem) &&
             submit(api, link, song, &job, label_count, &limits, now, problem);
    ms_api_give_back(api, link);
    ms_api_limits_tell(call, &limits);
    ms_job_fini(&job);
    return ok;
}

bool ms_api_accept(struct ms_api *api, const struct ms_http_call *call,
                   struct ms_song_request *request, struct ms_api_key *key, struct ms_job *now,
                   struct ms_problem *problem) {
    struct ms_song_source song = {0};
    int label_count = 0;
    const bool ok =
        check_options(api, request, &label_count, problem) &&
        ms_song_source_open(api, ms_api_caller(call->exchange), request, &song, problem) &&
        take_song(api, call, request, &song, label_count, key, now, problem);
    ms_song_source_close(api, &song);
    return ok;
}

/* ---- looking up ---- */

static bool problem_of_finding(struct ms_problem *problem, int rc, const struct ms_error *err) {
    if (rc == MS_ENOTFOUND)
        return ms_problem_set(problem, 404, "unknown_job", "there is no such job");
    return ms_problem_of_queue(problem, err);
}

/* The one place where a job is looked up for somebody. */
static int look_up(struct ms_api_link *link, const struct ms_account *caller, const char *id,
                   struct ms_job *job, struct ms_error *err) {
    if (!ms_api_may_ask(caller, id))
        return ms_error_set(err, MS_ENOTFOUND, "there is no such job");
    int rc = ms_queue_get(link->queue, id, job, err);
    if (rc == 0 && !ms_api_may_see(caller, job)) {
        ms_job_fini(job);
        rc = ms_error_set(err, MS_ENOTFOUND, "there is no such job");
    }
    return rc;
}

bool ms_api_find(struct ms_api *api, const struct ms_account *caller, const char *id,
                 struct ms_job *job, struct ms_problem *problem) {
    struct ms_error err = {0};
    struct ms_api_link *link = ms_api_borrow(api, problem);
    if (link == NULL)
        return false;
    const int rc = look_up(link, caller, id, job, &err);
    ms_api_give_back(api, link);
    return rc == 0 || problem_of_finding(problem, rc, &err);
}

bool ms_api_find_asked(const struct ms_http_call *call, struct ms_job *job,
                       struct ms_problem *problem) {
    return ms_api_find(call->context, ms_api_caller(call->exchange), call->params[0], job, problem);
}

/* Sets the one stem of a job of which nothing but its stems is left. */
static bool find_stored(struct ms_api_link *link, const struct ms_account *caller, const char *id,
                        const char *stem, struct ms_job *job, struct ms_problem *problem) {
    *job = (struct ms_job){.state = MS_JOB_SUCCEEDED};
    if (!ms_api_may_ask(caller, id)) /* the id alone says whose it was */
        return ms_problem_set(problem, 404, "unknown_job", "there is no such job");
    ms_job_options_default("", &job->options);
    (void)snprintf(job->id, sizeof job->id, "%s", id);
    char key[MS_JOB_KEY_MAX];
    ms_job_stem_key(job, stem, key);
    struct ms_object_info info;
    struct ms_error err = {0};
    const int rc = ms_store_head(link->store, MS_BUCKET_STEMS, key, &info, &err);
    if (rc == MS_ENOTFOUND)
        return ms_problem_set(problem, 404, "unknown_job", "there is no such job");
    if (rc != 0)
        return ms_problem_of_store(problem, &err);
    struct ms_job_stem *found = &job->stems[job->stem_count++];
    (void)snprintf(found->name, sizeof found->name, "%s", stem);
    found->bytes = info.bytes;
    memcpy(found->sha256, info.sha256, sizeof found->sha256);
    return true;
}

bool ms_api_find_track(struct ms_api *api, const struct ms_account *caller, const char *id,
                       const char *stem, struct ms_job *job, struct ms_problem *problem) {
    if (ms_api_find(api, caller, id, job, problem))
        return true;
    if (problem->status != 404)
        return false;
    struct ms_api_link *link = ms_api_borrow(api, problem);
    const bool ok = link != NULL && find_stored(link, caller, id, stem, job, problem);
    ms_api_give_back(api, link);
    return ok;
}

/* ---- removing ---- */

/* stem NULL: all of them; else those of that stem, and with the last one all. */
static bool remove_objects(struct ms_api_link *link, const struct ms_job *job, const char *stem,
                           struct ms_problem *problem) {
    struct ms_error err = {0};
    const int rc = stem == NULL || job->stem_count <= 1
                       ? ms_objects_remove(link->store, job, &err)
                       : ms_objects_remove_stem(link->store, job, stem, &err);
    return rc == 0 || ms_problem_of_store(problem, &err);
}

/* The queue has no record of the job: its track may lie in the store all the same. */
static bool erase_stored(struct ms_api_link *link, const struct ms_account *caller, const char *id,
                         const char *stem, struct ms_problem *problem) {
    struct ms_job job;
    struct ms_error err = {0};
    if (!find_stored(link, caller, id, stem, &job, problem))
        return false;
    if (ms_objects_remove_stem(link->store, &job, stem, &err) != 0)
        return ms_problem_of_store(problem, &err);
    ms_log(MS_LOG_INFO, "job %s, track %s erased", id, stem);
    return true;
}

/* Objects are removed before the record. A client that sends the same song meanwhile finds the
 * record and adds nothing that would be removed then; and if the store fails, the record is still
 * there for another try. */
static bool erase(struct ms_api_link *link, const struct ms_account *caller, const char *id,
                  const char *stem, bool *gone, struct ms_problem *problem) {
    struct ms_job job = {0}, was = {0};
    struct ms_error err = {0};
    const int found = look_up(link, caller, id, &job, &err);
    if (found == MS_ENOTFOUND && stem != NULL)
        return erase_stored(link, caller, id, stem, problem);
    if (found == MS_ECORRUPT && stem == NULL) /* a job that cannot be read can still be removed */
        (void)snprintf(job.id, sizeof job.id, "%s", id);
    else if (found != 0)
        return problem_of_finding(problem, found, &err);
    if (stem != NULL && ms_api_stem_of(&job, stem) == NULL) {
        ms_job_fini(&job);
        return ms_problem_set(problem, 404, "unknown_stem", "there is no such track");
    }
    bool ok = remove_objects(link, &job, stem, problem);
    if (ok) {
        const int rc = ms_queue_erase(link->queue, id, stem, gone, &was, &err);
        if (rc == MS_ENOTFOUND)
            *gone = true; /* another request was quicker */
        else if (rc != 0)
            ok = ms_problem_of_queue(problem, &err);
        else if (stem == NULL && was.stem_count > job.stem_count) /* it ended meanwhile */
            ok = remove_objects(link, &was, NULL, problem);
        ms_job_fini(&was);
    }
    if (ok)
        ms_log(MS_LOG_INFO, "job %s%s%s %s", id, stem != NULL ? ", track " : "",
               stem != NULL ? stem : "", *gone || stem != NULL ? "erased" : "is asked to end");
    ms_job_fini(&job);
    return ok;
}

bool ms_api_erase(struct ms_api *api, const struct ms_account *caller, const char *id,
                  const char *stem, bool *gone, struct ms_problem *problem) {
    struct ms_api_link *link = ms_api_borrow(api, problem);
    *gone = false;
    const bool ok = link != NULL && erase(link, caller, id, stem, gone, problem);
    ms_api_give_back(api, link);
    return ok;
}
