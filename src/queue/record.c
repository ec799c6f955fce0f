/* One record: how a rule changes it, and what can become of its job. See queue_ops.h. */
#include <stdio.h>

#include "queue_ops.h"

#define TRIES 50 /* each loss is somebody else's success */

void ms_record_call(struct ms_job *job, int64_t now_ms) {
    for (int i = 0; i < job->callback_count; i++)
        if (job->callbacks[i].due_ms == 0)
            job->callbacks[i].due_ms = now_ms;
}

/* 0: none is due. */
static int64_t first_due(const struct ms_job *job) {
    int64_t first_ms = 0;
    for (int i = 0; i < job->callback_count; i++) {
        const int64_t due_ms = job->callbacks[i].due_ms;
        if (due_ms != 0 && (first_ms == 0 || due_ms < first_ms))
            first_ms = due_ms;
    }
    return first_ms;
}

int ms_queue_update(struct ms_queue *queue, const char *id,
                    int (*rule)(struct ms_record *record, int64_t now_ms, void *context,
                                struct ms_error *err),
                    void *context, struct ms_record *out, struct ms_error *err) {
    if (!ms_job_id_is_valid(id))
        return ms_error_set(err, MS_ENOTFOUND, "there is no job with this id");
    for (int i = 0; i < TRIES; i++) {
        struct ms_record record;
        int64_t now_ms = 0;
        int rc = queue->ops->load(queue, id, &record, &now_ms, err);
        if (rc == MS_ENOTFOUND || (rc == MS_ECORRUPT && record.unreadable))
            rc = 0;
        if (record.callback_due_ms != 0) /* those of an earlier release have no time of their own */
            ms_record_call(&record.job, record.callback_due_ms);
        if (rc == 0)
            rc = rule(&record, now_ms, context, err);
        record.callback_due_ms = first_due(&record.job);
        bool again = false;
        if (rc == 0 && record.fate != MS_FATE_KEEP) {
            rc = queue->ops->save(queue, &record, err);
            again = rc == MS_ECONFLICT;
        }
        if (rc == 0 && out != NULL)
            *out = record;
        else
            ms_record_fini(&record);
        if (!again)
            return rc;
    }
    return ms_error_set(
        err, MS_ENET, "job %.12s... was changed by others %d times in a row: try again", id, TRIES);
}

/* ---- what becomes of a job ---- */

void ms_record_end(struct ms_record *record, enum ms_job_state state, int64_t now_ms) {
    struct ms_job *job = &record->job;
    job->state = state;
    job->finished_ms = now_ms;
    job->eta_seconds = -1;
    job->preview_seconds = 0;
    if (state == MS_JOB_SUCCEEDED)
        job->progress = 1;
    record->place = MS_PLACE_ENDED;
    record->token[0] = '\0';
    ms_record_call(job, now_ms);
}

void ms_record_cancel(struct ms_record *record, int64_t now_ms) {
    ms_record_end(record, MS_JOB_CANCELED, now_ms);
    record->fate = record->flags & MS_RECORD_ERASE_ASKED ? MS_FATE_ERASE : MS_FATE_SAVE;
}

void ms_record_put_back(struct ms_record *record, enum ms_place place, bool in_front) {
    struct ms_job *job = &record->job;
    job->state = MS_JOB_QUEUED;
    job->progress = 0;
    job->eta_seconds = -1;
    job->preview_seconds = 0;
    record->place = place;
    record->in_front = in_front;
    record->token[0] = '\0';
}

void ms_record_set_error(struct ms_job *job, const char *code, const char *message) {
    (void)snprintf(job->error_code, sizeof job->error_code, "%s", code);
    (void)snprintf(job->error_message, sizeof job->error_message, "%s", message);
}

void ms_record_give_up(struct ms_record *record, int64_t now_ms) {
    ms_job_options_default("", &record->job.options);
    if (record->job.created_ms == 0)
        record->job.created_ms = now_ms;
    ms_record_set_error(&record->job, ms_code_name(MS_ECORRUPT),
                        "the job's record could not be read");
    ms_record_end(record, MS_JOB_FAILED, now_ms);
    record->fate = MS_FATE_SAVE;
}

/* A song that kills its workers does so at one place; a worker that was killed by others says
 * nothing about the song. */
void ms_record_lapse(struct ms_record *record, int64_t now_ms) {
    struct ms_job *job = &record->job;
    job->crashes += job->progress <= job->reached;
    job->reached = job->progress;
    if (job->cancel_asked) {
        ms_record_cancel(record, now_ms);
    } else if (job->crashes >= MS_JOB_MAX_CRASHES) {
        char message[120];
        (void)snprintf(message, sizeof message,
                       "%d workers went away no farther into this song than the one before",
                       job->crashes);
        ms_record_set_error(job, "poison", message);
        ms_record_end(record, MS_JOB_FAILED, now_ms);
    } else {
        ms_record_put_back(record, MS_PLACE_WAITING, true);
    }
}
