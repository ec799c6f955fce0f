/* Callbacks that are due: kept with their job's record until they are delivered or given up. The rules, as in queue.c; any
 * backend. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "queue.h"

int ms_outbox_take(struct ms_queue *queue, int64_t hold_ms, struct ms_callback_due *out,
                   struct ms_error *err) {
    char ids[8][MS_JOB_ID_HEX];
    int found = 0;
    int64_t now_ms = 0;
    int rc = queue->ops->now(queue->backend, &now_ms, err);
    if (rc == 0)
        rc = queue->ops->due(queue->backend, MS_DUE_CALLBACKS, now_ms, ids, 8, &found, err);
    for (int i = 0; rc == 0 && i < found; i++) {
        struct ms_record record;
        rc = ms_record_get(queue, ids[i], &record, err);
        if (rc == MS_ENOTFOUND || rc == MS_ECORRUPT) {
            rc = 0;
            continue;
        }
        if (rc != 0)
            return rc;
        if (record.callback_due_ms == 0 || record.callback_due_ms > now_ms) {
            ms_record_fini(&record);
            continue;
        }
        record.callback_due_ms = now_ms + hold_ms;
        rc = queue->ops->save(queue->backend, &record, false, err);
        if (rc == 0) {
            out->job = record.job;
            out->attempt = record.callback_attempt;
            (void)snprintf(out->webhook_id, sizeof out->webhook_id, "%s-%" PRId64, record.job.id,
                           record.job.finished_ms);
            return 0;
        }
        ms_record_fini(&record);
        rc = rc == MS_ECONFLICT ? 0 : rc; /* another worker takes it */
    }
    return rc != 0 ? rc : ms_error_set(err, MS_ENOTFOUND, "no callback is due");
}

int ms_outbox_settle(struct ms_queue *queue, const struct ms_callback_due *due, int64_t again_ms,
                     struct ms_error *err) {
    for (int i = 0; i < MS_QUEUE_TRIES; i++) {
        struct ms_record record;
        int64_t now_ms = 0;
        int rc = queue->ops->now(queue->backend, &now_ms, err);
        if (rc == 0)
            rc = ms_record_get(queue, due->job.id, &record, err);
        if (rc == MS_ENOTFOUND)
            return 0; /* erased meanwhile */
        if (rc != 0)
            return rc;
        /* Another end of the job, or another attempt, has its own callback. */
        const bool ours = record.callback_due_ms != 0 && record.callback_attempt == due->attempt &&
                          record.job.finished_ms == due->job.finished_ms &&
                          ms_job_callback_equal(&record.job.callback, &due->job.callback);
        if (ours) {
            record.callback_attempt++;
            if (again_ms >= 0) {
                record.callback_due_ms = now_ms + again_ms;
            } else if (ms_job_next_callback(&record.job)) {
                record.callback_due_ms = now_ms;
                record.callback_attempt = 0;
            } else {
                record.callback_due_ms = 0;
            }
            rc = queue->ops->save(queue->backend, &record, false, err);
        }
        ms_record_fini(&record);
        if (rc != MS_ECONFLICT)
            return rc;
    }
    return ms_error_set(err, MS_ENET, "the job was changed again and again meanwhile");
}
