/* Callbacks that are due: kept with their job's record until they are delivered or given up. The
 * rules, as in queue.c. */
#include <inttypes.h>
#include <stdio.h>

#include "queue_ops.h"

#define TAKE_BATCH 8

/* A rule; context: for how many ms it is hidden from others. */
static int hold(struct ms_record *record, int64_t now_ms, void *context, struct ms_error *err) {
    const int64_t *hold_ms = context;
    (void)err;
    if (record->unreadable) {
        ms_record_give_up(record, now_ms);
    } else if (record->callback_due_ms != 0 && record->callback_due_ms <= now_ms) {
        record->callback_due_ms = now_ms + *hold_ms;
        record->fate = MS_FATE_SAVE;
    }
    return 0;
}

int ms_outbox_take(struct ms_queue *queue, int64_t hold_ms, struct ms_callback_due *out,
                   struct ms_error *err) {
    char ids[TAKE_BATCH][MS_JOB_ID_HEX], next[MS_CURSOR_MAX];
    const struct ms_listing listing = {.order = MS_ORDER_CALLBACKS, .max = TAKE_BATCH};
    int found = 0;
    int rc = queue->ops->list(queue, &listing, ids, &found, next, err);
    for (int i = 0; rc == 0 && i < found; i++) {
        struct ms_record record = {0};
        rc = ms_queue_update(queue, ids[i], hold, &hold_ms, &record, err);
        if (rc == 0 && record.fate == MS_FATE_SAVE && !record.unreadable) {
            out->job = record.job;
            out->attempt = record.callback_attempt;
            (void)snprintf(out->webhook_id, sizeof out->webhook_id, "%s-%" PRId64, record.job.id,
                           record.job.finished_ms);
            return 0;
        }
        ms_record_fini(&record); /* another took it, or nothing can be told of it */
        if (rc == MS_ENOTFOUND)  /* no id: a stranger's */
            rc = 0;
    }
    return rc != 0 ? rc : ms_error_set(err, MS_ENOTFOUND, "no callback is due");
}

struct settlement {
    const struct ms_callback_due *due;
    int64_t again_ms;
};

/* A rule. Another end of the job, or another attempt, has its own callback. */
static int settle(struct ms_record *record, int64_t now_ms, void *context, struct ms_error *err) {
    const struct settlement *settlement = context;
    const struct ms_callback_due *due = settlement->due;
    (void)err;
    if (record->unreadable || record->callback_due_ms == 0 ||
        record->callback_attempt != due->attempt ||
        record->job.finished_ms != due->job.finished_ms ||
        !ms_job_callback_equal(&record->job.callback, &due->job.callback))
        return 0;
    record->fate = MS_FATE_SAVE;
    record->callback_attempt++;
    if (settlement->again_ms >= 0) {
        record->callback_due_ms = now_ms + settlement->again_ms;
    } else if (ms_job_next_callback(&record->job)) {
        record->callback_due_ms = now_ms;
        record->callback_attempt = 0;
    } else {
        record->callback_due_ms = 0;
    }
    return 0;
}

int ms_outbox_settle(struct ms_queue *queue, const struct ms_callback_due *due, int64_t again_ms,
                     struct ms_error *err) {
    struct settlement settlement = {due, again_ms};
    return ms_queue_update(queue, due->job.id, settle, &settlement, NULL, err);
}
