/* Callbacks that are due: kept with their job's record until they are delivered or given up. The
 * rules, as in queue.c. */
#include <inttypes.h>
#include <stdio.h>

#include "queue_ops.h"

#define TAKE_BATCH 16

struct taking {
    int64_t hold_ms;
    int64_t (*wait_ms)(void *context, const struct ms_job_callback *callback);
    void *context;
    int index; /* of the callback that was taken; -1: none */
};

/* A rule. Whatever is found first in the outbox is not first any more afterwards. */
static int hold(struct ms_record *record, int64_t now_ms, void *context, struct ms_error *err) {
    struct taking *taking = context;
    struct ms_job *job = &record->job;
    (void)err;
    taking->index = -1;
    if (record->unreadable) {
        ms_record_give_up(record, now_ms);
        return 0;
    }
    bool is_due = false;
    for (int i = 0; i < job->callback_count; i++) {
        struct ms_job_callback *callback = &job->callbacks[i];
        is_due |= callback->due_ms != 0;
        if (callback->due_ms == 0 || callback->due_ms > now_ms)
            continue;
        const int64_t wait_ms = taking->wait_ms(taking->context, callback);
        if (wait_ms == 0 && taking->index >= 0)
            continue;
        if (wait_ms == 0)
            taking->index = i;
        callback->due_ms = now_ms + (wait_ms == 0 ? taking->hold_ms : wait_ms);
        record->fate = MS_FATE_SAVE;
    }
    if (!is_due && record->revision != 0) /* a stranger put it there: saving it takes it out */
        record->fate = MS_FATE_SAVE;
    return 0;
}

int ms_outbox_take(struct ms_queue *queue, int64_t hold_ms,
                   int64_t (*wait_ms)(void *context, const struct ms_job_callback *callback),
                   void *context, struct ms_callback_due *out, struct ms_error *err) {
    char ids[TAKE_BATCH][MS_JOB_ID_HEX], next[MS_CURSOR_MAX];
    const struct ms_listing listing = {.order = MS_ORDER_CALLBACKS, .max = TAKE_BATCH};
    struct taking taking = {hold_ms, wait_ms, context, -1};
    int found = 0;
    int rc = queue->ops->list(queue, &listing, ids, &found, next, err);
    for (int i = 0; rc == 0 && i < found; i++) {
        struct ms_record record = {0};
        rc = ms_queue_update(queue, ids[i], hold, &taking, &record, err);
        if (rc == 0 && taking.index >= 0) {
            out->job = record.job;
            out->index = taking.index;
            (void)snprintf(out->webhook_id, sizeof out->webhook_id, "%s-%" PRId64, record.job.id,
                           record.job.finished_ms);
            return 0;
        }
        ms_record_fini(&record);
    }
    if (rc == 0 && found > 0)
        return ms_error_set(err, MS_ECONFLICT, "none of the callbacks due the longest was free");
    return rc != 0 ? rc : ms_error_set(err, MS_ENOTFOUND, "no callback is due");
}

struct settlement {
    const struct ms_callback_due *due;
    int64_t again_ms;
};

/* A rule. Another end of the job, or another attempt, has its own callback. */
static int settle(struct ms_record *record, int64_t now_ms, void *context, struct ms_error *err) {
    const struct settlement *settlement = context;
    const struct ms_job_callback *done = &settlement->due->job.callbacks[settlement->due->index];
    struct ms_job *job = &record->job;
    (void)err;
    for (int i = 0; i < job->callback_count; i++) {
        struct ms_job_callback *callback = &job->callbacks[i];
        if (callback->due_ms == 0 || callback->attempt != done->attempt ||
            job->finished_ms != settlement->due->job.finished_ms ||
            !ms_job_callback_equal(callback, done))
            continue;
        record->fate = MS_FATE_SAVE;
        if (settlement->again_ms < 0) {
            ms_job_drop_callback(job, i);
        } else {
            callback->due_ms = now_ms + settlement->again_ms;
            callback->attempt += settlement->again_ms > 0;
        }
        break;
    }
    return 0;
}

int ms_outbox_settle(struct ms_queue *queue, const struct ms_callback_due *due, int64_t again_ms,
                     struct ms_error *err) {
    struct settlement settlement = {due, again_ms};
    return ms_queue_update(queue, due->job.id, settle, &settlement, NULL, err);
}
