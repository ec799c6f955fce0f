/* What only a server does: it dies, is misused by strangers, or badly set up. See queue_contract.h. */
#include "queue_contract.h"

void killed_and_started_again_it_has_lost_nothing(void **state) {
    char ids[10][MS_JOB_ID_HEX], token[MS_TOKEN_HEX];
    struct ms_job job;
    (void)state;
    if (!redis)
        skip();
    for (int i = 0; i < 10; i++)
        put(200 + i, ids[i]);
    reserve(&job, token, LEASE_MS);
    kill_server();
    assert_int_equal(change(MS_CHANGE_RENEW, &job, token), MS_ENET);
    assert_null(strstr(err.text, "s3cret"));
    start_server();
    OK(change(MS_CHANGE_FINISH, &job, token));
    ms_job_fini(&job);
    for (int i = 1; i < 10; i++) {
        reserve(&job, token, LEASE_MS);
        assert_string_equal(job.id, ids[i]);
        OK(change(MS_CHANGE_FINISH, &job, token));
        ms_job_fini(&job);
    }
    expect_none();
    for (int i = 0; i < 10; i++)
        erase(ids[i]);
}

void what_a_dead_worker_popped_comes_back(void **state) {
    char id[MS_JOB_ID_HEX], token[MS_TOKEN_HEX];
    struct ms_job job;
    int count = 0;
    (void)state;
    if (!redis)
        skip();
    put(90, id);
    ask_server("lmove toWorker msaas:worker:dead right left");
    ask_server("zadd msaas:workers 1 dead"); /* heard of in 1970 */
    expect_none();
    OK(ms_queue_reap(queue, SHORT_MS, &count, &err));
    assert_int_equal(count, 1);
    reserve(&job, token, LEASE_MS);
    assert_string_equal(job.id, id);
    OK(change(MS_CHANGE_FAIL, &job, token));
    ms_job_fini(&job);
    erase(id);
}

/* The answer to a pop was lost on the way, and the worker lives on: it finds what it has, and drops nothing but junk. */
void what_a_living_worker_popped_is_served(void **state) {
    char ids[2][MS_JOB_ID_HEX], token[MS_TOKEN_HEX];
    struct ms_job job;
    (void)state;
    if (!redis)
        skip();
    put(91, ids[0]);
    put(92, ids[1]);
    ask_server("lmove toWorker msaas:worker:worker-1 right left");
    ask_server("lpush msaas:worker:worker-1 junk");
    for (int i = 0; i < 2; i++) {
        reserve(&job, token, LEASE_MS);
        assert_string_equal(job.id, ids[i]);
        OK(change(MS_CHANGE_FAIL, &job, token));
        ms_job_fini(&job);
    }
    expect_none();
    for (int i = 0; i < 2; i++)
        erase(ids[i]);
}

void what_was_erased_after_the_pop_stays_so(void **state) {
    char id[MS_JOB_ID_HEX];
    struct ms_job job;
    int count = 0;
    (void)state;
    if (!redis)
        skip();
    put(93, id);
    ask_server("lmove toWorker msaas:worker:worker-1 right left");
    erase(id);
    expect_none();
    put(93, id);
    ask_server("lmove toWorker msaas:worker:dead right left");
    ask_server("zadd msaas:workers 1 dead");
    erase(id);
    OK(ms_queue_reap(queue, LEASE_MS, &count, &err));
    assert_int_equal(count, 0);
    expect_none();
    assert_int_equal(ms_queue_get(queue, id, &job, &err), MS_ENOTFOUND);
}

#define STRANGERS "0123456789abcdef0123456789abcdef0123456789abcdef01234567"

void a_strangers_item_becomes_a_job(void **state) {
    struct ms_job job;
    char token[MS_TOKEN_HEX];
    (void)state;
    if (!redis)
        skip();
    ask_server("lpush toWorker 'not an id' '{\"hash\": 1}'");
    int count = 0;
    char next[MS_CURSOR_MAX];
    char known[MS_JOB_ID_HEX], waiting[5][MS_JOB_ID_HEX];
    put(94, known);
    ask_server("lpush toWorker " STRANGERS);
    OK(ms_queue_waiting(queue, "", 5, waiting, &count, next, &err)); /* neither junk nor unknown */
    assert_int_equal(count, 1);
    assert_string_equal(waiting[0], known);
    OK(ms_queue_waiting(queue, "", 2, waiting, &count, next, &err)); /* a page of junk only */
    assert_int_equal(count, 0);
    assert_string_equal(next, "2");
    erase(known);
    reserve(&job, token, LEASE_MS);
    assert_string_equal(job.id, STRANGERS);
    OK(change(MS_CHANGE_FAIL, &job, token));
    erase(job.id);
    ms_job_fini(&job);
    expect_none();
}

void the_warnings_name_what_could_lose_jobs(void **state) {
    const char *warning;
    (void)state;
    OK(ms_queue_ping(queue, &warning, &err));
    assert_null(warning);
    if (!redis)
        return;
    ask_server("config set maxmemory 100mb");
    ask_server("config set maxmemory-policy allkeys-lru");
    OK(ms_queue_ping(queue, &warning, &err));
    assert_non_null(warning);
    assert_non_null(strstr(warning, "allkeys-lru"));
    ask_server("config set maxmemory-policy noeviction");
    ask_server("config set appendonly no");
    OK(ms_queue_ping(queue, &warning, &err));
    assert_non_null(warning);
    assert_non_null(strstr(warning, "appendonly"));
    ask_server("config set appendonly yes");
}

void a_wrong_password_is_denied(void **state) {
    struct ms_queue *other = NULL;
    const char *warning;
    char wrong[100];
    (void)state;
    if (!redis)
        skip();
    (void)snprintf(wrong, sizeof wrong, "redis://:wr0ng@127.0.0.1:%s", port);
    OK(ms_queue_open(wrong, &other, &err));
    assert_int_equal(ms_queue_ping(other, &warning, &err), MS_EDENIED);
    assert_null(strstr(err.text, "wr0ng"));
    ms_queue_close(other);
}
