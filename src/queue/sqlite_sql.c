/* The tables of the queue in a file, and all that is asked of them. For sqlite.c. */
#include "sqlite_sql.h"

/* With place, those that wait are counted without a look at the table. */
#define WAITING_FOR "CREATE INDEX jobs_waiting_for ON jobs (model, seq, place) WHERE place = 0;"

#define NOTES                                                                                      \
    "CREATE TABLE notes (key TEXT PRIMARY KEY, note TEXT NOT NULL, until INTEGER NOT NULL)"        \
    " WITHOUT ROWID;"                                                                              \
    "CREATE INDEX notes_until ON notes (until);"
/* What an account has used since its day began. */
#define USAGE_TABLE                                                                                \
    "CREATE TABLE usage (owner TEXT PRIMARY KEY, since INTEGER NOT NULL,"                          \
    " cost INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID;"
/* Jobs without an owner cost them nothing. */
#define OWNER_INDEXES                                                                              \
    "CREATE INDEX jobs_owner ON jobs (owner, created, id) WHERE owner <> '';"                      \
    "CREATE INDEX jobs_owner_state ON jobs (owner, state, created, id) WHERE owner <> '';"

/* seq orders the waiting ones: the smallest is served next. */
const char ms_sqlite_schema[] =
    "CREATE TABLE jobs (id TEXT PRIMARY KEY, revision INTEGER NOT NULL, doc TEXT NOT NULL,"
    " state INTEGER NOT NULL, place INTEGER NOT NULL, seq INTEGER NOT NULL, token TEXT NOT NULL,"
    " created INTEGER NOT NULL, lease_until INTEGER NOT NULL, not_before INTEGER NOT NULL,"
    " flags INTEGER NOT NULL, due INTEGER NOT NULL,"
    " started INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,"
    " model TEXT NOT NULL DEFAULT '', owner TEXT NOT NULL DEFAULT '') WITHOUT ROWID;"
    "CREATE INDEX jobs_waiting ON jobs (seq) WHERE place = 0;" WAITING_FOR
    "CREATE INDEX jobs_delayed ON jobs (not_before) WHERE place = 1;"
    "CREATE INDEX jobs_leased ON jobs (lease_until) WHERE place = 2;"
    "CREATE INDEX jobs_due ON jobs (due) WHERE due > 0;"
    "CREATE INDEX jobs_created ON jobs (created, id);"
    "CREATE INDEX jobs_state ON jobs (state, created, id);" OWNER_INDEXES USAGE_TABLE
    "CREATE TABLE models (name TEXT PRIMARY KEY, seen INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE log (seq INTEGER PRIMARY KEY AUTOINCREMENT, line TEXT NOT NULL);" NOTES
    "PRAGMA user_version = 6;";

const char *const ms_sqlite_upgrades[MS_SQLITE_VERSION] = {
    /* Where the new columns are 0, the document rules. */
    [1] = "ALTER TABLE jobs ADD COLUMN started INTEGER NOT NULL DEFAULT 0;"
          "ALTER TABLE jobs ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;"
          "PRAGMA user_version = 2;",
    [2] = "ALTER TABLE jobs ADD COLUMN model TEXT NOT NULL DEFAULT '';"
          "UPDATE jobs SET model = ifnull(json_extract(doc, '$.options.model'), '')"
          " WHERE json_valid(doc);"
          "CREATE INDEX jobs_waiting_for ON jobs (model, seq) WHERE place = 0;"
          "CREATE TABLE models (name TEXT PRIMARY KEY, seen INTEGER NOT NULL) WITHOUT ROWID;"
          "PRAGMA user_version = 3;",
    [3] = "ALTER TABLE jobs DROP COLUMN attempt;"
          "DROP INDEX jobs_waiting_for;" WAITING_FOR "PRAGMA user_version = 4;",
    [4] = "ALTER TABLE jobs ADD COLUMN owner TEXT NOT NULL DEFAULT '';" OWNER_INDEXES USAGE_TABLE
          "PRAGMA user_version = 5;",
    [5] = NOTES "PRAGMA user_version = 6;",
};

/* A row by each table and index, so that a damaged file shows. */
const char ms_sqlite_touch[] =
    "SELECT (SELECT doc FROM jobs ORDER BY id LIMIT 1),"
    " (SELECT id FROM jobs WHERE place = 0 ORDER BY seq LIMIT 1),"
    " (SELECT id FROM jobs WHERE place = 0 ORDER BY model, seq LIMIT 1),"
    " (SELECT id FROM jobs WHERE place = 1 ORDER BY not_before LIMIT 1),"
    " (SELECT id FROM jobs WHERE place = 2 ORDER BY lease_until LIMIT 1),"
    " (SELECT id FROM jobs WHERE due > 0 ORDER BY due LIMIT 1),"
    " (SELECT id FROM jobs ORDER BY created DESC, id DESC LIMIT 1),"
    " (SELECT id FROM jobs WHERE state = 0 ORDER BY created DESC, id DESC LIMIT 1),"
    " (SELECT id FROM jobs WHERE owner <> '' ORDER BY owner, created, id LIMIT 1),"
    " (SELECT id FROM jobs WHERE owner <> '' ORDER BY owner, state, created, id LIMIT 1),"
    " (SELECT owner FROM usage LIMIT 1), (SELECT name FROM models LIMIT 1),"
    " (SELECT note FROM notes ORDER BY until LIMIT 1),"
    " (SELECT line FROM log ORDER BY seq LIMIT 1)";

/* A record as read_record of sqlite.c takes it. */
#define RECORD                                                                                     \
    "id, doc, revision, place, state, created, started, attempts, token, lease_until, flags, due," \
    " owner"

/* The next job for one model. */
#define NEXT_FOR(model)                                                                            \
    "SELECT * FROM (SELECT id, seq FROM jobs WHERE place = 0 AND model = " model                   \
    " ORDER BY seq LIMIT 1)"

/* ?12: in front. Those that come to wait, or are put in front, get a new seq. */
#define SEQ                                                                                        \
    "CASE WHEN ?5 <> 0 THEN 0"                                                                     \
    " WHEN ?12 THEN (SELECT ifnull(min(seq), 0) - 1 FROM jobs WHERE place = 0)"                    \
    " ELSE (SELECT ifnull(max(seq), 0) + 1 FROM jobs WHERE place = 0) END"

const char *const ms_sqlite_text[MS_SQLITE_STATEMENTS] = {
    [LOAD] = "SELECT " RECORD " FROM jobs WHERE id = ?1",
    [EXISTS] = "SELECT 1 FROM jobs WHERE id = ?1",
    [INSERT] = "INSERT INTO jobs (id, revision, doc, state, place, token, created, lease_until,"
               " not_before, flags, due, seq, started, attempts, model, owner)"
               " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, " SEQ ", ?14, ?15, ?16, ?17"
               " WHERE ?13 = 0 AND NOT EXISTS (SELECT 1 FROM jobs WHERE id = ?1)",
    [UPDATE] =
        "UPDATE jobs SET revision = ?2, doc = ?3, state = ?4,"
        " seq = CASE WHEN place = 0 AND ?5 = 0 AND NOT ?12 THEN seq ELSE " SEQ " END,"
        " place = ?5, token = ?6, created = ?7, lease_until = ?8, not_before = ?9, flags = ?10,"
        " due = ?11, started = ?14, attempts = ?15, model = ?16, owner = ?17"
        " WHERE id = ?1 AND revision = ?13",
    [ERASE] = "DELETE FROM jobs WHERE id = ?1 AND revision = ?2",
    [WAITS] = "SELECT 1 FROM jobs WHERE place = 0 AND model IN (?1, '') LIMIT 1",
    /* State 1: running; place 2: leased. */
    [CLAIM] = "UPDATE jobs SET state = 1, place = 2, seq = 0, revision = revision + 1,"
              " attempts = attempts + 1, started = ?1, token = ?2, lease_until = ?3"
              " WHERE id = (SELECT id FROM (" NEXT_FOR("?4") " UNION ALL " NEXT_FOR(
                  "''") ")"
                        " ORDER BY seq LIMIT 1)"
                        " RETURNING " RECORD,
    [DUE_LEASES] =
        "SELECT id FROM jobs WHERE place = 2 AND lease_until <= ?1 ORDER BY lease_until LIMIT ?2",
    [DUE_DELAYED] =
        "SELECT id FROM jobs WHERE place = 1 AND not_before <= ?1 ORDER BY not_before DESC"
        " LIMIT ?2",
    [DUE_CALLBACKS] = "SELECT id FROM jobs WHERE due > 0 AND due <= ?1 ORDER BY due LIMIT ?2",
    /* ?3: how old it may be when it is written again. */
    [HAVE_MODEL] = "INSERT INTO models VALUES (?1, ?2)"
                   " ON CONFLICT (name) DO UPDATE SET seen = ?2 WHERE seen < ?2 - ?3",
    /* The names are found by one step in the index each, however many jobs wait. */
    [UNSERVED] = "WITH RECURSIVE wanted (name) AS ("
                 " SELECT min(model) FROM jobs WHERE place = 0 AND model > ''"
                 " UNION ALL SELECT (SELECT min(model) FROM jobs WHERE place = 0 AND model > name)"
                 " FROM wanted WHERE name IS NOT NULL)"
                 " SELECT id FROM wanted CROSS JOIN jobs ON model = name"
                 " WHERE place = 0 AND name NOT IN (SELECT name FROM models WHERE seen > ?1)"
                 " LIMIT ?2",
    [OLDEST] = "SELECT id FROM jobs WHERE created <= ?1 ORDER BY created, id LIMIT ?2 OFFSET ?3",
    [LIST_WAITING] = "SELECT id, seq FROM jobs WHERE place = 0 AND seq > ?1 ORDER BY seq LIMIT ?2",
    [LIST_ALL] = "SELECT id, created FROM jobs WHERE (created, id) < (?1, ?2)"
                 " ORDER BY created DESC, id DESC LIMIT ?3",
    [LIST_STATE] = "SELECT id, created FROM jobs WHERE state = ?4 AND (created, id) < (?1, ?2)"
                   " ORDER BY created DESC, id DESC LIMIT ?3",
    [LIST_OWNER] = "SELECT id, created FROM jobs WHERE owner = ?5 AND owner <> ''"
                   " AND (created, id) < (?1, ?2) ORDER BY created DESC, id DESC LIMIT ?3",
    [LIST_OWNER_STATE] =
        "SELECT id, created FROM jobs WHERE owner = ?5 AND owner <> '' AND state = ?4"
        " AND (created, id) < (?1, ?2) ORDER BY created DESC, id DESC LIMIT ?3",
    [POSITION] =
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM jobs o WHERE o.place = 0 AND o.seq < j.seq"
        " LIMIT ?2)) FROM jobs j WHERE j.id = ?1 AND j.place = 0",
    [COUNTS] = "SELECT state, count(*) FROM jobs GROUP BY state",
    [DUES] = "SELECT (SELECT count(*) FROM jobs WHERE due > 0),"
             " (SELECT min(created) FROM jobs WHERE state = 0)", /* queued: its index has it */
    [WAITING_BY_MODEL] = "SELECT model, count(*) FROM jobs WHERE place = 0 AND model <> ''"
                         " GROUP BY model",
    /* ?2 in the place of ?3, until ?4; ?5: now. */
    [NOTE] = "INSERT INTO notes SELECT ?1, ?2, ?4"
             " WHERE ifnull((SELECT note FROM notes WHERE key = ?1 AND until > ?5), '') IN (?2, ?3)"
             " ON CONFLICT (key) DO UPDATE SET note = excluded.note, until = excluded.until",
    [NOTE_FIND] = "SELECT note FROM notes WHERE key = ?1 AND until > ?2 AND note <> ''",
    [NOTES_LAPSE] = "DELETE FROM notes WHERE until <= ?1",
    /* Of a day that began after ?2. State 0: queued. */
    [USAGE] = "SELECT (SELECT count(*) FROM jobs WHERE owner = ?1 AND owner <> '' AND state = 0),"
              " cost, bytes, since FROM (SELECT 1) LEFT JOIN usage ON owner = ?1 AND since > ?2",
    /* ?2: now, ?5: a day that began before has ended. */
    [CHARGE] =
        "INSERT INTO usage (owner, since, cost, bytes)"
        " VALUES (?1, ?2, max(0, ?3), max(0, ?4)) ON CONFLICT (owner) DO UPDATE SET"
        " cost = max(0, ?3 + iif(since > ?5, cost, 0)),"
        " bytes = max(0, ?4 + iif(since > ?5, bytes, 0)), since = iif(since > ?5, since, ?2)",
    [LOG_PUSH] = "INSERT INTO log (line) VALUES (?1)",
    [LOG_TRIM] = "DELETE FROM log WHERE seq <= (SELECT max(seq) FROM log) - ?1",
    [LOG_NEXT] = "SELECT seq, line FROM log ORDER BY seq LIMIT 1",
    [LOG_ERASE] = "DELETE FROM log WHERE seq = ?1",
};
