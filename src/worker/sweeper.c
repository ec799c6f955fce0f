/* See sweeper.h. Owns its thread, and a store and a queue of its own, so that a slow store holds up
 * no job. */
#include "sweeper.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "msaas/job.h"
#include "msaas/log.h"
#include "msaas/objects.h"
#include "msaas/queue.h"
#include "msaas/sys.h"
#include "msaas/thread.h"
#include "msaas/upload.h"

#define EVERY_S 3600
#define AGE_S 86400 /* no writer takes a day */
/* Between looks for old jobs; sooner where jobs are kept for minutes only, and where there were
 * more than one look takes. */
#define LOOK_S 60
#define LOOK_ON_S 1

struct ms_sweeper {
    int64_t keep_ms;
    int64_t skip; /* jobs that are looked at no more until the next round: they are not old yet */
    struct ms_store *store;
    struct ms_queue *queue;
    int64_t upload_keep_s;
    pthread_t thread;
    bool has_thread;
    atomic_bool ending; /* for the store; the thread sees it under the lock */
    pthread_mutex_t lock;
    pthread_cond_t wake;
};

static void sweep(struct ms_sweeper *sweeper, const char *bucket) {
    struct ms_error err = {0};
    int count = 0;
    const int rc = ms_store_sweep(sweeper->store, bucket, AGE_S, &count, &err);
    if (count > 0)
        ms_log(MS_LOG_INFO, "removed %d unfinished upload%s to bucket %s, a day old or more", count,
               count == 1 ? "" : "s", bucket);
    if (rc != 0 && rc != MS_ECANCELED)
        ms_log(MS_LOG_INFO, "cannot look for unfinished uploads to bucket %s: %s", bucket,
               err.text);
}

static void sweep_previews(struct ms_sweeper *sweeper) {
    struct ms_error err = {0};
    int count = 0;
    const int rc = ms_objects_sweep_previews(sweeper->store, (int64_t)AGE_S * 1000, &count, &err);
    if (count > 0)
        ms_log(MS_LOG_INFO, "removed %d piece%s of previews, a day old or more", count,
               count == 1 ? "" : "s");
    if (rc != 0 && rc != MS_ECANCELED)
        ms_log(MS_LOG_INFO, "cannot look for old previews: %s", err.text);
}

static void sweep_uploads(struct ms_sweeper *sweeper) {
    struct ms_error err = {0};
    int count = 0;
    const int rc = ms_upload_sweep(sweeper->store, sweeper->upload_keep_s, &count, &err);
    if (count > 0)
        ms_log(MS_LOG_INFO, "removed %d object%s of uploads that have expired", count,
               count == 1 ? "" : "s");
    if (rc != 0 && rc != MS_ECANCELED)
        ms_log(MS_LOG_INFO, "cannot look for uploads that have expired: %s", err.text);
}

static bool wait_until(struct ms_sweeper *sweeper, double until_s) {
    (void)pthread_mutex_lock(&sweeper->lock);
    while (!atomic_load(&sweeper->ending))
        if (!ms_cond_wait_until(&sweeper->wake, &sweeper->lock, until_s))
            break;
    (void)pthread_mutex_unlock(&sweeper->lock);
    return !atomic_load(&sweeper->ending);
}

/* ---- retention ---- */

/* The objects before the record: if the store fails, the record is there for the next look. */
static int remove_old(struct ms_sweeper *sweeper, const char *id, struct ms_error *err) {
    struct ms_job job;
    int rc = ms_queue_get_old(sweeper->queue, id, sweeper->keep_ms, &job, err);
    if (rc != 0)
        return rc;
    rc = ms_objects_remove(sweeper->store, &job, err);
    ms_job_fini(&job);
    return rc == 0 ? ms_queue_forget(sweeper->queue, id, sweeper->keep_ms, err) : rc;
}

/* One look at a limited number of jobs. Returns when to look again. */
static double look_for_old(struct ms_sweeper *sweeper) {
    const double keep_s = (double)sweeper->keep_ms / 1000;
    struct ms_error err = {0};
    char ids[MS_OLD_MAX][MS_JOB_ID_HEX];
    int count = 0, removed = 0, stayed = 0;
    int rc = ms_queue_list_old(sweeper->queue, sweeper->keep_ms, sweeper->skip, ids, &count, &err);
    for (int i = 0; rc == 0 && i < count; i++) {
        rc = atomic_load(&sweeper->ending) ? MS_ECANCELED : remove_old(sweeper, ids[i], &err);
        removed += rc == 0;
        stayed += rc == MS_ENOTFOUND;
        if (rc == MS_ENOTFOUND)
            rc = 0;
    }
    if (removed > 0)
        ms_log(MS_LOG_INFO, "removed %d job%s that ended %.3g h ago or earlier", removed,
               removed == 1 ? "" : "s", keep_s / 3600);
    if (rc != 0 && rc != MS_ECANCELED)
        ms_log(MS_LOG_WARN, "cannot remove jobs that ended long ago: %s", err.text);
    const bool more = rc == 0 && count == MS_OLD_MAX;
    sweeper->skip = more ? sweeper->skip + stayed : 0;
    return more ? LOOK_ON_S : fmin(keep_s / 4, LOOK_S);
}

/* ---- all ---- */

static void *sweep_all(void *user) {
    struct ms_sweeper *sweeper = user;
    double uploads_s = 0, old_s = sweeper->keep_ms > 0 ? 0 : HUGE_VAL;
    do {
        if (ms_monotonic_s() >= uploads_s) {
            sweep(sweeper, MS_BUCKET_SONGS);
            sweep(sweeper, MS_BUCKET_STEMS);
            sweep_previews(sweeper);
            sweep_uploads(sweeper);
            uploads_s = ms_monotonic_s() + EVERY_S;
        }
        if (ms_monotonic_s() >= old_s) {
            const double pause_s = look_for_old(sweeper);
            old_s = ms_monotonic_s() + pause_s;
        }
    } while (wait_until(sweeper, fmin(uploads_s, old_s)));
    return NULL;
}

int ms_sweeper_new(const struct ms_sweeper_options *options, struct ms_sweeper **out,
                   struct ms_error *err) {
    struct ms_sweeper *sweeper = calloc(1, sizeof *sweeper);
    *out = NULL;
    if (sweeper == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the sweeper");
    sweeper->upload_keep_s = options->upload_keep_s > 0 ? options->upload_keep_s : MS_UPLOAD_KEEP_S;
    (void)pthread_mutex_init(&sweeper->lock, NULL);
    (void)ms_cond_init(&sweeper->wake);
    struct ms_store_options store = options->store;
    store.cancel = &sweeper->ending;
    sweeper->keep_ms = options->keep_ms;
    int rc = ms_store_open(&store, &sweeper->store, err);
    if (rc == 0 && sweeper->keep_ms > 0)
        rc = ms_queue_open(options->queue_url, &sweeper->queue, err);
    if (rc == 0) {
        sweeper->has_thread = ms_thread_start(&sweeper->thread, 0, sweep_all, sweeper) == 0;
        if (!sweeper->has_thread)
            rc = ms_error_set(err, MS_ENOMEM, "cannot start the sweeper's thread");
    }
    if (rc != 0) {
        ms_sweeper_free(sweeper);
        return rc;
    }
    *out = sweeper;
    return 0;
}

void ms_sweeper_free(struct ms_sweeper *sweeper) {
    if (sweeper == NULL)
        return;
    (void)pthread_mutex_lock(&sweeper->lock);
    atomic_store(&sweeper->ending, true);
    (void)pthread_cond_signal(&sweeper->wake);
    (void)pthread_mutex_unlock(&sweeper->lock);
    if (sweeper->has_thread)
        (void)pthread_join(sweeper->thread, NULL);
    ms_store_close(sweeper->store);
    ms_queue_close(sweeper->queue);
    (void)pthread_cond_destroy(&sweeper->wake);
    (void)pthread_mutex_destroy(&sweeper->lock);
    free(sweeper);
}
