/* Lists of many jobs. See queue_contract.h. */
#include "queue_contract.h"

#define MANY (MS_POSITION_MAX + 2)

/* Puts copies of the waiting job behind it, up to MANY in all. Not one by one, which would take
 * SQLite half a minute of fsync. */
static void put_many(const char *id) {
    char command[900];
    if (redis)
        (void)snprintf(
            command, sizeof command,
            "redis-cli -h 127.0.0.1 -p %s -a s3cret --no-auth-warning -n 3 eval \""
            "for n = 1, %d do local id = string.format('%%056x', n) "
            "redis.call('COPY', KEYS[1], 'msaas:job:' .. id) "
            "local doc = redis.call('HGET', KEYS[1], 'doc') "
            "redis.call('HSET', 'msaas:job:' .. id, 'doc', (doc:gsub(ARGV[1], id))) "
            "redis.call('LPUSH', 'toWorker', id) "
            "for _, set in ipairs({'msaas:jobs', 'msaas:state:queued'}) do "
            "redis.call('ZADD', set, redis.call('ZSCORE', set, ARGV[1]) + n, id) end end\" "
            "1 msaas:job:%s %s >/dev/null",
            port, MANY - 1, id, id);
    else
        (void)snprintf(
            command, sizeof command,
            "python3 -c 'import sqlite3; db = sqlite3.connect(\"%s/queue.db\"); "
            "[db.execute(\"INSERT INTO jobs SELECT ?, revision, replace(doc, id, ?), state, place, "
            "seq + ?, token, created + ?, lease_until, not_before, flags, due, started, "
            "attempts, model, owner FROM jobs WHERE id = ?\", (\"%%056x\" %% n, \"%%056x\" %% n, "
            "n, n, "
            "\"%s\")) "
            "for n in range(1, %d)]; db.commit()'",
            folder, id, MANY);
    assert_int_equal(system(command), 0);
}

static void erase_all(void) {
    char command[200];
    if (redis) {
        ask_server("flushdb");
        return;
    }
    (void)snprintf(command, sizeof command,
                   "python3 -c 'import sqlite3; db = sqlite3.connect(\"%s/queue.db\"); "
                   "db.execute(\"DELETE FROM jobs\"); db.commit()'",
                   folder);
    assert_int_equal(system(command), 0);
}

/* All are told of, in order; the place in the queue only as far as it is worth counting. */
void many_may_wait(void **state) {
    static char ids[MANY][MS_JOB_ID_HEX], waiting[MANY][MS_JOB_ID_HEX];
    char next[MS_CURSOR_MAX];
    struct ms_job seen[3];
    int count = 0;
    (void)state;
    put(1000, ids[0]);
    put_many(ids[0]);
    for (int i = 1; i < MANY; i++)
        (void)snprintf(ids[i], sizeof ids[i], "%056x", (unsigned)i);
    OK(ms_queue_waiting(queue, "", MS_WAITING_MAX, waiting, &count, next, &err));
    assert_int_equal(count, MANY);
    assert_string_equal(next, "");
    assert_memory_equal(waiting, ids, sizeof ids);
    for (int i = 0; i < 4; i++) {
        OK(ms_queue_get(queue, ids[MANY - 1 - i], &seen[0], &err));
        assert_int_equal(seen[0].position, i < 2 ? -1 : MANY - 1 - i);
        ms_job_fini(&seen[0]);
    }
    const struct ms_queue_filter filter = {.state = MS_JOB_QUEUED, .limit = 3, .cursor = ""};
    OK(ms_queue_list(queue, &filter, seen, &count, next, &err));
    assert_int_equal(count, 3);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(seen[i].id, ids[MANY - 1 - i]);
        assert_int_equal(seen[i].position, i < 2 ? -1 : MANY - 1 - i);
        ms_job_fini(&seen[i]);
    }
    erase_all();
    expect_none();
}

void lists_go_back_in_time(void **state) {
    char ids[7][MS_JOB_ID_HEX], next[MS_CURSOR_MAX] = "", cursor[MS_CURSOR_MAX];
    bool seen[7] = {false};
    int total = 0;
    (void)state;
    for (int i = 0; i < 7; i++)
        put(20 + i, ids[i]);
    int64_t last = INT64_MAX;
    do {
        struct ms_job jobs[2];
        int count = 0;
        memcpy(cursor, next, sizeof cursor);
        const struct ms_queue_filter filter = {.state = -1, .limit = 2, .cursor = cursor};
        OK(ms_queue_list(queue, &filter, jobs, &count, next, &err));
        for (int i = 0; i < count; i++) {
            assert_true(jobs[i].created_ms <= last);
            last = jobs[i].created_ms;
            for (int k = 0; k < 7; k++)
                if (strcmp(jobs[i].id, ids[k]) == 0) {
                    assert_false(seen[k]);
                    seen[k] = true;
                    total++;
                }
            ms_job_fini(&jobs[i]);
        }
    } while (next[0] != '\0');
    assert_int_equal(total, 7);
    struct ms_job job;
    int count = 0;
    const struct ms_queue_filter none = {.state = MS_JOB_CANCELED, .limit = 1, .cursor = ""};
    OK(ms_queue_list(queue, &none, &job, &count, next, &err));
    assert_int_equal(count, 0);
    const struct ms_queue_filter bad = {.state = -1, .limit = 1, .cursor = "nonsense"};
    assert_int_equal(ms_queue_list(queue, &bad, &job, &count, next, &err), MS_EUSAGE);
    for (int i = 0; i < 7; i++)
        erase(ids[i]);
}
