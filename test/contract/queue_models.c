/* Workers with different models on one queue. See queue_contract.h. */
#include "queue_contract.h"

#define WAIT_MS 60000

static void put_for(const char *model, int number, char id[MS_JOB_ID_HEX]) {
    struct ms_job_options options;
    struct ms_job job;
    char song[32];
    bool created;
    (void)snprintf(song, sizeof song, "song %d", number);
    ms_job_options_default(model, &options);
    OK(ms_job_init(&job, song, strlen(song), &options, model, &err));
    OK(ms_queue_enqueue(queue, &job, &created, NULL, &err));
    assert_true(created);
    memcpy(id, job.id, MS_JOB_ID_HEX);
    ms_job_fini(&job);
}

static void expect_none_for(const char *model) {
    struct ms_job job;
    char token[MS_TOKEN_HEX];
    assert_int_equal(ms_queue_reserve(queue, model, LEASE_MS, 50, &job, token, &err), MS_ENOTFOUND);
}

/* The next job for the model is this one; it ends. */
static void expect_next(const char *model, const char *id) {
    struct ms_job job;
    char token[MS_TOKEN_HEX];
    OK(ms_queue_reserve(queue, model, LEASE_MS, 0, &job, token, &err));
    assert_string_equal(job.id, id);
    assert_string_equal(job.options.model, model);
    OK(change(MS_CHANGE_FAIL, &job, token));
    ms_job_fini(&job);
    erase(id);
}

static int64_t waiting_for(const char *model) {
    static struct ms_queue_stats stats;
    OK(ms_queue_stats(queue, &stats, &err));
    for (int i = 0; i < stats.model_count; i++)
        if (strcmp(stats.models[i].name, model) == 0)
            return stats.models[i].waiting;
    return 0;
}

void a_job_goes_to_a_worker_that_has_its_model(void **state) {
    char ids[5][MS_JOB_ID_HEX], token[MS_TOKEN_HEX];
    struct ms_job job;
    (void)state;
    put_for("one", 600, ids[0]);
    put_for("two", 601, ids[1]);
    put_for("one", 602, ids[2]);
    put_for("two", 603, ids[3]);
    put_for("one", 604, ids[4]);
    assert_int_equal(waiting_for("one"), 3);
    assert_int_equal(waiting_for("two"), 2);
    expect_none_for("three");
    expect_next("two", ids[1]);
    assert_int_equal(waiting_for("two"), 1);
    /* What is given back is the next one again. */
    OK(ms_queue_reserve(queue, "two", LEASE_MS, 0, &job, token, &err));
    assert_string_equal(job.id, ids[3]);
    assert_int_equal(waiting_for("two"), 0);
    expect_none_for("two");
    OK(change(MS_CHANGE_REQUEUE, &job, token));
    ms_job_fini(&job);
    expect_next("one", ids[0]);
    expect_next("two", ids[3]);
    erase(ids[2]);
    expect_next("one", ids[4]);
    assert_int_equal(waiting_for("one"), 0);
    expect_none_for("one");
}

void many_jobs_of_other_models_are_no_hindrance(void **state) {
    enum { MANY = 120 }; /* more than what a claim looks at */
    static char ids[MANY][MS_JOB_ID_HEX];
    char id[MS_JOB_ID_HEX];
    (void)state;
    for (int i = 0; i < MANY; i++)
        put_for("one", 1000 + i, ids[i]);
    put_for("two", 605, id);
    expect_next("two", id);
    expect_none_for("two");
    for (int i = 0; i < MANY; i++)
        erase(ids[i]);
}

static bool has_failed(const char *id) {
    struct ms_reaped reaped;
    OK(ms_queue_reap(queue, "two", 1, &reaped, &err));
    return state_of(id) == MS_JOB_FAILED;
}

void a_job_whose_model_nobody_has_fails(void **state) {
    char id[MS_JOB_ID_HEX], served[MS_JOB_ID_HEX], token[MS_TOKEN_HEX];
    struct ms_reaped reaped;
    struct ms_job job;
    (void)state;
    put_for("one", 606, id);
    put_for("two", 607, served);
    OK(ms_queue_reap(queue, "one", WAIT_MS, &reaped, &err)); /* somebody has it */
    OK(ms_queue_reap(queue, "two", WAIT_MS, &reaped, &err));
    assert_int_equal(reaped.unserved, 0);
    assert_int_equal(state_of(id), MS_JOB_QUEUED);
    UNTIL(has_failed(id)); /* nobody had it for a millisecond */
    OK(ms_queue_get(queue, id, &job, &err));
    assert_string_equal(job.error_code, "model");
    assert_non_null(strstr(job.error_message, "no worker has had model one for"));
    ms_job_fini(&job);
    erase(id);
    assert_int_equal(state_of(served), MS_JOB_QUEUED);
    OK(ms_queue_reserve(queue, "two", LEASE_MS, 0, &job, token, &err));
    OK(change(MS_CHANGE_FAIL, &job, token));
    ms_job_fini(&job);
    erase(served);
}
