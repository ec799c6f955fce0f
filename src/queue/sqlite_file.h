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
int ms_sqlite_execute(struct sqlite *s, const char *sql, struct ms_error *err);

#endif
