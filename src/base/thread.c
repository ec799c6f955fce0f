#include "msaas/thread.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

int ms_thread_start(pthread_t *thread, size_t stack_bytes, void *(*run)(void *argument),
                    void *argument) {
    sigset_t all, before;
    pthread_attr_t attributes;
    int rc = pthread_attr_init(&attributes);
    if (rc != 0)
        return rc;
    if (stack_bytes > 0)
        rc = pthread_attr_setstacksize(&attributes, stack_bytes);
    if (rc == 0) {
        /* A new thread inherits the mask. */
        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        rc = pthread_create(thread, &attributes, run, argument);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    (void)pthread_attr_destroy(&attributes);
    return rc;
}

int ms_cond_init(pthread_cond_t *cond) {
    pthread_condattr_t monotonic;
    int rc = pthread_condattr_init(&monotonic);
    if (rc != 0)
        return rc;
    rc = pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    if (rc == 0)
        rc = pthread_cond_init(cond, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    return rc;
}

bool ms_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, double until_s) {
    const struct timespec until = {
        .tv_sec = (time_t)until_s,
        .tv_nsec = (long)((until_s - (double)(time_t)until_s) * 1e9),
    };
    return pthread_cond_timedwait(cond, lock, &until) != ETIMEDOUT;
}
