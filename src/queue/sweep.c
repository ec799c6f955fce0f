/* What the workers look for every few seconds: leases that lapsed, retries whose time has come,
 * jobs that a stranger took off the list, jobs for whose model there is no worker; and less often:
 * jobs that ended long ago. The rules, as in queue.c. */
#include <stdio.h>

#include "queue_ops.h"

#define BATCH 100

/* A rule. What cannot be read is given up, so that it does not hold up the others. */
static int reap(struct ms_record *record, int64_t now_ms, void *context, struct ms_error *err) {
    (void)context;
    (void)err;
    if (record->unreadable) {
        ms_record_give_up(record, now_ms);
    } else if (record->revision != 0 && record->place == MS_PLACE_LEASED &&
               record->lease_until_ms <= now_ms) {
        record->fate = MS_FATE_SAVE;
        ms_record_lapse(record, now_ms);
    } else if (record->place == MS_PLACE_DELAYED && record->job.not_before_ms <= now_ms) {
        record->fate = MS_FATE_SAVE;
        ms_record_put_back(record, MS_PLACE_WAITING, true);
    }
    return 0;
}

/* A rule; context: how long a job may wait for its model. */
static int fail_unserved(struct ms_record *record, int64_t now_ms, void *context,
                         struct ms_error *err) {
    const int64_t *wait_ms = context;
    struct ms_job *job = &record->job;
    if (record->unreadable || record->revision == 0 || record->place != MS_PLACE_WAITING ||
        now_ms - job->created_ms < *wait_ms)
        return reap(record, now_ms, NULL, err);
    char message[160];
    (void)snprintf(message, sizeof message, "no worker has had model %s for %.3g minutes",
                   job->options.model, (double)*wait_ms / 60000);
    ms_record_set_error(job, ms_code_name(MS_EMODEL), message);
    ms_record_end(record, MS_JOB_FAILED, now_ms);
    record->fate = MS_FATE_SAVE;
    return 0;
}

/* A rule; of a job that is missing from the list. */
static int restore(struct ms_record *record, int64_t now_ms, void *context, struct ms_error *err) {
    if (record->unreadable || record->revision == 0 || record->place != MS_PLACE_WAITING)
        return reap(record, now_ms, context, err);
    record->fate = MS_FATE_SAVE;
    ms_record_put_back(record, MS_PLACE_WAITING, true);
    return 0;
}

static int reap_all(struct ms_queue *queue, struct ms_listing listing,
                    int (*rule)(struct ms_record *, int64_t, void *, struct ms_error *), int *count,
                    struct ms_error *err) {
    char ids[BATCH][MS_JOB_ID_HEX], next[MS_CURSOR_MAX];
    int found = 0;
    *count = 0;
    listing.max = BATCH;
    int rc = queue->ops->list(queue, &listing, ids, &found, next, err);
    for (int i = 0; rc == 0 && i < found; i++) {
        struct ms_record record = {0};
        rc = ms_queue_update(queue, ids[i], rule, &listing.wait_ms, &record, err);
        *count += rc == 0 && record.fate != MS_FATE_KEEP;
        ms_record_fini(&record);
        if (rc == MS_ENOTFOUND) /* no id: a stranger's */
            rc = 0;
    }
    return rc;
}

int ms_queue_reap(struct ms_queue *queue, const char *model, int64_t model_wait_ms,
                  struct ms_reaped *out, struct ms_error *err) {
    const struct ms_listing unserved = {
        .order = MS_ORDER_UNSERVED, .model = model, .wait_ms = model_wait_ms};
    int retries;
    *out = (struct ms_reaped){0};
    int rc = reap_all(queue, (struct ms_listing){.order = MS_ORDER_DELAYED}, reap, &retries, err);
    if (rc == 0)
        rc =
            reap_all(queue, (struct ms_listing){.order = MS_ORDER_LAPSED}, reap, &out->lapsed, err);
    if (rc == 0)
        rc = reap_all(queue, (struct ms_listing){.order = MS_ORDER_MISSING}, restore, &out->taken,
                      err);
    if (rc == 0)
        rc = reap_all(queue, unserved, fail_unserved, &out->unserved, err);
    return rc;
}

/* ---- retention ---- */

/* A record that cannot be read does not say when its job ended. */
static int check_old(const struct ms_record *record, int64_t now_ms, int64_t keep_ms,
                     struct ms_error *err) {
    const bool old = (record->revision != 0 || record->unreadable) &&
                     record->place == MS_PLACE_ENDED &&
                     (record->unreadable || now_ms - record->job.finished_ms >= keep_ms);
    return old ? 0 : ms_error_set(err, MS_ENOTFOUND, "no job with this id ended so long ago");
}

int ms_queue_list_old(struct ms_queue *queue, int64_t keep_ms, int64_t skip,
                      char (*ids)[MS_JOB_ID_HEX], int *count, struct ms_error *err) {
    const struct ms_listing listing = {
        .order = MS_ORDER_OLDEST, .max = MS_OLD_MAX, .wait_ms = keep_ms, .skip = skip};
    char next[MS_CURSOR_MAX];
    return queue->ops->list(queue, &listing, ids, count, next, err);
}

int ms_queue_get_old(struct ms_queue *queue, const char *id, int64_t keep_ms, struct ms_job *out,
                     struct ms_error *err) {
    struct ms_record record;
    int64_t now_ms = 0;
    int rc = queue->ops->load(queue, id, &record, &now_ms, err);
    if (rc == 0 || (rc == MS_ECORRUPT && record.unreadable))
        rc = check_old(&record, now_ms, keep_ms, err);
    if (rc == 0)
        *out = record.job;
    else
        ms_record_fini(&record);
    return rc;
}

/* A rule; context: how long it stays. */
static int forget(struct ms_record *record, int64_t now_ms, void *context, struct ms_error *err) {
    const int64_t *keep_ms = context;
    record->fate = MS_FATE_ERASE;
    return check_old(record, now_ms, *keep_ms, err);
}

int ms_queue_forget(struct ms_queue *queue, const char *id, int64_t keep_ms, struct ms_error *err) {
    return ms_queue_update(queue, id, forget, &keep_ms, NULL, err);
}
