/* Tests of SQLite alone: files of earlier builds, damaged files. See queue_contract.h. */
#include "queue_contract.h"

static void run(const char *file, const char *statements) {
    char command[900];
    (void)snprintf(command, sizeof command,
                   "python3 -c 'import sqlite3; db = sqlite3.connect(\"%s/%s\"); "
                   "db.executescript(\"%s\")'",
                   folder, file, statements);
    assert_int_equal(system(command), 0);
}

/* A file of its own, as version 1 left it: one job runs, one waits for another model. */
static void a_file_of_an_earlier_build_is_upgraded(void **state) {
    struct ms_queue *own = NULL;
    struct ms_job job, seen;
    char own_url[100], token[MS_TOKEN_HEX], waiting[MS_JOB_ID_HEX];
    bool created;
    (void)state;
    (void)snprintf(own_url, sizeof own_url, "sqlite:%s/earlier.db", folder);
    make_job(971, &job);
    OK(ms_queue_open(own_url, &own, &err));
    OK(ms_queue_enqueue(own, &job, &created, NULL, &err));
    OK(ms_queue_reserve(own, "htdemucs", LEASE_MS, 0, &seen, token, &err));
    OK(ms_queue_change(own, MS_CHANGE_RENEW, &seen, token, LEASE_MS, &err));
    ms_job_fini(&seen);
    make_job(972, &seen);
    (void)snprintf(seen.options.model, sizeof seen.options.model, "another");
    memcpy(waiting, seen.id, sizeof waiting);
    OK(ms_queue_enqueue(own, &seen, &created, NULL, &err));
    ms_job_fini(&seen);
    ms_queue_close(own);
    run("earlier.db", "DROP INDEX jobs_waiting_for; DROP TABLE models; DROP TABLE notes; "
                      "ALTER TABLE jobs DROP COLUMN model; ALTER TABLE jobs DROP COLUMN started; "
                      "ALTER TABLE jobs DROP COLUMN attempts; DROP INDEX jobs_owner; "
                      "DROP INDEX jobs_owner_state; DROP TABLE usage; "
                      "ALTER TABLE jobs DROP COLUMN owner; "
                      "ALTER TABLE jobs ADD COLUMN attempt INTEGER NOT NULL DEFAULT 0; "
                      "PRAGMA user_version = 1");
    OK(ms_queue_open(own_url, &own, &err));
    OK(ms_queue_get(own, job.id, &seen, &err));
    assert_int_equal(seen.attempts, 1);
    assert_true(seen.started_ms > 0);
    OK(ms_queue_change(own, MS_CHANGE_REQUEUE, &seen, token, 0, &err));
    ms_job_fini(&seen);
    OK(ms_queue_reserve(own, "htdemucs", LEASE_MS, 0, &seen, token, &err));
    assert_int_equal(seen.attempts, 1);
    ms_job_fini(&seen);
    assert_int_equal(ms_queue_reserve(own, "htdemucs", LEASE_MS, 0, &seen, token, &err),
                     MS_ENOTFOUND);
    OK(ms_queue_reserve(own, "another", LEASE_MS, 0, &seen, token, &err));
    assert_string_equal(seen.id, waiting);
    ms_job_fini(&seen);
    ms_queue_close(own);
    ms_job_fini(&job);
}

/* Whoever has just begun judges nobody, and has its model all the same. */
static void a_worker_that_has_just_begun_has_its_model(void **state) {
    const int64_t wait_ms = 600000;
    struct ms_reaped reaped;
    char id[MS_JOB_ID_HEX];
    (void)state;
    put(973, id);
    OK(ms_queue_reap(queue, "htdemucs", wait_ms, &reaped, &err));
    run("queue.db", "UPDATE jobs SET created = created - 3600000; "
                    "UPDATE models SET seen = seen - 3600000");
    OK(ms_queue_reap(queue, "htdemucs", INT32_MAX, &reaped, &err));
    OK(ms_queue_reap(queue, "another", wait_ms, &reaped, &err));
    assert_int_equal(reaped.unserved, 0);
    assert_int_equal(state_of(id), MS_JOB_QUEUED);
    run("queue.db", "UPDATE models SET seen = seen - 3600000");
    OK(ms_queue_reap(queue, "another", wait_ms, &reaped, &err));
    assert_int_equal(reaped.unserved, 1);
    erase(id);
}

/* A file of its own, so that the others go on. Pages of its tables and indexes are overwritten, all
 * but the first. */
static void a_damaged_file_is_not_ready(void **state) {
    struct ms_queue *own = NULL;
    struct ms_job job, seen;
    const char *warning;
    char own_url[100], command[300];
    bool created;
    (void)state;
    (void)snprintf(own_url, sizeof own_url, "sqlite:%s/damaged.db", folder);
    make_job(970, &job);
    OK(ms_queue_open(own_url, &own, &err));
    OK(ms_queue_enqueue(own, &job, &created, NULL, &err));
    OK(ms_queue_ping(own, &warning, &err));
    ms_queue_close(own);
    (void)snprintf(command, sizeof command,
                   "cd %s && dd if=/dev/urandom of=damaged.db bs=4096 seek=1 count=20 conv=notrunc "
                   "2>dd.log",
                   folder);
    assert_int_equal(system(command), 0);
    OK(ms_queue_open(own_url, &own, &err));
    assert_int_equal(ms_queue_ping(own, &warning, &err), MS_ECORRUPT);
    /* Nor is it the fault of one record, which might be replaced. */
    assert_int_equal(ms_queue_get(own, job.id, &seen, &err), MS_EIO);
    assert_int_equal(ms_queue_enqueue(own, &job, &created, NULL, &err), MS_EIO);
    ms_queue_close(own);
    ms_job_fini(&job);
}

const struct CMUnitTest sqlite_tests[] = {
    cmocka_unit_test(a_file_of_an_earlier_build_is_upgraded),
    cmocka_unit_test(a_worker_that_has_just_begun_has_its_model),
    cmocka_unit_test(a_damaged_file_is_not_ready),
};
const size_t sqlite_test_count = sizeof sqlite_tests / sizeof *sqlite_tests;
