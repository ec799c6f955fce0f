/* The reaper and the deliverer of callbacks. Owns both threads; each has a queue connection of its own, so that neither waits for
 * the other, and neither holds up a job. */
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

#define REAP_MS 2000 /* or a third of the lease, where that is shorter; retries wait for it too */
#define OUTBOX_IDLE_MS 1000
#define OUTBOX_HOLD_MS 15000 /* longer than a delivery may take */

struct ms_chores {
    struct ms_chores_options options;
    struct ms_queue *reaper_queue, *outbox_queue;
    struct ms_webhook *webhook;
    pthread_t reaper, deliverer;
    bool has_reaper, has_deliverer;
    atomic_bool ending; /* for the webhook; the threads see it under the lock */
    pthread_mutex_t lock;
    pthread_cond_t wake_reaper, wake_deliverer;
    bool due; /* a callback may have become due since the deliverer looked */
};

/* Waits at most so long, less when the chores end (and, with due, when a callback is due). False: they end. */
static bool wait_ms(struct ms_chores *chores, pthread_cond_t *wake, int64_t ms, bool *due) {
    const double until_s = ms_monotonic_s() + (double)ms / 1000;

    (void)pthread_mutex_lock(&chores->lock);
    while (!atomic_load(&chores->ending) && (due == NULL || !*due))
        if (!ms_cond_wait_until(wake, &chores->lock, until_s))
            break;
    if (due != NULL)
        *due = false;
    (void)pthread_mutex_unlock(&chores->lock);
    return !atomic_load(&chores->ending);
}

/* ---- the reaper --------------------------------------------------------------------------------------------------------- */

static void *reap(void *user) {
    struct ms_chores *chores = user;
    const int64_t lease_ms = chores->options.lease_ms;
    const int64_t every_ms = lease_ms / 3 < REAP_MS ? lease_ms / 3 : REAP_MS;
    int failures = 0;

    do {
        struct ms_error err = {0};
        int count = 0;
        const int rc = ms_queue_reap(chores->reaper_queue, lease_ms, &count, &err);

        failures = ms_outage_note(chores->options.outage, rc, &err) ? failures + 1 : 0;
        if (rc == 0 && count > 0) {
            ms_metric_add(MS_METRIC_REAPED, count, NULL, NULL);
            ms_log(MS_LOG_WARN, "took %d job%s from workers that were lost", count,
                   count == 1 ? "" : "s");
        }
    } while (wait_ms(chores, &chores->wake_reaper,
                     failures > 0 ? ms_outage_pause_ms(failures - 1) : every_ms, NULL));
    return NULL;
}

/* ---- the deliverer of callbacks ------------------------------------------------------------------------------------------ */

/* Until the queue has heard of it. */
static void settle(struct ms_chores *chores, const struct ms_callback_due *due, int64_t again_ms) {
    struct ms_error err = {0};
    int failures = 0;

    while (ms_outage_note(chores->options.outage,
                          ms_outbox_settle(chores->outbox_queue, due, again_ms, &err), &err))
        if (!wait_ms(chores, &chores->wake_deliverer, ms_outage_pause_ms(failures++), NULL))
            return; /* it comes again when its hold is over: callbacks are delivered at least once */
}

static void deliver(struct ms_chores *chores, const struct ms_callback_due *due) {
    struct ms_error err = {0};
    bool give_up = false;
    int64_t again_ms = -1;
    char shown[300] = "", attempt[16];
    int rc;

    ms_fault_point("before-callback");
    rc = ms_webhook_deliver(chores->webhook, due, &give_up, &err);
    if (rc == MS_ECANCELED) {
        settle(chores, due, 0);
        return;
    }
    if (due->job.callback.url != NULL)
        ms_url_origin(due->job.callback.url, shown, sizeof shown);
    (void)snprintf(attempt, sizeof attempt, "%d", due->attempt + 1);
    if (rc != 0 && !give_up)
        again_ms = ms_webhook_again_ms(due->job.callback.version, due->attempt);
    ms_metric_add(MS_METRIC_CALLBACKS, 1,
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
    settle(chores, due, again_ms);
}

static void *deliver_all(void *user) {
    struct ms_chores *chores = user;
    int failures = 0;
    int64_t pause_ms;

    do {
        struct ms_callback_due due = {0};
        struct ms_error err = {0};
        const int rc = ms_outbox_take(chores->outbox_queue, OUTBOX_HOLD_MS, &due, &err);

        failures = ms_outage_note(chores->options.outage, rc, &err) ? failures + 1 : 0;
        if (rc == 0) {
            deliver(chores, &due);
            ms_job_fini(&due.job);
        }
        pause_ms = failures > 0 ? ms_outage_pause_ms(failures - 1) : rc == 0 ? 0 : OUTBOX_IDLE_MS;
    } while (
        wait_ms(chores, &chores->wake_deliverer, pause_ms, failures > 0 ? NULL : &chores->due));
    return NULL;
}

void ms_chores_wake(struct ms_chores *chores) {
    (void)pthread_mutex_lock(&chores->lock);
    chores->due = true;
    (void)pthread_cond_signal(&chores->wake_deliverer);
    (void)pthread_mutex_unlock(&chores->lock);
}

/* ---- both ----------------------------------------------------------------------------------------------------------------- */

static int start_threads(struct ms_chores *chores, struct ms_error *err) {
    chores->has_reaper = ms_thread_start(&chores->reaper, 0, reap, chores) == 0;
    chores->has_deliverer = ms_thread_start(&chores->deliverer, 0, deliver_all, chores) == 0;
    if (chores->has_reaper && chores->has_deliverer)
        return 0;
    return ms_error_set(err, MS_ENOMEM, "no threads can be had for the worker's chores");
}

int ms_chores_new(const struct ms_chores_options *options, struct ms_chores **out,
                  struct ms_error *err) {
    struct ms_chores *chores = calloc(1, sizeof *chores);
    int rc;

    *out = NULL;
    if (chores == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the worker's chores");
    chores->options = *options;
    (void)pthread_mutex_init(&chores->lock, NULL);
    (void)ms_cond_init(&chores->wake_reaper);
    (void)ms_cond_init(&chores->wake_deliverer);
    rc = ms_webhook_new(options->webhook_secret, options->callback_allow, &chores->ending,
                        &chores->webhook, err);
    if (rc == 0)
        rc = ms_queue_open(options->queue_url, &chores->reaper_queue, err);
    if (rc == 0)
        rc = ms_queue_open(options->queue_url, &chores->outbox_queue, err);
    if (rc == 0)
        rc = start_threads(chores, err);
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
    (void)pthread_cond_signal(&chores->wake_deliverer);
    (void)pthread_mutex_unlock(&chores->lock);
    if (chores->has_reaper)
        (void)pthread_join(chores->reaper, NULL);
    if (chores->has_deliverer)
        (void)pthread_join(chores->deliverer, NULL);
    ms_webhook_free(chores->webhook);
    ms_queue_close(chores->reaper_queue);
    ms_queue_close(chores->outbox_queue);
    (void)pthread_cond_destroy(&chores->wake_reaper);
    (void)pthread_cond_destroy(&chores->wake_deliverer);
    (void)pthread_mutex_destroy(&chores->lock);
    free(chores);
}
