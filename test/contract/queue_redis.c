/* Tests of Redis alone: the server dies, strangers misuse it, it is badly set up; and what each
 * step costs it. See queue_contract.h. */
#include "queue_contract.h"

#include <signal.h>
#include <sys/wait.h>

static void killed_and_started_again_it_has_lost_nothing(void **state) {
    char ids[10][MS_JOB_ID_HEX], token[MS_TOKEN_HEX];
    struct ms_job job;
    (void)state;
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

/* ---- commands that the server gets ---- */

/* redis-cli MONITOR, into a file. */
static pid_t begin_watching(void) {
    char path[100];
    (void)snprintf(path, sizeof path, "%s/monitor.log", folder);
    FILE *log = fopen(path, "w"); /* there before the first look */
    assert_non_null(log);
    (void)fclose(log);
    const pid_t watcher = fork();
    assert_true(watcher >= 0);
    if (watcher == 0) {
        if (freopen(path, "w", stdout) != NULL)
            (void)execlp("redis-cli", "redis-cli", "-h", "127.0.0.1", "-p", port, "-a", "s3cret",
                         "--no-auth-warning", "monitor", (char *)NULL);
        _exit(127);
    }
    return watcher;
}

/* Commands of clients since watching began; each call needs another mark. Those of scripts do not
 * count, nor those of ask_server, which are in lower case but for its SELECT. */
static int commands(const char *mark) {
    char path[100], command[60], line[5000];
    int count = 0;
    bool whole = false;
    (void)snprintf(path, sizeof path, "%s/monitor.log", folder);
    (void)snprintf(command, sizeof command, "echo %s", mark);
    for (const double until_s = ms_monotonic_s() + DEADLINE_S; !whole; nap()) {
        assert_true(ms_monotonic_s() < until_s);
        ask_server(command);
        FILE *log = fopen(path, "r");
        assert_non_null(log);
        for (count = 0; fgets(line, sizeof line, log) != NULL;) {
            const char *name = strchr(line, '"');
            count += strstr(line, " [3 ") != NULL && strstr(line, " lua] ") == NULL &&
                     name != NULL && name[1] >= 'A' && name[1] <= 'Z' &&
                     strncmp(name, "\"SELECT\"", 8) != 0;
            whole = whole || strstr(line, mark) != NULL;
        }
        (void)fclose(log);
    }
    return count;
}

static void end_watching(pid_t watcher) {
    (void)kill(watcher, SIGKILL);
    (void)waitpid(watcher, NULL, 0);
}

static void each_step_is_few_round_trips(void **state) {
    struct ms_job job, now, taken;
    char token[MS_TOKEN_HEX];
    bool created;
    (void)state;
    make_job(95, &job);
    expect_none(); /* connected, and the script is loaded */
    const pid_t watcher = begin_watching();
    int before = commands("mark-begin");
    assert_int_equal(ms_queue_get(queue, job.id, &now, &err), MS_ENOTFOUND);
    OK(ms_queue_enqueue(queue, &job, &created, &now, &err));
    assert_true(created);
    assert_int_equal(now.position, 0);
    ms_job_fini(&now);
    int after = commands("mark-queued");
    assert_int_equal(after - before, 2); /* a new song: looked up and queued, with its position */
    before = after;
    reserve(&taken, token, LEASE_MS);
    after = commands("mark-reserved");
    assert_int_equal(after - before, 1); /* claimed in one step */
    before = after;
    OK(change(MS_CHANGE_FINISH, &taken, token));
    after = commands("mark-finished");
    assert_int_equal(after - before, 2);
    before = after;
    ms_job_fini(&taken);
    OK(ms_queue_enqueue(queue, &job, &created, &now, &err));
    assert_false(created);
    ms_job_fini(&now);
    after = commands("mark-again");
    assert_int_equal(after - before, 2);
    end_watching(watcher);
    erase(job.id);
    ms_job_fini(&job);
}

/* ---- strangers ---- */

#define STRANGERS "0123456789abcdef0123456789abcdef0123456789abcdef01234567"

static void a_strangers_item_becomes_a_job(void **state) {
    struct ms_job job;
    char token[MS_TOKEN_HEX];
    (void)state;
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

/* Any bytes, any length, ids whose record is no job that waits, a list that is none. */
static void a_strangers_junk_harms_nobody(void **state) {
    char ids[3][MS_JOB_ID_HEX], token[MS_TOKEN_HEX], command[250];
    struct ms_job job;
    bool created;
    (void)state;
    put(96, ids[0]);
    reserve(&job, token, LEASE_MS);
    OK(change(MS_CHANGE_FAIL, &job, token));
    ms_job_fini(&job);
    /* More than one claim looks at, in front of a job. */
    put(97, ids[1]);
    ask_server("eval \"for n = 1, 250 do redis.call('RPUSH', 'toWorker', 'junk ' .. n) end\" 0");
    ask_server("eval \"redis.call('RPUSH', 'toWorker', '', '\\0\\255\\r\\n', "
               "string.rep('f', 1000000), string.rep('F', 56), string.rep('\\0', 56))\" 0");
    (void)snprintf(command, sizeof command, "rpush toWorker %s", ids[0]); /* it has failed */
    ask_server(command);
    ask_server("set msaas:job:" STRANGERS " 'no hash'");
    ask_server("rpush toWorker " STRANGERS);
    reserve(&job, token, LEASE_MS);
    assert_string_equal(job.id, ids[1]);
    (void)snprintf(command, sizeof command, "rpush toWorker %s %s", ids[1], ids[1]);
    ask_server(command); /* it runs */
    expect_none();
    assert_int_equal(state_of(ids[0]), MS_JOB_FAILED);
    OK(change(MS_CHANGE_FINISH, &job, token));
    ms_job_fini(&job);
    ask_server("del msaas:job:" STRANGERS);

    ask_server("set toWorker 'no list'");
    make_job(98, &job);
    assert_int_equal(ms_queue_reserve(queue, "htdemucs", LEASE_MS, 10, &job, token, &err),
                     MS_ECORRUPT);
    ask_server("del toWorker");
    make_job(98, &job);
    OK(ms_queue_enqueue(queue, &job, &created, NULL, &err));
    assert_true(created);
    memcpy(ids[2], job.id, sizeof ids[2]);
    ms_job_fini(&job);
    reserve(&job, token, LEASE_MS);
    assert_string_equal(job.id, ids[2]);
    OK(change(MS_CHANGE_FAIL, &job, token));
    ms_job_fini(&job);
    for (int i = 0; i < 3; i++)
        erase(ids[i]);
}

static int look(void) {
    struct ms_reaped reaped;
    OK(ms_queue_reap(queue, "htdemucs", 600000, &reaped, &err));
    return reaped.taken;
}

/* Whoever looked before. */
static int look_now(void) {
    ask_server("del msaas:looked");
    return look();
}

/* As the course's own worker does it. A job that is on no list and has no lease would wait for
 * ever. */
static void what_a_stranger_takes_is_put_back(void **state) {
    char ids[4][MS_JOB_ID_HEX], waiting[5][MS_JOB_ID_HEX], token[MS_TOKEN_HEX], next[MS_CURSOR_MAX];
    struct ms_job job;
    int count = 0;
    (void)state;
    for (int i = 0; i < 4; i++) {
        const int64_t before_ms = ms_unix_ms();
        put(520 + i, ids[i]);
        UNTIL(ms_unix_ms() > before_ms + 1); /* so that one is older than the next */
    }
    reserve(&job, token, LEASE_MS); /* the oldest: leased */
    assert_int_equal(look_now(), 0);
    OK(ms_queue_waiting(queue, "", 5, waiting, &count, next, &err));
    assert_int_equal(count, 3);
    assert_memory_equal(waiting, ids[1], 3 * sizeof *ids); /* nothing has moved */

    ask_server("blpop toWorker 1"); /* the youngest */
    ask_server("rpop toWorker");    /* the oldest that waits */
    assert_int_equal(state_of(ids[3]), MS_JOB_QUEUED);
    assert_int_equal(look_now(), 2);
    OK(ms_queue_waiting(queue, "", 5, waiting, &count, next, &err));
    assert_int_equal(count, 3);
    assert_string_equal(waiting[0], ids[1]); /* in front, the oldest first */
    assert_string_equal(waiting[1], ids[3]);
    assert_string_equal(waiting[2], ids[2]);
    assert_int_equal(look_now(), 0);

    ask_server("del toWorker"); /* all of them */
    assert_int_equal(look_now(), 3);
    OK(change(MS_CHANGE_FAIL, &job, token));
    ms_job_fini(&job);
    for (int i = 1; i < 4; i++) {
        reserve(&job, token, LEASE_MS);
        assert_string_equal(job.id, ids[i]);
        assert_int_equal(job.attempts, 1);
        assert_int_equal(job.crashes, 0);
        OK(change(MS_CHANGE_FAIL, &job, token));
        ms_job_fini(&job);
    }
    expect_none();
    for (int i = 0; i < 4; i++)
        erase(ids[i]);
}

/* The others' time is for what has lapsed, which costs little. Who looked last may have died. */
static void of_many_workers_one_looks_for_what_was_taken(void **state) {
    char ids[2][MS_JOB_ID_HEX], token[MS_TOKEN_HEX];
    struct ms_queue *dead = NULL;
    struct ms_reaped reaped;
    struct ms_job job;
    int lapsed = 0;
    (void)state;
    put(530, ids[0]);
    put(531, ids[1]);
    ask_server("del msaas:looked");
    OK(ms_queue_open(url, &dead, &err));
    OK(ms_queue_reap(dead, "htdemucs", 600000, &reaped, &err));
    ms_queue_close(dead);
    ask_server("del toWorker");
    UNTIL(look() == 2); /* its turn ends by itself */

    reserve(&job, token, SHORT_MS);
    ms_job_fini(&job);
    ask_server("del toWorker");
    ask_server("set msaas:looked another px 600000");
    UNTIL(lapsed > 0 || reap(&lapsed) != 0);
    assert_int_equal(lapsed, 1);
    assert_int_equal(look(), 0);
    assert_int_equal(look_now(), 1);
    for (int i = 1; i >= 0; i--) { /* the last one put back is in front */
        reserve(&job, token, LEASE_MS);
        assert_string_equal(job.id, ids[i]);
        OK(change(MS_CHANGE_FAIL, &job, token));
        ms_job_fini(&job);
        erase(ids[i]);
    }
    expect_none();
}

enum { WAITERS = 8 };
static atomic_int got, ended;

static void *wait_for_job(void *context) {
    struct ms_queue *own = NULL;
    struct ms_error mine;
    struct ms_job job;
    char token[MS_TOKEN_HEX];
    int rc = ms_queue_open(url, &own, &mine);
    if (rc == 0)
        rc = ms_queue_reserve(own, "htdemucs", LEASE_MS, 24 * 3600 * 1000, &job, token, &mine);
    if (rc == 0) {
        rc = ms_queue_change(own, MS_CHANGE_FINISH, &job, token, 0, &mine);
        ms_job_fini(&job);
    }
    atomic_fetch_add(&got, rc == 0);
    atomic_fetch_add(&ended, 1);
    ms_queue_close(own);
    return context;
}

/* So many connections are blocked now. */
static bool waiting(int count) {
    char command[300];
    (void)snprintf(command, sizeof command,
                   "test \"$(redis-cli -h 127.0.0.1 -p %s -a s3cret --no-auth-warning info clients "
                   "| grep -c '^blocked_clients:%d.$')\" = 1",
                   port, count);
    return system(command) == 0;
}

/* An item wakes all who wait. What is no job is gone then, and they wait again; a job is one's. */
static void those_who_wait_do_not_spin(void **state) {
    pthread_t threads[WAITERS];
    char ids[WAITERS][MS_JOB_ID_HEX];
    (void)state;
    atomic_store(&got, 0);
    atomic_store(&ended, 0);
    for (int i = 0; i < WAITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wait_for_job, NULL), 0);
    UNTIL(waiting(WAITERS));
    const pid_t watcher = begin_watching();
    int before = commands("mark-waiting");
    ask_server("rpush toWorker junk");
    int after = 0;
    UNTIL((after = commands("mark-junk")) >= before + 2 * WAITERS || atomic_load(&ended) > 0);
    UNTIL(waiting(WAITERS));
    after = commands("mark-quiet");
    assert_int_equal(after - before, 2 * WAITERS); /* each: a claim, and to wait again */
    for (int i = 0; i < WAITERS; i++) {
        put(900 + i, ids[i]);
        UNTIL(atomic_load(&ended) == i + 1 && waiting(WAITERS - 1 - i));
    }
    assert_int_equal(atomic_load(&got), WAITERS);
    end_watching(watcher);
    for (int i = 0; i < WAITERS; i++) {
        (void)pthread_join(threads[i], NULL);
        erase(ids[i]);
    }
}

/* ---- setup ---- */

static void the_warnings_name_what_could_lose_jobs(void **state) {
    const char *warning;
    (void)state;
    ask_server("config set maxmemory 100mb");
    ask_server("config set maxmemory-policy allkeys-lru");
    OK(ms_queue_ping(queue, &warning, &err));
    assert_non_null(warning);
    assert_non_null(strstr(warning, "allkeys-lru"));
    ask_server("config set maxmemory-policy noeviction");
    ask_server("config set maxmemory 0");
    ask_server("config set appendonly no");
    OK(ms_queue_ping(queue, &warning, &err));
    assert_non_null(warning);
    assert_non_null(strstr(warning, "appendonly"));
    ask_server("config set appendonly yes");
}

static void a_wrong_password_is_denied(void **state) {
    struct ms_queue *other = NULL;
    const char *warning;
    char wrong[100];
    (void)state;
    (void)snprintf(wrong, sizeof wrong, "redis://:wr0ng@127.0.0.1:%s", port);
    OK(ms_queue_open(wrong, &other, &err));
    assert_int_equal(ms_queue_ping(other, &warning, &err), MS_EDENIED);
    assert_null(strstr(err.text, "wr0ng"));
    ms_queue_close(other);
}

const struct CMUnitTest redis_tests[] = {
    cmocka_unit_test(killed_and_started_again_it_has_lost_nothing),
    cmocka_unit_test(a_restart_costs_no_connection_a_call),
    cmocka_unit_test(only_what_harms_nobody_is_sent_again),
    cmocka_unit_test(a_wait_outlives_its_connection),
    cmocka_unit_test(each_step_is_few_round_trips),
    cmocka_unit_test(a_strangers_item_becomes_a_job),
    cmocka_unit_test(a_strangers_junk_harms_nobody),
    cmocka_unit_test(json_of_other_programs_is_a_job),
    cmocka_unit_test(what_is_no_job_is_told_of),
    cmocka_unit_test(what_any_worker_may_do_waits_for_no_model),
    cmocka_unit_test(what_any_worker_may_do_is_found_far_behind),
    cmocka_unit_test(jobs_of_other_models_cost_idle_workers_little),
    cmocka_unit_test(the_list_may_hold_json),
    cmocka_unit_test(what_a_stranger_takes_is_put_back),
    cmocka_unit_test(of_many_workers_one_looks_for_what_was_taken),
    cmocka_unit_test(those_who_wait_do_not_spin),
    cmocka_unit_test(the_warnings_name_what_could_lose_jobs),
    cmocka_unit_test(a_wrong_password_is_denied),
    cmocka_unit_test(each_refusal_passes_or_says_the_remedy),
    cmocka_unit_test(a_full_server_is_an_outage_that_passes),
    cmocka_unit_test(a_server_that_refuses_to_write_is_an_outage),
    cmocka_unit_test(a_missing_password_is_named_whatever_the_command),
    cmocka_unit_test(rights_that_are_missing_are_named),
};
const size_t redis_test_count = sizeof redis_tests / sizeof *redis_tests;
