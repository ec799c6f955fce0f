/* See token_watch.h. A look costs one stat(); where the file is a Secret of Kubernetes, the link
 * leads to another file when it changes. */
#include "token_watch.h"

#include <stdlib.h>

#include "msaas/log.h"
#include "msaas/sys.h"
#include "msaas/thread.h"

#define LOOK_S 1

struct ms_token_watch {
    struct ms_accounts *accounts;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t stopped;
    bool stopping;
};

static void look(struct ms_accounts *accounts) {
    struct ms_error err = {0};
    bool changed;
    const int rc = ms_accounts_refresh(accounts, &changed, &err);
    if (rc != 0 && changed)
        ms_log(MS_LOG_ERROR,
               "the tokens were not read again, and the earlier ones stay in force: %s", err.text);
    else if (changed)
        ms_log(MS_LOG_INFO, "the tokens were read again: %d are in force",
               ms_accounts_count(accounts));
}

static void *run(void *argument) {
    struct ms_token_watch *watch = argument;
    (void)pthread_mutex_lock(&watch->lock);
    for (;;) {
        const double until_s = ms_monotonic_s() + LOOK_S;
        while (!watch->stopping && ms_cond_wait_until(&watch->stopped, &watch->lock, until_s))
            ;
        if (watch->stopping)
            break;
        (void)pthread_mutex_unlock(&watch->lock);
        look(watch->accounts);
        (void)pthread_mutex_lock(&watch->lock);
    }
    (void)pthread_mutex_unlock(&watch->lock);
    return NULL;
}

int ms_token_watch_new(struct ms_accounts *accounts, struct ms_token_watch **out,
                       struct ms_error *err) {
    struct ms_token_watch *watch = calloc(1, sizeof *watch);
    *out = NULL;
    if (watch == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a thread");
    watch->accounts = accounts;
    (void)pthread_mutex_init(&watch->lock, NULL);
    (void)ms_cond_init(&watch->stopped);
    if (ms_thread_start(&watch->thread, 0, run, watch) != 0) {
        (void)pthread_cond_destroy(&watch->stopped);
        (void)pthread_mutex_destroy(&watch->lock);
        free(watch);
        return ms_error_set(err, MS_ENOMEM, "cannot start a thread");
    }
    *out = watch;
    return 0;
}

void ms_token_watch_free(struct ms_token_watch *watch) {
    if (watch == NULL)
        return;
    (void)pthread_mutex_lock(&watch->lock);
    watch->stopping = true;
    (void)pthread_cond_signal(&watch->stopped);
    (void)pthread_mutex_unlock(&watch->lock);
    (void)pthread_join(watch->thread, NULL);
    (void)pthread_cond_destroy(&watch->stopped);
    (void)pthread_mutex_destroy(&watch->lock);
    free(watch);
}
