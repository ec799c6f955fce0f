/* Tests of Redis alone: items of the list toWorker as the course's programs write and read them.
 * See queue_contract.h. */
#include "queue_contract.h"

#define HASH_A "0123456789abcdef0123456789abcdef0123456789abcdef01234567"
#define HASH_B "fedcba9876543210fedcba9876543210fedcba9876543210fedcba98"

static int junk_count;
static char junk[3][4 * MS_JUNK_CHARACTERS + 1];

static void take_junk(void *context, const char *item) {
    (void)context;
    if (junk_count < 3)
        (void)snprintf(junk[junk_count], sizeof junk[0], "%s", item);
    junk_count++;
}

static void push(const char *item) {
    char command[500];
    (void)snprintf(command, sizeof command, "lpush toWorker '%s'", item);
    ask_server(command);
}

/* condition: in Lua; ARGV[1]: the id. */
static void expect_list(const char *condition, const char *id) {
    char command[900], said[16] = "";
    (void)snprintf(command, sizeof command,
                   "redis-cli -h 127.0.0.1 -p %s -a s3cret --no-auth-warning -n 3 eval \"return "
                   "(%s) and 'yes' or 'no'\" 0 '%s'",
                   port, condition, id);
    FILE *answer = popen(command, "r");
    assert_non_null(answer);
    assert_non_null(fgets(said, sizeof said, answer));
    (void)pclose(answer);
    if (strncmp(said, "yes", 3) != 0)
        fail_msg("%s: %s", condition, said);
}

static void end(struct ms_job *job, const char *token) {
    OK(change(MS_CHANGE_FAIL, job, token));
    ms_job_fini(job);
}

void json_of_other_programs_is_a_job(void **state) {
    struct ms_job job;
    char id[MS_JOB_ID_HEX], waiting[4][MS_JOB_ID_HEX], token[MS_TOKEN_HEX], next[MS_CURSOR_MAX];
    int count;
    (void)state;
    push("{\"songhash\": \"" HASH_A "\", \"callback\": {\"url\": \"http://localhost:5000/x\", "
         "\"data\": {\"n\": 12345678901234567890}}}");
    put(540, id);
    push("{\"hash\": \"" HASH_B "\", \"bucket\": \"queue\", \"object\": \"songs/b.mp3\"}");
    push("\"" HASH_A "\""); /* once more, while it waits, runs or has ended */
    OK(ms_queue_waiting(queue, "", 4, waiting, &count, next, &err));
    assert_int_equal(count, 1); /* unknown until it is a job, as a bare id is */

    reserve(&job, token, LEASE_MS);
    assert_string_equal(job.id, HASH_A);
    assert_int_equal(job.callbacks[0].version, 1);
    assert_string_equal(job.callbacks[0].url, "http://localhost:5000/x");
    assert_string_equal(job.callbacks[0].data, "{\"n\": 12345678901234567890}");
    assert_string_equal(job.song_key, "");
    OK(change(MS_CHANGE_REQUEUE, &job, token)); /* it goes on as any other job does */
    ms_job_fini(&job);
    OK(ms_queue_get(queue, HASH_A, &job, &err));
    assert_int_equal(job.position, 0);
    ms_job_fini(&job);
    reserve(&job, token, LEASE_MS);
    assert_string_equal(job.id, HASH_A);
    add_stem(&job, "bass");
    OK(change(MS_CHANGE_FINISH, &job, token));
    ms_job_fini(&job);

    reserve(&job, token, LEASE_MS);
    assert_string_equal(job.id, id); /* nobody has lost his place */
    end(&job, token);
    reserve(&job, token, LEASE_MS);
    assert_string_equal(job.id, HASH_B);
    assert_string_equal(job.song_key, "songs/b.mp3");
    end(&job, token);
    expect_none();
    assert_int_equal(state_of(HASH_A), MS_JOB_SUCCEEDED); /* it is not done again */
    expect_list("redis.call('EXISTS', 'toWorker') == 0", "");
    erase(HASH_A);
    erase(HASH_B);
    erase(id);
}

/* What is no job leaves the list, is told of once, and holds up nobody. */
void what_is_no_job_is_told_of(void **state) {
    struct ms_job job;
    char id[MS_JOB_ID_HEX], token[MS_TOKEN_HEX];
    (void)state;
    junk_count = 0;
    ms_queue_on_junk(queue, take_junk, NULL);
    push("{\"hash\": \"too short\"}");
    push("plain junk");
    ask_server("eval \"redis.call('LPUSH', 'toWorker', string.rep('\xc3\xbc', 200))\" 0");
    ask_server("eval \"for n = 1, 60 do redis.call('LPUSH', 'toWorker', '{' .. n) end\" 0");
    ask_server("eval \"redis.call('LPUSH', 'toWorker', '{\\0' .. string.rep('[', 100000))\" 0");
    put(541, id);
    for (int i = 0;
         i < 10 && ms_queue_reserve(queue, "htdemucs", LEASE_MS, 0, &job, token, &err) != 0; i++)
        assert_true(i < 9);
    assert_string_equal(job.id, id);
    assert_int_equal(junk_count, 64);
    assert_string_equal(junk[0], "{\"hash\": \"too short\"}");
    assert_string_equal(junk[1], "plain junk");
    assert_int_equal(strlen(junk[2]), 2 * MS_JUNK_CHARACTERS);
    end(&job, token);
    expect_none();
    assert_int_equal(junk_count, 64);
    erase(id);
    ms_queue_on_junk(queue, NULL, NULL);
}

/* Behind jobs that wait for another model, too: whoever is free takes it. */
void what_any_worker_may_do_waits_for_no_model(void **state) {
    enum { OTHERS = 3 };
    struct ms_job job;
    char ids[OTHERS][MS_JOB_ID_HEX], token[MS_TOKEN_HEX];
    (void)state;
    for (int i = 0; i < OTHERS; i++)
        put(560 + i, ids[i]); /* for htdemucs */
    push(HASH_A);
    push("no job");
    push("{\"hash\": \"" HASH_B "\"}");
    for (int i = 0; i < 2; i++) {
        OK(ms_queue_reserve(queue, "another", LEASE_MS, 0, &job, token, &err));
        assert_string_equal(job.id, i == 0 ? HASH_A : HASH_B);
        end(&job, token);
        erase(i == 0 ? HASH_A : HASH_B);
    }
    assert_int_equal(ms_queue_reserve(queue, "another", LEASE_MS, 0, &job, token, &err),
                     MS_ENOTFOUND);
    expect_list("redis.call('LLEN', 'toWorker') == 3", "");
    for (int i = 0; i < OTHERS; i++) {
        reserve(&job, token, LEASE_MS);
        assert_string_equal(job.id, ids[i]);
        end(&job, token);
        erase(ids[i]);
    }
    expect_none();
}

/* More of them than a claim looks at, twice. */
void what_any_worker_may_do_is_found_far_behind(void **state) {
    enum { OTHERS = 2200 };
    struct ms_job job;
    char command[400], token[MS_TOKEN_HEX];
    (void)state;
    (void)snprintf(command, sizeof command,
                   "eval \"for n = 1, %d do local id = string.format('%%056x', n) "
                   "redis.call('HSET', 'msaas:job:' .. id, 'revision', 1, 'place', 'waiting', "
                   "'model', 'htdemucs') redis.call('LPUSH', 'toWorker', id) end\" 0",
                   OTHERS);
    ask_server(command);
    push(HASH_A);
    push("no job");
    push("{\"hash\": \"" HASH_B "\"}");
    for (int i = 0; i < 2; i++) {
        OK(ms_queue_reserve(queue, "another", LEASE_MS, 60000, &job, token, &err));
        assert_string_equal(job.id, i == 0 ? HASH_A : HASH_B);
        end(&job, token);
        erase(i == 0 ? HASH_A : HASH_B);
    }
    assert_int_equal(ms_queue_reserve(queue, "another", LEASE_MS, 500, &job, token, &err),
                     MS_ENOTFOUND);
    (void)snprintf(command, sizeof command,
                   "eval \"for n = 1, redis.call('LLEN', 'toWorker') do redis.call('DEL', "
                   "'msaas:job:' .. redis.call('RPOP', 'toWorker')) end return %d\" 0",
                   OTHERS);
    ask_server(command);
    expect_none();
}

/* So many commands of this name since "config resetstat", those of scripts among them. */
static bool has_given(const char *name, int count) {
    char command[300];
    (void)snprintf(command, sizeof command,
                   "redis-cli -h 127.0.0.1 -p %s -a s3cret --no-auth-warning info commandstats "
                   "| grep -q '^cmdstat_%s:calls=%d,'",
                   port, name, count);
    return system(command) == 0;
}

/* However many workers ask, and however often. One of them looks all the same, as a job of another
 * program may stand among them, and another job may have been taken. */
void jobs_of_other_models_cost_idle_workers_little(void **state) {
    enum { OTHERS = 20, WORKERS = 50 };
    struct ms_reaped reaped;
    struct ms_job job;
    char ids[OTHERS][MS_JOB_ID_HEX], token[MS_TOKEN_HEX];
    (void)state;
    for (int i = 0; i < OTHERS; i++)
        put(570 + i, ids[i]);
    ask_server("config resetstat");
    ask_server("set msaas:looked:another somebody px 600000");
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(ms_queue_reserve(queue, "another", LEASE_MS, 0, &job, token, &err),
                         MS_ENOTFOUND);
    assert_true(has_given("lindex", WORKERS));
    ask_server("hset msaas:models htdemucs 0"); /* nobody had it, but it is too soon to judge */
    ask_server("config resetstat");
    OK(ms_queue_reap(queue, "another", 600000, &reaped, &err));
    assert_true(has_given("evalsha", 4)); /* an order each */
    ask_server("lpop toWorker");
    push(HASH_A);
    assert_int_equal(ms_queue_reserve(queue, "another", LEASE_MS, 0, &job, token, &err),
                     MS_ENOTFOUND);
    ask_server("pexpire msaas:looked:another 1");
    OK(ms_queue_reserve(queue, "another", LEASE_MS, 1000 * DEADLINE_S, &job, token, &err));
    assert_string_equal(job.id, HASH_A);
    end(&job, token);
    erase(HASH_A);
    for (int i = 0; i < OTHERS; i++)
        erase(ids[i]);
    expect_none();
}

/* The list holds what the course's workers read, and for our own nothing is different. */
void the_list_may_hold_json(void **state) {
    struct ms_job job;
    char ids[3][MS_JOB_ID_HEX], waiting[4][MS_JOB_ID_HEX], token[MS_TOKEN_HEX], next[MS_CURSOR_MAX];
    struct ms_reaped reaped;
    struct ms_queue *plain = NULL;
    int count;
    (void)state;
    OK(ms_queue_open(url, &plain, &err)); /* a worker, which knows nothing of it */
    ms_queue_use_course_items(queue, true);
    for (int i = 0; i < 3; i++)
        put(550 + i, ids[i]);
    expect_list("(function(item) return item.songhash == ARGV[1] and item.hash == ARGV[1] and "
                "item.bucket == 'queue' and item.object == ARGV[1] .. '.mp3' and "
                "item.model == 'htdemucs' and item.callback == cjson.null end)"
                "(cjson.decode(redis.call('LINDEX', 'toWorker', -1)))",
                ids[0]);
    OK(ms_queue_waiting(queue, "", 4, waiting, &count, next, &err));
    assert_int_equal(count, 3);
    assert_memory_equal(waiting, ids, sizeof ids);
    OK(ms_queue_get(queue, ids[2], &job, &err));
    assert_int_equal(job.position, 2);
    ms_job_fini(&job);

    OK(ms_queue_reserve(plain, "htdemucs", LEASE_MS, 0, &job, token, &err));
    assert_string_equal(job.id, ids[0]);
    OK(ms_queue_change(plain, MS_CHANGE_REQUEUE, &job, token, 0, &err));
    ms_job_fini(&job);
    expect_list(
        "#redis.call('LINDEX', 'toWorker', -1) > 56 and redis.call('LLEN', 'toWorker') == 3",
        ""); /* put back as it was */

    erase(ids[1]);
    ask_server("rpop toWorker"); /* theirs takes it */
    ask_server("del msaas:looked");
    OK(ms_queue_reap(plain, "htdemucs", 600000, &reaped, &err));
    assert_int_equal(reaped.taken, 1);
    for (int i = 0; i < 3; i += 2) {
        OK(ms_queue_reserve(plain, "htdemucs", LEASE_MS, 0, &job, token, &err));
        assert_string_equal(job.id, ids[i]);
        assert_string_equal(job.options.model, "htdemucs");
        OK(ms_queue_change(plain, MS_CHANGE_FAIL, &job, token, 0, &err));
        ms_job_fini(&job);
        erase(ids[i]);
    }
    expect_none();
    expect_list("redis.call('EXISTS', 'toWorker') == 0", "");
    ms_queue_use_course_items(queue, false);
    ms_queue_close(plain);
}
