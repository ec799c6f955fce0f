/* The queue in a file: SQLite, in WAL mode, for the processes of one host. Owns its connection. Waiting is looking again
 * every few milliseconds, which a file on the same disk bears. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "msaas/sys.h"
#include "queue.h"
#include "sqlite_sql.h"

#define BUSY_MS 5000
#define POLL_MS 25

struct sqlite {
    sqlite3 *db;
    char path[1024];
    double busy_until_s; /* see on_busy */
    sqlite3_stmt *statements[MS_SQLITE_STATEMENTS];
};

static int failed(struct sqlite *s, struct ms_error *err) {
    const int code = s->db != NULL ? sqlite3_errcode(s->db) & 255 : SQLITE_NOMEM;
    const char *text = s->db != NULL ? sqlite3_errmsg(s->db) : "no memory";
    const bool busy = code == SQLITE_BUSY || code == SQLITE_LOCKED;
    const bool corrupt = code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
    return ms_error_set(err,
                        busy      ? MS_ENET
                        : corrupt ? MS_ECORRUPT
                                  : MS_EIO,
                        "queue %s: %s", s->path, text);
}

/* Another connection writes. SQLite's own pauses grow to a tenth of a second, in which nobody gets ahead; a write here takes
 * a millisecond. */
static int on_busy(void *context, int times) {
    const struct timespec pause = {.tv_nsec = (1 + times % 2) * 500000L};
    struct sqlite *s = context;
    if (times == 0)
        s->busy_until_s = ms_monotonic_s() + BUSY_MS / 1000.0;
    (void)nanosleep(&pause, NULL);
    return ms_monotonic_s() < s->busy_until_s;
}

static void disconnect(struct sqlite *s) {
    for (size_t i = 0; i < sizeof s->statements / sizeof *s->statements; i++) {
        (void)sqlite3_finalize(s->statements[i]);
        s->statements[i] = NULL;
    }
    (void)sqlite3_close(s->db);
    s->db = NULL;
}

static int execute(struct sqlite *s, const char *sql, struct ms_error *err) {
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : failed(s, err);
}

static int read_version(struct sqlite *s, int *version, struct ms_error *err) {
    sqlite3_stmt *statement = NULL;
    int rc = 0;
    if (sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW)
        rc = failed(s, err);
    else
        *version = sqlite3_column_int(statement, 0);
    (void)sqlite3_finalize(statement);
    return rc;
}

/* Of several processes that come first at the same time, one makes the tables. */
static int make_tables(struct sqlite *s, struct ms_error *err) {
    int version = 0;
    int rc = execute(s, "BEGIN IMMEDIATE", err);
    if (rc != 0)
        return rc;
    rc = read_version(s, &version, err);
    if (rc == 0 && version == 0)
        rc = execute(s, ms_sqlite_schema, err);
    else if (rc == 0 && version != MS_SQLITE_VERSION)
        rc = ms_error_set(err, MS_EUNSUPPORTED,
                          "queue %s was written by another release of msaas (version %d, not %d)",
                          s->path, version, MS_SQLITE_VERSION);
    if (rc == 0)
        return execute(s, "COMMIT", err);
    (void)execute(s, "ROLLBACK", NULL);
    return rc;
}

/* Of two that open a new file at once, one is told at once that it is busy: SQLite does not ask the
 * busy handler where waiting might be a deadlock. */
static int use_write_ahead_log(struct sqlite *s, struct ms_error *err) {
    int times = 0;
    int rc;
    do
        rc = execute(s, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", err);
    while (rc == MS_ENET && on_busy(s, times++) != 0);
    return rc;
}

static int connect_to(struct sqlite *s, struct ms_error *err) {
    if (s->db != NULL)
        return 0;
    int version = 0;
    int rc = 0;
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(s->path, &s->db, flags, NULL) != SQLITE_OK)
        rc = failed(s, err);
    if (rc == 0 && sqlite3_busy_handler(s->db, on_busy, s) != SQLITE_OK)
        rc = failed(s, err);
    if (rc == 0)
        rc = use_write_ahead_log(s, err);
    if (rc == 0)
        rc = read_version(s, &version, err);
    if (rc == 0 && version != MS_SQLITE_VERSION)
        rc = make_tables(s, err);
    if (rc != 0)
        disconnect(s);
    return rc;
}

/* The statement, ready to be bound; the caller resets it. */
static int prepare(struct sqlite *s, enum ms_sqlite_statement which, sqlite3_stmt **out,
                   struct ms_error *err) {
    int rc = connect_to(s, err);
    if (rc == 0 && s->statements[which] == NULL &&
        sqlite3_prepare_v3(s->db, ms_sqlite_text[which], -1, SQLITE_PREPARE_PERSISTENT,
                           &s->statements[which], NULL) != SQLITE_OK)
        rc = failed(s, err);
    *out = s->statements[which];
    return rc;
}

/* Runs a bound statement that gives no rows. */
static int run(struct sqlite *s, sqlite3_stmt *statement, int *changes, struct ms_error *err) {
    const int step = sqlite3_step(statement);
    int rc = step == SQLITE_DONE ? 0 : failed(s, err);
    if (changes != NULL)
        *changes = sqlite3_changes(s->db);
    (void)sqlite3_reset(statement);
    (void)sqlite3_clear_bindings(statement);
    return rc;
}

static void put_text(sqlite3_stmt *statement, int at, const char *text) {
    (void)sqlite3_bind_text(statement, at, text, -1, SQLITE_TRANSIENT);
}

static void put_int(sqlite3_stmt *statement, int at, int64_t value) {
    (void)sqlite3_bind_int64(statement, at, value);
}

static void copy_text(sqlite3_stmt *statement, int column, char *out, size_t capacity) {
    const unsigned char *text = sqlite3_column_text(statement, column);
    (void)snprintf(out, capacity, "%s", text != NULL ? (const char *)text : "");
}

static void wait_a_little(void) {
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
    (void)nanosleep(&pause, NULL);
}

/* ---- operations ---------------------------------------------------------------------------------------------------- */

static void op_close(void *backend) {
    disconnect(backend);
    free(backend);
}

static int op_ping(void *backend, const char **warning, struct ms_error *err) {
    struct sqlite *s = backend;
    (void)warning;
    int rc = connect_to(s, err);
    if (rc == 0)
        rc = execute(s, "BEGIN IMMEDIATE; ROLLBACK", err);
    if (rc == 0)
        rc = execute(s, ms_sqlite_touch, err);
    return rc;
}

static int op_now(void *backend, int64_t *now_ms, struct ms_error *err) {
    (void)backend;
    (void)err;
    *now_ms = ms_unix_ms();
    return 0;
}

/* Damage of the file is none of this record: it must not be made room for. */
static int of_the_file(int rc, struct ms_error *err) {
    if (rc == MS_ECORRUPT && err != NULL)
        err->code = MS_EIO;
    return rc == MS_ECORRUPT ? MS_EIO : rc;
}

static int op_load(void *backend, const char *id, struct ms_record *out, struct ms_error *err) {
    struct sqlite *s = backend;
    sqlite3_stmt *statement;
    memset(out, 0, sizeof *out);
    int rc = prepare(s, LOAD, &statement, err);
    if (rc != 0)
        return of_the_file(rc, err);
    put_text(statement, 1, id);
    const int step = sqlite3_step(statement);
    if (step == SQLITE_DONE)
        rc = ms_error_set(err, MS_ENOTFOUND, "there is no job of that id");
    else if (step != SQLITE_ROW)
        rc = failed(s, err);
    rc = of_the_file(rc, err);
    if (rc == 0) {
        const unsigned char *doc = sqlite3_column_text(statement, 0);
        rc = ms_job_from_json(doc != NULL ? (const char *)doc : "",
                              (size_t)sqlite3_column_bytes(statement, 0), &out->job, err);
        out->revision = sqlite3_column_int64(statement, 1);
        out->place = (enum ms_place)sqlite3_column_int(statement, 2);
        copy_text(statement, 3, out->token, sizeof out->token);
        out->lease_until_ms = sqlite3_column_int64(statement, 4);
        const int flags = sqlite3_column_int(statement, 5);
        out->erase_asked = flags & 1;
        out->stripped = flags & 2;
        out->callback_due_ms = sqlite3_column_int64(statement, 6);
        out->callback_attempt = sqlite3_column_int(statement, 7);
    }
    (void)sqlite3_reset(statement);
    return rc;
}

static int erase(struct sqlite *s, const struct ms_record *record, int *changes,
                 struct ms_error *err) {
    sqlite3_stmt *statement;
    int rc = prepare(s, ERASE, &statement, err);
    if (rc != 0)
        return rc;
    put_text(statement, 1, record->job.id);
    put_int(statement, 2, record->revision);
    return run(s, statement, changes, err);
}

static int store(struct sqlite *s, const struct ms_record *record, const char *doc, int *changes,
                 struct ms_error *err) {
    sqlite3_stmt *statement;
    int rc = prepare(s, record->revision == 0 ? INSERT : UPDATE, &statement, err);
    if (rc != 0)
        return rc;
    put_text(statement, 1, record->job.id);
    put_int(statement, 2, record->revision + 1);
    put_text(statement, 3, doc);
    put_int(statement, 4, (int64_t)record->job.state);
    put_int(statement, 5, (int64_t)record->place);
    put_text(statement, 6, record->token);
    put_int(statement, 7, record->job.created_ms);
    put_int(statement, 8, record->lease_until_ms);
    put_int(statement, 9, record->job.not_before_ms);
    put_int(statement, 10, (record->erase_asked ? 1 : 0) | (record->stripped ? 2 : 0));
    put_int(statement, 11, record->callback_due_ms);
    put_int(statement, 12, record->in_front);
    put_int(statement, 13, record->callback_attempt);
    put_int(statement, 14, record->revision);
    return run(s, statement, changes, err);
}

static int op_save(void *backend, struct ms_record *record, bool gone, struct ms_error *err) {
    struct sqlite *s = backend;
    char *doc = NULL;
    int changes = 0;
    int rc = gone ? 0 : ms_job_to_json(&record->job, &doc, err);
    if (rc == 0)
        rc = gone ? erase(s, record, &changes, err) : store(s, record, doc, &changes, err);
    free(doc);
    if (rc == 0 && changes == 0)
        return ms_error_set(err, MS_ECONFLICT, "the job was changed meanwhile");
    if (rc == 0)
        record->revision++;
    return rc;
}

/* The first column of the first row. MS_ENOTFOUND: none. */
static int first_id(struct sqlite *s, enum ms_sqlite_statement which, char *id, size_t capacity,
                    struct ms_error *err) {
    sqlite3_stmt *statement;
    int rc = prepare(s, which, &statement, err);
    if (rc != 0)
        return rc;
    const int step = sqlite3_step(statement);
    if (step == SQLITE_ROW)
        copy_text(statement, 0, id, capacity);
    else
        rc = step == SQLITE_DONE ? ms_error_set(err, MS_ENOTFOUND, "no job waits") : failed(s, err);
    (void)sqlite3_reset(statement);
    return rc;
}

static int op_pop(void *backend, const char *worker, int64_t wait_ms, char *id, size_t capacity,
                  struct ms_error *err) {
    (void)worker; /* nothing is moved before the claim: one that dies here leaves nothing behind */
    const double until = ms_monotonic_s() + (double)wait_ms / 1000;
    for (;;) {
        int rc = first_id(backend, NEXT, id, capacity, err);
        if (rc != MS_ENOTFOUND || ms_monotonic_s() >= until)
            return rc;
        wait_a_little();
    }
}

static int op_drop(void *backend, const char *worker, const char *id, struct ms_error *err) {
    struct sqlite *s = backend;
    sqlite3_stmt *statement;
    int changes = 0;
    (void)worker;
    int rc = prepare(s, DROP, &statement, err);
    if (rc != 0)
        return rc;
    put_text(statement, 1, id);
    return run(s, statement, &changes, err);
}

static int op_rescue(void *backend, int64_t silent_ms, int *count, struct ms_error *err) {
    (void)backend, (void)silent_ms, (void)err;
    *count += 0; /* op_pop moves nothing */
    return 0;
}

/* The ids of a bound statement's rows, at most max; *order, which may be NULL: the last one's second column. */
static int collect(struct sqlite *s, sqlite3_stmt *statement, char (*ids)[MS_JOB_ID_HEX], int max,
                   int *count, int64_t *order, struct ms_error *err) {
    int step = SQLITE_DONE;
    while (*count < max && (step = sqlite3_step(statement)) == SQLITE_ROW) {
        copy_text(statement, 0, ids[(*count)++], MS_JOB_ID_HEX);
        if (order != NULL)
            *order = sqlite3_column_int64(statement, 1);
    }
    int rc = step == SQLITE_DONE || step == SQLITE_ROW ? 0 : failed(s, err);
    (void)sqlite3_reset(statement);
    return rc;
}

static int op_due(void *backend, enum ms_due what, int64_t now_ms, char (*ids)[MS_JOB_ID_HEX],
                  int max, int *count, struct ms_error *err) {
    struct sqlite *s = backend;
    sqlite3_stmt *statement;
    *count = 0;
    int rc = prepare(s,
                     what == MS_DUE_LEASES    ? DUE_LEASES
                     : what == MS_DUE_DELAYED ? DUE_DELAYED
                                              : DUE_CALLBACKS,
                     &statement, err);
    if (rc != 0)
        return rc;
    put_int(statement, 1, now_ms);
    put_int(statement, 2, max);
    return collect(s, statement, ids, max, count, NULL, err);
}

/* Cursors: "CREATED:ID". */
static int op_list(void *backend, const struct ms_queue_filter *filter, char (*ids)[MS_JOB_ID_HEX],
                   int *count, char next[MS_CURSOR_MAX], struct ms_error *err) {
    struct sqlite *s = backend;
    sqlite3_stmt *statement;
    const char *id;
    int64_t from;
    *count = 0;
    int rc = ms_queue_read_cursor(filter->cursor, ':', INT64_MAX, &from, &id, err);
    if (rc == 0)
        rc = prepare(s, filter->state < 0 ? LIST_ALL : LIST_STATE, &statement, err);
    if (rc != 0)
        return rc;
    put_int(statement, 1, from);
    put_text(statement, 2, id);
    put_int(statement, 3, filter->limit);
    if (filter->state >= 0)
        put_int(statement, 4, filter->state);
    rc = collect(s, statement, ids, filter->limit, count, &from, err);
    if (rc == 0 && *count == filter->limit)
        (void)snprintf(next, MS_CURSOR_MAX, "%lld:%s", (long long)from, ids[*count - 1]);
    return rc;
}

/* Cursors: "SEQ". */
static int op_waiting(void *backend, const char *cursor, int max, char (*ids)[MS_JOB_ID_HEX],
                      int *count, char next[MS_CURSOR_MAX], struct ms_error *err) {
    struct sqlite *s = backend;
    sqlite3_stmt *statement;
    const char *rest;
    int64_t seq;
    int rc = ms_queue_read_cursor(cursor, '\0', INT64_MIN, &seq, &rest, err);
    if (rc == 0)
        rc = prepare(s, LIST_WAITING, &statement, err);
    if (rc != 0)
        return rc;
    put_int(statement, 1, seq);
    put_int(statement, 2, max);
    rc = collect(s, statement, ids, max, count, &seq, err);
    if (rc == 0 && *count == max)
        (void)snprintf(next, MS_CURSOR_MAX, "%lld", (long long)seq);
    return rc;
}

static int op_position(void *backend, const char *id, int64_t *position, struct ms_error *err) {
    struct sqlite *s = backend;
    sqlite3_stmt *statement;
    int rc = prepare(s, POSITION, &statement, err);
    if (rc != 0)
        return rc;
    put_text(statement, 1, id);
    put_int(statement, 2, MS_POSITION_MAX);
    const int step = sqlite3_step(statement);
    *position = step == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : -1;
    if (*position >= MS_POSITION_MAX)
        *position = -1;
    if (step != SQLITE_ROW && step != SQLITE_DONE)
        rc = failed(s, err);
    (void)sqlite3_reset(statement);
    return rc;
}

static int op_stats(void *backend, struct ms_queue_stats *out, char oldest[MS_JOB_ID_HEX],
                    struct ms_error *err) {
    struct sqlite *s = backend;
    sqlite3_stmt *statement;
    int rc = prepare(s, COUNTS, &statement, err);
    if (rc != 0)
        return rc;
    int step;
    while ((step = sqlite3_step(statement)) == SQLITE_ROW) {
        const int state = sqlite3_column_int(statement, 0);
        if (state >= 0 && state < MS_JOB_STATES)
            out->jobs[state] = sqlite3_column_int64(statement, 1);
    }
    if (step != SQLITE_DONE)
        rc = failed(s, err);
    (void)sqlite3_reset(statement);
    if (rc == 0)
        rc = prepare(s, CALLBACKS, &statement, err);
    if (rc != 0)
        return rc;
    if (sqlite3_step(statement) == SQLITE_ROW)
        out->callbacks_due = sqlite3_column_int64(statement, 0);
    (void)sqlite3_reset(statement);
    rc = first_id(s, OLDEST, oldest, MS_JOB_ID_HEX, err);
    return rc == MS_ENOTFOUND ? 0 : rc;
}

static int op_log_push(void *backend, const char *line, struct ms_error *err) {
    struct sqlite *s = backend;
    sqlite3_stmt *statement;
    int rc = prepare(s, LOG_PUSH, &statement, err);
    if (rc != 0)
        return rc;
    put_text(statement, 1, line);
    rc = run(s, statement, NULL, err);
    if (rc == 0 && sqlite3_last_insert_rowid(s->db) % 64 == 0)
        rc = prepare(s, LOG_TRIM, &statement, err);
    else
        return rc;
    if (rc != 0)
        return rc;
    put_int(statement, 1, MS_LOG_LIST_MAX);
    return run(s, statement, NULL, err);
}

/* Of several readers, each line goes to the one that erases it. */
static int take_line(struct sqlite *s, char **line, struct ms_error *err) {
    sqlite3_stmt *statement;
    int64_t seq = 0;
    int changes = 0;
    int rc = prepare(s, LOG_NEXT, &statement, err);
    if (rc != 0)
        return rc;
    const int step = sqlite3_step(statement);
    if (step == SQLITE_ROW) {
        seq = sqlite3_column_int64(statement, 0);
        const unsigned char *text = sqlite3_column_text(statement, 1);
        *line = strdup(text != NULL ? (const char *)text : "");
        rc = *line != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "no memory for a line of the log");
    } else {
        rc = step == SQLITE_DONE ? ms_error_set(err, MS_ENOTFOUND, "no line") : failed(s, err);
    }
    (void)sqlite3_reset(statement);
    if (rc == 0)
        rc = prepare(s, LOG_ERASE, &statement, err);
    if (rc == 0) {
        put_int(statement, 1, seq);
        rc = run(s, statement, &changes, err);
    }
    if (rc == 0 && changes == 0)
        rc = ms_error_set(err, MS_ECONFLICT, "another reader took the line");
    if (rc != 0) {
        free(*line);
        *line = NULL;
    }
    return rc;
}

static int op_log_pop(void *backend, int64_t wait_ms, char **line, struct ms_error *err) {
    const double until = ms_monotonic_s() + (double)wait_ms / 1000;
    for (;;) {
        int rc = take_line(backend, line, err);
        if (rc == MS_ECONFLICT)
            continue;
        if (rc != MS_ENOTFOUND || ms_monotonic_s() >= until)
            return rc;
        wait_a_little();
    }
}

int ms_queue_sqlite_open(const char *url, const struct ms_queue_ops **ops, void **backend,
                         struct ms_error *err) {
    static const struct ms_queue_ops table = {
        .close = op_close,
        .ping = op_ping,
        .now = op_now,
        .load = op_load,
        .save = op_save,
        .pop = op_pop,
        .drop = op_drop,
        .rescue = op_rescue,
        .due = op_due,
        .list = op_list,
        .waiting = op_waiting,
        .position = op_position,
        .stats = op_stats,
        .log_push = op_log_push,
        .log_pop = op_log_pop,
    };
    const char *path = url + strlen("sqlite:");
    struct sqlite *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the queue");
    if (path[0] == '\0' || strlen(path) >= sizeof s->path) {
        free(s);
        return ms_error_set(err, MS_EUSAGE,
                            "the queue's URL sqlite:FILE lacks the file, or its name is too long");
    }
    (void)snprintf(s->path, sizeof s->path, "%s", path);
    *ops = &table;
    *backend = s;
    return 0;
}
