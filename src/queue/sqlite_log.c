/* The list `logging` of a SQLite queue. */
#include <stdlib.h>
#include <string.h>

#include "msaas/sys.h"
#include "sqlite_file.h"

#define TRIM_LINES 64 /* between two looks at its length */

static int push_line(struct sqlite *s, const char *line, struct ms_error *err) {
    sqlite3_stmt *statement;
    int rc = ms_sqlite_prepare(s, LOG_PUSH, &statement, err);
    if (rc != 0)
        return rc;
    ms_sqlite_put_text(statement, 1, line);
    return ms_sqlite_run(s, statement, NULL, err);
}

static int trim_log(struct sqlite *s, struct ms_error *err) {
    sqlite3_stmt *statement;
    int rc = ms_sqlite_prepare(s, LOG_TRIM, &statement, err);
    if (rc != 0)
        return rc;
    ms_sqlite_put_int(statement, 1, MS_LOG_LIST_MAX);
    return ms_sqlite_run(s, statement, NULL, err);
}

int ms_sqlite_log_push(struct ms_queue *queue, const char *const *lines, int count,
                       struct ms_error *err) {
    struct sqlite *s = (struct sqlite *)queue;
    int rc = ms_sqlite_begin(s, err);
    if (rc != 0)
        return rc;
    for (int i = 0; rc == 0 && i < count; i++)
        rc = push_line(s, lines[i], err);
    if (rc == 0 && sqlite3_last_insert_rowid(s->db) % TRIM_LINES < count)
        rc = trim_log(s, err);
    return ms_sqlite_end(s, rc, err);
}

/* Of several readers, each line goes to the one that erases it. */
static int take_line(struct sqlite *s, char **line, struct ms_error *err) {
    sqlite3_stmt *statement;
    int64_t seq = 0;
    int changes = 0;
    int rc = ms_sqlite_prepare(s, LOG_NEXT, &statement, err);
    if (rc != 0)
        return rc;
    const int step = sqlite3_step(statement);
    if (step == SQLITE_ROW) {
        seq = sqlite3_column_int64(statement, 0);
        const unsigned char *text = sqlite3_column_text(statement, 1);
        *line = strdup(text != NULL ? (const char *)text : "");
        rc = *line != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "no memory for a line of the log");
    } else {
        rc = step == SQLITE_DONE ? ms_error_set(err, MS_ENOTFOUND, "no line")
                                 : ms_sqlite_failed(s, err);
    }
    (void)sqlite3_reset(statement);
    if (rc == 0)
        rc = ms_sqlite_prepare(s, LOG_ERASE, &statement, err);
    if (rc == 0) {
        ms_sqlite_put_int(statement, 1, seq);
        rc = ms_sqlite_run(s, statement, &changes, err);
    }
    if (rc == 0 && changes == 0)
        rc = ms_error_set(err, MS_ECONFLICT, "another reader took the line");
    if (rc != 0) {
        free(*line);
        *line = NULL;
    }
    return rc;
}

int ms_sqlite_log_pop(struct ms_queue *queue, int64_t wait_ms, char **line, struct ms_error *err) {
    const double until = ms_monotonic_s() + (double)wait_ms / 1000;
    for (;;) {
        int rc = take_line((struct sqlite *)queue, line, err);
        if (rc == MS_ECONFLICT)
            continue;
        if (rc != MS_ENOTFOUND || ms_monotonic_s() >= until)
            return rc;
        ms_sqlite_wait();
    }
}
