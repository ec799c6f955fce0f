/* Leases that lapse, are renewed or given back, and what comes of their jobs. See queue_contract.h.
 */
#include "queue_contract.h"

void a_lapsed_lease_goes_back(void **state) {
    char id[MS_JOB_ID_HEX], token[MS_TOKEN_HEX], second[MS_TOKEN_HEX];
    struct ms_job job, again;
    int count = 0;
    (void)state;
    put(40, id);
    for (int crash = 1; crash <= MS_JOB_MAX_CRASHES; crash++) {
        reserve(&job, token, SHORT_MS);
        assert_int_equal(job.crashes, crash - 1);
        UNTIL(reap(&count) == 0 && state_of(id) != MS_JOB_RUNNING);
        assert_int_equal(count, 1);
        add_stem(&job, "bass");
        assert_int_equal(change(MS_CHANGE_FINISH, &job, token),
                         MS_ECONFLICT); /* the sleeper wakes up */
        assert_int_equal(change(MS_CHANGE_RENEW, &job, token), MS_ECONFLICT);
        ms_job_fini(&job);
        if (crash == 1) { /* another has it meanwhile */
            reserve(&again, second, LEASE_MS);
            struct ms_job stale;
            OK(ms_job_copy(&again, &stale, &err));
            assert_int_equal(change(MS_CHANGE_FAIL, &stale, token), MS_ECONFLICT);
            ms_job_fini(&stale);
            OK(change(MS_CHANGE_REQUEUE, &again, second));
            ms_job_fini(&again);
        }
    }
    OK(ms_queue_get(queue, id, &job, &err));
    assert_int_equal(job.state, MS_JOB_FAILED);
    assert_string_equal(job.error_code, "poison");
    ms_job_fini(&job);
    erase(id);
}

void a_renewed_lease_holds(void **state) {
    char id[MS_JOB_ID_HEX], token[MS_TOKEN_HEX];
    struct ms_job job;
    int count = 0;
    (void)state;
    put(41, id);
    reserve(&job, token, 1);
    OK(change(MS_CHANGE_RENEW, &job, token)); /* from a millisecond to a minute */
    nap();
    OK(reap(&count));
    assert_int_equal(count, 0);
    OK(change(MS_CHANGE_FAIL, &job, token));
    ms_job_fini(&job);
    erase(id);
}

/* Fails the job's attempt by the network; it may be tried again after so long. */
static void put_off(struct ms_job *job, const char *token, int64_t ms) {
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    job->not_before_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 + ms;
    (void)snprintf(job->error_code, sizeof job->error_code, "network");
    OK(change(MS_CHANGE_RETRY, job, token));
    ms_job_fini(job);
}

static bool is_next(const char *id) {
    struct ms_job job;
    OK(ms_queue_get(queue, id, &job, &err));
    const bool next = job.position == 0;
    ms_job_fini(&job);
    return next;
}

void failures_that_pass_are_tried_again(void **state) {
    char id[MS_JOB_ID_HEX], token[MS_TOKEN_HEX];
    struct ms_job job;
    int count = 0;
    (void)state;
    put(51, id);
    reserve(&job, token, LEASE_MS);
    put_off(&job, token, 24 * 3600 * 1000);
    OK(reap(&count));
    expect_none();
    erase(id);
    put(50, id);
    for (int failure = 1; failure <= 7; failure++) {
        OK(ms_queue_reserve(queue, "htdemucs", LEASE_MS, 0, &job, token, &err));
        assert_int_equal(job.failures, failure - 1);
        assert_int_equal(job.attempts, 1); /* those before are not charged */
        put_off(&job, token, failure == 1 ? 100 : 0);
        UNTIL(reap(&count) == 0 && is_next(id));
    }
    OK(ms_queue_get(queue, id, &job, &err));
    assert_int_equal(job.state, MS_JOB_QUEUED);
    assert_int_equal(job.attempts, 0);
    assert_string_equal(job.error_code, "network");
    ms_job_fini(&job);
    erase(id);
}

/* Whoever knows that the holder is dead need not wait for the lease to lapse. */
void a_lease_of_the_dead_is_given_back(void **state) {
    char ids[2][MS_JOB_ID_HEX], token[MS_TOKEN_HEX], second[MS_TOKEN_HEX];
    struct ms_job job, dead = {0};
    (void)state;
    put(43, ids[0]);
    put(44, ids[1]);
    memcpy(dead.id, ids[0], sizeof dead.id);
    for (int crash = 1; crash <= MS_JOB_MAX_CRASHES; crash++) {
        reserve(&job, token, LEASE_MS);
        assert_string_equal(job.id, ids[0]); /* in front */
        assert_int_equal(job.attempts, crash);
        assert_int_equal(job.crashes, crash - 1);
        if (crash == 2) /* the lease of the one before is another one */
            assert_int_equal(change(MS_CHANGE_LAPSE, &dead, second), MS_ECONFLICT);
        OK(change(MS_CHANGE_LAPSE, &dead, token));
        assert_int_equal(change(MS_CHANGE_RENEW, &job, token), MS_ECONFLICT);
        memcpy(second, token, sizeof second);
        ms_job_fini(&job);
    }
    OK(ms_queue_get(queue, ids[0], &job, &err));
    assert_int_equal(job.state, MS_JOB_FAILED);
    assert_string_equal(job.error_code, "poison");
    ms_job_fini(&job);
    assert_int_equal(change(MS_CHANGE_LAPSE, &dead, token), MS_ECONFLICT);
    erase(ids[0]);
    assert_int_equal(change(MS_CHANGE_LAPSE, &dead, token), MS_ECONFLICT);
    erase(ids[1]);
}

/* A lease of which the last renewal said how far the job had come lapses. */
static void lose_at(const char *id, double progress) {
    struct ms_job job;
    char token[MS_TOKEN_HEX];
    int count = 0;
    reserve(&job, token, LEASE_MS);
    job.progress = progress;
    OK(ms_queue_change(queue, MS_CHANGE_RENEW, &job, token, 1, &err));
    UNTIL(reap(&count) == 0 && state_of(id) != MS_JOB_RUNNING);
    ms_job_fini(&job);
}

void a_crash_counts_only_where_one_was_before(void **state) {
    static const double farther[] = {0.1, 0.2, 0.5, 0.7, 0.95}, same[] = {0.95, 0.5, 0.5};
    char id[MS_JOB_ID_HEX];
    struct ms_job job;
    (void)state;
    put(42, id);
    for (size_t i = 0; i < sizeof farther / sizeof *farther; i++) {
        lose_at(id, farther[i]);
        assert_int_equal(state_of(id), MS_JOB_QUEUED);
    }
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        assert_int_equal(state_of(id), MS_JOB_QUEUED);
        lose_at(id, same[i]);
    }
    OK(ms_queue_get(queue, id, &job, &err));
    assert_int_equal(job.state, MS_JOB_FAILED);
    assert_string_equal(job.error_code, "poison");
    assert_int_equal(job.attempts, 8);
    ms_job_fini(&job);
    erase(id);
}
