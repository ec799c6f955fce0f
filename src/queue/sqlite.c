/* The queue in a file: SQLite, in WAL mode, for the processes of one host. Owns its connection. A
 * worker that waits reads the file again every few milliseconds, without a lock. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/sys.h"
#include "queue_ops.h"
#include "sqlite_file.h"

#define SEEN_MS 10000 /* how late it may be written that somebody still has a model */

static void copy_text(sqlite3_stmt *statement, int column, char *out, size_t capacity) {
    const unsigned char *text = sqlite3_column_text(statement, column);
    (void)snprintf(out, capacity, "%s", text != NULL ? (const char *)text : "");
}

/* ---- operations ---- */

static void sqlite_close(struct ms_queue *queue) {
    ms_sqlite_disconnect((struct sqlite *)queue);
    free(queue);
}

static int sqlite_ping(struct ms_queue *queue, const char **warning, struct ms_error *err) {
    struct sqlite *s = (struct sqlite *)queue;
    (void)warning;
    int rc = ms_sqlite_connect(s, err);
    if (rc == 0)
        rc = ms_sqlite_execute(s, "BEGIN IMMEDIATE; ROLLBACK", err);
    if (rc == 0)
        rc = ms_sqlite_execute(s, ms_sqlite_touch, err);
    return rc;
}

/* Damage of the file is not damage of one record, which might be replaced. */
static int of_the_file(int rc, struct ms_error *err) {
    if (rc == MS_ECORRUPT && err != NULL)
        err->code = MS_EIO;
    return rc == MS_ECORRUPT ? MS_EIO : rc;
}

/* The row that the statement stands at, in the order of RECORD. */
static int read_record(sqlite3_stmt *statement, struct ms_record *out, struct ms_error *err) {
    copy_text(statement, 0, out->job.id, sizeof out->job.id);
    out->revision = sqlite3_column_int64(statement, 2);
    out->place = (enum ms_place)sqlite3_column_int(statement, 3);
    out->job.state = (enum ms_job_state)sqlite3_column_int(statement, 4);
    out->job.created_ms = sqlite3_column_int64(statement, 5);
    out->job.started_ms = sqlite3_column_int64(statement, 6);
    out->job.attempts = sqlite3_column_int(statement, 7);
    out->job.position = -1;
    copy_text(statement, 8, out->token, sizeof out->token);
    out->lease_until_ms = sqlite3_column_int64(statement, 9);
    out->flags = sqlite3_column_int(statement, 10);
    out->callback_due_ms = sqlite3_column_int64(statement, 11);
    copy_text(statement, 12, out->job.owner, sizeof out->job.owner);
    const unsigned char *doc = sqlite3_column_text(statement, 1);
    return ms_record_read(out, doc != NULL ? (const char *)doc : "",
                          (size_t)sqlite3_column_bytes(statement, 1), err);
}

static int find_position(struct sqlite *s, struct ms_job *job, struct ms_error *err) {
    sqlite3_stmt *statement;
    job->position = -1;
    int rc = ms_sqlite_prepare(s, POSITION, &statement, err);
    if (rc != 0)
        return rc;
    ms_sqlite_put_text(statement, 1, job->id);
    ms_sqlite_put_int(statement, 2, MS_POSITION_MAX);
    const int step = sqlite3_step(statement);
    if (step == SQLITE_ROW && sqlite3_column_int64(statement, 0) < MS_POSITION_MAX)
        job->position = sqlite3_column_int64(statement, 0);
    if (step != SQLITE_ROW && step != SQLITE_DONE)
        rc = ms_sqlite_failed(s, err);
    (void)sqlite3_reset(statement);
    return rc;
}

static int sqlite_load(struct ms_queue *queue, const char *id, struct ms_record *out,
                       int64_t *now_ms, struct ms_error *err) {
    struct sqlite *s = (struct sqlite *)queue;
    sqlite3_stmt *statement;
    *out = (struct ms_record){0};
    *now_ms = ms_unix_ms();
    int rc = of_the_file(ms_sqlite_prepare(s, LOAD, &statement, err), err);
    if (rc != 0)
        return rc;
    ms_sqlite_put_text(statement, 1, id);
    const int step = sqlite3_step(statement);
    if (step == SQLITE_ROW)
        rc = read_record(statement, out, err);
    else if (step == SQLITE_DONE)
        rc = ms_error_set(err, MS_ENOTFOUND, "there is no job with this id");
    else
        rc = of_the_file(ms_sqlite_failed(s, err), err);
    (void)sqlite3_reset(statement);
    if (rc == 0 && out->place == MS_PLACE_WAITING)
        rc = of_the_file(find_position(s, &out->job, err), err);
    return rc;
}

/* Whether the statement gives a row for its argument. A look takes no lock, where a write
 * that changes nothing would take one. */
static int has_row(struct sqlite *s, enum ms_sqlite_statement which, const char *argument,
                   bool *found, struct ms_error *err) {
    sqlite3_stmt *statement;
    int rc = ms_sqlite_prepare(s, which, &statement, err);
    if (rc != 0)
        return rc;
    ms_sqlite_put_text(statement, 1, argument);
    const int step = sqlite3_step(statement);
    *found = step == SQLITE_ROW;
    if (step != SQLITE_ROW && step != SQLITE_DONE)
        rc = ms_sqlite_failed(s, err);
    (void)sqlite3_reset(statement);
    return rc;
}

static int erase(struct sqlite *s, const struct ms_record *record, int *changes,
                 struct ms_error *err) {
    sqlite3_stmt *statement;
    int rc = ms_sqlite_prepare(s, ERASE, &statement, err);
    if (rc != 0)
        return rc;
    ms_sqlite_put_text(statement, 1, record->job.id);
    ms_sqlite_put_int(statement, 2, record->revision);
    return ms_sqlite_run(s, statement, changes, err);
}

static int store(struct sqlite *s, const struct ms_record *record, int *changes,
                 struct ms_error *err) {
    bool exists = false;
    int rc = record->revision == 0 ? has_row(s, EXISTS, record->job.id, &exists, err) : 0;
    if (rc != 0 || exists)
        return rc;
    sqlite3_stmt *statement = NULL;
    char *doc = NULL;
    rc = ms_job_to_json(&record->job, &doc, err);
    if (rc == 0)
        rc = ms_sqlite_prepare(s, record->revision == 0 ? INSERT : UPDATE, &statement, err);
    if (rc == 0) {
        ms_sqlite_put_text(statement, 1, record->job.id);
        ms_sqlite_put_int(statement, 2, record->revision + 1);
        ms_sqlite_put_text(statement, 3, doc);
        ms_sqlite_put_int(statement, 4, (int64_t)record->job.state);
        ms_sqlite_put_int(statement, 5, (int64_t)record->place);
        ms_sqlite_put_text(statement, 6, record->token);
        ms_sqlite_put_int(statement, 7, record->job.created_ms);
        ms_sqlite_put_int(statement, 8, record->lease_until_ms);
        ms_sqlite_put_int(statement, 9, record->job.not_before_ms);
        ms_sqlite_put_int(statement, 10, record->flags);
        ms_sqlite_put_int(statement, 11, record->callback_due_ms);
        ms_sqlite_put_int(statement, 12, record->in_front);
        ms_sqlite_put_int(statement, 13, record->revision);
        ms_sqlite_put_int(statement, 14, record->job.started_ms);
        ms_sqlite_put_int(statement, 15, record->job.attempts);
        ms_sqlite_put_text(statement, 16, record->job.options.model);
        ms_sqlite_put_text(statement, 17, record->job.owner);
        rc = ms_sqlite_run(s, statement, changes, err);
    }
    free(doc);
    return rc;
}

static int read_usage(struct sqlite *s, const char *owner, int64_t now_ms, struct ms_usage *out,
                      struct ms_error *err) {
    sqlite3_stmt *statement;
    int rc = ms_sqlite_prepare(s, USAGE, &statement, err);
    if (rc != 0)
        return rc;
    ms_sqlite_put_text(statement, 1, owner);
    ms_sqlite_put_int(statement, 2, now_ms - MS_DAY_MS);
    if (sqlite3_step(statement) == SQLITE_ROW) {
        const int64_t since_ms = sqlite3_column_int64(statement, 3);
        *out = (struct ms_usage){.waiting = sqlite3_column_int64(statement, 0),
                                 .cost_ms = sqlite3_column_int64(statement, 1),
                                 .bytes = sqlite3_column_int64(statement, 2),
                                 .left_ms = since_ms > 0 ? since_ms + MS_DAY_MS - now_ms : 0};
    } else {
        rc = ms_sqlite_failed(s, err);
    }
    (void)sqlite3_reset(statement);
    return rc;
}

static int charge(struct sqlite *s, const char *owner, int64_t cost_ms, int64_t bytes,
                  int64_t now_ms, struct ms_error *err) {
    sqlite3_stmt *statement;
    int rc = ms_sqlite_prepare(s, CHARGE, &statement, err);
    if (rc != 0)
        return rc;
    ms_sqlite_put_text(statement, 1, owner);
    ms_sqlite_put_int(statement, 2, now_ms);
    ms_sqlite_put_int(statement, 3, cost_ms);
    ms_sqlite_put_int(statement, 4, bytes);
    ms_sqlite_put_int(statement, 5, now_ms - MS_DAY_MS);
    return ms_sqlite_run(s, statement, NULL, err);
}

/* With the right to write, so that nobody else is charged between the look and the charge. */
static int store_in_quota(struct sqlite *s, const struct ms_record *record, int *changes,
                          struct ms_error *err) {
    const char *owner = record->job.owner;
    const int64_t now_ms = ms_unix_ms();
    struct ms_usage usage;
    int rc = read_usage(s, owner, now_ms, &usage, err);
    if (rc == 0)
        rc = store(s, record, changes, err);
    if (rc != 0 || *changes == 0)
        return rc;
    if (record->quota != NULL && ms_quota_exceeded(record->quota, &usage, record->charge_ms,
                                                   record->charge_bytes) != MS_LIMIT_NONE)
        rc = ms_queue_at_limit(owner, err);
    if (rc == 0)
        rc = charge(s, owner, record->charge_ms, record->charge_bytes, now_ms, err);
    if (rc == 0 && record->usage != NULL)
        rc = read_usage(s, owner, now_ms, &usage, err);
    if ((rc == 0 || rc == MS_EQUOTA) && record->usage != NULL)
        *record->usage = usage;
    return rc;
}

static int store_and_charge(struct sqlite *s, const struct ms_record *record, int *changes,
                            struct ms_error *err) {
    if (record->job.owner[0] == '\0' ||
        (record->charge_ms == 0 && record->charge_bytes == 0 && record->quota == NULL))
        return store(s, record, changes, err);
    int rc = ms_sqlite_begin(s, err);
    return rc != 0 ? rc : ms_sqlite_end(s, store_in_quota(s, record, changes, err), err);
}

static int charge_within(struct sqlite *s, const char *owner, int64_t bytes, int64_t max_bytes,
                         struct ms_usage *usage, struct ms_error *err) {
    const struct ms_quota quota = {.max_bytes = max_bytes};
    const int64_t now_ms = ms_unix_ms();
    int rc = read_usage(s, owner, now_ms, usage, err);
    if (rc == 0 && ms_quota_exceeded(&quota, usage, 0, bytes) != MS_LIMIT_NONE)
        rc = ms_queue_at_limit(owner, err);
    if (rc == 0)
        rc = charge(s, owner, 0, bytes, now_ms, err);
    return rc != 0 ? rc : read_usage(s, owner, now_ms, usage, err);
}

static int sqlite_charge(struct ms_queue *queue, const char *owner, int64_t bytes,
                         int64_t max_bytes, struct ms_usage *usage, struct ms_error *err) {
    struct sqlite *s = (struct sqlite *)queue;
    int rc = ms_sqlite_begin(s, err);
    return rc != 0 ? rc
                   : ms_sqlite_end(s, charge_within(s, owner, bytes, max_bytes, usage, err), err);
}

static int sqlite_save(struct ms_queue *queue, struct ms_record *record, struct ms_error *err) {
    struct sqlite *s = (struct sqlite *)queue;
    struct ms_job *job = &record->job;
    int changes = 0;
    if (job->created_ms == 0)
        job->created_ms = ms_unix_ms();
    int rc = record->fate == MS_FATE_ERASE ? erase(s, record, &changes, err)
                                           : store_and_charge(s, record, &changes, err);
    rc = of_the_file(rc, err);
    if (rc == 0 && changes == 0)
        rc = ms_error_set(err, MS_ECONFLICT, "job %.12s... was changed meanwhile", job->id);
    if (rc != 0)
        return rc;
    record->revision++;
    job->position = -1;
    /* The record is saved: that its position cannot be had is no failure. */
    if (record->fate != MS_FATE_ERASE && record->place == MS_PLACE_WAITING)
        (void)find_position(s, job, NULL);
    return 0;
}

/* MS_ENOTFOUND: another was quicker. */
static int claim_next(struct sqlite *s, const char *model, const char *token, int64_t lease_ms,
                      struct ms_record *out, struct ms_error *err) {
    sqlite3_stmt *statement;
    int rc = ms_sqlite_prepare(s, CLAIM, &statement, err);
    if (rc != 0)
        return rc;
    const int64_t now_ms = ms_unix_ms();
    ms_sqlite_put_int(statement, 1, now_ms);
    ms_sqlite_put_text(statement, 2, token);
    ms_sqlite_put_int(statement, 3, now_ms + lease_ms);
    ms_sqlite_put_text(statement, 4, model);
    int step = sqlite3_step(statement);
    if (step == SQLITE_ROW) {
        rc = read_record(statement, out, err);
        step = sqlite3_step(statement); /* commits */
    } else {
        rc = ms_error_set(err, MS_ENOTFOUND, "no job waits");
    }
    if (step != SQLITE_DONE) {
        ms_record_fini(out);
        rc = of_the_file(ms_sqlite_failed(s, err), err);
    }
    (void)sqlite3_reset(statement);
    return rc;
}

static int sqlite_claim(struct ms_queue *queue, const char *model, const char token[MS_TOKEN_HEX],
                        int64_t lease_ms, int64_t wait_ms, struct ms_record *out,
                        struct ms_error *err) {
    struct sqlite *s = (struct sqlite *)queue;
    const double until_s = ms_monotonic_s() + (double)wait_ms / 1000;
    *out = (struct ms_record){0};
    for (;;) {
        bool waits = false;
        int rc = of_the_file(has_row(s, WAITS, model, &waits, err), err);
        if (rc == 0)
            rc = waits ? claim_next(s, model, token, lease_ms, out, err)
                       : ms_error_set(err, MS_ENOTFOUND, "no job waits");
        if (rc != MS_ENOTFOUND || ms_monotonic_s() >= until_s)
            return rc;
        ms_sqlite_wait();
    }
}

/* The ids of a bound statement's rows, at most max; *order, which may be NULL: the last one's
 * second column. */
static int collect(struct sqlite *s, sqlite3_stmt *statement, char (*ids)[MS_JOB_ID_HEX], int max,
                   int *count, int64_t *order, struct ms_error *err) {
    int step = SQLITE_DONE;
    while (*count < max && (step = sqlite3_step(statement)) == SQLITE_ROW) {
        copy_text(statement, 0, ids[(*count)++], MS_JOB_ID_HEX);
        if (order != NULL)
            *order = sqlite3_column_int64(statement, 1);
    }
    int rc = step == SQLITE_DONE || step == SQLITE_ROW ? 0 : ms_sqlite_failed(s, err);
    (void)sqlite3_reset(statement);
    return rc;
}

/* Those whose time is before `until_ms`. */
static int list_due(struct sqlite *s, enum ms_sqlite_statement which, int64_t until_ms, int max,
                    char (*ids)[MS_JOB_ID_HEX], int *count, struct ms_error *err) {
    sqlite3_stmt *statement;
    int rc = ms_sqlite_prepare(s, which, &statement, err);
    if (rc != 0)
        return rc;
    ms_sqlite_put_int(statement, 1, until_ms);
    ms_sqlite_put_int(statement, 2, max);
    return collect(s, statement, ids, max, count, NULL, err);
}

static int list_unserved(struct sqlite *s, const struct ms_listing *listing,
                         char (*ids)[MS_JOB_ID_HEX], int *count, struct ms_error *err) {
    sqlite3_stmt *statement;
    int rc = ms_sqlite_prepare(s, HAVE_MODEL, &statement, err);
    if (rc != 0)
        return rc;
    const int64_t now_ms = ms_unix_ms();
    ms_sqlite_put_text(statement, 1, listing->model);
    ms_sqlite_put_int(statement, 2, now_ms);
    ms_sqlite_put_int(statement, 3,
                      listing->wait_ms / 4 < SEEN_MS ? listing->wait_ms / 4 : SEEN_MS);
    rc = ms_sqlite_run(s, statement, NULL, err);
    return rc != 0
               ? rc
               : list_due(s, UNSERVED, now_ms - listing->wait_ms, listing->max, ids, count, err);
}

static int list_oldest(struct sqlite *s, const struct ms_listing *listing,
                       char (*ids)[MS_JOB_ID_HEX], int *count, struct ms_error *err) {
    sqlite3_stmt *statement;
    int rc = ms_sqlite_prepare(s, OLDEST, &statement, err);
    if (rc != 0)
        return rc;
    ms_sqlite_put_int(statement, 3, listing->skip);
    return list_due(s, OLDEST, ms_unix_ms() - listing->wait_ms, listing->max, ids, count, err);
}

/* Cursors: "CREATED:ID". */
static int list_newest(struct sqlite *s, const struct ms_listing *listing,
                       char (*ids)[MS_JOB_ID_HEX], int *count, char next[MS_CURSOR_MAX],
                       struct ms_error *err) {
    sqlite3_stmt *statement;
    const char *id;
    int64_t from;
    int rc = ms_queue_read_cursor(listing->cursor, ':', INT64_MAX, &from, &id, err);
    const bool of_all = listing->state < 0;
    if (rc == 0 && listing->owner == NULL)
        rc = ms_sqlite_prepare(s, of_all ? LIST_ALL : LIST_STATE, &statement, err);
    else if (rc == 0)
        rc = ms_sqlite_prepare(s, of_all ? LIST_OWNER : LIST_OWNER_STATE, &statement, err);
    if (rc != 0)
        return rc;
    ms_sqlite_put_int(statement, 1, from);
    ms_sqlite_put_text(statement, 2, id);
    ms_sqlite_put_int(statement, 3, listing->max);
    if (!of_all)
        ms_sqlite_put_int(statement, 4, listing->state);
    if (listing->owner != NULL)
        ms_sqlite_put_text(statement, 5, listing->owner);
    rc = collect(s, statement, ids, listing->max, count, &from, err);
    if (rc == 0 && *count == listing->max)
        (void)snprintf(next, MS_CURSOR_MAX, "%lld:%s", (long long)from, ids[*count - 1]);
    return rc;
}

/* Cursors: "SEQ". */
static int list_waiting(struct sqlite *s, const struct ms_listing *listing,
                        char (*ids)[MS_JOB_ID_HEX], int *count, char next[MS_CURSOR_MAX],
                        struct ms_error *err) {
    sqlite3_stmt *statement;
    const char *rest;
    int64_t seq;
    int rc = ms_queue_read_cursor(listing->cursor, '\0', INT64_MIN, &seq, &rest, err);
    if (rc == 0)
        rc = ms_sqlite_prepare(s, LIST_WAITING, &statement, err);
    if (rc != 0)
        return rc;
    ms_sqlite_put_int(statement, 1, seq);
    ms_sqlite_put_int(statement, 2, listing->max);
    rc = collect(s, statement, ids, listing->max, count, &seq, err);
    if (rc == 0 && *count == listing->max)
        (void)snprintf(next, MS_CURSOR_MAX, "%lld", (long long)seq);
    return rc;
}

static int sqlite_list(struct ms_queue *queue, const struct ms_listing *listing,
                       char (*ids)[MS_JOB_ID_HEX], int *count, char next[MS_CURSOR_MAX],
                       struct ms_error *err) {
    struct sqlite *s = (struct sqlite *)queue;
    *count = 0;
    next[0] = '\0';
    switch (listing->order) {
    case MS_ORDER_NEWEST: return list_newest(s, listing, ids, count, next, err);
    case MS_ORDER_WAITING: return list_waiting(s, listing, ids, count, next, err);
    case MS_ORDER_LAPSED:
        return list_due(s, DUE_LEASES, ms_unix_ms(), listing->max, ids, count, err);
    case MS_ORDER_DELAYED:
        return list_due(s, DUE_DELAYED, ms_unix_ms(), listing->max, ids, count, err);
    case MS_ORDER_CALLBACKS:
        return list_due(s, DUE_CALLBACKS, ms_unix_ms(), listing->max, ids, count, err);
    case MS_ORDER_UNSERVED: return list_unserved(s, listing, ids, count, err);
    case MS_ORDER_MISSING: return 0;
    case MS_ORDER_OLDEST: return list_oldest(s, listing, ids, count, err);
    }
    return ms_error_set(err, MS_EINTERNAL, "no such order");
}

static int sqlite_stats(struct ms_queue *queue, const char *owner, struct ms_queue_stats *out,
                        struct ms_error *err) {
    struct sqlite *s = (struct sqlite *)queue;
    sqlite3_stmt *statement;
    if (owner != NULL)
        return read_usage(s, owner, ms_unix_ms(), &out->usage, err);
    int rc = ms_sqlite_prepare(s, COUNTS, &statement, err);
    if (rc != 0)
        return rc;
    int step;
    while ((step = sqlite3_step(statement)) == SQLITE_ROW) {
        const int state = sqlite3_column_int(statement, 0);
        if (state >= 0 && state < MS_JOB_STATES)
            out->jobs[state] = sqlite3_column_int64(statement, 1);
    }
    if (step != SQLITE_DONE)
        rc = ms_sqlite_failed(s, err);
    (void)sqlite3_reset(statement);
    if (rc == 0)
        rc = ms_sqlite_prepare(s, DUES, &statement, err);
    if (rc != 0)
        return rc;
    if (sqlite3_step(statement) == SQLITE_ROW) {
        const int64_t oldest_ms = sqlite3_column_int64(statement, 1);
        const int64_t now_ms = ms_unix_ms();
        out->callbacks_due = sqlite3_column_int64(statement, 0);
        out->oldest_waiting_ms = oldest_ms > 0 && oldest_ms < now_ms ? now_ms - oldest_ms : 0;
    } else {
        rc = ms_sqlite_failed(s, err);
    }
    (void)sqlite3_reset(statement);
    if (rc == 0)
        rc = ms_sqlite_prepare(s, WAITING_BY_MODEL, &statement, err);
    if (rc != 0)
        return rc;
    while ((step = sqlite3_step(statement)) == SQLITE_ROW)
        ms_queue_add_waiting(out, (const char *)sqlite3_column_text(statement, 0),
                             sqlite3_column_int64(statement, 1));
    if (step != SQLITE_DONE)
        rc = ms_sqlite_failed(s, err);
    (void)sqlite3_reset(statement);
    return rc;
}

int ms_queue_sqlite_open(const char *url, struct ms_queue **out, struct ms_error *err) {
    static const struct ms_queue_ops ops = {
        .close = sqlite_close,
        .ping = sqlite_ping,
        .load = sqlite_load,
        .save = sqlite_save,
        .claim = sqlite_claim,
        .list = sqlite_list,
        .stats = sqlite_stats,
        .charge = sqlite_charge,
        .note = ms_sqlite_note,
        .log_push = ms_sqlite_log_push,
        .log_pop = ms_sqlite_log_pop,
    };
    const char *path = ms_queue_file(url);
    struct sqlite *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the queue");
    if (path[0] == '\0' || strlen(path) >= sizeof s->path) {
        free(s);
        return ms_error_set(err, MS_EUSAGE,
                            "the queue's URL sqlite:FILE lacks the file, or its name is too long");
    }
    s->queue.ops = &ops;
    (void)snprintf(s->path, sizeof s->path, "%s", path);
    *out = &s->queue;
    return 0;
}
