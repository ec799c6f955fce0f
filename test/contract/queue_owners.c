/* Jobs of accounts: their lists, what their owners use, and the limits of that. See
 * queue_contract.h. */
#include "queue_contract.h"

#define MINUTE_MS INT64_C(60000)

/* A job of the owner's, for a song of so many bytes and seconds; it costs a minute for each of its
 * minutes. */
static void make_owned(const char *owner, int number, double seconds, struct ms_job *job) {
    make_job(number, job);
    job->options.overlap = 0;
    job->input_bytes = 1000;
    job->audio_seconds = seconds;
    OK(ms_job_set_owner(job, owner, &err));
}

static int send_within(const struct ms_quota *quota, const char *owner, int number, double seconds,
                       bool *created, struct ms_usage *usage, char id[MS_JOB_ID_HEX]) {
    struct ms_job job;
    make_owned(owner, number, seconds, &job);
    memcpy(id, job.id, MS_JOB_ID_HEX);
    const int rc =
        ms_queue_enqueue_within(queue, &job, job.input_bytes, quota, created, NULL, usage, &err);
    ms_job_fini(&job);
    return rc;
}

static void put_owned(const char *owner, int number, char id[MS_JOB_ID_HEX]) {
    bool created;
    OK(send_within(NULL, owner, number, 0, &created, NULL, id));
    assert_true(created);
}

static struct ms_usage usage_of(const char *owner) {
    struct ms_usage usage;
    OK(ms_queue_usage(queue, owner, &usage, &err));
    return usage;
}

static void expect_usage(const char *owner, int64_t waiting, int64_t cost_ms, int64_t bytes) {
    const struct ms_usage usage = usage_of(owner);
    assert_int_equal(usage.waiting, waiting);
    assert_int_equal(usage.cost_ms, cost_ms);
    assert_int_equal(usage.bytes, bytes);
    assert_true(usage.left_ms > 0 && usage.left_ms <= MS_DAY_MS);
}

/* The ids, the newest first; at most `max`. */
static int list_of(const char *owner, int state, char (*ids)[MS_JOB_ID_HEX], int max) {
    struct ms_job jobs[8];
    char next[MS_CURSOR_MAX];
    int count = 0;
    const struct ms_queue_filter filter = {
        .owner = owner, .state = state, .limit = max, .cursor = ""};
    OK(ms_queue_list(queue, &filter, jobs, &count, next, &err));
    for (int i = 0; i < count; i++) {
        if (owner != NULL)
            assert_string_equal(jobs[i].owner, owner);
        memcpy(ids[i], jobs[i].id, MS_JOB_ID_HEX);
        ms_job_fini(&jobs[i]);
    }
    return count;
}

/* The same song of two is two jobs, and each stands in its owner's lists alone. */
void each_owner_has_jobs_of_its_own(void **state) {
    char alice[MS_JOB_ID_HEX], bob[MS_JOB_ID_HEX], nobody[MS_JOB_ID_HEX], ids[8][MS_JOB_ID_HEX];
    char token[MS_TOKEN_HEX], next[MS_CURSOR_MAX];
    struct ms_job job;
    int count = 0;
    (void)state;
    put_owned("alice", 1100, alice);
    put_owned("bob", 1100, bob);
    put(1100, nobody);
    assert_string_not_equal(alice, bob);
    OK(ms_queue_get(queue, bob, &job, &err));
    assert_string_equal(job.owner, "bob");
    ms_job_fini(&job);
    assert_int_equal(list_of(NULL, -1, ids, 8), 3);
    assert_int_equal(list_of("alice", -1, ids, 8), 1);
    assert_string_equal(ids[0], alice);
    assert_int_equal(list_of("carol", -1, ids, 8), 0);
    assert_int_equal(list_of("alice", MS_JOB_QUEUED, ids, 8), 1);
    assert_int_equal(list_of("alice", MS_JOB_RUNNING, ids, 8), 0);

    reserve(&job, token, LEASE_MS); /* alice's is the oldest */
    assert_string_equal(job.owner, "alice");
    assert_int_equal(list_of("alice", MS_JOB_QUEUED, ids, 8), 0);
    assert_int_equal(list_of("alice", MS_JOB_RUNNING, ids, 8), 1);
    assert_int_equal(usage_of("alice").waiting, 0);
    assert_int_equal(usage_of("bob").waiting, 1);
    OK(change(MS_CHANGE_FAIL, &job, token));
    ms_job_fini(&job);
    assert_int_equal(list_of("alice", MS_JOB_FAILED, ids, 8), 1);
    assert_int_equal(list_of("bob", MS_JOB_FAILED, ids, 8), 0);

    const struct ms_queue_filter bad = {.owner = "", .state = -1, .limit = 1, .cursor = ""};
    assert_int_equal(ms_queue_list(queue, &bad, &job, &count, next, &err), MS_EUSAGE);
    erase(alice);
    assert_int_equal(list_of("alice", -1, ids, 8), 0);
    assert_int_equal(list_of("bob", -1, ids, 8), 1);
    erase(bob);
    erase(nobody);
    assert_int_equal(list_of("bob", -1, ids, 8), 0);
}

void lists_of_an_owner_go_back_in_time(void **state) {
    char ids[7][MS_JOB_ID_HEX], next[MS_CURSOR_MAX] = "", cursor[MS_CURSOR_MAX];
    bool seen[7] = {false};
    int total = 0;
    (void)state;
    for (int i = 0; i < 7; i++)
        put_owned(i % 2 == 0 ? "alice" : "bob", 1200 + i, ids[i]);
    for (int states = 0; states < 2; states++) {
        do {
            struct ms_job jobs[2];
            int count = 0;
            memcpy(cursor, next, sizeof cursor);
            const struct ms_queue_filter filter = {.owner = "alice",
                                                   .state = states == 0 ? -1 : MS_JOB_QUEUED,
                                                   .limit = 2,
                                                   .cursor = cursor};
            OK(ms_queue_list(queue, &filter, jobs, &count, next, &err));
            for (int i = 0; i < count; i++) {
                for (int k = 0; k < 7; k++)
                    if (strcmp(jobs[i].id, ids[k]) == 0) {
                        assert_int_equal(k % 2, 0);
                        assert_int_equal(seen[k], states == 1);
                        seen[k] = states == 0;
                        total++;
                    }
                ms_job_fini(&jobs[i]);
            }
        } while (next[0] != '\0');
        assert_int_equal(total, 4 * (states + 1));
    }
    for (int i = 0; i < 7; i++)
        erase(ids[i]);
}

void what_an_owner_uses_is_limited(void **state) {
    const struct ms_quota three_wait = {.max_waiting = 3};
    const struct ms_quota ten_minutes = {.max_cost_ms = 10 * MINUTE_MS};
    const struct ms_quota few_bytes = {.max_bytes = 3500};
    char ids[4][MS_JOB_ID_HEX], other[MS_JOB_ID_HEX], token[MS_TOKEN_HEX];
    struct ms_usage usage;
    struct ms_job job;
    bool created;
    (void)state;
    assert_int_equal(usage_of("dora").left_ms, 0);
    for (int i = 0; i < 3; i++) {
        OK(send_within(&three_wait, "dora", 1300 + i, 120, &created, &usage, ids[i]));
        assert_true(created);
        assert_int_equal(usage.waiting, i + 1);
        assert_int_equal(usage.bytes, 1000 * (i + 1));
    }
    expect_usage("dora", 3, 6 * MINUTE_MS, 3000);
    assert_int_equal(send_within(&three_wait, "dora", 1303, 120, &created, &usage, ids[3]),
                     MS_EQUOTA);
    assert_false(created);
    assert_int_equal(usage.waiting, 3);
    assert_int_equal(ms_queue_get(queue, ids[3], &job, &err), MS_ENOTFOUND);
    expect_usage("dora", 3, 6 * MINUTE_MS, 3000);

    /* What is there already costs nothing, and is not refused. */
    OK(send_within(&three_wait, "dora", 1300, 120, &created, &usage, other));
    assert_false(created);
    /* Others have limits of their own. */
    OK(send_within(&three_wait, "eve", 1303, 120, &created, &usage, other));
    erase(other);

    /* 6 of 10 minutes are used: 4 fit, 4.1 do not; of an unknown length one must be left. */
    assert_int_equal(send_within(&ten_minutes, "dora", 1303, 246, &created, &usage, ids[3]),
                     MS_EQUOTA);
    assert_int_equal(usage.cost_ms, 6 * MINUTE_MS);
    assert_int_equal(send_within(&few_bytes, "dora", 1303, 240, &created, &usage, ids[3]),
                     MS_EQUOTA);
    assert_int_equal(usage.bytes, 3000);
    OK(send_within(&ten_minutes, "dora", 1303, 240, &created, &usage, ids[3]));
    assert_int_equal(usage.cost_ms, 10 * MINUTE_MS);
    assert_int_equal(send_within(&ten_minutes, "dora", 1304, 0, &created, &usage, other),
                     MS_EQUOTA);

    /* Erasing makes room for those that wait, and gives back nothing of the day. */
    erase(ids[3]);
    expect_usage("dora", 3, 10 * MINUTE_MS, 4000);
    /* A job that is queued anew is paid for anew. */
    reserve(&job, token, LEASE_MS);
    assert_string_equal(job.id, ids[0]);
    OK(change(MS_CHANGE_FAIL, &job, token));
    ms_job_fini(&job);
    expect_usage("dora", 2, 10 * MINUTE_MS, 4000);
    assert_int_equal(send_within(&few_bytes, "dora", 1300, 120, &created, &usage, other),
                     MS_EQUOTA);
    assert_int_equal(state_of(ids[0]), MS_JOB_FAILED);
    OK(send_within(&three_wait, "dora", 1300, 120, &created, &usage, other));
    assert_true(created);
    expect_usage("dora", 3, 12 * MINUTE_MS, 5000);
    for (int i = 0; i < 3; i++)
        erase(ids[i]);
}

/* Bytes that come before there is a job pay for one job, as often as that is asked. */
void bytes_before_a_job_are_charged_once(void **state) {
    const struct ms_quota few_bytes = {.max_bytes = 2500};
    char ids[2][MS_JOB_ID_HEX];
    struct ms_usage usage;
    struct ms_job job;
    bool created, paid;
    (void)state;
    OK(ms_queue_charge(queue, "ivan", 1500, 2500, &usage, &err));
    assert_int_equal(usage.bytes, 1500);
    assert_int_equal(ms_queue_charge(queue, "ivan", 1001, 2500, &usage, &err), MS_EQUOTA);
    assert_int_equal(usage.bytes, 1500);
    expect_usage("ivan", 0, 0, 1500);
    assert_int_equal(usage_of("judy").bytes, 0);

    make_owned("ivan", 1700, 60, &job);
    for (int i = 0; i < 2; i++) {
        OK(ms_queue_pay(queue, "upload", job.id, 60000, &paid, &err));
        assert_true(paid);
    }
    memcpy(ids[0], job.id, MS_JOB_ID_HEX);
    OK(ms_queue_enqueue_within(queue, &job, 0, &few_bytes, &created, NULL, &usage, &err));
    assert_true(created);
    ms_job_fini(&job);
    expect_usage("ivan", 1, MINUTE_MS, 1500);
    OK(ms_queue_pay(queue, "upload", "another", 60000, &paid, &err));
    assert_false(paid);
    OK(ms_queue_pay(queue, "another upload", "another", 60000, &paid, &err));
    assert_true(paid);
    OK(send_within(&few_bytes, "ivan", 1701, 60, &created, &usage, ids[1]));
    expect_usage("ivan", 2, 2 * MINUTE_MS, 2500);
    OK(ms_queue_charge(queue, "ivan", 5, 0, &usage, &err)); /* no limit */
    OK(ms_queue_charge(queue, "ivan", -5, 2500, &usage, &err));
    expect_usage("ivan", 2, 2 * MINUTE_MS, 2500);
    erase(ids[0]);
    erase(ids[1]);
}

static atomic_int taken, refused;

static void *send_one(void *argument) {
    static const struct ms_quota quota = {.max_waiting = 100, .max_cost_ms = 5 * MINUTE_MS};
    struct ms_queue *own = NULL;
    struct ms_error mine;
    bool created = false;
    struct ms_usage usage;
    if (ms_queue_open(url, &own, &mine) == 0) {
        const int rc =
            ms_queue_enqueue_within(own, argument, 1000, &quota, &created, NULL, &usage, &mine);
        if (rc == 0 && created)
            atomic_fetch_add(&taken, 1);
        else if (rc == MS_EQUOTA)
            atomic_fetch_add(&refused, 1);
    }
    ms_queue_close(own);
    return NULL;
}

/* Each as a replica of its own. */
void many_at_once_keep_within_the_limit(void **state) {
    struct ms_job jobs[16];
    pthread_t threads[16];
    (void)state;
    for (int i = 0; i < 16; i++)
        make_owned("frank", 1400 + i, 60, &jobs[i]);
    for (int i = 0; i < 16; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_one, &jobs[i]), 0);
    for (int i = 0; i < 16; i++)
        (void)pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&taken), 5);
    assert_int_equal(atomic_load(&refused), 11);
    expect_usage("frank", 5, 5 * MINUTE_MS, 5000);
    for (int i = 0; i < 16; i++) {
        bool gone;
        const int rc = ms_queue_erase(queue, jobs[i].id, NULL, &gone, NULL, &err);
        assert_true(rc == 0 || rc == MS_ENOTFOUND);
        ms_job_fini(&jobs[i]);
    }
}

void the_length_is_charged_when_it_is_known(void **state) {
    char id[MS_JOB_ID_HEX], token[MS_TOKEN_HEX];
    struct ms_job job;
    (void)state;
    put_owned("grace", 1500, id);
    expect_usage("grace", 1, 0, 1000);
    reserve(&job, token, LEASE_MS);
    job.audio_seconds = 180;
    OK(change(MS_CHANGE_RENEW, &job, token));
    expect_usage("grace", 0, 3 * MINUTE_MS, 1000);
    OK(change(MS_CHANGE_RENEW, &job, token));
    OK(change(MS_CHANGE_RETRY, &job, token));
    ms_job_fini(&job);
    expect_usage("grace", 1, 3 * MINUTE_MS, 1000);
    reserve(&job, token, LEASE_MS); /* once more, which is the service's affair */
    OK(change(MS_CHANGE_RENEW, &job, token));
    expect_usage("grace", 0, 3 * MINUTE_MS, 1000);
    job.audio_seconds = 120; /* its head had said more */
    add_stem(&job, "bass");
    OK(change(MS_CHANGE_FINISH, &job, token));
    ms_job_fini(&job);
    expect_usage("grace", 0, 2 * MINUTE_MS, 1000);
    erase(id);
    expect_usage("grace", 0, 2 * MINUTE_MS, 1000);
}

static void end_day(const char *owner) {
    char command[300];
    if (redis)
        (void)snprintf(command, sizeof command, "pexpire msaas:usage:%s 1", owner);
    else
        (void)snprintf(command, sizeof command,
                       "python3 -c 'import sqlite3; db = sqlite3.connect(\"%s/queue.db\"); "
                       "db.execute(\"UPDATE usage SET since = since - 86400000\"); db.commit()'",
                       folder);
    if (redis)
        ask_server(command);
    else
        assert_int_equal(system(command), 0);
}

void a_day_ends(void **state) {
    const struct ms_quota quota = {.max_cost_ms = 4 * MINUTE_MS};
    char ids[2][MS_JOB_ID_HEX];
    struct ms_usage usage;
    bool created;
    (void)state;
    OK(send_within(&quota, "heidi", 1600, 180, &created, &usage, ids[0]));
    assert_int_equal(send_within(&quota, "heidi", 1601, 180, &created, &usage, ids[1]), MS_EQUOTA);
    assert_true(usage.left_ms > 0);
    end_day("heidi");
    UNTIL(usage_of("heidi").cost_ms == 0);
    assert_int_equal(usage_of("heidi").left_ms, 0);
    assert_int_equal(usage_of("heidi").waiting, 1); /* it waits all the same */
    OK(send_within(&quota, "heidi", 1601, 180, &created, &usage, ids[1]));
    expect_usage("heidi", 2, 3 * MINUTE_MS, 1000);
    erase(ids[0]);
    erase(ids[1]);
}
