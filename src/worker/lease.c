/* The heartbeat of the job at work. Owns a thread with a queue connection of its own, and the flag
 * that ends work early. The thread wakes ten times a second to see whether the worker is to stop.
 * It renews the lease every second, or every third of the lease where that is shorter. With each
 * renewal clients see progress and the worker learns of a cancel. */
#include "lease.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "msaas/log.h"
#include "msaas/sys.h"
#include "msaas/thread.h"
#include "msaas/worker.h"

#define TICK_MS 100
#define RENEW_MS 1000
#define NEWS_MS 250 /* the same, when there is more to be heard */
#define STILL_TICKS 50
#define STOP_S 20.0 /* how long putting the job back may take after the grace period */

struct ms_lease {
    struct ms_lease_options options;
    struct ms_queue *queue;
    pthread_t thread;
    bool has_thread;
    atomic_bool halt;
    pthread_mutex_t lock; /* for all below */
    pthread_cond_t wake;
    bool ending;
    bool has_job;
    uint64_t number;   /* of the job. A late answer about an earlier job is dropped. */
    struct ms_job job; /* owns nothing: id and progress */
    bool has_news;     /* of the preview, since it was renewed */
    char token[MS_TOKEN_HEX];
    enum ms_lease_end why;
};

static void set_why(struct ms_lease *lease, enum ms_lease_end why) {
    if (lease->why == MS_LEASE_HELD || why == MS_LEASE_LOST)
        lease->why = why;
    atomic_store(&lease->halt, true);
}

/* Renews without the lock: the queue may take seconds. */
static void renew(struct ms_lease *lease) {
    const struct ms_job job = lease->job;
    const uint64_t number = lease->number;
    char token[MS_TOKEN_HEX];
    memcpy(token, lease->token, sizeof token);
    (void)pthread_mutex_unlock(&lease->lock);
    struct ms_error err = {0};
    const int rc =
        ms_queue_change(lease->queue, MS_CHANGE_RENEW, &job, token, lease->options.lease_ms, &err);
    (void)ms_outage_note(lease->options.outage, rc, &err);
    (void)pthread_mutex_lock(&lease->lock);
    if (!lease->has_job || lease->number != number)
        return;
    if (rc == MS_ECANCELED)
        set_why(lease, MS_LEASE_CANCELED);
    else if (rc == MS_ECONFLICT || rc == MS_ENOTFOUND)
        set_why(lease, MS_LEASE_LOST);
}

static void wait_tick(struct ms_lease *lease) {
    (void)ms_cond_wait_until(&lease->wake, &lease->lock, ms_monotonic_s() + TICK_MS / 1000.0);
}

/* A thread that hangs in a library, for example in FFmpeg on a hostile file, cannot be ended. The
 * process can, and whatever supervises it starts it again. For the queue the job has crashed
 * once. */
static void end_process(const struct ms_lease *lease, const char *why) {
    ms_log_fields(MS_LOG_ERROR, "this worker ends: its job is stuck", "job", lease->job.id,
                  "reason", why, NULL);
    _exit(MS_WORKER_STALLED);
}

static void *beat(void *user) {
    struct ms_lease *lease = user;
    const double every_s =
        (double)(lease->options.lease_ms / 3 < RENEW_MS ? lease->options.lease_ms / 3 : RENEW_MS) /
        1000;
    const double news_s = NEWS_MS / 1000.0;
    int still = 0; /* ticks in a row in which the job did not move as it should */
    (void)pthread_mutex_lock(&lease->lock);
    double renewed_s = 0, stopped_s = -1;
    uint64_t number = 0;
    while (!lease->ending) {
        const double now_s = ms_monotonic_s();
        if (stopped_s < 0 && atomic_load(lease->options.stop))
            stopped_s = now_s;
        if (stopped_s >= 0 &&
            (!lease->has_job || (now_s - stopped_s) * 1000 >= (double)lease->options.grace_ms))
            set_why(lease, MS_LEASE_STOPPED);
        /* Several ticks in a row: a process that was frozen as a whole moves again once it is
         * resumed. */
        still = lease->has_job && !lease->options.is_alive() ? still + 1 : 0;
        if (still > STILL_TICKS)
            end_process(lease, "it has not moved for longer than --stall allows");
        if (lease->has_job && stopped_s >= 0 &&
            now_s - stopped_s > (double)lease->options.grace_ms / 1000 + STOP_S)
            end_process(lease, "it did not end after the worker was asked to stop");
        if (lease->has_job && lease->number != number) {
            number = lease->number;
            renewed_s = now_s; /* reserve() gave a fresh lease */
        }
        const double wait_s = lease->has_news && every_s > news_s ? news_s : every_s;
        if (lease->has_job && lease->why != MS_LEASE_LOST && now_s - renewed_s >= wait_s) {
            lease->has_news = false;
            renew(lease);
            renewed_s = now_s; /* the time before the call, from which the lease may count */
        }
        if (!lease->ending)
            wait_tick(lease);
    }
    (void)pthread_mutex_unlock(&lease->lock);
    return NULL;
}

int ms_lease_new(const struct ms_lease_options *options, struct ms_lease **out,
                 struct ms_error *err) {
    struct ms_lease *lease = calloc(1, sizeof *lease);
    *out = NULL;
    if (lease == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a lease");
    lease->options = *options;
    (void)pthread_mutex_init(&lease->lock, NULL);
    (void)ms_cond_init(&lease->wake);
    int rc = ms_queue_open(options->queue_url, &lease->queue, err);
    if (rc == 0) {
        lease->has_thread = ms_thread_start(&lease->thread, 0, beat, lease) == 0;
        if (!lease->has_thread)
            rc = ms_error_set(err, MS_ENOMEM, "cannot start the thread that renews the lease");
    }
    if (rc != 0) {
        ms_lease_free(lease);
        return rc;
    }
    *out = lease;
    return 0;
}

void ms_lease_free(struct ms_lease *lease) {
    if (lease == NULL)
        return;
    if (lease->has_thread) {
        (void)pthread_mutex_lock(&lease->lock);
        lease->ending = true;
        (void)pthread_cond_signal(&lease->wake);
        (void)pthread_mutex_unlock(&lease->lock);
        (void)pthread_join(lease->thread, NULL);
    }
    ms_queue_close(lease->queue);
    (void)pthread_cond_destroy(&lease->wake);
    (void)pthread_mutex_destroy(&lease->lock);
    free(lease);
}

void ms_lease_begin(struct ms_lease *lease, const struct ms_job *job, const char *token) {
    (void)pthread_mutex_lock(&lease->lock);
    lease->has_job = true;
    lease->number++;
    lease->job = (struct ms_job){.state = MS_JOB_RUNNING, .eta_seconds = -1};
    lease->has_news = false;
    memcpy(lease->job.id, job->id, sizeof job->id);
    (void)snprintf(lease->token, sizeof lease->token, "%s", token);
    lease->why = MS_LEASE_HELD;
    atomic_store(&lease->halt, false); /* An earlier stop is set again after its grace period. */
    (void)pthread_mutex_unlock(&lease->lock);
}

void ms_lease_end(struct ms_lease *lease) {
    (void)pthread_mutex_lock(&lease->lock);
    lease->has_job = false;
    lease->why = MS_LEASE_HELD;
    atomic_store(&lease->halt, false);
    (void)pthread_mutex_unlock(&lease->lock);
}

void ms_lease_progress(struct ms_lease *lease, double progress, double eta_seconds,
                       double audio_seconds) {
    (void)pthread_mutex_lock(&lease->lock);
    lease->job.progress = progress;
    lease->job.eta_seconds = eta_seconds;
    lease->job.audio_seconds = audio_seconds;
    (void)pthread_mutex_unlock(&lease->lock);
}

void ms_lease_preview(struct ms_lease *lease, double preview_seconds) {
    (void)pthread_mutex_lock(&lease->lock);
    lease->job.preview_seconds = preview_seconds;
    lease->has_news = true;
    (void)pthread_mutex_unlock(&lease->lock);
}

const atomic_bool *ms_lease_halt(const struct ms_lease *lease) {
    return &lease->halt;
}

enum ms_lease_end ms_lease_why(struct ms_lease *lease) {
    (void)pthread_mutex_lock(&lease->lock);
    enum ms_lease_end why;
    why = lease->why;
    (void)pthread_mutex_unlock(&lease->lock);
    return why;
}

void ms_lease_note(struct ms_lease *lease, enum ms_lease_end why) {
    (void)pthread_mutex_lock(&lease->lock);
    set_why(lease, why);
    (void)pthread_mutex_unlock(&lease->lock);
}
