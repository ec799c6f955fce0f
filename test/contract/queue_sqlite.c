/* Tests of SQLite alone: files of earlier builds, damaged files. See queue_contract.h. */
#include "queue_contract.h"

/* A file of its own, as version 1 left it. */
static void a_file_of_an_earlier_build_is_upgraded(void **state) {
    struct ms_queue *own = NULL;
    struct ms_job job, seen;
    char own_url[100], command[600], token[MS_TOKEN_HEX];
    bool created;
    (void)state;
    (void)snprintf(own_url, sizeof own_url, "sqlite:%s/earlier.db", folder);
    make_job(971, &job);
    OK(ms_queue_open(own_url, &own, &err));
    OK(ms_queue_enqueue(own, &job, &created, NULL, &err));
    OK(ms_queue_reserve(own, "htdemucs", LEASE_MS, 0, &seen, token, &err));
    OK(ms_queue_change(own, MS_CHANGE_RENEW, &seen, token, LEASE_MS, &err));
    ms_job_fini(&seen);
    ms_queue_close(own);
    (void)snprintf(command, sizeof command,
                   "python3 -c 'import sqlite3; db = sqlite3.connect(\"%s/earlier.db\"); "
                   "[db.execute(each) for each in (\"DROP INDEX jobs_waiting_for\", "
                   "\"DROP TABLE models\", \"ALTER TABLE jobs DROP COLUMN model\", "
                   "\"ALTER TABLE jobs DROP COLUMN started\", "
                   "\"ALTER TABLE jobs DROP COLUMN attempts\", \"PRAGMA user_version = 1\")]; "
                   "db.commit()'",
                   folder);
    assert_int_equal(system(command), 0);
    OK(ms_queue_open(own_url, &own, &err));
    OK(ms_queue_get(own, job.id, &seen, &err));
    assert_int_equal(seen.attempts, 1);
    assert_true(seen.started_ms > 0);
    OK(ms_queue_change(own, MS_CHANGE_REQUEUE, &seen, token, 0, &err));
    ms_job_fini(&seen);
    OK(ms_queue_reserve(own, "htdemucs", LEASE_MS, 0, &seen, token, &err));
    assert_int_equal(seen.attempts, 1);
    ms_job_fini(&seen);
    ms_queue_close(own);
    ms_job_fini(&job);
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
    cmocka_unit_test(a_damaged_file_is_not_ready),
};
const size_t sqlite_test_count = sizeof sqlite_tests / sizeof *sqlite_tests;
