/* See watch.h. Owns a thread and a store. */
#include "watch.h"

#include <pthread.h>
#include <stdlib.h>

#include "msaas/sys.h"
#include "msaas/thread.h"

#define ASK_S 10.0
#define ASK_AGAIN_S 2.0 /* after it failed */
#define STALL_S 3       /* a store that is so slow does not answer */

struct ms_watch {
    struct ms_store *store;
    struct ms_outage *outage;
    atomic_bool ending; /* for the store; the thread sees it under the lock */
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
};

/* False: the watch ends. */
static bool wait_s(struct ms_watch *watch, double seconds) {
    const double until_s = ms_monotonic_s() + seconds;
    (void)pthread_mutex_lock(&watch->lock);
    while (!atomic_load(&watch->ending))
        if (!ms_cond_wait_until(&watch->wake, &watch->lock, until_s))
            break;
    (void)pthread_mutex_unlock(&watch->lock);
    return !atomic_load(&watch->ending);
}

static void *ask(void *user) {
    struct ms_watch *watch = user;
    bool failed;
    do {
        struct ms_error err = {0};
        const int rc = ms_store_ping(watch->store, &err);
        failed = ms_outage_note(watch->outage, rc, &err);
    } while (wait_s(watch, failed ? ASK_AGAIN_S : ASK_S));
    return NULL;
}

int ms_watch_new(const struct ms_store_options *store, struct ms_outage *outage,
                 struct ms_watch **out, struct ms_error *err) {
    struct ms_store_options options = *store;
    struct ms_watch *watch = calloc(1, sizeof *watch);
    *out = NULL;
    if (watch == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory to watch the store");
    watch->outage = outage;
    (void)pthread_mutex_init(&watch->lock, NULL);
    (void)ms_cond_init(&watch->wake);
    options.cancel = &watch->ending;
    options.attempts = 1;
    options.stall_timeout_s = STALL_S;
    int rc = ms_store_open(&options, &watch->store, err);
    if (rc == 0) {
        watch->has_thread = ms_thread_start(&watch->thread, 0, ask, watch) == 0;
        if (!watch->has_thread)
            rc = ms_error_set(err, MS_ENOMEM, "cannot start the thread that watches the store");
    }
    if (rc != 0) {
        ms_watch_free(watch);
        return rc;
    }
    *out = watch;
    return 0;
}

void ms_watch_free(struct ms_watch *watch) {
    if (watch == NULL)
        return;
    (void)pthread_mutex_lock(&watch->lock);
    atomic_store(&watch->ending, true);
    (void)pthread_cond_signal(&watch->wake);
    (void)pthread_mutex_unlock(&watch->lock);
    if (watch->has_thread)
        (void)pthread_join(watch->thread, NULL);
    ms_store_close(watch->store);
    (void)pthread_cond_destroy(&watch->wake);
    (void)pthread_mutex_destroy(&watch->lock);
    free(watch);
}
