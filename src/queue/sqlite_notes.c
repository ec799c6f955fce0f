/* Notes, for requests under a client's key, in the queue's file. See queue_ops.h. */
#include <stdlib.h>
#include <string.h>

#include "msaas/sys.h"
#include "sqlite_file.h"

static int find_note(struct sqlite *s, const char *key, int64_t now_ms, char **found,
                     struct ms_error *err) {
    sqlite3_stmt *statement;
    int rc = ms_sqlite_prepare(s, NOTE_FIND, &statement, err);
    if (rc != 0)
        return rc;
    ms_sqlite_put_text(statement, 1, key);
    ms_sqlite_put_int(statement, 2, now_ms);
    const int step = sqlite3_step(statement);
    if (step == SQLITE_ROW &&
        (*found = strdup((const char *)sqlite3_column_text(statement, 0))) == NULL)
        rc = ms_error_set(err, MS_ENOMEM, "no memory for a note");
    else if (step != SQLITE_ROW && step != SQLITE_DONE)
        rc = ms_sqlite_failed(s, err);
    (void)sqlite3_reset(statement);
    return rc;
}

/* A note that is taken away is one that has lapsed. */
int ms_sqlite_note(struct ms_queue *queue, const char *key, const char *old, const char *note,
                   int64_t keep_ms, char **found, struct ms_error *err) {
    struct sqlite *s = (struct sqlite *)queue;
    const int64_t now_ms = ms_unix_ms();
    sqlite3_stmt *statement;
    int changes = 0;
    int rc = ms_sqlite_prepare(s, NOTE, &statement, err);
    if (rc == 0) {
        ms_sqlite_put_text(statement, 1, key);
        ms_sqlite_put_text(statement, 2, note);
        ms_sqlite_put_text(statement, 3, old);
        ms_sqlite_put_int(statement, 4, note[0] != '\0' ? now_ms + keep_ms : now_ms);
        ms_sqlite_put_int(statement, 5, now_ms);
        rc = ms_sqlite_run(s, statement, &changes, err);
    }
    if (rc == 0 && changes == 0) {
        rc = find_note(s, key, now_ms, found, err);
        return rc != 0 ? rc : ms_error_set(err, MS_ECONFLICT, "the note is another one");
    }
    if (rc == 0)
        rc = ms_sqlite_prepare(s, NOTES_LAPSE, &statement, err);
    if (rc != 0)
        return rc;
    ms_sqlite_put_int(statement, 1, now_ms);
    return ms_sqlite_run(s, statement, NULL, err);
}
