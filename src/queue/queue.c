/* The rules of the queue, the same on every backend: what becomes of a job when a song comes, when
 * its worker speaks, when it is erased. Each is a rule for ms_queue_update (record.c) or one
 * operation of the backend. Owns the backend; one thread at a time. */
#include "msaas/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/digest.h"
#include "queue_ops.h"

struct ms_metric ms_queue_errors = {
    .name = "msaas_queue_errors_total",
    .help = "Failed calls to the queue.",
    .kind = MS_METRIC_COUNTER,
};

#define TRIES 50 /* of a claim; each took off an item that was no job */

int ms_queue_open(const char *url, struct ms_queue **out, struct ms_error *err) {
    *out = NULL;
    if (strncmp(url, "redis:", 6) == 0 || strncmp(url, "rediss:", 7) == 0)
        return ms_queue_redis_open(url, out, err);
    if (ms_queue_file(url) != NULL)
        return ms_queue_sqlite_open(url, out, err);
    return ms_error_set(err, MS_EUSAGE,
                        "the queue's URL must be redis://HOST:PORT/DB, rediss://... or "
                        "sqlite:FILE");
}

void ms_queue_close(struct ms_queue *queue) {
    if (queue != NULL)
        queue->ops->close(queue);
}

void ms_queue_use_course_items(struct ms_queue *queue, bool json) {
    queue->course_items = json;
}

void ms_queue_on_junk(struct ms_queue *queue, void (*on_junk)(void *context, const char *item),
                      void *context) {
    queue->on_junk = on_junk;
    queue->junk_context = context;
}

int ms_queue_ping(struct ms_queue *queue, const char **warning, struct ms_error *err) {
    *warning = NULL;
    return queue->ops->ping(queue, warning, err);
}

/* ---- a song comes ---- */

struct coming {
    const struct ms_job *job;
    int64_t bytes;                /* that are charged */
    const struct ms_quota *quota; /* NULL: none */
    struct ms_usage *usage;
    const char *item; /* NULL, or what another program put on the list for it */
    bool created;
};

/* The job takes the place of what the record was, if it was anything, and that of its item on the
 * list. */
static int begin(struct ms_record *record, const struct coming *coming, int64_t now_ms,
                 struct ms_error *err) {
    struct ms_job fresh;
    int rc = ms_job_copy(coming->job, &fresh, err);
    if (rc != 0)
        return rc;
    /* Who is still to be called for the last time will be called for this one. */
    for (int i = 0; rc == 0 && i < record->job.callback_count; i++)
        if (record->job.callbacks[i].due_ms != 0)
            rc = ms_job_add_callback(&fresh, &record->job.callbacks[i], err);
    if (rc != 0) {
        ms_job_fini(&fresh);
        return rc;
    }
    ms_job_fini(&record->job);
    record->job = fresh;
    record->job.created_ms = now_ms;
    record->job.charged_ms = 0;
    record->charge_bytes = coming->bytes;
    record->flags = 0;
    ms_record_charge_cost(record);
    ms_record_put_back(record, MS_PLACE_WAITING, coming->item != NULL);
    record->fate = MS_FATE_SAVE;
    return 0;
}

/* A rule. */
static int take_in(struct ms_record *record, int64_t now_ms, void *context, struct ms_error *err) {
    struct coming *coming = context;
    const struct ms_job *job = coming->job;
    const struct ms_job *present = &record->job;
    coming->created =
        record->revision == 0 || record->unreadable || present->state == MS_JOB_FAILED ||
        present->state == MS_JOB_CANCELED || present->state == MS_JOB_EXPIRED ||
        (present->state == MS_JOB_SUCCEEDED && (record->flags & MS_RECORD_STRIPPED) != 0);
    record->item = coming->item;
    if (coming->item != NULL) /* it leaves the list, whatever it brings */
        record->fate = MS_FATE_SAVE;
    if (coming->created) {
        record->quota = coming->quota;
        record->usage = coming->usage;
        return begin(record, coming, now_ms, err);
    }
    if (present->cancel_asked && present->state == MS_JOB_RUNNING)
        return ms_error_set(err, MS_ECONFLICT,
                            "the same song is being canceled: send it again in a moment");
    if (job->callback_count == 0)
        return 0;
    record->fate = MS_FATE_SAVE;
    const int rc = ms_job_add_callback(&record->job, &job->callbacks[0], err);
    if (rc == 0 && ms_job_state_is_final(present->state))
        ms_record_call(&record->job, now_ms);
    return rc;
}

int ms_queue_enqueue(struct ms_queue *queue, const struct ms_job *job, bool *created,
                     struct ms_job *now, struct ms_error *err) {
    return ms_queue_enqueue_within(queue, job, job->input_bytes, NULL, created, now, NULL, err);
}

int ms_queue_enqueue_within(struct ms_queue *queue, const struct ms_job *job, int64_t bytes,
                            const struct ms_quota *quota, bool *created, struct ms_job *now,
                            struct ms_usage *usage, struct ms_error *err) {
    struct ms_record record = {0};
    struct coming coming = {.job = job, .bytes = bytes, .quota = quota, .usage = usage};
    *created = false;
    if (usage != NULL)
        *usage = (struct ms_usage){0};
    if (!ms_job_id_is_valid(job->id))
        return ms_error_set(err, MS_EUSAGE, "a job needs an id");
    /* Most songs are new: saved without a look at the record, in one step. */
    int rc = take_in(&record, 0, &coming, err);
    if (rc == 0)
        rc = queue->ops->save(queue, &record, err);
    if (rc == MS_ECONFLICT) {
        ms_record_fini(&record);
        rc = ms_queue_update(queue, job->id, take_in, &coming, &record, err);
    }
    if (rc == 0) {
        *created = coming.created;
        if (now != NULL) {
            *now = record.job;
            record.job = (struct ms_job){0};
        }
    }
    ms_record_fini(&record);
    return rc;
}

/* ---- the worker's side ---- */

/* A rule. */
static int give_up(struct ms_record *record, int64_t now_ms, void *context, struct ms_error *err) {
    (void)context;
    (void)err;
    if (record->unreadable)
        ms_record_give_up(record, now_ms);
    return 0;
}

/* What another program put on the list, once it is next, is a song that comes. What is none, or
 * cannot come now, leaves the list. */
static int take_item(struct ms_queue *queue, const struct ms_record *found, struct ms_error *err) {
    struct ms_job job;
    int rc = ms_course_item_read(found->item, found->item_bytes, &job, err);
    if (rc == 0) {
        struct coming coming = {.job = &job, .bytes = job.input_bytes, .item = found->item};
        rc = ms_queue_update(queue, job.id, take_in, &coming, NULL, err);
        ms_job_fini(&job);
    }
    if (rc != MS_EINPUT && rc != MS_ECONFLICT && rc != MS_ETOOLARGE)
        return rc;
    struct ms_record junk = {
        .fate = MS_FATE_ERASE, .item = found->item, .item_bytes = found->item_bytes};
    rc = queue->ops->save(queue, &junk, err);
    if (rc == 0)
        ms_queue_tell_junk(queue, found->item, found->item_bytes);
    return rc == MS_ECONFLICT ? 0 : rc; /* another worker was quicker */
}

int ms_queue_reserve(struct ms_queue *queue, const char *model, int64_t lease_ms, int64_t wait_ms,
                     struct ms_job *out, char token[MS_TOKEN_HEX], struct ms_error *err) {
    int rc = ms_random_hex(token, MS_TOKEN_HEX - 1, err);
    for (int i = 0; rc == 0 && i < TRIES; i++) {
        struct ms_record record;
        rc = queue->ops->claim(queue, model, token, lease_ms, i == 0 ? wait_ms : 0, &record, err);
        if (rc == 0) {
            *out = record.job;
            return 0;
        }
        if (rc == MS_ECORRUPT && record.unreadable)
            rc = ms_queue_update(queue, record.job.id, give_up, NULL, NULL, err);
        else if (rc == MS_EINPUT)
            rc = take_item(queue, &record, err);
        ms_record_fini(&record);
    }
    return rc != 0 ? rc : ms_error_set(err, MS_ENOTFOUND, "no job waits");
}

struct step {
    enum ms_queue_change change;
    const struct ms_job *job;
    const char *token;
    int64_t lease_ms;
};

static int apply(struct ms_record *record, const struct step *step, int64_t now_ms,
                 struct ms_error *err) {
    const struct ms_job *from = step->job;
    struct ms_job *job = &record->job;
    if (job->cancel_asked && (step->change == MS_CHANGE_RENEW || step->change == MS_CHANGE_FINISH))
        return ms_error_set(err, MS_ECANCELED, "somebody asked to cancel the job");
    switch (step->change) {
    case MS_CHANGE_RENEW:
        job->progress = from->progress;
        job->eta_seconds = from->eta_seconds;
        job->audio_seconds = from->audio_seconds;
        if (from->preview_seconds >
            job->preview_seconds) /* not every thread knows the last piece */
            job->preview_seconds = from->preview_seconds;
        if (from->networks > 0)
            job->networks = from->networks;
        ms_record_charge_cost(record);
        record->lease_until_ms = now_ms + step->lease_ms;
        return 0;
    case MS_CHANGE_FINISH:
        job->stem_count = from->stem_count;
        memcpy(job->stems, from->stems, sizeof job->stems);
        job->receipt = from->receipt;
        job->audio_seconds = from->audio_seconds;
        ms_record_charge_cost(record);
        ms_record_set_error(job, "", "");
        ms_record_end(record, MS_JOB_SUCCEEDED, now_ms);
        return 0;
    case MS_CHANGE_RETRY:
        job->failures++;
        ms_record_set_error(job, from->error_code, from->error_message);
        if (job->cancel_asked)
            break;
        job->attempts--;
        job->not_before_ms = from->not_before_ms;
        ms_record_put_back(record,
                           job->not_before_ms > now_ms ? MS_PLACE_DELAYED : MS_PLACE_WAITING, true);
        return 0;
    case MS_CHANGE_FAIL:
        ms_record_set_error(job, from->error_code, from->error_message);
        if (record->flags & MS_RECORD_ERASE_ASKED)
            break;
        ms_record_end(record, MS_JOB_FAILED, now_ms);
        return 0;
    case MS_CHANGE_REQUEUE:
        if (job->cancel_asked)
            break;
        job->attempts--;
        ms_record_put_back(record, MS_PLACE_WAITING, true);
        return 0;
    case MS_CHANGE_LAPSE: ms_record_lapse(record, now_ms); return 0;
    case MS_CHANGE_CANCEL: break;
    }
    ms_record_cancel(record, now_ms);
    return 0;
}

/* A rule. */
static int obey(struct ms_record *record, int64_t now_ms, void *context, struct ms_error *err) {
    const struct step *step = context;
    if (record->unreadable)
        return ms_error_set(err, MS_ECORRUPT, "the record of job %.12s... cannot be read",
                            step->job->id);
    if (record->job.state != MS_JOB_RUNNING || strcmp(record->token, step->token) != 0)
        return ms_error_set(err, MS_ECONFLICT, "job %.12s... is not this worker's any more",
                            step->job->id);
    record->fate = MS_FATE_SAVE;
    return apply(record, step, now_ms, err);
}

int ms_queue_change(struct ms_queue *queue, enum ms_queue_change change, const struct ms_job *job,
                    const char *token, int64_t lease_ms, struct ms_error *err) {
    struct step step = {change, job, token, lease_ms};
    return ms_queue_update(queue, job->id, obey, &step, NULL, err);
}

/* ---- looking ---- */

int ms_queue_get(struct ms_queue *queue, const char *id, struct ms_job *out, struct ms_error *err) {
    if (!ms_job_id_is_valid(id))
        return ms_error_set(err, MS_ENOTFOUND, "there is no job with this id");
    struct ms_record record;
    int64_t now_ms = 0;
    int rc = queue->ops->load(queue, id, &record, &now_ms, err);
    if (rc == 0)
        *out = record.job;
    else
        ms_record_fini(&record);
    return rc;
}

int ms_queue_list(struct ms_queue *queue, const struct ms_queue_filter *filter, struct ms_job *jobs,
                  int *count, char next[MS_CURSOR_MAX], struct ms_error *err) {
    *count = 0;
    next[0] = '\0';
    if (filter->owner != NULL && !ms_account_name_is_valid(filter->owner))
        return ms_error_about(err, MS_EUSAGE, "owner", "must be the name of an account");
    if (filter->limit < 1 || filter->limit > 1000)
        return ms_error_about(err, MS_EUSAGE, "limit", "must be from 1 to 1000, not %d",
                              filter->limit);
    char(*ids)[MS_JOB_ID_HEX] = calloc((size_t)filter->limit, sizeof *ids);
    if (ids == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a list of jobs");
    const struct ms_listing listing = {.order = MS_ORDER_NEWEST,
                                       .owner = filter->owner,
                                       .state = filter->state,
                                       .max = filter->limit,
                                       .cursor = filter->cursor};
    int found = 0;
    int rc = queue->ops->list(queue, &listing, ids, &found, next, err);
    for (int i = 0; rc == 0 && i < found; i++) {
        rc = ms_queue_get(queue, ids[i], &jobs[*count], err);
        if (rc == 0 && filter->state >= 0 && (int)jobs[*count].state != filter->state)
            ms_job_fini(&jobs[*count]); /* it has changed since */
        else if (rc == 0)
            (*count)++;
        else if (rc == MS_ENOTFOUND || rc == MS_ECORRUPT) /* erased since, or unreadable */
            rc = 0;
    }
    while (rc != 0 && *count > 0)
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
        return ms_error_about(err, MS_EUSAGE, "max", "must be from 1 to %d, not %d", MS_WAITING_MAX,
                              max);
    const struct ms_listing listing = {.order = MS_ORDER_WAITING, .max = max, .cursor = cursor};
    return queue->ops->list(queue, &listing, ids, count, next, err);
}

int ms_queue_stats(struct ms_queue *queue, struct ms_queue_stats *out, struct ms_error *err) {
    *out = (struct ms_queue_stats){0};
    return queue->ops->stats(queue, NULL, out, err);
}

/* ---- erasing ---- */

struct erasure {
    const char *stem;
    struct ms_job *was;
};

static int erase_stem(struct ms_record *record, const char *stem, struct ms_error *err) {
    struct ms_job *job = &record->job;
    const bool has_ended_well = job->state == MS_JOB_SUCCEEDED || job->state == MS_JOB_EXPIRED;
    for (int i = 0; has_ended_well && i < job->stem_count; i++) {
        if (strcmp(job->stems[i].name, stem) != 0)
            continue;
        job->stem_count--;
        memmove(&job->stems[i], &job->stems[i + 1],
                (size_t)(job->stem_count - i) * sizeof job->stems[0]);
        record->flags |= MS_RECORD_STRIPPED;
        record->fate = job->stem_count == 0 ? MS_FATE_ERASE : MS_FATE_SAVE;
        return 0;
    }
    return ms_error_set(err, MS_ENOTFOUND, "the job has no stem of that name");
}

/* A rule. */
static int erase(struct ms_record *record, int64_t now_ms, void *context, struct ms_error *err) {
    const struct erasure *erasure = context;
    (void)now_ms;
    if (record->revision == 0 && !record->unreadable)
        return ms_error_set(err, MS_ENOTFOUND, "there is no job with this id");
    ms_job_fini(erasure->was);
    int rc = ms_job_copy(&record->job, erasure->was, err);
    if (rc != 0)
        return rc;
    if (erasure->stem != NULL)
        return erase_stem(record, erasure->stem, err);
    if (record->job.state == MS_JOB_RUNNING && !record->unreadable) {
        record->job.cancel_asked = true;
        record->flags |= MS_RECORD_ERASE_ASKED;
        record->fate = MS_FATE_SAVE;
    } else {
        record->fate = MS_FATE_ERASE;
    }
    return 0;
}

int ms_queue_erase(struct ms_queue *queue, const char *id, const char *stem, bool *gone,
                   struct ms_job *was, struct ms_error *err) {
    struct ms_job before = {0};
    struct ms_record record = {0};
    struct erasure erasure = {stem, &before};
    int rc = ms_queue_update(queue, id, erase, &erasure, &record, err);
    *gone = rc == 0 && record.fate == MS_FATE_ERASE;
    ms_record_fini(&record);
    if (rc == 0 && was != NULL)
        *was = before;
    else
        ms_job_fini(&before);
    return rc;
}

/* ---- expiring ---- */

/* A rule. */
static int expire(struct ms_record *record, int64_t now_ms, void *context, struct ms_error *err) {
    const struct ms_job *seen = context;
    (void)now_ms;
    (void)err;
    if (record->revision == 0 || record->unreadable || record->job.state != MS_JOB_SUCCEEDED ||
        record->job.finished_ms != seen->finished_ms)
        return 0;
    record->job.state = MS_JOB_EXPIRED;
    record->fate = MS_FATE_SAVE;
    return 0;
}

int ms_queue_expire(struct ms_queue *queue, const struct ms_job *job, struct ms_error *err) {
    struct ms_job seen = *job; /* the rule only reads it */
    return ms_queue_update(queue, job->id, expire, &seen, NULL, err);
}

/* ---- the log ---- */

int ms_loglist_push(struct ms_queue *queue, const char *const *lines, int count,
                    struct ms_error *err) {
    return count > 0 ? queue->ops->log_push(queue, lines, count, err) : 0;
}

int ms_loglist_pop(struct ms_queue *queue, int64_t wait_ms, char **line, struct ms_error *err) {
    *line = NULL;
    return queue->ops->log_pop(queue, wait_ms, line, err);
}
