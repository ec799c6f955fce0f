/* Tests of connections to Redis that are lost: at rest, and with a command under way. See
 * queue_contract.h. */
#include "queue_contract.h"

#include "forwarder.h"

enum { POOL = 9 };

static void open_pool(struct ms_queue *pool[POOL]) {
    struct ms_job job;
    for (int i = 0; i < POOL; i++) {
        OK(ms_queue_open(url, &pool[i], &err));
        make_job(500 + i, &job);
        assert_int_equal(ms_queue_get(pool[i], job.id, &job, &err), MS_ENOTFOUND); /* connected */
        ms_job_fini(&job);
    }
}

/* Every connection of a pool is dead after a restart. None costs its next call. */
void a_restart_costs_no_connection_a_call(void **state) {
    struct ms_queue *pool[POOL];
    struct ms_job job, taken;
    struct ms_queue_stats stats;
    const struct ms_queue_filter filter = {.state = -1, .limit = 3, .cursor = ""};
    char ids[3][MS_JOB_ID_HEX], token[MS_TOKEN_HEX], next[MS_CURSOR_MAX], *line = NULL;
    const char *warning;
    bool created;
    int count = 0;
    (void)state;
    open_pool(pool);
    kill_server();
    start_server();
    make_job(500, &job);
    OK(ms_queue_enqueue(pool[0], &job, &created, NULL, &err));
    assert_true(created);
    OK(ms_queue_waiting(pool[1], "", 3, ids, &count, next, &err));
    assert_int_equal(count, 1);
    OK(ms_queue_reserve(pool[2], "htdemucs", LEASE_MS, 0, &taken, token, &err));
    OK(ms_queue_change(pool[3], MS_CHANGE_FAIL, &taken, token, LEASE_MS, &err));
    ms_job_fini(&taken);
    OK(ms_queue_list(pool[4], &filter, &taken, &count, next, &err));
    assert_int_equal(count, 1);
    ms_job_fini(&taken);
    OK(ms_queue_stats(pool[5], &stats, &err));
    OK(ms_loglist_push(pool[6], (const char *[]){"a line"}, 1, &err));
    OK(ms_loglist_pop(pool[7], 0, &line, &err));
    free(line);
    OK(ms_queue_ping(pool[8], &warning, &err));
    erase(job.id);
    ms_job_fini(&job);
    for (int i = 0; i < POOL; i++)
        ms_queue_close(pool[i]);
}

static void lose_answer(struct forwarder *forwarder, const char *request) {
    atomic_store(&forwarder->swallow, request);
    atomic_store(&forwarder->breaks, 1);
}

/* The server gets a command, and its answer is lost: it may have been carried out. */
void only_what_harms_nobody_is_sent_again(void **state) {
    struct forwarder forwarder;
    struct ms_queue *far = NULL;
    struct ms_queue_stats stats;
    struct ms_job job, taken;
    char far_url[80], ids[2][MS_JOB_ID_HEX], token[MS_TOKEN_HEX], *line = NULL;
    bool created;
    (void)state;
    forwarder_start(&forwarder, (int)strtol(port, NULL, 10));
    (void)snprintf(far_url, sizeof far_url, "redis://:s3cret@127.0.0.1:%d/3", forwarder.port);
    OK(ms_queue_open(far_url, &far, &err));
    put(510, ids[0]);
    put(511, ids[1]);

    OK(ms_queue_get(far, ids[0], &job, &err)); /* connected, and the script is loaded */
    ms_job_fini(&job);
    lose_answer(&forwarder, "\r\nload\r\n"); /* a look may be repeated */
    OK(ms_queue_get(far, ids[0], &job, &err));
    ms_job_fini(&job);
    assert_int_equal(atomic_load(&forwarder.breaks), 0);

    lose_answer(&forwarder, "\r\nclaim\r\n"); /* a second claim would lease a second job */
    assert_int_equal(ms_queue_reserve(far, "htdemucs", LEASE_MS, 0, &taken, token, &err), MS_ENET);
    OK(ms_queue_stats(far, &stats, &err));
    assert_int_equal(stats.jobs[MS_JOB_RUNNING], 1);

    make_job(512, &job);
    lose_answer(&forwarder, "\r\nsave\r\n"); /* a second save would find another revision */
    assert_int_equal(ms_queue_enqueue(far, &job, &created, NULL, &err), MS_ENET);
    OK(ms_queue_enqueue(far, &job, &created, NULL, &err)); /* as its caller does */
    assert_false(created);

    lose_answer(&forwarder, "LPUSH"); /* the line would come twice */
    assert_int_equal(ms_loglist_push(far, (const char *[]){"once"}, 1, &err), MS_ENET);
    OK(ms_loglist_pop(far, 0, &line, &err));
    free(line);
    assert_int_equal(ms_loglist_pop(far, 0, &line, &err), MS_ENOTFOUND);

    ms_queue_close(far);
    forwarder_stop(&forwarder);
    ask_server("flushdb");
    ms_job_fini(&job);
}

/* Who waits for a job waits on, over another connection. */
void a_wait_outlives_its_connection(void **state) {
    struct forwarder forwarder;
    struct ms_queue *far = NULL;
    struct ms_job job;
    char far_url[80], token[MS_TOKEN_HEX];
    (void)state;
    forwarder_start(&forwarder, (int)strtol(port, NULL, 10));
    (void)snprintf(far_url, sizeof far_url, "redis://:s3cret@127.0.0.1:%d/3", forwarder.port);
    OK(ms_queue_open(far_url, &far, &err));
    assert_int_equal(ms_queue_reserve(far, "htdemucs", LEASE_MS, 0, &job, token, &err),
                     MS_ENOTFOUND);
    lose_answer(&forwarder, "BLMOVE");
    assert_int_equal(ms_queue_reserve(far, "htdemucs", LEASE_MS, 300, &job, token, &err),
                     MS_ENOTFOUND);
    assert_int_equal(atomic_load(&forwarder.breaks), 0);
    ms_queue_close(far);
    forwarder_stop(&forwarder);
}
