/* See sqlite_file.h. */
#include "sqlite_file.h"

#include <time.h>

#include "msaas/sys.h"

#define BUSY_MS 5000
#define POLL_MS 25

int ms_sqlite_failed(struct sqlite *s, struct ms_error *err) {
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

/* Another connection writes. SQLite's own pauses grow to a tenth of a second, but a write here
 * takes a millisecond. */
static int on_busy(void *context, int times) {
    const struct timespec pause = {.tv_nsec = (1 + times % 2) * 500000L};
    struct sqlite *s = context;
    if (times == 0)
        s->busy_until_s = ms_monotonic_s() + BUSY_MS / 1000.0;
    (void)nanosleep(&pause, NULL);
    return ms_monotonic_s() < s->busy_until_s;
}

void ms_sqlite_disconnect(struct sqlite *s) {
    for (size_t i = 0; i < sizeof s->statements / sizeof *s->statements; i++) {
        (void)sqlite3_finalize(s->statements[i]);
        s->statements[i] = NULL;
    }
    (void)sqlite3_close(s->db);
    s->db = NULL;
}

int ms_sqlite_execute(struct sqlite *s, const char *sql, struct ms_error *err) {
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : ms_sqlite_failed(s, err);
}

static int read_version(struct sqlite *s, int *version, struct ms_error *err) {
    sqlite3_stmt *statement = NULL;
    int rc = 0;
    if (sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW)
        rc = ms_sqlite_failed(s, err);
    else
        *version = sqlite3_column_int(statement, 0);
    (void)sqlite3_finalize(statement);
    return rc;
}

/* Of several processes that open a new or old file at once, one makes the tables. */
static int make_tables(struct sqlite *s, struct ms_error *err) {
    int version = 0;
    int rc = ms_sqlite_execute(s, "BEGIN IMMEDIATE", err);
    if (rc != 0)
        return rc;
    rc = read_version(s, &version, err);
    if (rc == 0 && version == 0)
        rc = ms_sqlite_execute(s, ms_sqlite_schema, err);
    else if (rc == 0 && (version < 0 || version > MS_SQLITE_VERSION))
        rc = ms_error_set(err, MS_EUNSUPPORTED,
                          "queue %s was written by another release of msaas (version %d, not %d)",
                          s->path, version, MS_SQLITE_VERSION);
    else
        for (; rc == 0 && version < MS_SQLITE_VERSION; version++)
            rc = ms_sqlite_execute(s, ms_sqlite_upgrades[version], err);
    if (rc == 0)
        return ms_sqlite_execute(s, "COMMIT", err);
    (void)ms_sqlite_execute(s, "ROLLBACK", NULL);
    return rc;
}

/* When two open a new file at once, one is told at once that it is busy: SQLite does not ask the
 * busy handler where waiting might be a deadlock. */
static int use_write_ahead_log(struct sqlite *s, struct ms_error *err) {
    int times = 0;
    int rc;
    do
        rc = ms_sqlite_execute(s, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", err);
    while (rc == MS_ENET && on_busy(s, times++) != 0);
    return rc;
}

int ms_sqlite_connect(struct sqlite *s, struct ms_error *err) {
    if (s->db != NULL)
        return 0;
    int version = 0;
    int rc = 0;
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(s->path, &s->db, flags, NULL) != SQLITE_OK)
        rc = ms_sqlite_failed(s, err);
    if (rc == 0 && sqlite3_busy_handler(s->db, on_busy, s) != SQLITE_OK)
        rc = ms_sqlite_failed(s, err);
    if (rc == 0)
        rc = use_write_ahead_log(s, err);
    if (rc == 0)
        rc = read_version(s, &version, err);
    if (rc == 0 && version != MS_SQLITE_VERSION)
        rc = make_tables(s, err);
    if (rc != 0)
        ms_sqlite_disconnect(s);
    return rc;
}

/* ---- statements ---- */

int ms_sqlite_prepare(struct sqlite *s, enum ms_sqlite_statement which, sqlite3_stmt **out,
                      struct ms_error *err) {
    int rc = ms_sqlite_connect(s, err);
    if (rc == 0 && s->statements[which] == NULL &&
        sqlite3_prepare_v3(s->db, ms_sqlite_text[which], -1, SQLITE_PREPARE_PERSISTENT,
                           &s->statements[which], NULL) != SQLITE_OK)
        rc = ms_sqlite_failed(s, err);
    *out = s->statements[which];
    return rc;
}

int ms_sqlite_run(struct sqlite *s, sqlite3_stmt *statement, int *changes, struct ms_error *err) {
    const int step = sqlite3_step(statement);
    int rc = step == SQLITE_DONE ? 0 : ms_sqlite_failed(s, err);
    if (changes != NULL)
        *changes = sqlite3_changes(s->db);
    (void)sqlite3_reset(statement);
    (void)sqlite3_clear_bindings(statement);
    return rc;
}

void ms_sqlite_put_text(sqlite3_stmt *statement, int at, const char *text) {
    (void)sqlite3_bind_text(statement, at, text, -1, SQLITE_TRANSIENT);
}

void ms_sqlite_put_int(sqlite3_stmt *statement, int at, int64_t value) {
    (void)sqlite3_bind_int64(statement, at, value);
}

int ms_sqlite_begin(struct sqlite *s, struct ms_error *err) {
    int rc = ms_sqlite_connect(s, err);
    return rc != 0 ? rc : ms_sqlite_execute(s, "BEGIN IMMEDIATE", err);
}

int ms_sqlite_end(struct sqlite *s, int rc, struct ms_error *err) {
    if (rc == 0)
        rc = ms_sqlite_execute(s, "COMMIT", err);
    if (rc != 0)
        (void)ms_sqlite_execute(s, "ROLLBACK", NULL);
    return rc;
}

void ms_sqlite_wait(void) {
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
    (void)nanosleep(&pause, NULL);
}
