/* The rules of the queue, the same on every backend: load a record, change it by the rules, save it if nobody else did
 * meanwhile, else begin again. Owns the backend; one thread at a time. */
#include "queue.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/digest.h"

#define REAP_BATCH 100

int ms_queue_open(const char *url, struct ms_queue **out, struct ms_error *err) {
    *out = NULL;
    struct ms_queue *queue = calloc(1, sizeof *queue);
    if (queue == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the queue");
    int rc;
    if (strncmp(url, "redis:", 6) == 0 || strncmp(url, "rediss:", 7) == 0)
        rc = ms_queue_redis_open(url, &queue->ops, &queue->backend, err);
    else if (strncmp(url, "sqlite:", 7) == 0)
        rc = ms_queue_sqlite_open(url, &queue->ops, &queue->backend, err);
    else
        rc = ms_error_set(
            err, MS_EUSAGE,
            "the queue's URL must be redis://HOST:PORT/DB, rediss://... or sqlite:FILE");
    if (rc == 0)
        *out = queue;
    else
        free(queue);
    return rc;
}

void ms_queue_close(struct ms_queue *queue) {
    if (queue == NULL)
        return;
    queue->ops->close(queue->backend);
    free(queue);
}

int ms_queue_ping(struct ms_queue *queue, const char **warning, struct ms_error *err) {
    *warning = NULL;
    return queue->ops->ping(queue->backend, warning, err);
}

void ms_record_fini(struct ms_record *record) {
    ms_job_fini(&record->job);
    memset(record, 0, sizeof *record);
}

static int load(struct ms_queue *queue, const char *id, struct ms_record *out,
                struct ms_error *err) {
    int rc = queue->ops->load(queue->backend, id, out, err);
    if (rc == 0 && strcmp(out->job.id, id) != 0)
        rc = ms_error_set(err, MS_ECORRUPT, "the record of job %.12s... is another job's", id);
    if (rc == MS_ECORRUPT) {
        const int64_t revision = out->revision;
        ms_record_fini(out);
        out->revision = revision;
        (void)snprintf(out->job.id, sizeof out->job.id, "%s", id);
    }
    return rc;
}

int ms_record_get(struct ms_queue *queue, const char *id, struct ms_record *out,
                  struct ms_error *err) {
    memset(out, 0, sizeof *out);
    if (!ms_job_id_is_valid(id))
        return ms_error_set(err, MS_ENOTFOUND, "there is no job of that id");
    return load(queue, id, out, err);
}

/* ---- the rules ----------------------------------------------------------------------------------------------------- */

static void end(struct ms_record *record, enum ms_job_state state, int64_t now_ms) {
    struct ms_job *job = &record->job;
    job->state = state;
    job->finished_ms = now_ms;
    job->eta_seconds = -1;
    if (state == MS_JOB_SUCCEEDED)
        job->progress = 1;
    record->place = MS_PLACE_ENDED;
    record->token[0] = '\0';
    if (job->callback.version > 0) {
        record->callback_due_ms = now_ms;
        record->callback_attempt = 0;
    }
}

static void put_back(struct ms_record *record, enum ms_place place, bool in_front) {
    struct ms_job *job = &record->job;
    job->state = MS_JOB_QUEUED;
    job->progress = 0;
    job->eta_seconds = -1;
    record->place = place;
    record->in_front = in_front;
    record->token[0] = '\0';
}

static void set_job_error(struct ms_job *job, const char *code, const char *message) {
    (void)snprintf(job->error_code, sizeof job->error_code, "%s", code);
    (void)snprintf(job->error_message, sizeof job->error_message, "%s", message);
}

/* A song that comes again. Whether the record is to be saved; *anew: queued anew. */
static int meet_again(struct ms_record *record, const struct ms_job *job, int64_t now_ms,
                      bool *anew, bool *changed, struct ms_error *err) {
    const struct ms_job *present = &record->job;
    if (present->cancel_asked &&
        present->state == MS_JOB_RUNNING) /* it will vanish, song and all */
        return ms_error_set(err, MS_ECONFLICT, "the same song is being canceled");
    *anew = present->state == MS_JOB_FAILED || present->state == MS_JOB_CANCELED ||
            (present->state == MS_JOB_SUCCEEDED && record->stripped);
    *changed = *anew;
    if (*anew) {
        struct ms_job fresh;
        int rc = ms_job_copy(job, &fresh, err);
        /* Who is still to be called for the last time will be for this one. */
        if (rc == 0 && record->callback_due_ms != 0)
            rc = ms_job_add_callback(&fresh, &record->job.callback, err);
        for (int i = 0; rc == 0 && i < record->job.other_count; i++)
            rc = ms_job_add_callback(&fresh, &record->job.others[i], err);
        if (rc != 0) {
            ms_job_fini(&fresh);
            return rc;
        }
        ms_job_fini(&record->job);
        record->job = fresh;
        record->job.created_ms = now_ms;
        record->callback_due_ms = 0;
        record->stripped = record->erase_asked = false;
        put_back(record, MS_PLACE_WAITING, false);
        return 0;
    }
    if (job->callback.version == 0)
        return 0;
    *changed = true;
    if (ms_job_state_is_final(present->state) && record->callback_due_ms == 0) {
        /* Nobody waits: this one is called at once, if it was called before or not. */
        struct ms_job copy;
        int rc = ms_job_copy(job, &copy, err);
        if (rc != 0)
            return rc;
        const struct ms_job_callback old = record->job.callback;
        record->job.callback = copy.callback;
        copy.callback = old;
        ms_job_fini(&copy);
        record->callback_due_ms = now_ms;
        record->callback_attempt = 0;
        return 0;
    }
    return ms_job_add_callback(&record->job, &job->callback, err);
}

int ms_queue_enqueue(struct ms_queue *queue, const struct ms_job *job, bool *created,
                     struct ms_job *now, struct ms_error *err) {
    *created = false;
    if (!ms_job_id_is_valid(job->id))
        return ms_error_set(err, MS_EUSAGE, "a job needs an id");
    for (int i = 0; i < MS_QUEUE_TRIES; i++) {
        struct ms_record record;
        int64_t now_ms = 0;
        bool changed = true;
        memset(&record, 0, sizeof record);
        int rc = queue->ops->now(queue->backend, &now_ms, err);
        if (rc == 0)
            rc = load(queue, job->id, &record, err);
        if (rc == MS_ECORRUPT) { /* nobody can do anything with it: make room */
            rc = queue->ops->save(queue->backend, &record, true, err);
            ms_record_fini(&record);
            if (rc == 0 || rc == MS_ECONFLICT)
                continue;
            return rc;
        }
        if (rc == MS_ENOTFOUND) {
            *created = true;
            rc = ms_job_copy(job, &record.job, err);
            record.job.created_ms = now_ms;
            put_back(&record, MS_PLACE_WAITING, false);
        } else if (rc == 0) {
            rc = meet_again(&record, job, now_ms, created, &changed, err);
        }
        const bool decided = rc != 0;
        if (rc == 0 && changed)
            rc = queue->ops->save(queue->backend, &record, false, err);
        if (rc == 0 && now != NULL) {
            *now = record.job;
            memset(&record.job, 0, sizeof record.job);
            /* The job is acknowledged: that its place cannot be had is no failure. */
            now->position = -1;
            if (now->state == MS_JOB_QUEUED &&
                queue->ops->position(queue->backend, now->id, &now->position, NULL) != 0)
                now->position = -1;
        }
        ms_record_fini(&record);
        if (decided || rc != MS_ECONFLICT)
            return rc;
    }
    return ms_error_set(err, MS_ENET, "the job was changed again and again while it was queued");
}

/* ---- the worker's side --------------------------------------------------------------------------------------------- */

/* A stranger put a bare id on the list: a job of default options, whose song lies in the store under that id. */
static void adopt(struct ms_record *record, const char *id, int64_t now_ms) {
    memset(record, 0, sizeof *record);
    memcpy(record->job.id, id, sizeof record->job.id); /* a valid one: just as long */
    ms_job_options_default("", &record->job.options);
    record->job.created_ms = now_ms;
    record->job.eta_seconds = -1;
}

/* 0: *record is leased. MS_ENOTFOUND: that id is no job that waits; it was dropped. */
static int claim(struct ms_queue *queue, const char *worker, const char *id, int64_t lease_ms,
                 struct ms_record *record, struct ms_error *err) {
    int64_t now_ms = 0;
    int rc = queue->ops->now(queue->backend, &now_ms, err);
    if (rc != 0)
        return rc;
    memset(record, 0, sizeof *record);
    if (!ms_job_id_is_valid(id))
        goto drop;
    for (int i = 0; i < MS_QUEUE_TRIES; i++) {
        rc = load(queue, id, record, err);
        if (rc == MS_ENOTFOUND)
            adopt(record, id, now_ms);
        else if (rc == MS_ECORRUPT)
            goto drop; /* the record stays, for whoever looks into it */
        else if (rc != 0)
            return rc;
        else if (record->job.state != MS_JOB_QUEUED || record->place != MS_PLACE_WAITING)
            goto drop;
        record->job.state = MS_JOB_RUNNING;
        record->job.attempts++;
        record->job.started_ms = now_ms;
        record->job.progress = 0;
        record->place = MS_PLACE_LEASED;
        record->lease_until_ms = now_ms + lease_ms;
        rc = ms_random_hex(record->token, MS_TOKEN_HEX - 1, err);
        if (rc == 0)
            rc = queue->ops->save(queue->backend, record, false, err);
        if (rc == 0)
            return 0;
        ms_record_fini(record);
        if (rc != MS_ECONFLICT)
            return rc;
    }
drop:
    ms_record_fini(record);
    rc = queue->ops->drop(queue->backend, worker, id, err);
    return rc != 0 ? rc : ms_error_set(err, MS_ENOTFOUND, "no job");
}

int ms_queue_reserve(struct ms_queue *queue, const char *worker, int64_t lease_ms, int64_t wait_ms,
                     struct ms_job *out, char token[MS_TOKEN_HEX], struct ms_error *err) {
    const size_t length = strlen(worker);
    if (length == 0 || length >= MS_WORKER_NAME_MAX ||
        strspn(worker, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") !=
            length)
        return ms_error_set(err, MS_EUSAGE,
                            "a worker's name is letters, digits, '.', '_' and '-', at most 100");
    for (int i = 0; i < MS_QUEUE_TRIES; i++) {
        char id[256];
        struct ms_record record;
        int rc = queue->ops->pop(queue->backend, worker, i == 0 ? wait_ms : 0, id, sizeof id, err);
        if (rc == 0)
            rc = claim(queue, worker, id, lease_ms, &record, err);
        else
            return rc;
        if (rc == MS_ENOTFOUND)
            continue; /* that one was none; perhaps the next */
        if (rc != 0)
            return rc;
        *out = record.job;
        out->position = -1;
        memcpy(token, record.token, MS_TOKEN_HEX);
        return 0;
    }
    return ms_error_set(err, MS_ENOTFOUND, "no job waits");
}

/* The change itself. Returns what ms_queue_change returns; *save: whether the record is to be stored, *gone: erased. */
static int apply(struct ms_record *record, enum ms_queue_change change, const struct ms_job *from,
                 int64_t lease_ms, int64_t now_ms, bool *gone, struct ms_error *err) {
    struct ms_job *job = &record->job;
    if (job->cancel_asked && (change == MS_CHANGE_RENEW || change == MS_CHANGE_FINISH))
        return ms_error_set(err, MS_ECANCELED, "somebody asked to cancel the job");
    switch (change) {
    case MS_CHANGE_RENEW:
        job->progress = from->progress;
        job->eta_seconds = from->eta_seconds;
        job->audio_seconds = from->audio_seconds;
        record->lease_until_ms = now_ms + lease_ms;
        return 0;
    case MS_CHANGE_FINISH:
        job->stem_count = from->stem_count;
        memcpy(job->stems, from->stems, sizeof job->stems);
        job->receipt = from->receipt;
        job->audio_seconds = from->audio_seconds;
        set_job_error(job, "", "");
        end(record, MS_JOB_SUCCEEDED, now_ms);
        return 0;
    case MS_CHANGE_RETRY:
        job->failures++;
        set_job_error(job, from->error_code, from->error_message);
        if (job->cancel_asked)
            break;
        if (job->failures >= MS_JOB_MAX_ATTEMPTS) {
            end(record, MS_JOB_FAILED, now_ms);
        } else {
            job->not_before_ms = from->not_before_ms;
            put_back(record, MS_PLACE_DELAYED, false);
        }
        return 0;
    case MS_CHANGE_FAIL:
        set_job_error(job, from->error_code, from->error_message);
        if (record->erase_asked)
            break;
        end(record, MS_JOB_FAILED, now_ms);
        return 0;
    case MS_CHANGE_REQUEUE:
        if (job->cancel_asked)
            break;
        job->attempts--;
        put_back(record, MS_PLACE_WAITING, true);
        return 0;
    case MS_CHANGE_CANCEL: break;
    }
    end(record, MS_JOB_CANCELED, now_ms);
    *gone = record->erase_asked;
    return 0;
}

int ms_queue_change(struct ms_queue *queue, enum ms_queue_change change, const struct ms_job *job,
                    const char *token, int64_t lease_ms, struct ms_error *err) {
    for (int i = 0; i < MS_QUEUE_TRIES; i++) {
        struct ms_record record;
        int64_t now_ms = 0;
        bool gone = false;
        memset(&record, 0, sizeof record);
        int rc = queue->ops->now(queue->backend, &now_ms, err);
        if (rc == 0)
            rc = load(queue, job->id, &record, err);
        const bool lost =
            rc == MS_ENOTFOUND ||
            (rc == 0 && (record.job.state != MS_JOB_RUNNING || strcmp(record.token, token) != 0));
        if (lost) {
            ms_record_fini(&record);
            return ms_error_set(err, MS_ECONFLICT, "job %.12s... is not this worker's any more",
                                job->id);
        }
        if (rc == 0)
            rc = apply(&record, change, job, lease_ms, now_ms, &gone, err);
        const bool decided = rc != 0; /* by the rules, or the server is lost */
        if (rc == 0)
            rc = queue->ops->save(queue->backend, &record, gone, err);
        ms_record_fini(&record);
        if (decided || rc != MS_ECONFLICT)
            return rc;
    }
    return ms_error_set(err, MS_ENET, "the job was changed again and again meanwhile");
}

/* A lease that lapsed, or a delay that is over. */
static void reap(struct ms_record *record, int64_t now_ms, bool *gone) {
    struct ms_job *job = &record->job;
    if (record->place == MS_PLACE_DELAYED) {
        put_back(record, MS_PLACE_WAITING, true);
        return;
    }
    job->crashes++;
    if (job->cancel_asked) {
        end(record, MS_JOB_CANCELED, now_ms);
        *gone = record->erase_asked;
    } else if (job->crashes >= MS_JOB_MAX_CRASHES) {
        char message[120];
        (void)snprintf(message, sizeof message, "%d workers went away while they had this song",
                       job->crashes);
        set_job_error(job, "poison", message);
        end(record, MS_JOB_FAILED, now_ms);
    } else {
        put_back(record, MS_PLACE_WAITING, true);
    }
}

static int reap_all(struct ms_queue *queue, enum ms_due what, int *count, struct ms_error *err) {
    char ids[REAP_BATCH][MS_JOB_ID_HEX];
    int found = 0;
    int64_t now_ms = 0;
    int rc = queue->ops->now(queue->backend, &now_ms, err);
    if (rc == 0)
        rc = queue->ops->due(queue->backend, what, now_ms, ids, REAP_BATCH, &found, err);
    for (int i = 0; rc == 0 && i < found; i++) {
        struct ms_record record;
        bool gone = false;
        rc = ms_record_get(queue, ids[i], &record, err);
        if (rc == MS_ENOTFOUND || rc == MS_ECORRUPT) { /* which must not hold up the others */
            rc = 0;
            continue;
        }
        if (rc != 0)
            break;
        const bool due =
            what == MS_DUE_LEASES
                ? record.place == MS_PLACE_LEASED && record.lease_until_ms <= now_ms
                : record.place == MS_PLACE_DELAYED && record.job.not_before_ms <= now_ms;
        if (due) {
            reap(&record, now_ms, &gone);
            rc = queue->ops->save(queue->backend, &record, gone, err);
            *count += rc == 0 && what == MS_DUE_LEASES;
            rc = rc == MS_ECONFLICT ? 0 : rc; /* it lives after all, or another reaper was faster */
        }
        ms_record_fini(&record);
    }
    return rc;
}

int ms_queue_reap(struct ms_queue *queue, int64_t lease_ms, int *count, struct ms_error *err) {
    *count = 0;
    int rc = queue->ops->rescue(queue->backend, lease_ms, count, err);
    if (rc == 0)
        rc = reap_all(queue, MS_DUE_DELAYED, count, err);
    if (rc == 0)
        rc = reap_all(queue, MS_DUE_LEASES, count, err);
    return rc;
}

/* ---- looking ------------------------------------------------------------------------------------------------------- */

int ms_queue_get(struct ms_queue *queue, const char *id, struct ms_job *out, struct ms_error *err) {
    struct ms_record record;
    int rc = ms_record_get(queue, id, &record, err);
    if (rc != 0)
        return rc;
    record.job.position = -1;
    if (record.job.state == MS_JOB_QUEUED)
        rc = queue->ops->position(queue->backend, id, &record.job.position, err);
    if (rc != 0) {
        ms_record_fini(&record);
        return rc;
    }
    *out = record.job;
    return 0;
}

int ms_queue_read_cursor(const char *cursor, char end, int64_t first, int64_t *number,
                         const char **rest, struct ms_error *err) {
    char *at = NULL;
    *number = first;
    *rest = "";
    if (cursor == NULL || cursor[0] == '\0')
        return 0;
    errno = 0;
    *number = strtoll(cursor, &at, 10);
    if (errno != 0 || at == cursor || *at != end)
        return ms_error_set(err, MS_EUSAGE, "cursor: not one that a list has given");
    if (end != '\0')
        *rest = at + 1;
    return 0;
}

int ms_queue_list(struct ms_queue *queue, const struct ms_queue_filter *filter, struct ms_job *jobs,
                  int *count, char next[MS_CURSOR_MAX], struct ms_error *err) {
    *count = 0;
    next[0] = '\0';
    if (filter->limit < 1 || filter->limit > 1000)
        return ms_error_set(err, MS_EUSAGE, "limit: must be from 1 to 1000, not %d", filter->limit);
    char(*ids)[MS_JOB_ID_HEX] = calloc((size_t)filter->limit, sizeof *ids);
    int found = 0;
    if (ids == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a list of jobs");
    int rc = queue->ops->list(queue->backend, filter, ids, &found, next, err);
    for (int i = 0; rc == 0 && i < found; i++) {
        struct ms_record record;
        rc = ms_record_get(queue, ids[i], &record, err);
        if (rc == MS_ENOTFOUND || rc == MS_ECORRUPT) { /* erased meanwhile, a stranger's item */
            rc = 0;
            continue;
        }
        if (rc != 0)
            break;
        if (filter->state >= 0 && (int)record.job.state != filter->state) {
            ms_record_fini(&record);
            continue;
        }
        record.job.position = -1;
        if (record.job.state == MS_JOB_QUEUED)
            rc = queue->ops->position(queue->backend, ids[i], &record.job.position, err);
        jobs[(*count)++] = record.job;
    }
    if (rc != 0)
        while (*count > 0)
            ms_job_fini(&jobs[--*count]);
    free(ids);
    return rc;
}

int ms_queue_waiting(struct ms_queue *queue, const char *cursor, int max,
                     char (*ids)[MS_JOB_ID_HEX], int *count, char next[MS_CURSOR_MAX],
                     struct ms_error *err) {
    *count = 0;
    next[0] = '\0';
    if (max < 1 || max > MS_WAITING_MAX)
        return ms_error_set(err, MS_EUSAGE, "max: must be from 1 to %d, not %d", MS_WAITING_MAX,
                            max);
    return queue->ops->waiting(queue->backend, cursor, max, ids, count, next, err);
}

int ms_queue_stats(struct ms_queue *queue, struct ms_queue_stats *out, struct ms_error *err) {
    char oldest[MS_JOB_ID_HEX] = "";
    int64_t now_ms = 0;
    memset(out, 0, sizeof *out);
    int rc = queue->ops->stats(queue->backend, out, oldest, err);
    if (rc != 0 || oldest[0] == '\0')
        return rc;
    struct ms_record record;
    rc = queue->ops->now(queue->backend, &now_ms, err);
    if (rc == 0)
        rc = ms_record_get(queue, oldest, &record, err);
    if (rc == MS_ENOTFOUND || rc == MS_ECORRUPT)
        return 0;
    if (rc != 0)
        return rc;
    out->oldest_waiting_ms = now_ms > record.job.created_ms ? now_ms - record.job.created_ms : 0;
    ms_record_fini(&record);
    return 0;
}

/* ---- erasing ------------------------------------------------------------------------------------------------------- */

static int erase_stem(struct ms_job *job, const char *stem, bool *gone, struct ms_error *err) {
    for (int i = 0; job->state == MS_JOB_SUCCEEDED && i < job->stem_count; i++) {
        if (strcmp(job->stems[i].name, stem) != 0)
            continue;
        job->stem_count--;
        memmove(&job->stems[i], &job->stems[i + 1],
                (size_t)(job->stem_count - i) * sizeof job->stems[0]);
        *gone = job->stem_count == 0;
        return 0;
    }
    return ms_error_set(err, MS_ENOTFOUND, "the job has no stem of that name");
}

int ms_queue_erase(struct ms_queue *queue, const char *id, const char *stem, bool *gone,
                   struct ms_job *was, struct ms_error *err) {
    for (int i = 0; i < MS_QUEUE_TRIES; i++) {
        struct ms_record record;
        struct ms_job before;
        *gone = false;
        memset(&before, 0, sizeof before);
        int rc = ms_record_get(queue, id, &record, err);
        if (rc == MS_ECORRUPT)
            rc = stem == NULL ? 0 : MS_ENOTFOUND;
        if (rc != 0)
            return rc;
        if (was != NULL)
            rc = ms_job_copy(&record.job, &before, err);
        if (rc == 0 && stem != NULL) {
            rc = erase_stem(&record.job, stem, gone, err);
            record.stripped = true;
        } else if (rc == 0 && record.job.state == MS_JOB_RUNNING) {
            record.job.cancel_asked = true;
            record.erase_asked = true;
        } else {
            *gone = true;
        }
        const bool decided = rc != 0;
        if (rc == 0)
            rc = queue->ops->save(queue->backend, &record, *gone, err);
        ms_record_fini(&record);
        if (rc == 0 && was != NULL)
            *was = before;
        else
            ms_job_fini(&before);
        if (decided || rc != MS_ECONFLICT)
            return rc;
    }
    return ms_error_set(err, MS_ENET, "the job was changed again and again while it was erased");
}

/* ---- the log ------------------------------------------------------------------------------------------------------- */

int ms_loglist_push(struct ms_queue *queue, const char *line, struct ms_error *err) {
    return queue->ops->log_push(queue->backend, line, err);
}

int ms_loglist_pop(struct ms_queue *queue, int64_t wait_ms, char **line, struct ms_error *err) {
    *line = NULL;
    return queue->ops->log_pop(queue->backend, wait_ms, line, err);
}
