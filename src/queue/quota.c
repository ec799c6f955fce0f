/* What the owners of jobs use, and what their quotas allow. The backends keep the sums, see
 * queue_ops.h. Owns nothing; any thread. */
#include <stdio.h>
#include <stdlib.h>

#include "queue_ops.h"

enum ms_limit ms_quota_exceeded(const struct ms_quota *quota, const struct ms_usage *usage,
                                int64_t cost_ms, int64_t bytes) {
    if (quota->max_waiting > 0 && usage->waiting >= quota->max_waiting)
        return MS_LIMIT_WAITING;
    if (quota->max_cost_ms > 0 && usage->cost_ms + (cost_ms > 1 ? cost_ms : 1) > quota->max_cost_ms)
        return MS_LIMIT_COST;
    if (quota->max_bytes > 0 && usage->bytes + bytes > quota->max_bytes)
        return MS_LIMIT_BYTES;
    return MS_LIMIT_NONE;
}

void ms_record_charge_cost(struct ms_record *record) {
    if (record->job.owner[0] == '\0')
        return;
    const int64_t cost_ms = ms_job_cost_ms(&record->job);
    record->charge_ms = cost_ms - record->job.charged_ms;
    record->job.charged_ms = cost_ms;
}

int ms_queue_at_limit(const char *owner, struct ms_error *err) {
    return ms_error_set(err, MS_EQUOTA, "account %s has reached a limit", owner);
}

int ms_queue_charge(struct ms_queue *queue, const char *owner, int64_t bytes, int64_t max_bytes,
                    struct ms_usage *usage, struct ms_error *err) {
    *usage = (struct ms_usage){0};
    return queue->ops->charge(queue, owner, bytes, max_bytes, usage, err);
}

int ms_queue_pay(struct ms_queue *queue, const char *what, const char *id, int64_t keep_ms,
                 bool *paid, struct ms_error *err) {
    char key[80], *found = NULL;
    (void)snprintf(key, sizeof key, "paid:%s", what);
    const int rc = queue->ops->note(queue, key, "", id, keep_ms, &found, err);
    *paid = rc == 0;
    free(found);
    return rc == MS_ECONFLICT ? 0 : rc;
}

int ms_queue_usage(struct ms_queue *queue, const char *owner, struct ms_usage *out,
                   struct ms_error *err) {
    struct ms_queue_stats stats = {0};
    int rc = queue->ops->stats(queue, owner, &stats, err);
    *out = stats.usage;
    return rc;
}
