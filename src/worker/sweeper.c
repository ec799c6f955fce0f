/* See sweeper.h. Owns its thread and a store of its own, so that a slow store holds up no job. */
#include "sweeper.h"

#include <pthread.h>
#include <stdlib.h>

#include "msaas/job.h"
#include "msaas/log.h"
#include "msaas/sys.h"
#include "msaas/thread.h"

#define EVERY_S 3600
#define AGE_S 86400 /* no writer takes a day */

struct ms_sweeper {
    struct ms_store *store;
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

static bool wait_s(struct ms_sweeper *sweeper, double seconds) {
    const double until_s = ms_monotonic_s() + seconds;
    (void)pthread_mutex_lock(&sweeper->lock);
    while (!atomic_load(&sweeper->ending))
        if (!ms_cond_wait_until(&sweeper->wake, &sweeper->lock, until_s))
            break;
    (void)pthread_mutex_unlock(&sweeper->lock);
    return !atomic_load(&sweeper->ending);
}

static void *sweep_all(void *user) {
    struct ms_sweeper *sweeper = user;
    do {
        sweep(sweeper, MS_BUCKET_SONGS);
        sweep(sweeper, MS_BUCKET_STEMS);
    } while (wait_s(sweeper, EVERY_S));
    return NULL;
}

int ms_sweeper_new(const struct ms_store_options *store, struct ms_sweeper **out,
                   struct ms_error *err) {
    struct ms_sweeper *sweeper = calloc(1, sizeof *sweeper);
    *out = NULL;
    if (sweeper == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the sweeper");
    (void)pthread_mutex_init(&sweeper->lock, NULL);
    (void)ms_cond_init(&sweeper->wake);
    struct ms_store_options options = *store;
    options.cancel = &sweeper->ending;
    int rc = ms_store_open(&options, &sweeper->store, err);
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
    (void)pthread_cond_destroy(&sweeper->wake);
    (void)pthread_mutex_destroy(&sweeper->lock);
    free(sweeper);
}
