/* The file of a SQLite queue: its connection, its tables, its errors. */
#ifndef MSAAS_QUEUE_SQLITE_FILE_H
#define MSAAS_QUEUE_SQLITE_FILE_H

#include <sqlite3.h>

#include "queue_ops.h"
#include "sqlite_sql.h"

struct sqlite {
    struct ms_queue queue;
    sqlite3 *db;
    char path[1024];
    /* See on_busy. */
    double busy_until_s;
    sqlite3_stmt *statements[MS_SQLITE_STATEMENTS];
};

/* MS_ENET: another connection writes; MS_ECORRUPT, MS_EIO. */
int ms_sqlite_failed(struct sqlite *s, struct ms_error *err);
/* Opens the file, if it is not open, and brings its tables up to date. MS_EUNSUPPORTED: a later
 * release made them. */
MS_MUST_CHECK int ms_sqlite_connect(struct sqlite *s, struct ms_error *err);
void ms_sqlite_disconnect(struct sqlite *s);
/* The statement, ready to be bound. The caller resets it. */
MS_MUST_CHECK int ms_sqlite_prepare(struct sqlite *s, enum ms_sqlite_statement which,
                                    sqlite3_stmt **out, struct ms_error *err);
/* Runs a bound statement that gives no rows. changes: NULL, or how many it changed. */
MS_MUST_CHECK int ms_sqlite_run(struct sqlite *s, sqlite3_stmt *statement, int *changes,
                                struct ms_error *err);
void ms_sqlite_put_text(sqlite3_stmt *statement, int at, const char *text);
void ms_sqlite_put_int(sqlite3_stmt *statement, int at, int64_t value);
/* sqlite_notes.c: as note of queue_ops.h. */
int ms_sqlite_note(struct ms_queue *queue, const char *key, const char *old, const char *note,
                   int64_t keep_ms, char **found, struct ms_error *err);
int ms_sqlite_execute(struct sqlite *s, const char *sql, struct ms_error *err);
/* A transaction with the right to write; connects where there is no connection. */
MS_MUST_CHECK int ms_sqlite_begin(struct sqlite *s, struct ms_error *err);
/* Ends it as its steps ended: rc, which is returned unless the end fails. */
int ms_sqlite_end(struct sqlite *s, int rc, struct ms_error *err);
/* Between two looks of one who waits for a change. */
void ms_sqlite_wait(void);
/* sqlite_log.c: as log_push and log_pop of queue_ops.h. */
int ms_sqlite_log_push(struct ms_queue *queue, const char *const *lines, int count,
                       struct ms_error *err);
int ms_sqlite_log_pop(struct ms_queue *queue, int64_t wait_ms, char **line, struct ms_error *err);

#endif
