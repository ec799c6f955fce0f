/* Deliveries of callbacks. Owns a thread that asks the queue what is due and tells it what came of
 * it, and one thread for each delivery, as long as it takes. */
#include "deliveries.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "msaas/fault.h"
#include "msaas/log.h"
#include "msaas/queue.h"
#include "msaas/sys.h"
#include "msaas/thread.h"
#include "msaas/turns.h"
#include "msaas/url.h"
#include "msaas/webhook.h"

struct ms_metric ms_worker_callbacks = {
    .name = "msaas_callbacks_total",
    .help = "Attempts to deliver callbacks.",
    .kind = MS_METRIC_COUNTER,
    .labels = {"result"},
};

#define SIDE_BY_SIDE 64
#define LOOK_S 1.0    /* how often the queue is asked, even if nothing says that something is due */
#define HOLD_MS 15000 /* longer than a delivery may take */

struct delivery {
    struct ms_deliveries *all;
    bool busy;
    atomic_bool ended; /* its thread has nothing more to do */
    struct ms_callback_due due;
    char origin[300], host[MS_URL_HOST_BYTES];
    pthread_t thread;
    bool has_thread;
    /* What came of it: */
    int rc;
    bool give_up;
    struct ms_error err;
};

struct ms_deliveries {
    struct ms_deliveries_options options;
    struct ms_queue *queue;
    struct ms_webhook *webhook;
    struct ms_turns *turns;
    pthread_t thread;
    bool has_thread;
    double put_off_s;   /* when the first of those that were put off is due again */
    atomic_bool ending; /* for the webhook; the threads see it under the lock */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool woken; /* a callback has become due or a delivery has ended */
    struct delivery items[SIDE_BY_SIDE];
};

/* ---- one delivery ---- */

void ms_deliveries_wake(struct ms_deliveries *deliveries) {
    (void)pthread_mutex_lock(&deliveries->lock);
    deliveries->woken = true;
    (void)pthread_cond_signal(&deliveries->wake);
    (void)pthread_mutex_unlock(&deliveries->lock);
}

static void *deliver(void *user) {
    struct delivery *d = user;
    struct ms_deliveries *all = d->all;
    ms_fault_point("before-callback");
    d->rc = ms_webhook_deliver(all->webhook, &d->due, &d->give_up, &d->err);
    atomic_store(&d->ended, true);
    ms_deliveries_wake(all);
    return NULL;
}

static void begin(struct delivery *d) {
    const struct ms_job_callback *callback = &d->due.job.callbacks[d->due.index];
    ms_url_origin(callback->url, d->origin, sizeof d->origin);
    ms_url_host(callback->url, d->host);
    ms_turns_begin(d->all->turns, d->host, ms_monotonic_s());
    d->give_up = false;
    d->err = (struct ms_error){0};
    d->busy = true;
    atomic_store(&d->ended, false);
    d->has_thread = ms_thread_start(&d->thread, 0, deliver, d) == 0;
    if (!d->has_thread) {
        d->rc = ms_error_set(&d->err, MS_ENOMEM, "cannot start a thread for it");
        atomic_store(&d->ended, true);
    }
}

/* Waits until something is to be done, or until then. False: the deliveries end. */
static bool wait_until(struct ms_deliveries *all, double until_s) {
    (void)pthread_mutex_lock(&all->lock);
    while (!atomic_load(&all->ending) && !all->woken)
        if (!ms_cond_wait_until(&all->wake, &all->lock, until_s))
            break;
    all->woken = false;
    (void)pthread_mutex_unlock(&all->lock);
    return !atomic_load(&all->ending);
}

/* Tells the queue what came of a delivery. Repeats it until the queue has taken it. */
static void settle(struct ms_deliveries *all, const struct ms_callback_due *due, int64_t again_ms) {
    struct ms_error err = {0};
    int failures = 0;
    while (ms_outage_note(all->options.outage, ms_outbox_settle(all->queue, due, again_ms, &err),
                          &err)) {
        const double until_s = ms_monotonic_s() + (double)ms_outage_pause_ms(failures++) / 1000;
        while (ms_monotonic_s() < until_s)
            if (!wait_until(all, until_s))
                return; /* another worker takes it when its hold is over: at least once */
    }
}

static void tell(const struct delivery *d, int64_t again_ms) {
    const char *job = d->due.job.id;
    char attempt[16];
    (void)snprintf(attempt, sizeof attempt, "%d", d->due.job.callbacks[d->due.index].attempt + 1);
    if (d->rc == 0) {
        ms_metric_add(&ms_worker_callbacks, 1, "delivered", NULL);
        ms_log_fields(MS_LOG_INFO, "callback delivered", "job", job, "url", d->origin, "attempt",
                      attempt, NULL);
        return;
    }
    const bool refused = d->rc == MS_EDENIED && d->give_up;
    ms_metric_add(&ms_worker_callbacks, 1,
                  refused        ? "refused"
                  : again_ms < 0 ? "given_up"
                                 : "failed",
                  NULL);
    ms_log_fields(MS_LOG_WARN,
                  refused        ? "callback refused"
                  : again_ms < 0 ? "callback given up"
                                 : "callback failed",
                  "job", job, "url", d->origin, "attempt", attempt, "error", d->err.text, NULL);
}

static void end(struct delivery *d) {
    struct ms_deliveries *all = d->all;
    if (d->has_thread)
        (void)pthread_join(d->thread, NULL);
    ms_turns_end(all->turns, d->host, ms_monotonic_s());
    const struct ms_job_callback *callback = &d->due.job.callbacks[d->due.index];
    int64_t again_ms = -1;
    if (d->rc == MS_ECANCELED)
        again_ms = 0;
    else if (d->rc != 0 && !d->give_up)
        again_ms = ms_webhook_again_ms(callback->version, callback->attempt);
    if (d->rc != MS_ECANCELED)
        tell(d, again_ms);
    settle(all, &d->due, again_ms);
    ms_job_fini(&d->due.job);
    d->busy = false;
}

/* ---- all of them ---- */

/* Settles those that have ended. Returns a free one; NULL: all are at work. */
static struct delivery *tidy(struct ms_deliveries *all) {
    struct delivery *spare = NULL;
    for (int i = 0; i < SIDE_BY_SIDE; i++) {
        struct delivery *d = &all->items[i];
        if (d->busy && atomic_load(&d->ended))
            end(d);
        if (!d->busy)
            spare = d;
    }
    return spare;
}

static int64_t wait_ms(void *context, const struct ms_job_callback *callback) {
    struct ms_deliveries *all = context;
    char host[MS_URL_HOST_BYTES];
    const double now_s = ms_monotonic_s();
    ms_url_host(callback->url, host);
    const int64_t ms = ms_turns_wait_ms(all->turns, host, now_s);
    if (ms > 0)
        all->put_off_s = fmin(all->put_off_s, now_s + (double)ms / 1000);
    return ms;
}

static void *deliver_all(void *user) {
    struct ms_deliveries *all = user;
    double look_s = 0;
    int failures = 0;
    while (wait_until(all, fmin(look_s, all->put_off_s))) {
        struct delivery *spare = tidy(all);
        look_s = ms_monotonic_s() + LOOK_S;
        if (all->put_off_s <= ms_monotonic_s())
            all->put_off_s = HUGE_VAL;
        if (spare == NULL)
            continue;
        struct ms_error err = {0};
        const int rc = ms_outbox_take(all->queue, HOLD_MS, wait_ms, all, &spare->due, &err);
        failures = ms_outage_note(all->options.outage, rc, &err) ? failures + 1 : 0;
        if (rc == 0)
            begin(spare);
        if (rc == 0 || rc == MS_ECONFLICT) /* there may be more */
            look_s = 0;
        else if (failures > 0)
            look_s = ms_monotonic_s() + (double)ms_outage_pause_ms(failures - 1) / 1000;
    }
    for (int i = 0; i < SIDE_BY_SIDE; i++) /* the webhook breaks them off */
        if (all->items[i].busy)
            end(&all->items[i]);
    return NULL;
}

int ms_deliveries_new(const struct ms_deliveries_options *options, struct ms_deliveries **out,
                      struct ms_error *err) {
    struct ms_deliveries *all = calloc(1, sizeof *all);
    *out = NULL;
    if (all == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for deliveries of callbacks");
    all->options = *options;
    all->put_off_s = HUGE_VAL;
    for (int i = 0; i < SIDE_BY_SIDE; i++)
        all->items[i].all = all;
    (void)pthread_mutex_init(&all->lock, NULL);
    (void)ms_cond_init(&all->wake);
    int rc = ms_webhook_new(options->webhook_secret, options->callback_allow, &all->ending,
                            &all->webhook, err);
    if (rc == 0)
        rc = ms_queue_open(options->queue_url, &all->queue, err);
    if (rc == 0) {
        all->turns = ms_turns_new(SIDE_BY_SIDE);
        all->has_thread =
            all->turns != NULL && ms_thread_start(&all->thread, 0, deliver_all, all) == 0;
        if (!all->has_thread)
            rc = ms_error_set(err, MS_ENOMEM, "cannot start the thread that delivers callbacks");
    }
    if (rc != 0) {
        ms_deliveries_free(all);
        return rc;
    }
    *out = all;
    return 0;
}

void ms_deliveries_free(struct ms_deliveries *deliveries) {
    if (deliveries == NULL)
        return;
    (void)pthread_mutex_lock(&deliveries->lock);
    atomic_store(&deliveries->ending, true);
    (void)pthread_cond_signal(&deliveries->wake);
    (void)pthread_mutex_unlock(&deliveries->lock);
    if (deliveries->has_thread)
        (void)pthread_join(deliveries->thread, NULL);
    ms_turns_free(deliveries->turns);
    ms_webhook_free(deliveries->webhook);
    ms_queue_close(deliveries->queue);
    (void)pthread_cond_destroy(&deliveries->wake);
    (void)pthread_mutex_destroy(&deliveries->lock);
    free(deliveries);
}
