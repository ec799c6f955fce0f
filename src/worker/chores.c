/* The reaper and the deliverers of callbacks. Owns their threads; each has a queue connection of
 * its own, so that none waits for another, and none holds up a job. */
#include "chores.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "msaas/fault.h"
#include "msaas/log.h"
#include "msaas/queue.h"
#include "msaas/sys.h"
#include "msaas/thread.h"
#include "msaas/url.h"
#include "msaas/webhook.h"

struct ms_metric ms_worker_reaped = {
    .name = "msaas_reaped_total",
    .help = "Jobs put back because no worker had them any more.",
    .kind = MS_METRIC_COUNTER,
};
struct ms_metric ms_worker_callbacks = {
    .name = "msaas_callbacks_total",
    .help = "Attempts to deliver callbacks.",
    .kind = MS_METRIC_COUNTER,
    .labels = {"result"},
};

/* a third of the lease where that is shorter. A retry may start that much late. */
#define REAP_MS 2000
#define DELIVERERS 4 /* a receiver that hangs blocks one of them for 10 s */
#define OUTBOX_IDLE_MS 1000
#define OUTBOX_HOLD_MS 15000 /* longer than a delivery may take */

struct deliverer {
    struct ms_chores *chores;
    struct ms_queue *queue;
    struct ms_webhook *webhook;
    pthread_t thread;
    bool has_thread;
};

struct ms_chores {
    struct ms_chores_options options;
    struct ms_queue *reaper_queue;
    pthread_t reaper;
    bool has_reaper;
    struct deliverer deliverers[DELIVERERS];
    atomic_bool ending; /* for the webhook; the threads see it under the lock */
    pthread_mutex_t lock;
    pthread_cond_t wake_reaper, wake_deliverer;
    bool due;      /* a callback may have become due since a deliverer looked */
    double look_s; /* when a waiting deliverer looks at the queue, even if nothing woke it */
};

/* Waits for `ms`, or until the chores end. False: they end. */
static bool wait_ms(struct ms_chores *chores, pthread_cond_t *wake, int64_t ms) {
    const double until_s = ms_monotonic_s() + (double)ms / 1000;
    (void)pthread_mutex_lock(&chores->lock);
    while (!atomic_load(&chores->ending))
        if (!ms_cond_wait_until(wake, &chores->lock, until_s))
            break;
    (void)pthread_mutex_unlock(&chores->lock);
    return !atomic_load(&chores->ending);
}

/* ---- the reaper ---- */

static void *reap(void *user) {
    struct ms_chores *chores = user;
    const int64_t lease_ms = chores->options.lease_ms;
    const int64_t every_ms = lease_ms / 3 < REAP_MS ? lease_ms / 3 : REAP_MS;
    const double begun_s = ms_monotonic_s();
    int failures = 0;
    do {
        struct ms_error err = {0};
        struct ms_reaped reaped;
        /* Whoever has just begun does not know who is about to. */
        const bool new =
            (ms_monotonic_s() - begun_s) * 1000 < (double)chores->options.model_wait_ms;
        const int64_t wait_for_ms = new ? INT32_MAX : chores->options.model_wait_ms;
        const int rc =
            ms_queue_reap(chores->reaper_queue, chores->options.model, wait_for_ms, &reaped, &err);
        failures = ms_outage_note(chores->options.outage, rc, &err) ? failures + 1 : 0;
        if (reaped.lapsed > 0) {
            ms_metric_add(&ms_worker_reaped, reaped.lapsed, NULL, NULL);
            ms_log(MS_LOG_WARN, "put back %d job%s whose worker was lost", reaped.lapsed,
                   reaped.lapsed == 1 ? "" : "s");
        }
        if (reaped.taken > 0) {
            ms_metric_add(&ms_worker_reaped, reaped.taken, NULL, NULL);
            ms_log(MS_LOG_WARN, "put back %d job%s that another program took off the list",
                   reaped.taken, reaped.taken == 1 ? "" : "s");
        }
        if (reaped.unserved > 0)
            ms_log(MS_LOG_ERROR, "%d job%s failed: no worker had the model in time",
                   reaped.unserved, reaped.unserved == 1 ? "" : "s");
    } while (wait_ms(chores, &chores->wake_reaper,
                     failures > 0 ? ms_outage_pause_ms(failures - 1) : every_ms));
    return NULL;
}

/* ---- the deliverer of callbacks ---- */

/* Tells the queue what came of a delivery. Repeats it until the queue has taken it. */
static void settle(struct deliverer *d, const struct ms_callback_due *due, int64_t again_ms) {
    struct ms_chores *chores = d->chores;
    struct ms_error err = {0};
    int failures = 0;
    while (ms_outage_note(chores->options.outage, ms_outbox_settle(d->queue, due, again_ms, &err),
                          &err))
        if (!wait_ms(chores, &chores->wake_deliverer, ms_outage_pause_ms(failures++)))
            /* another deliverer takes it when its hold is over: delivery is at least once */
            return;
}

static void deliver(struct deliverer *d, const struct ms_callback_due *due) {
    ms_fault_point("before-callback");
    struct ms_error err = {0};
    bool give_up = false;
    const int rc = ms_webhook_deliver(d->webhook, due, &give_up, &err);
    if (rc == MS_ECANCELED) {
        settle(d, due, 0);
        return;
    }
    char shown[300] = "", attempt[16];
    if (due->job.callback.url != NULL)
        ms_url_origin(due->job.callback.url, shown, sizeof shown);
    (void)snprintf(attempt, sizeof attempt, "%d", due->attempt + 1);
    int64_t again_ms = -1;
    if (rc != 0 && !give_up)
        again_ms = ms_webhook_again_ms(due->job.callback.version, due->attempt);
    ms_metric_add(&ms_worker_callbacks, 1,
                  rc == 0        ? "delivered"
                  : again_ms < 0 ? "given_up"
                                 : "failed",
                  NULL);
    if (rc == 0)
        ms_log_fields(MS_LOG_INFO, "callback delivered", "job", due->job.id, "url", shown,
                      "attempt", attempt, NULL);
    else
        ms_log_fields(MS_LOG_WARN, again_ms < 0 ? "callback given up" : "callback failed", "job",
                      due->job.id, "url", shown, "attempt", attempt, "error", err.text, NULL);
    settle(d, due, again_ms);
}

/* Waits until a callback may be due. Each second one of the waiting deliverers looks anyway. False:
 * the chores end. */
static bool wait_for_turn(struct ms_chores *chores) {
    (void)pthread_mutex_lock(&chores->lock);
    while (!atomic_load(&chores->ending) && !chores->due && ms_monotonic_s() < chores->look_s)
        (void)ms_cond_wait_until(&chores->wake_deliverer, &chores->lock, chores->look_s);
    chores->due = false;
    chores->look_s = ms_monotonic_s() + OUTBOX_IDLE_MS / 1000.0;
    (void)pthread_mutex_unlock(&chores->lock);
    return !atomic_load(&chores->ending);
}

static void *deliver_all(void *user) {
    struct deliverer *d = user;
    struct ms_chores *chores = d->chores;
    int failures = 0;
    while (failures > 0 ? wait_ms(chores, &chores->wake_deliverer, ms_outage_pause_ms(failures - 1))
                        : wait_for_turn(chores)) {
        struct ms_callback_due due = {0};
        struct ms_error err = {0};
        const int rc = ms_outbox_take(d->queue, OUTBOX_HOLD_MS, &due, &err);
        failures = ms_outage_note(chores->options.outage, rc, &err) ? failures + 1 : 0;
        if (rc == 0) {
            ms_chores_wake(chores); /* there may be more: another looks while this one delivers */
            deliver(d, &due);
            ms_job_fini(&due.job);
            ms_chores_wake(chores);
        }
    }
    return NULL;
}

void ms_chores_wake(struct ms_chores *chores) {
    (void)pthread_mutex_lock(&chores->lock);
    chores->due = true;
    (void)pthread_cond_broadcast(&chores->wake_deliverer);
    (void)pthread_mutex_unlock(&chores->lock);
}

/* ---- all ---- */

static int start_deliverer(struct ms_chores *chores, struct deliverer *d, struct ms_error *err) {
    const struct ms_chores_options *options = &chores->options;
    d->chores = chores;
    int rc = ms_webhook_new(options->webhook_secret, options->callback_allow, &chores->ending,
                            &d->webhook, err);
    if (rc == 0)
        rc = ms_queue_open(options->queue_url, &d->queue, err);
    if (rc != 0)
        return rc;
    d->has_thread = ms_thread_start(&d->thread, 0, deliver_all, d) == 0;
    return d->has_thread
               ? 0
               : ms_error_set(err, MS_ENOMEM, "cannot start the thread that delivers callbacks");
}

static int start_reaper(struct ms_chores *chores, struct ms_error *err) {
    int rc = ms_queue_open(chores->options.queue_url, &chores->reaper_queue, err);
    if (rc != 0)
        return rc;
    chores->has_reaper = ms_thread_start(&chores->reaper, 0, reap, chores) == 0;
    return chores->has_reaper ? 0
                              : ms_error_set(err, MS_ENOMEM, "cannot start the reaper's thread");
}

int ms_chores_new(const struct ms_chores_options *options, struct ms_chores **out,
                  struct ms_error *err) {
    struct ms_chores *chores = calloc(1, sizeof *chores);
    *out = NULL;
    if (chores == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the worker's chores");
    chores->options = *options;
    (void)pthread_mutex_init(&chores->lock, NULL);
    (void)ms_cond_init(&chores->wake_reaper);
    (void)ms_cond_init(&chores->wake_deliverer);
    int rc = start_reaper(chores, err);
    for (int i = 0; rc == 0 && i < DELIVERERS; i++)
        rc = start_deliverer(chores, &chores->deliverers[i], err);
    if (rc != 0) {
        ms_chores_free(chores);
        return rc;
    }
    *out = chores;
    return 0;
}

void ms_chores_free(struct ms_chores *chores) {
    if (chores == NULL)
        return;
    (void)pthread_mutex_lock(&chores->lock);
    atomic_store(&chores->ending, true);
    (void)pthread_cond_signal(&chores->wake_reaper);
    (void)pthread_cond_broadcast(&chores->wake_deliverer);
    (void)pthread_mutex_unlock(&chores->lock);
    if (chores->has_reaper)
        (void)pthread_join(chores->reaper, NULL);
    for (int i = 0; i < DELIVERERS; i++) {
        struct deliverer *d = &chores->deliverers[i];
        if (d->has_thread)
            (void)pthread_join(d->thread, NULL);
        ms_webhook_free(d->webhook);
        ms_queue_close(d->queue);
    }
    ms_queue_close(chores->reaper_queue);
    (void)pthread_cond_destroy(&chores->wake_reaper);
    (void)pthread_cond_destroy(&chores->wake_deliverer);
    (void)pthread_mutex_destroy(&chores->lock);
    free(chores);
}
