/* Callbacks that are due. See queue_contract.h. */
#include "queue_contract.h"

/* Whoever sends the song is called, each once, in the order they came. */
void every_callback_of_a_song_is_due(void **state) {
    struct ms_job job, taken;
    struct ms_callback_due due;
    char token[MS_TOKEN_HEX], hook[64];
    bool created;
    (void)state;
    make_job(75, &job);
    job.callback.version = 1;
    for (int i = 0; i < MS_JOB_MAX_CALLBACKS + 2; i++) {
        (void)snprintf(hook, sizeof hook, "http://localhost/%d", i == 4 ? 3 : i);
        job.callback.url = hook;
        const int rc = ms_queue_enqueue(queue, &job, &created, NULL, &err);
        assert_int_equal(rc, i <= MS_JOB_MAX_CALLBACKS ? 0 : MS_ETOOLARGE);
        if (i == 5)
            reserve(&taken, token, LEASE_MS);
    }
    OK(change(MS_CHANGE_FINISH, &taken, token));
    ms_job_fini(&taken);
    for (int i = 0; i <= MS_JOB_MAX_CALLBACKS; i++) {
        if (i == 4)
            continue;
        (void)snprintf(hook, sizeof hook, "http://localhost/%d", i);
        OK(ms_outbox_take(queue, LEASE_MS, &due, &err));
        assert_string_equal(due.job.callback.url, hook);
        assert_int_equal(due.attempt, 0);
        if (i == 2) { /* one that comes while another is being called */
            (void)snprintf(hook, sizeof hook, "http://localhost/%d", MS_JOB_MAX_CALLBACKS + 1);
            job.callback.url = hook;
            OK(ms_queue_enqueue(queue, &job, &created, NULL, &err));
        }
        OK(ms_outbox_settle(queue, &due, -1, &err));
        OK(ms_outbox_settle(queue, &due, -1, &err)); /* said twice: the next is not lost */
        ms_job_fini(&due.job);
    }
    OK(ms_outbox_take(queue, LEASE_MS, &due, &err));
    assert_string_equal(due.job.callback.url, "http://localhost/9");
    OK(ms_outbox_settle(queue, &due, -1, &err));
    ms_job_fini(&due.job);
    assert_int_equal(ms_outbox_take(queue, LEASE_MS, &due, &err), MS_ENOTFOUND);
    job.callback.url = NULL;
    erase(job.id);
    ms_job_fini(&job);
}

void callbacks_wait_in_the_outbox(void **state) {
    struct ms_job job, taken;
    struct ms_callback_due due, second;
    char token[MS_TOKEN_HEX];
    bool created;
    (void)state;
    make_job(70, &job);
    job.callback.version = 1;
    job.callback.url = strdup("http://localhost/done");
    job.callback.data = strdup("{\"a\": 1}");
    OK(ms_queue_enqueue(queue, &job, &created, NULL, &err));
    assert_int_equal(ms_outbox_take(queue, LEASE_MS, &due, &err), MS_ENOTFOUND);
    reserve(&taken, token, LEASE_MS);
    add_stem(&taken, "bass");
    OK(change(MS_CHANGE_FINISH, &taken, token));
    ms_job_fini(&taken);
    OK(ms_outbox_take(queue, LEASE_MS, &due, &err));
    assert_string_equal(due.job.id, job.id);
    assert_string_equal(due.job.callback.data, "{\"a\": 1}");
    assert_int_equal(due.attempt, 0);
    assert_int_equal(ms_outbox_take(queue, LEASE_MS, &second, &err), MS_ENOTFOUND); /* held */
    struct ms_queue_stats stats;
    OK(ms_queue_stats(queue, &stats, &err));
    assert_int_equal(stats.callbacks_due, 1);
    OK(ms_outbox_settle(queue, &due, 0, &err)); /* again, at once */
    OK(ms_outbox_take(queue, 1, &second, &err));
    assert_int_equal(second.attempt, 1);
    assert_string_equal(second.webhook_id, due.webhook_id);
    ms_job_fini(&second.job);
    ms_job_fini(&due.job);
    UNTIL(ms_outbox_take(queue, LEASE_MS, &second, &err) == 0); /* whoever held it died */
    OK(ms_outbox_settle(queue, &second, -1, &err));
    ms_job_fini(&second.job);
    assert_int_equal(ms_outbox_take(queue, LEASE_MS, &due, &err), MS_ENOTFOUND);
    OK(ms_queue_enqueue(queue, &job, &created, NULL,
                        &err)); /* the same song: there is the result, call again */
    assert_false(created);
    OK(ms_outbox_take(queue, LEASE_MS, &due, &err));
    OK(ms_outbox_settle(queue, &due, -1, &err));
    ms_job_fini(&due.job);
    erase(job.id);
    ms_job_fini(&job);
}
