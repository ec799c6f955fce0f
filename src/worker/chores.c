/* The reaper and the deliveries of callbacks. Owns the reaper's thread; both have a queue
 * connection of their own, so that none waits for the other, and none holds up a job. */
#include "chores.h"

#include <pthread.h>
#include <stdlib.h>

#include "deliveries.h"
#include "msaas/log.h"
#include "msaas/queue.h"
#include "msaas/sys.h"
#include "msaas/thread.h"

struct ms_metric ms_worker_reaped = {
    .name = "msaas_reaped_total",
    .help = "Jobs put back because no worker had them any more.",
    .kind = MS_METRIC_COUNTER,
};

/* a third of the lease where that is shorter. A retry may start that much late. */
#define REAP_MS 2000

struct ms_chores {
    struct ms_chores_options options;
    struct ms_deliveries *deliveries;
    struct ms_queue *queue;
    pthread_t reaper;
    bool has_reaper;
    bool ending; /* under the lock */
    pthread_mutex_t lock;
    pthread_cond_t wake;
};

/* Waits for `ms`, or until the chores end. False: they end. */
static bool wait_ms(struct ms_chores *chores, int64_t ms) {
    const double until_s = ms_monotonic_s() + (double)ms / 1000;
    (void)pthread_mutex_lock(&chores->lock);
    while (!chores->ending)
        if (!ms_cond_wait_until(&chores->wake, &chores->lock, until_s))
            break;
    const bool ending = chores->ending;
    (void)pthread_mutex_unlock(&chores->lock);
    return !ending;
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
            ms_queue_reap(chores->queue, chores->options.model, wait_for_ms, &reaped, &err);
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
    } while (wait_ms(chores, failures > 0 ? ms_outage_pause_ms(failures - 1) : every_ms));
    return NULL;
}

void ms_chores_wake(struct ms_chores *chores) {
    ms_deliveries_wake(chores->deliveries);
}

/* ---- all ---- */

static int start_reaper(struct ms_chores *chores, struct ms_error *err) {
    int rc = ms_queue_open(chores->options.queue_url, &chores->queue, err);
    if (rc != 0)
        return rc;
    chores->has_reaper = ms_thread_start(&chores->reaper, 0, reap, chores) == 0;
    return chores->has_reaper ? 0
                              : ms_error_set(err, MS_ENOMEM, "cannot start the reaper's thread");
}

int ms_chores_new(const struct ms_chores_options *options, struct ms_chores **out,
                  struct ms_error *err) {
    const struct ms_deliveries_options deliveries = {options->queue_url, options->webhook_secret,
                                                     options->callback_allow, options->outage};
    struct ms_chores *chores = calloc(1, sizeof *chores);
    *out = NULL;
    if (chores == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the worker's chores");
    chores->options = *options;
    (void)pthread_mutex_init(&chores->lock, NULL);
    (void)ms_cond_init(&chores->wake);
    int rc = ms_deliveries_new(&deliveries, &chores->deliveries, err);
    if (rc == 0)
        rc = start_reaper(chores, err);
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
    chores->ending = true;
    (void)pthread_cond_signal(&chores->wake);
    (void)pthread_mutex_unlock(&chores->lock);
    if (chores->has_reaper)
        (void)pthread_join(chores->reaper, NULL);
    ms_deliveries_free(chores->deliveries);
    ms_queue_close(chores->queue);
    (void)pthread_cond_destroy(&chores->wake);
    (void)pthread_mutex_destroy(&chores->lock);
    free(chores);
}
