/* The SQL of sqlite.c. */
#ifndef MSAAS_QUEUE_SQLITE_SQL_H
#define MSAAS_QUEUE_SQLITE_SQL_H

#define MS_SQLITE_VERSION 6 /* of the schema */

enum ms_sqlite_statement {
    LOAD,
    EXISTS,
    INSERT,
    UPDATE,
    ERASE,
    WAITS,
    CLAIM,
    DUE_LEASES,
    DUE_DELAYED,
    DUE_CALLBACKS,
    HAVE_MODEL,
    UNSERVED,
    OLDEST,
    LIST_WAITING,
    LIST_ALL,
    LIST_STATE,
    LIST_OWNER,
    LIST_OWNER_STATE,
    POSITION,
    COUNTS,
    DUES,
    WAITING_BY_MODEL,
    NOTE,
    NOTE_FIND,
    NOTES_LAPSE,
    USAGE,
    CHARGE,
    LOG_PUSH,
    LOG_TRIM,
    LOG_NEXT,
    LOG_ERASE,
    MS_SQLITE_STATEMENTS
};

extern const char ms_sqlite_schema[], ms_sqlite_touch[];
/* [v]: from version v to the next. */
extern const char *const ms_sqlite_upgrades[MS_SQLITE_VERSION];
extern const char *const ms_sqlite_text[MS_SQLITE_STATEMENTS];

#endif
