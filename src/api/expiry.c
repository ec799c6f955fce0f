/* See expiry.h. Asks the store for the stems of jobs that the queue calls succeeded. On the threads
 * of the pool; what it remembers is under the API's lock. */
#include "expiry.h"

#include <stdlib.h>
#include <string.h>

#include "msaas/log.h"
#include "msaas/sys.h"
#include "reply.h"

#define LOOK_EVERY_S 10

bool ms_api_expire(struct ms_api_link *link, const struct ms_job *job, struct ms_problem *problem) {
    struct ms_error err = {0};
    if (job->state == MS_JOB_SUCCEEDED) {
        ms_log(MS_LOG_INFO, "job %s expired: its stems are gone from the store", job->id);
        if (ms_queue_expire(link->queue, job, &err) != 0) /* the next who looks tries again */
            (void)ms_problem_of_queue(problem, &err);
    }
    return ms_problem_set(problem, 410, "job_expired",
                          "the stems are gone from the store: send the song again");
}

/* The stem as it was asked for, and what is kept of it. MS_ENOTFOUND: one of them is gone. */
static int look_for(struct ms_api_link *link, const struct ms_job *job,
                    const struct ms_job_stem *stem) {
    struct ms_object_info info;
    char key[MS_JOB_KEY_MAX];
    ms_job_stem_key(job, stem->name, key);
    const int rc = ms_store_head(link->store, MS_BUCKET_STEMS, key, &info, NULL);
    if (rc != 0 || stem->kept_sha256[0] == '\0')
        return rc;
    ms_job_kept_key(job, stem->name, key);
    return ms_store_head(link->store, MS_BUCKET_STEMS, key, &info, NULL);
}

bool ms_api_look_for_stems(struct ms_api_link *link, struct ms_job *job) {
    struct ms_problem unused;
    for (int i = 0; job->state == MS_JOB_SUCCEEDED && i < job->stem_count; i++) {
        const int rc = look_for(link, job, &job->stems[i]);
        if (rc == MS_ENOTFOUND) {
            (void)ms_api_expire(link, job, &unused);
            job->state = MS_JOB_EXPIRED;
        } else if (rc != 0) {
            return false;
        }
    }
    return true;
}

/* Where it is remembered when a job was looked at. Ids are digests: their digits spread evenly. */
static struct ms_api_look *place_of(struct ms_api *api, const struct ms_job *job) {
    const char digits[] = {job->id[0], job->id[1], '\0'};
    return &api->looks[strtoul(digits, NULL, 16) % MS_API_LOOKS];
}

/* Whether it is this caller's turn, who then calls end_look. */
static bool begin_look(struct ms_api *api, const struct ms_job *job) {
    const struct ms_api_look *last = place_of(api, job);
    const double now_s = ms_monotonic_s();
    (void)pthread_mutex_lock(&api->lock);
    const bool fresh = now_s < last->until_s && strcmp(last->id, job->id) == 0;
    const bool mine = !fresh && !api->looking && now_s >= api->look_again_s;
    api->looking = api->looking || mine;
    (void)pthread_mutex_unlock(&api->lock);
    return mine;
}

static void end_look(struct ms_api *api, const struct ms_job *job, bool answered) {
    struct ms_api_look *look = place_of(api, job);
    const double until_s = ms_monotonic_s() + LOOK_EVERY_S;
    (void)pthread_mutex_lock(&api->lock);
    api->looking = false;
    if (answered) {
        memcpy(look->id, job->id, sizeof look->id);
        look->until_s = until_s;
    } else {
        api->look_again_s = until_s;
    }
    (void)pthread_mutex_unlock(&api->lock);
}

void ms_api_look_now_and_then(struct ms_api *api, struct ms_job *job) {
    struct ms_problem unused;
    if (job->state != MS_JOB_SUCCEEDED || !begin_look(api, job))
        return;
    struct ms_api_link *link = ms_api_borrow(api, &unused);
    const bool answered = link != NULL && ms_api_look_for_stems(link, job);
    ms_api_give_back(api, link);
    end_look(api, job, answered);
}
