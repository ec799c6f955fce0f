/* Callbacks that are due. See queue_contract.h. */
#include "queue_contract.h"

static int64_t nobody_waits(void *context, const struct ms_job_callback *callback) {
    (void)context;
    (void)callback;
    return 0;
}

static int take(int64_t hold_ms, struct ms_callback_due *due) {
    return ms_outbox_take(queue, hold_ms, nobody_waits, NULL, due, &err);
}

static const struct ms_job_callback *callback_of(const struct ms_callback_due *due) {
    return &due->job.callbacks[due->index];
}

/* Gives it up or says that it was delivered. */
static void done(struct ms_callback_due *due) {
    OK(ms_outbox_settle(queue, due, -1, &err));
    ms_job_fini(&due->job);
}

static void make_job_with_callback(int number, const char *hook, struct ms_job *job) {
    make_job(number, job);
    job->callback_count = 1;
    job->callbacks[0].version = 1;
    job->callbacks[0].url = strdup(hook);
}

static int enqueue(int number, const char *hook, char id[MS_JOB_ID_HEX]) {
    struct ms_job job;
    bool created;
    make_job_with_callback(number, hook, &job);
    if (id != NULL)
        memcpy(id, job.id, MS_JOB_ID_HEX);
    const int rc = ms_queue_enqueue(queue, &job, &created, NULL, &err);
    ms_job_fini(&job);
    return rc;
}

/* A job that has ended and whose callback is due. */
static void put_due(int number, const char *hook, char id[MS_JOB_ID_HEX]) {
    struct ms_job taken;
    char token[MS_TOKEN_HEX];
    OK(enqueue(number, hook, id));
    reserve(&taken, token, LEASE_MS);
    OK(change(MS_CHANGE_FINISH, &taken, token));
    ms_job_fini(&taken);
}

/* Whoever sends the song is called, each once. */
void every_callback_of_a_song_is_due(void **state) {
    struct ms_job taken;
    struct ms_callback_due dues[MS_JOB_MAX_CALLBACKS];
    char token[MS_TOKEN_HEX], id[MS_JOB_ID_HEX], hook[64];
    (void)state;
    for (int i = 0; i < MS_JOB_MAX_CALLBACKS + 2; i++) {
        (void)snprintf(hook, sizeof hook, "http://localhost/%d", i == 4 ? 3 : i);
        assert_int_equal(enqueue(75, hook, id), i <= MS_JOB_MAX_CALLBACKS ? 0 : MS_ETOOLARGE);
        if (i == 5)
            reserve(&taken, token, LEASE_MS);
    }
    OK(change(MS_CHANGE_FINISH, &taken, token));
    ms_job_fini(&taken);
    /* All at the same time: none waits for another. */
    for (int i = 0; i < MS_JOB_MAX_CALLBACKS; i++) {
        (void)snprintf(hook, sizeof hook, "http://localhost/%d", i < 4 ? i : i + 1);
        OK(take(LEASE_MS, &dues[i]));
        assert_string_equal(callback_of(&dues[i])->url, hook);
        assert_int_equal(callback_of(&dues[i])->attempt, 0);
    }
    struct ms_callback_due other;
    assert_int_equal(take(LEASE_MS, &other), MS_ENOTFOUND);
    /* The first is tried again much later; the second has been delivered, which is said twice. */
    OK(ms_outbox_settle(queue, &dues[0], LEASE_MS, &err));
    OK(ms_outbox_settle(queue, &dues[1], -1, &err));
    OK(ms_outbox_settle(queue, &dues[1], -1, &err));
    /* There is room for one more, which is due at once. */
    OK(enqueue(75, "http://localhost/new", NULL));
    assert_int_equal(enqueue(75, "http://localhost/too-many", NULL), MS_ETOOLARGE);
    OK(take(LEASE_MS, &other));
    assert_string_equal(callback_of(&other)->url, "http://localhost/new");
    done(&other);
    for (int i = 2; i < MS_JOB_MAX_CALLBACKS; i++)
        OK(ms_outbox_settle(queue, &dues[i], -1, &err));
    /* What was delivered may be asked for again. */
    OK(enqueue(75, "http://localhost/2", NULL));
    OK(take(LEASE_MS, &other));
    assert_string_equal(callback_of(&other)->url, "http://localhost/2");
    done(&other);
    assert_int_equal(take(LEASE_MS, &other), MS_ENOTFOUND);
    for (int i = 0; i < MS_JOB_MAX_CALLBACKS; i++)
        ms_job_fini(&dues[i].job);
    erase(id);
}

/* Of all jobs with callbacks to http://broken/. In Redis, strangers stand before them besides. */
static void break_records(void) {
    if (redis) {
        ask_server("eval \"for _, id in ipairs(redis.call('ZRANGE', 'msaas:outbox', 0, -1)) do "
                   "if redis.call('HGET', 'msaas:job:' .. id, 'doc'):find('broken') then "
                   "redis.call('HSET', 'msaas:job:' .. id, 'doc', '{}') end end\" 0");
        ask_server(
            "eval \"for n = 1, 200 do redis.call('ZADD', 'msaas:outbox', n, 'stranger' .. n, "
            "n, string.format('%056d', n)) end\" 0");
        return;
    }
    char command[300];
    (void)snprintf(command, sizeof command,
                   "python3 -c 'import sqlite3; db = sqlite3.connect(\"%s/queue.db\"); "
                   "db.execute(\"UPDATE jobs SET doc = ? WHERE doc LIKE ?\", "
                   "(\"{}\", \"%%broken%%\")); db.commit()'",
                   folder);
    assert_int_equal(system(command), 0);
}

/* The context: how often it was asked. */
static int64_t slow_ones_wait(void *context, const struct ms_job_callback *callback) {
    int *asked = context;
    (*asked)++;
    return strstr(callback->url, "slow") != NULL ? LEASE_MS : 0;
}

/* Whatever stands first in the outbox, callbacks that have to wait, records that cannot be read,
 * and what is no job, the others are found behind it. */
void nothing_holds_up_the_outbox(void **state) {
    enum { SLOW = 20, BROKEN = 20, LAST = 2000 };
    char ids[SLOW + BROKEN + 1][MS_JOB_ID_HEX];
    struct ms_callback_due due;
    int asked = 0, rc;
    (void)state;
    for (int i = 0; i < SLOW + BROKEN; i++)
        put_due(LAST + 1 + i, i % 2 == 0 ? "http://slow/" : "http://broken/", ids[i]);
    break_records();
    put_due(LAST, "http://good/", ids[SLOW + BROKEN]);
    while ((rc = ms_outbox_take(queue, LEASE_MS, slow_ones_wait, &asked, &due, &err)) ==
           MS_ECONFLICT)
        ; /* it gets on each time */
    OK(rc);
    assert_string_equal(callback_of(&due)->url, "http://good/");
    assert_int_equal(asked, SLOW + 1); /* each once: those that wait are out of the way */
    done(&due);
    assert_int_equal(ms_outbox_take(queue, LEASE_MS, slow_ones_wait, &asked, &due, &err),
                     MS_ENOTFOUND);
    struct ms_queue_stats stats;
    OK(ms_queue_stats(queue, &stats, &err));
    assert_int_equal(stats.callbacks_due, SLOW);
    for (int i = 0; i <= SLOW + BROKEN; i++)
        erase(ids[i]);
}

void callbacks_wait_in_the_outbox(void **state) {
    struct ms_job job, taken;
    struct ms_callback_due due, second;
    char token[MS_TOKEN_HEX];
    bool created;
    (void)state;
    make_job_with_callback(70, "http://localhost/done", &job);
    job.callbacks[0].data = strdup("{\"a\": 1}");
    OK(ms_queue_enqueue(queue, &job, &created, NULL, &err));
    assert_int_equal(take(LEASE_MS, &due), MS_ENOTFOUND);
    reserve(&taken, token, LEASE_MS);
    add_stem(&taken, "bass");
    OK(change(MS_CHANGE_FINISH, &taken, token));
    ms_job_fini(&taken);
    OK(take(LEASE_MS, &due));
    assert_string_equal(due.job.id, job.id);
    assert_string_equal(callback_of(&due)->data, "{\"a\": 1}");
    assert_int_equal(callback_of(&due)->attempt, 0);
    assert_int_equal(take(LEASE_MS, &second), MS_ENOTFOUND); /* held */
    struct ms_queue_stats stats;
    OK(ms_queue_stats(queue, &stats, &err));
    assert_int_equal(stats.callbacks_due, 1);
    OK(ms_outbox_settle(queue, &due, 0, &err)); /* broken off */
    ms_job_fini(&due.job);
    OK(take(LEASE_MS, &due));
    assert_int_equal(callback_of(&due)->attempt, 0);
    OK(ms_outbox_settle(queue, &due, 1, &err)); /* failed: again, soon */
    UNTIL(take(1, &second) == 0);
    assert_int_equal(callback_of(&second)->attempt, 1);
    assert_string_equal(second.webhook_id, due.webhook_id);
    ms_job_fini(&second.job);
    ms_job_fini(&due.job);
    UNTIL(take(LEASE_MS, &second) == 0); /* whoever held it died */
    done(&second);
    assert_int_equal(take(LEASE_MS, &due), MS_ENOTFOUND);
    OK(ms_queue_enqueue(queue, &job, &created, NULL,
                        &err)); /* the same song: there is the result, call again */
    assert_false(created);
    OK(take(LEASE_MS, &due));
    done(&due);
    erase(job.id);
    ms_job_fini(&job);
}
