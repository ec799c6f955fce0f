/* From the queue to the result: reserve a job, run it (job_run.c), tell the queue what came of it.
 * Owns one worker's connections to queue and store, its folder, and its helpers: the lease's thread
 * (lease.c), the reaper and the deliverer of callbacks (chores.c), the sweeper (sweeper.c), the
 * watch on the store (watch.c). Runs on the caller's thread. */
#include "msaas/worker.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "alive.h"
#include "chores.h"
#include "job_run.h"
#include "lease.h"
#include "msaas/digest.h"
#include "msaas/fault.h"
#include "msaas/log.h"
#include "msaas/metrics.h"
#include "msaas/objects.h"
#include "msaas/queue.h"
#include "msaas/sys.h"
#include "outage.h"
#include "preview.h"
#include "scratch.h"
#include "sweeper.h"
#include "watch.h"

struct ms_metric ms_worker_finished = {
    .name = "msaas_jobs_finished_total",
    .help = "Jobs that this worker finished.",
    .kind = MS_METRIC_COUNTER,
    .labels = {"state"},
    .known = {"succeeded", "failed", "canceled"},
};
struct ms_metric ms_worker_in_flight = {
    .name = "msaas_jobs_in_flight",
    .help = "Jobs running in this process.",
    .kind = MS_METRIC_GAUGE,
};
struct ms_metric ms_worker_unwell = {
    .name = "msaas_worker_unwell",
    .help = "1 while this worker takes no job because something that it needs fails, else 0.",
    .kind = MS_METRIC_GAUGE,
};
struct ms_metric ms_worker_audio_seconds = {
    .name = "msaas_audio_seconds_total",
    .help = "Seconds of music separated.",
    .kind = MS_METRIC_COUNTER,
};
struct ms_metric ms_worker_work_seconds = {
    .name = "msaas_work_seconds_total",
    .help = "Seconds spent on jobs that succeeded.",
    .kind = MS_METRIC_COUNTER,
};
struct ms_metric ms_worker_speed = {
    .name = "msaas_speed_ratio",
    .help = "Seconds of music per second of work, of the last job.",
    .kind = MS_METRIC_GAUGE,
};
struct ms_metric ms_worker_retries = {
    .name = "msaas_retries_total",
    .help = "Jobs put back into the queue after a temporary failure.",
    .kind = MS_METRIC_COUNTER,
    .labels = {"code"},
};

struct ms_metric ms_worker_junk = {
    .name = "msaas_items_refused_total",
    .help = "Items of the list toWorker that were no jobs.",
    .kind = MS_METRIC_COUNTER,
};

#define RESERVE_WAIT_MS 500
#define RETRY_MAX_MS 60000
#define UNWELL_MAX_MS 60000
/* How long a worker that stops tries to put its job back while the queue does not answer. */
#define LAST_WORDS_S 5.0

struct worker {
    const struct ms_worker_options *options;
    char name[100];
    struct ms_outage queue_outage, store_outage;
    struct ms_queue *queue;
    struct ms_store *store;
    struct ms_store *cleaner; /* a store that a canceled job does not stop */
    struct ms_scratch scratch;
    struct ms_lease *lease;
    struct ms_chores *chores;
    struct ms_sweeper *sweeper;
    struct ms_preview *preview;
    struct ms_watch *watch;
    struct ms_job_work work;
    int pauses; /* since it last finished a job */
    int64_t paused_ms;
    struct ms_job job; /* the one at work */
    char token[MS_TOKEN_HEX];
    struct ms_alive alive;
};

static void moved(void *context, double allow_s) {
    struct worker *worker = context;
    ms_alive_allow(&worker->alive, worker->options->stall_s + allow_s);
}

/* "": it is ready. */
static void set_unready(struct worker *worker, const char *why) {
    ms_alive_set_unready(&worker->alive, why);
    ms_metric_set(&ms_worker_unwell, why[0] != '\0', NULL);
}

/* ---- waiting ---- */

static bool stopped(const struct worker *worker) {
    return atomic_load(worker->options->stop);
}

/* Sleeps in short naps: a signal handler may set `flag` (may be NULL), and that wakes no thread. */
static void pause_ms(struct worker *worker, int64_t ms, const atomic_bool *flag) {
    const double until_s = ms_monotonic_s() + (double)ms / 1000;
    const struct timespec nap = {.tv_nsec = 50000000};
    moved(worker, (double)ms / 1000);
    while ((flag == NULL || !atomic_load(flag)) && ms_monotonic_s() < until_s)
        (void)nanosleep(&nap, NULL);
}

static void wait_for_queue(struct worker *worker) {
    const char *warning = NULL;
    struct ms_error err = {0};
    for (int failures = 0; !stopped(worker); failures++) {
        const int rc = ms_queue_ping(worker->queue, &warning, &err);
        if (!ms_outage_note(&worker->queue_outage, rc, &err))
            break;
        set_unready(worker, err.text);
        pause_ms(worker, ms_outage_pause_ms(failures), worker->options->stop);
    }
    if (warning != NULL)
        ms_log(MS_LOG_WARN, "%s", warning);
}

/* What workers held that were killed on this machine: their jobs need not wait for the lease to
 * lapse. Where the queue does not take it, they do. */
static void give_back_leases(struct worker *worker) {
    for (int i = 0; i < worker->scratch.left_count; i++) {
        const struct ms_scratch_lease *left = &worker->scratch.left[i];
        struct ms_job job = {0};
        struct ms_error err = {0};
        memcpy(job.id, left->job, sizeof job.id);
        const int rc = ms_queue_change(worker->queue, MS_CHANGE_LAPSE, &job, left->token, 0, &err);
        (void)ms_outage_note(&worker->queue_outage, rc, &err);
        if (rc != 0)
            continue;
        ms_metric_add(&ms_worker_reaped, 1, NULL, NULL);
        ms_log_fields(MS_LOG_WARN, "job put back: the worker that had it was killed", "job", job.id,
                      NULL);
    }
}

/* ---- unwell? ---- */

/* Whether all that the worker has works. */
static int examine(struct worker *worker, struct ms_error *err) {
    int rc = ms_scratch_check(&worker->scratch, err);
    if (rc == 0)
        rc = ms_engine_use(worker->options->engine, MS_PRECISION_AUTO, err);
    if (rc != 0)
        return rc;
    rc = ms_store_ping(worker->store, err);
    return ms_outage_note(&worker->store_outage, rc, err) ? rc : 0;
}

/* Pauses, after the fault in *err (code 0: none yet), until the worker is well or is to stop. An
 * error: it has paused for too long. */
static int recover(struct worker *worker, struct ms_error *err) {
    while (!stopped(worker)) {
        if (err->code == 0 && examine(worker, err) == 0) {
            set_unready(worker, "");
            return 0;
        }
        set_unready(worker, err->text);
        if (worker->paused_ms >= worker->options->give_up_ms)
            return err->code;
        const int64_t ms = worker->pauses < 6 ? INT64_C(1000) << worker->pauses : UNWELL_MAX_MS;
        char seconds[16];
        (void)snprintf(seconds, sizeof seconds, "%d", (int)(ms / 1000));
        ms_log_fields(MS_LOG_WARN, "this worker is unwell and takes no job", "error", err->text,
                      "seconds", seconds, NULL);
        pause_ms(worker, ms, worker->options->stop);
        worker->pauses++;
        worker->paused_ms += ms;
        *err = (struct ms_error){0};
    }
    return 0;
}

/* A job ended, and not for a fault of the worker. */
static void be_well(struct worker *worker) {
    worker->pauses = 0;
    worker->paused_ms = 0;
}

/* ---- the queue hears of the job ---- */

/* One change of the job at work, repeated while the queue cannot be reached. Ends early, with the
 * queue's failure, when the lease is known to be lost or a worker that stops has tried long enough.
 */
static int change(struct worker *worker, enum ms_queue_change what, struct ms_error *err) {
    double stopped_s = -1;
    for (int failures = 0;; failures++) {
        const int rc = ms_queue_change(worker->queue, what, &worker->job, worker->token,
                                       worker->options->lease_ms, err);
        if (rc == MS_ECONFLICT || rc == MS_ENOTFOUND)
            ms_lease_note(worker->lease, MS_LEASE_LOST);
        else if (rc == MS_ECANCELED)
            ms_lease_note(worker->lease, MS_LEASE_CANCELED);
        if (!ms_outage_note(&worker->queue_outage, rc, err) || !ms_outage_may_end(rc) ||
            ms_lease_why(worker->lease) == MS_LEASE_LOST)
            return rc;
        if (stopped(worker) && stopped_s < 0)
            stopped_s = ms_monotonic_s();
        if (stopped_s >= 0 && ms_monotonic_s() - stopped_s > LAST_WORDS_S)
            return rc;
        if (stopped_s < 0)
            pause_ms(worker, ms_outage_pause_ms(failures), worker->options->stop);
        else
            pause_ms(worker, 250, NULL);
    }
}

/* See job_run.h. Here a worker that was frozen learns that another one has its job. */
static int confirm(void *context, struct ms_error *err) {
    struct worker *worker = context;
    const atomic_bool *halt = ms_lease_halt(worker->lease);
    for (int failures = 0; !atomic_load(halt); failures++) {
        const int rc = ms_queue_change(worker->queue, MS_CHANGE_RENEW, &worker->job, worker->token,
                                       worker->options->lease_ms, err);
        if (rc == MS_ECONFLICT || rc == MS_ENOTFOUND)
            ms_lease_note(worker->lease, MS_LEASE_LOST);
        else if (rc == MS_ECANCELED)
            ms_lease_note(worker->lease, MS_LEASE_CANCELED);
        else if (!ms_outage_note(&worker->queue_outage, rc, err) || !ms_outage_may_end(rc))
            return rc;
        else
            pause_ms(worker, ms_outage_pause_ms(failures), halt);
    }
    return ms_error_set(err, MS_ECANCELED, "canceled");
}

/* When a job that was given back runs again: at once, as others may be well; then after 2 s,
 * doubled each time, at most a minute, less a random part of up to half, so that jobs which
 * failed together do not return together. */
static int64_t retry_at_ms(const struct ms_job *job) {
    if (job->failures == 0)
        return 0;
    const int64_t most_ms = job->failures < 6 ? INT64_C(1000) << job->failures : RETRY_MAX_MS;
    char hex[5];
    int64_t random = 0;
    if (ms_random_hex(hex, sizeof hex - 1, NULL) == 0)
        random = strtol(hex, NULL, 16);
    return ms_unix_ms() + most_ms - most_ms / 2 * random / 0xffff;
}

/* Removes the objects of a job that did not finish. Where another worker has the job by now, the
 * objects are that worker's and stay. */
static void discard(struct worker *worker, const struct ms_job_outcome *outcome, bool song) {
    struct ms_store_options options = worker->options->store;
    if (!outcome->uploads && !song)
        return;
    const int rc = ms_queue_change(worker->queue, MS_CHANGE_RENEW, &worker->job, worker->token,
                                   worker->options->lease_ms, NULL);
    if (rc != 0 && rc != MS_ECANCELED)
        return;

    options.cancel = worker->options->stop;
    if (worker->cleaner == NULL && ms_store_open(&options, &worker->cleaner, NULL) != 0)
        return;
    if (song)
        (void)!ms_objects_remove(worker->cleaner, &worker->job, NULL);
    else
        (void)!ms_objects_remove_stems(worker->cleaner, &worker->job, NULL);
}

static void ended(const char *state) {
    ms_metric_add(&ms_worker_finished, 1, state, NULL);
}

static void end_succeeded(struct worker *worker, const struct ms_job_outcome *outcome) {
    const struct ms_job *job = &worker->job;
    ms_preview_remove(worker->preview, job);
    const double speed = outcome->seconds > 0 ? job->audio_seconds / outcome->seconds : 0;
    ms_chores_wake(worker->chores);
    char audio[32], took[32], times[32], stems[16];
    (void)snprintf(audio, sizeof audio, "%.1f", job->audio_seconds);
    (void)snprintf(took, sizeof took, "%.1f", outcome->seconds);
    (void)snprintf(times, sizeof times, "%.2f", speed);
    (void)snprintf(stems, sizeof stems, "%d", job->stem_count);
    ms_log_fields(MS_LOG_INFO, "job done", "job", job->id, "stems", stems, "audio_seconds", audio,
                  "seconds", took, "speed", times, NULL);
    ended("succeeded");
    ms_metric_add(&ms_worker_audio_seconds, job->audio_seconds, NULL, NULL);
    ms_metric_add(&ms_worker_work_seconds, outcome->seconds, NULL, NULL);
    ms_metric_set(&ms_worker_speed, speed, NULL);
}

/* The worker is unwell: another one, or this one later, does the job. */
static int give_back(struct worker *worker, struct ms_error *err) {
    struct ms_job *job = &worker->job;
    job->stem_count = 0;
    job->not_before_ms = retry_at_ms(job);
    const int rc = change(worker, MS_CHANGE_RETRY, err);
    if (rc != 0)
        return rc;
    ms_metric_add(&ms_worker_retries, 1, job->error_code, NULL);
    ms_log_fields(MS_LOG_WARN, "job put back: this worker is unwell", "job", job->id, "code",
                  job->error_code, "error", job->error_message, NULL);
    return 0;
}

static int end_failed(struct worker *worker, const struct ms_job_outcome *outcome,
                      struct ms_error *err) {
    struct ms_job *job = &worker->job;
    job->stem_count = 0;
    discard(worker, outcome, false);
    const int rc = change(worker, MS_CHANGE_FAIL, err);
    if (rc != 0)
        return rc;
    ms_chores_wake(worker->chores);
    ended("failed");
    ms_log_fields(MS_LOG_ERROR, "job failed", "job", job->id, "code", job->error_code, "error",
                  job->error_message, NULL);
    return 0;
}

static int end_canceled(struct worker *worker, const struct ms_job_outcome *outcome,
                        struct ms_error *err) {
    /* Removes the song too, since to cancel is to erase. Does so before the queue learns of it, so
     * that a song that is sent again afterwards stays. */
    discard(worker, outcome, true);
    worker->job.stem_count = 0;
    const int rc = change(worker, MS_CHANGE_CANCEL, err);
    if (rc != 0)
        return rc;
    ms_chores_wake(worker->chores);
    ended("canceled");
    ms_log_fields(MS_LOG_INFO, "job canceled", "job", worker->job.id, NULL);
    return 0;
}

static int end_stopped(struct worker *worker, struct ms_error *err) {
    worker->job.stem_count = 0;
    const int rc = change(worker, MS_CHANGE_REQUEUE, err);
    if (rc == 0)
        ms_log_fields(MS_LOG_INFO, "job put back: this worker stops", "job", worker->job.id, NULL);
    return rc;
}

/* `code` is what the work returned. */
static void settle(struct worker *worker, const struct ms_job_outcome *outcome, int code) {
    struct ms_error err = {0};
    int rc = 0;
    if (code == 0) {
        ms_fault_point("before-publish");
        rc = change(worker, MS_CHANGE_FINISH, &err);
        if (rc == 0) {
            ms_fault_point("after-publish");
            end_succeeded(worker, outcome);
            return;
        }
    }
    switch (ms_lease_why(worker->lease)) {
    case MS_LEASE_LOST: break;
    case MS_LEASE_CANCELED: rc = end_canceled(worker, outcome, &err); break;
    case MS_LEASE_STOPPED:
    case MS_LEASE_HELD:
        if (code == MS_ECANCELED)
            rc = end_stopped(worker, &err);
        else if (code != 0)
            rc = outcome->unwell && worker->job.failures < MS_JOB_MAX_FAILURES - 1
                     ? give_back(worker, &err)
                     : end_failed(worker, outcome, &err);
        break;
    }
    if (ms_lease_why(worker->lease) == MS_LEASE_LOST)
        ms_log_fields(MS_LOG_WARN, "job dropped: its lease was lost and another worker may have it",
                      "job", worker->job.id, NULL);
    else if (rc != 0)
        ms_log_fields(MS_LOG_ERROR, "job left to the reaper: the queue did not take its result",
                      "job", worker->job.id, "error", err.text, NULL);
}

/* ---- one job ---- */

/* *fault: what ended the job, if the worker is unwell; else code 0. */
static void run_job(struct worker *worker, struct ms_error *fault) {
    struct ms_job *job = &worker->job;
    ms_scratch_hold(&worker->scratch, job->id, worker->token);
    ms_fault_point("after-claim");
    ms_lease_begin(worker->lease, job, worker->token);
    ms_metric_set(&ms_worker_in_flight, 1, NULL);
    char bytes[32], attempt[16];
    (void)snprintf(bytes, sizeof bytes, "%lld", (long long)job->input_bytes);
    (void)snprintf(attempt, sizeof attempt, "%d", job->attempts);
    ms_log_fields(MS_LOG_INFO, "job begun", "job", job->id, "bytes", bytes, "attempt", attempt,
                  NULL);
    struct ms_job_outcome outcome = {0};
    int code;
    if (stopped(worker)) {
        ms_lease_note(worker->lease, MS_LEASE_STOPPED);
        code = ms_error_set(fault, MS_ECANCELED, "canceled");
    } else {
        code = ms_job_run(&worker->work, job, &outcome, fault);
    }
    settle(worker, &outcome, code);
    ms_lease_end(worker->lease);
    ms_metric_set(&ms_worker_in_flight, 0, NULL);
    ms_scratch_empty(&worker->scratch);
    if (outcome.unwell)
        return;
    *fault = (struct ms_error){0};
    if (code != MS_ECANCELED)
        be_well(worker);
}

static int work(struct worker *worker, struct ms_error *err) {
    const char *model = ms_engine_info(worker->options->engine)->name;
    int failures = 0;
    while (!stopped(worker)) {
        moved(worker, 0);
        struct ms_error failure = {0};
        int rc = ms_queue_reserve(worker->queue, model, worker->options->lease_ms, RESERVE_WAIT_MS,
                                  &worker->job, worker->token, &failure);
        if (ms_outage_note(&worker->queue_outage, rc, &failure) ||
            (rc != 0 && rc != MS_ENOTFOUND)) {
            set_unready(worker, failure.text);
            pause_ms(worker, ms_outage_pause_ms(failures++), worker->options->stop);
            continue;
        }
        failures = 0;
        set_unready(worker, "");
        if (rc == MS_ENOTFOUND)
            continue;
        struct ms_error fault = {0};
        run_job(worker, &fault);
        ms_job_fini(&worker->job);
        rc = fault.code != 0 ? recover(worker, &fault) : 0;
        if (rc != 0)
            return ms_error_copy(err, &fault);
    }
    return 0;
}

static void on_junk(void *context, const char *item) {
    (void)context;
    ms_metric_add(&ms_worker_junk, 1, NULL, NULL);
    ms_log_fields(MS_LOG_WARN, "an item of the list toWorker is no job; it was taken off", "item",
                  item, NULL);
}

/* ---- begin and end ---- */

/* HOST-PID-RANDOM, for the log. */
static int make_name(char name[100], struct ms_error *err) {
    char random[9];
    const int rc = ms_random_hex(random, sizeof random - 1, err);
    if (rc != 0)
        return rc;
    char host[65] = "";
    (void)gethostname(host, sizeof host - 1);
    for (char *at = host; *at != '\0'; at++)
        if (!isalnum((unsigned char)*at) && strchr("._-", *at) == NULL)
            *at = '_';
    (void)snprintf(name, 100, "%s-%ld-%s", host[0] != '\0' ? host : "worker", (long)getpid(),
                   random);
    return 0;
}

static int begin(struct worker *worker, struct ms_error *err) {
    const struct ms_worker_options *options = worker->options;
    const struct ms_lease_options lease = {
        .queue_url = options->queue_url,
        .lease_ms = options->lease_ms,
        .grace_ms = options->grace_ms,
        .stop = options->stop,
        .outage = &worker->queue_outage,
        .is_alive = ms_worker_is_alive,
    };
    struct ms_store_options store = options->store;
    int rc = make_name(worker->name, err);
    if (rc == 0)
        rc = ms_scratch_open(options->scratch_dir, &worker->scratch, err);
    if (rc == 0)
        rc = ms_queue_open(options->queue_url, &worker->queue, err);
    if (rc == 0)
        ms_queue_on_junk(worker->queue, on_junk, NULL);
    if (rc == 0)
        rc = ms_lease_new(&lease, &worker->lease, err);
    if (rc != 0)
        return rc;
    store.cancel = ms_lease_halt(worker->lease);
    rc = ms_store_open(&store, &worker->store, err);
    const struct ms_preview_options preview = {
        .store = options->store,
        .store_outage = &worker->store_outage,
        .lease = worker->lease,
        .seconds = options->preview_s,
    };
    if (rc == 0 && options->preview_s > 0)
        rc = ms_preview_new(&preview, &worker->preview, err);
    worker->work = (struct ms_job_work){
        .engine = options->engine,
        .store = worker->store,
        .store_outage = &worker->store_outage,
        .lease = worker->lease,
        .preview = worker->preview,
        .folder = worker->scratch.path,
        .max_song_s = options->max_song_s,
        .max_cost = options->max_cost,
        .confirm = confirm,
        .moved = moved,
        .context = worker,
    };
    return rc;
}

int ms_worker_run(const struct ms_worker_options *options, bool *unfit, struct ms_error *err) {
    struct worker worker = {
        .options = options,
        .scratch = {.lock = -1},
        .queue_outage = {.what = "the queue", .errors = &ms_queue_errors},
        .store_outage = {.what = "the store", .errors = &ms_store_errors},
    };
    const struct ms_chores_options chores = {
        .queue_url = options->queue_url,
        .lease_ms = options->lease_ms,
        .model = ms_engine_info(options->engine)->name,
        .model_wait_ms = options->model_wait_ms,
        .webhook_secret = options->webhook_secret,
        .callback_allow = options->callback_allow,
        .outage = &worker.queue_outage,
    };
    const struct ms_sweeper_options sweeper = {
        .store = options->store,
        .queue_url = options->queue_url,
        .keep_ms = options->keep_ms,
        .upload_keep_s = options->upload_keep_s,
    };
    struct ms_error fault = {0};
    *unfit = false;
    set_unready(&worker, "the worker has not begun yet");
    ms_alive_begin(&worker.alive, &worker.queue_outage, &worker.store_outage, options->stall_s);
    int rc = begin(&worker, err);
    if (rc != 0)
        goto out;
    wait_for_queue(&worker);
    give_back_leases(&worker);
    *unfit = recover(&worker, &fault) != 0;
    if (*unfit) {
        rc = ms_error_copy(err, &fault);
        goto out;
    }
    rc = ms_chores_new(&chores, &worker.chores, err);
    if (rc == 0)
        rc = ms_sweeper_new(&sweeper, &worker.sweeper, err);
    if (rc == 0)
        rc = ms_watch_new(&options->store, &worker.store_outage, &worker.watch, err);
    if (rc != 0)
        goto out;
    ms_log_fields(MS_LOG_INFO, "worker ready", "worker", worker.name, "model",
                  ms_engine_info(options->engine)->name, NULL);
    rc = work(&worker, err);
    *unfit = rc != 0;
    ms_log_fields(MS_LOG_INFO, "worker stopped", "worker", worker.name, NULL);
out:
    ms_alive_end(&worker.alive);
    ms_chores_free(worker.chores);
    ms_sweeper_free(worker.sweeper);
    ms_preview_free(worker.preview);
    ms_watch_free(worker.watch);
    ms_store_close(worker.store);
    ms_store_close(worker.cleaner);
    ms_lease_free(worker.lease);
    ms_queue_close(worker.queue);
    ms_scratch_close(&worker.scratch);
    return rc;
}
