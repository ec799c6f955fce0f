/* The queue's contract, run unchanged against every backend:
 *
 *   queue_contract sqlite      in a folder of its own
 *   queue_contract redis       on a redis-server with AOF of its own, on a free port
 */
#include "queue_contract.h"

#include <signal.h>
#include <sys/wait.h>

static void a_job_goes_its_way(void **state) {
    char id[MS_JOB_ID_HEX], token[MS_TOKEN_HEX];
    struct ms_job job, seen;
    (void)state;
    put(1, id);
    OK(ms_queue_get(queue, id, &seen, &err));
    assert_int_equal(seen.state, MS_JOB_QUEUED);
    assert_int_equal(seen.position, 0);
    assert_true(seen.created_ms > 0);
    ms_job_fini(&seen);
    reserve(&job, token, LEASE_MS);
    assert_string_equal(job.id, id);
    assert_int_equal(job.attempts, 1);
    expect_none();
    job.progress = 0.5;
    job.eta_seconds = 7;
    job.preview_seconds = 10;
    OK(change(MS_CHANGE_RENEW, &job, token));
    job.preview_seconds = 5; /* of a thread that does not know the last piece */
    OK(change(MS_CHANGE_RENEW, &job, token));
    OK(ms_queue_get(queue, id, &seen, &err));
    assert_int_equal(seen.state, MS_JOB_RUNNING);
    assert_int_equal(seen.position, -1);
    assert_true(seen.progress == 0.5 && seen.eta_seconds == 7 && seen.preview_seconds == 10);
    ms_job_fini(&seen);
    add_stem(&job, "bass");
    add_stem(&job, "vocals");
    OK(change(MS_CHANGE_FINISH, &job, token));
    assert_int_equal(change(MS_CHANGE_RENEW, &job, token), MS_ECONFLICT);
    ms_job_fini(&job);
    OK(ms_queue_get(queue, id, &seen, &err));
    assert_int_equal(seen.state, MS_JOB_SUCCEEDED);
    assert_int_equal(seen.stem_count, 2);
    assert_string_equal(seen.stems[1].name, "vocals");
    assert_true(seen.preview_seconds == 0);
    assert_true(seen.progress == 1 && seen.finished_ms >= seen.started_ms &&
                seen.started_ms >= seen.created_ms);
    ms_job_fini(&seen);
    erase(id);
}

static void the_oldest_is_served_first(void **state) {
    char ids[5][MS_JOB_ID_HEX], token[MS_TOKEN_HEX], next[MS_CURSOR_MAX];
    int count = 0;
    (void)state;
    for (int i = 0; i < 5; i++)
        put(10 + i, ids[i]);
    char waiting[3][MS_JOB_ID_HEX], cursor[MS_CURSOR_MAX];
    OK(ms_queue_waiting(queue, "", 3, waiting, &count, next, &err));
    assert_int_equal(count, 3);
    for (int i = 0; i < 3; i++)
        assert_string_equal(waiting[i], ids[i]);
    memcpy(cursor, next, sizeof cursor);
    OK(ms_queue_waiting(queue, cursor, 3, waiting, &count, next, &err));
    assert_int_equal(count, 2);
    assert_string_equal(waiting[1], ids[4]);
    assert_string_equal(next, "");
    assert_int_equal(ms_queue_waiting(queue, "x", 3, waiting, &count, next, &err), MS_EUSAGE);
    assert_int_equal(ms_queue_waiting(queue, "", 0, waiting, &count, next, &err), MS_EUSAGE);
    struct ms_queue_stats stats;
    OK(ms_queue_stats(queue, &stats, &err));
    assert_int_equal(stats.jobs[MS_JOB_QUEUED], 5);
    UNTIL(ms_queue_stats(queue, &stats, &err) == 0 && stats.oldest_waiting_ms > 0);
    for (int i = 0; i < 5; i++) {
        struct ms_job job;
        reserve(&job, token, LEASE_MS);
        assert_string_equal(job.id, ids[i]);
        if (i == 0) { /* handed back: in front, and nothing counted */
            OK(change(MS_CHANGE_REQUEUE, &job, token));
            ms_job_fini(&job);
            reserve(&job, token, LEASE_MS);
            assert_string_equal(job.id, ids[0]);
            assert_int_equal(job.attempts, 1);
        }
        OK(change(MS_CHANGE_FAIL, &job, token));
        ms_job_fini(&job);
    }
    for (int i = 0; i < 5; i++)
        erase(ids[i]);
}

static atomic_int created_count;

static void *enqueue_one(void *argument) {
    struct ms_queue *own = NULL;
    struct ms_error mine;
    bool created = false;
    if (ms_queue_open(url, &own, &mine) == 0 &&
        ms_queue_enqueue(own, argument, &created, NULL, &mine) == 0)
        atomic_fetch_add(&created_count, created ? 1 : 0);
    else
        atomic_fetch_add(&created_count, 1000); /* an error is no success */
    ms_queue_close(own);
    return NULL;
}

static void of_many_at_once_one_creates(void **state) {
    struct ms_job job;
    pthread_t threads[16];
    (void)state;
    make_job(30, &job);
    atomic_store(&created_count, 0);
    for (int i = 0; i < 16; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, enqueue_one, &job), 0);
    for (int i = 0; i < 16; i++)
        (void)pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&created_count), 1);
    struct ms_job taken;
    char token[MS_TOKEN_HEX];
    reserve(&taken, token, LEASE_MS);
    expect_none();
    OK(change(MS_CHANGE_REQUEUE, &taken, token));
    ms_job_fini(&taken);
    erase(job.id);
    ms_job_fini(&job);
}

static void a_spoilt_record_harms_no_other(void **state) {
    char bad[MS_JOB_ID_HEX], good[MS_JOB_ID_HEX], token[MS_TOKEN_HEX], next[MS_CURSOR_MAX];
    struct ms_queue_filter filter = {.state = -1, .limit = 10};
    struct ms_queue_stats stats;
    struct ms_job job, jobs[10];
    int count = 0;
    bool gone, created;
    (void)state;
    for (int how = 0; how < 3; how++) {
        put(50 + 2 * how, bad);
        put(51 + 2 * how, good);
        spoil(bad, how);
        OK(ms_queue_stats(queue, &stats, &err));
        OK(ms_queue_list(queue, &filter, jobs, &count, next, &err));
        assert_int_equal(count, 1);
        assert_string_equal(jobs[0].id, good);
        ms_job_fini(&jobs[0]);
        assert_int_equal(ms_queue_get(queue, bad, &job, &err), MS_ECORRUPT);
        OK(reap(&count));
        reserve(&job, token, LEASE_MS);
        assert_string_equal(job.id, good);
        OK(change(MS_CHANGE_FINISH, &job, token));
        ms_job_fini(&job);
        expect_none();
        erase(good);
        if (!redis || how != 2) { /* it is not served for ever */
            OK(ms_queue_get(queue, bad, &job, &err));
            assert_int_equal(job.state, MS_JOB_FAILED);
            assert_string_equal(job.error_code, "corrupt");
            ms_job_fini(&job);
        }
        /* The song comes again and takes the place; or it is erased. */
        if (how != 1) {
            make_job(50 + 2 * how, &job);
            OK(ms_queue_enqueue(queue, &job, &created, NULL, &err));
            ms_job_fini(&job);
            assert_true(created);
            reserve(&job, token, LEASE_MS);
            assert_string_equal(job.id, bad);
            OK(change(MS_CHANGE_FINISH, &job, token));
            ms_job_fini(&job);
            spoil(bad, how);
        }
        assert_int_equal(ms_queue_erase(queue, bad, "bass", &gone, NULL, &err), MS_ENOTFOUND);
        erase(bad);
    }
    OK(ms_queue_stats(queue, &stats, &err));
    for (int i = 0; i < MS_JOB_STATES; i++)
        assert_int_equal(stats.jobs[i], 0);
}

static void a_song_that_comes_again(void **state) {
    struct ms_job job, now, taken;
    char token[MS_TOKEN_HEX];
    bool created;
    (void)state;
    make_job(31, &job);
    OK(ms_queue_enqueue(queue, &job, &created, NULL, &err));
    reserve(&taken, token, LEASE_MS);
    add_stem(&taken, "bass");
    add_stem(&taken, "drums");
    OK(change(MS_CHANGE_FINISH, &taken, token));
    ms_job_fini(&taken);
    OK(ms_queue_enqueue(queue, &job, &created, &now, &err));
    assert_false(created);
    assert_int_equal(now.state, MS_JOB_SUCCEEDED);
    assert_int_equal(now.position, -1);
    ms_job_fini(&now);
    bool gone;
    OK(ms_queue_erase(queue, job.id, "bass", &gone, &now, &err));
    assert_false(gone);
    assert_int_equal(now.stem_count, 2);
    ms_job_fini(&now);
    assert_int_equal(ms_queue_erase(queue, job.id, "bass", &gone, NULL, &err), MS_ENOTFOUND);
    OK(ms_queue_enqueue(queue, &job, &created, &now, &err)); /* a stem is missing: once more */
    assert_true(created);
    assert_int_equal(now.state, MS_JOB_QUEUED);
    assert_int_equal(now.stem_count, 0);
    assert_int_equal(now.position, 0);
    ms_job_fini(&now);
    reserve(&taken, token, LEASE_MS);
    (void)snprintf(taken.error_code, sizeof taken.error_code, "input");
    (void)snprintf(taken.error_message, sizeof taken.error_message, "no song");
    OK(change(MS_CHANGE_FAIL, &taken, token));
    ms_job_fini(&taken);
    OK(ms_queue_get(queue, job.id, &now, &err));
    assert_int_equal(now.state, MS_JOB_FAILED);
    assert_string_equal(now.error_message, "no song");
    ms_job_fini(&now);
    OK(ms_queue_enqueue(queue, &job, &created, &now, &err)); /* what failed may be tried again */
    assert_true(created);
    assert_string_equal(now.error_code, "");
    assert_int_equal(now.attempts, 0);
    ms_job_fini(&now);
    reserve(&taken, token, LEASE_MS);
    add_stem(&taken, "bass");
    OK(change(MS_CHANGE_FINISH, &taken, token));
    ms_job_fini(&taken);
    OK(ms_queue_erase(queue, job.id, "bass", &gone, NULL, &err)); /* the last one */
    assert_true(gone);
    ms_job_fini(&job);
}

static void a_job_whose_stems_are_gone_expires(void **state) {
    struct ms_job job, done, now;
    char id[MS_JOB_ID_HEX], token[MS_TOKEN_HEX];
    bool created, gone;
    (void)state;
    put(32, id);
    make_job(32, &job);
    assert_string_equal(job.id, id);
    for (int again = 0; again < 2; again++) {
        reserve(&done, token, LEASE_MS);
        OK(ms_queue_expire(queue, &done, &err)); /* it runs: nothing happens */
        assert_int_equal(state_of(id), MS_JOB_RUNNING);
        add_stem(&done, "bass");
        add_stem(&done, "drums");
        nap(); /* so that it ends at another time than the first one */
        OK(change(MS_CHANGE_FINISH, &done, token));
        ms_job_fini(&done);
        if (again == 1) { /* whoever looked at the first one is too late */
            OK(ms_queue_expire(queue, &now, &err));
            assert_int_equal(state_of(id), MS_JOB_SUCCEEDED);
            ms_job_fini(&now);
        }
        OK(ms_queue_get(queue, id, &now, &err));
        OK(ms_queue_expire(queue, &now, &err));
        assert_int_equal(state_of(id), MS_JOB_EXPIRED);
        struct ms_queue_stats stats;
        OK(ms_queue_stats(queue, &stats, &err));
        assert_int_equal(stats.jobs[MS_JOB_EXPIRED], 1);
        assert_int_equal(stats.jobs[MS_JOB_SUCCEEDED], 0);
        if (again == 0) { /* the same song once more */
            OK(ms_queue_enqueue(queue, &job, &created, NULL, &err));
            assert_true(created);
            assert_int_equal(state_of(id), MS_JOB_QUEUED);
        }
    }
    ms_job_fini(&now);
    OK(ms_queue_erase(queue, id, "bass", &gone, &now, &err));
    assert_int_equal(now.stem_count, 2);
    ms_job_fini(&now);
    OK(ms_queue_erase(queue, id, "drums", &gone, NULL, &err));
    assert_true(gone);
    OK(ms_queue_expire(queue, &job, &err)); /* it is not there: nothing happens */
    assert_int_equal(ms_queue_get(queue, id, &now, &err), MS_ENOTFOUND);
    ms_job_fini(&job);
}

static void cancel_is_answered_by_the_worker(void **state) {
    char id[MS_JOB_ID_HEX], token[MS_TOKEN_HEX];
    struct ms_job job, was;
    bool gone;
    (void)state;
    put(60, id);
    reserve(&job, token, LEASE_MS);
    OK(ms_queue_erase(queue, id, NULL, &gone, &was, &err));
    assert_false(gone);
    assert_int_equal(was.state, MS_JOB_RUNNING);
    ms_job_fini(&was);
    bool created;
    assert_int_equal(ms_queue_enqueue(queue, &job, &created, NULL, &err), MS_ECONFLICT);
    assert_int_equal(change(MS_CHANGE_RENEW, &job, token), MS_ECANCELED);
    assert_int_equal(change(MS_CHANGE_FINISH, &job, token), MS_ECANCELED);
    OK(change(MS_CHANGE_CANCEL, &job, token));
    ms_job_fini(&job);
    assert_int_equal(ms_queue_get(queue, id, &job, &err), MS_ENOTFOUND);
    put(61, id); /* one that waits vanishes at once */
    erase(id);
    expect_none();
    assert_int_equal(ms_queue_erase(queue, id, NULL, &gone, NULL, &err), MS_ENOTFOUND);
    put(62, id); /* a worker that dies after the cancel */
    reserve(&job, token, SHORT_MS);
    ms_job_fini(&job);
    OK(ms_queue_erase(queue, id, NULL, &gone, NULL, &err));
    int count;
    UNTIL(reap(&count) == 0 && ms_queue_get(queue, id, &job, &err) == MS_ENOTFOUND);
    expect_none();
}

static void the_log_comes_in_order_and_has_an_end(void **state) {
    enum { MOST = 100 };
    char *line = NULL, text[MOST][40];
    const char *lines[MOST];
    (void)state;
    assert_int_equal(ms_loglist_pop(queue, 0, &line, &err), MS_ENOTFOUND);
    if (redis) /* so many lines, each on disk, take a minute */
        ask_server("config set appendfsync everysec");
    OK(ms_loglist_push(queue, NULL, 0, &err));
    for (int first = 0, together = 1; first < MS_LOG_LIST_MAX + 100; first += together) {
        together = first % MOST == 0 ? 1 : MOST - first % MOST;
        for (int i = 0; i < together; i++) {
            (void)snprintf(text[i], sizeof text[i], "host.rest.info:line %d", first + i);
            lines[i] = text[i];
        }
        OK(ms_loglist_push(queue, lines, together, &err));
    }
    int last = -1, count = 0;
    while (ms_loglist_pop(queue, 0, &line, &err) == 0) {
        const int number = (int)strtol(strrchr(line, ' '), NULL, 10);
        assert_true(number > last);
        last = number;
        count++;
        free(line);
    }
    if (redis)
        ask_server("config set appendfsync always");
    assert_int_equal(last, MS_LOG_LIST_MAX + 99);
    assert_true(count >= MS_LOG_LIST_MAX && count < MS_LOG_LIST_MAX + 100);
    OK(ms_loglist_push(queue, (const char *[]){"waited for"}, 1, &err));
    OK(ms_loglist_pop(queue, 2000, &line, &err));
    assert_string_equal(line, "waited for");
    free(line);
}

static void other_processes_share_it(void **state) {
    enum { CHILDREN = 4, JOBS = 24 };
    char id[MS_JOB_ID_HEX];
    pid_t children[CHILDREN];
    int done = 0;
    (void)state;
    for (int i = 0; i < JOBS; i++)
        put(100 + i, id);
    for (int c = 0; c < CHILDREN; c++) {
        children[c] = fork();
        assert_true(children[c] >= 0);
        if (children[c] != 0)
            continue;
        struct ms_queue *own = NULL;
        struct ms_job job;
        char token[MS_TOKEN_HEX];
        int mine = 0;
        int rc = ms_queue_open(url, &own, &err);
        while (rc == 0 && ms_queue_reserve(own, "htdemucs", LEASE_MS, 0, &job, token, &err) == 0) {
            rc = ms_queue_change(own, MS_CHANGE_FINISH, &job, token, LEASE_MS, &err);
            ms_job_fini(&job);
            mine++;
        }
        _exit(rc == 0 ? mine : 255);
    }
    for (int c = 0; c < CHILDREN; c++) {
        int status;
        assert_int_equal(waitpid(children[c], &status, 0), children[c]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 255);
        done += WEXITSTATUS(status);
    }
    assert_int_equal(done, JOBS); /* each once */
    struct ms_queue_stats stats;
    OK(ms_queue_stats(queue, &stats, &err));
    assert_int_equal(stats.jobs[MS_JOB_SUCCEEDED], JOBS);
}

static void a_waiting_worker_wakes_up(void **state) {
    struct ms_job job, taken;
    char token[MS_TOKEN_HEX];
    pthread_t thread;
    (void)state;
    make_job(80, &job);
    assert_int_equal(pthread_create(&thread, NULL, enqueue_one, &job), 0);
    /* Longer than this program may run: it is the job that ends the wait. */
    OK(ms_queue_reserve(queue, "htdemucs", LEASE_MS, 24 * 3600 * 1000, &taken, token, &err));
    (void)pthread_join(thread, NULL);
    OK(change(MS_CHANGE_FAIL, &taken, token));
    ms_job_fini(&taken);
    erase(job.id);
    ms_job_fini(&job);
}

static void nonsense_is_refused(void **state) {
    static const char *const bad[] = {"",        "http://h",   "redis://", "redis://h/x",
                                      "sqlite:", "redis://h:0"};
    struct ms_queue *none = NULL;
    struct ms_job job;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(ms_queue_open(bad[i], &none, &err), MS_EUSAGE);
    assert_int_equal(ms_queue_get(queue, "../etc", &job, &err), MS_ENOTFOUND);
}

static void a_good_setup_gives_no_warning(void **state) {
    const char *warning;
    (void)state;
    OK(ms_queue_ping(queue, &warning, &err));
    assert_null(warning);
}

int main(int argc, char **argv) {
    const struct CMUnitTest common[] = {
        cmocka_unit_test(a_job_goes_its_way),
        cmocka_unit_test(the_oldest_is_served_first),
        cmocka_unit_test(many_may_wait),
        cmocka_unit_test(lists_go_back_in_time),
        cmocka_unit_test(each_owner_has_jobs_of_its_own),
        cmocka_unit_test(lists_of_an_owner_go_back_in_time),
        cmocka_unit_test(what_an_owner_uses_is_limited),
        cmocka_unit_test(bytes_before_a_job_are_charged_once),
        cmocka_unit_test(many_at_once_keep_within_the_limit),
        cmocka_unit_test(the_length_is_charged_when_it_is_known),
        cmocka_unit_test(a_day_ends),
        cmocka_unit_test(of_many_at_once_one_creates),
        cmocka_unit_test(a_spoilt_record_harms_no_other),
        cmocka_unit_test(a_song_that_comes_again),
        cmocka_unit_test(a_job_whose_stems_are_gone_expires),
        cmocka_unit_test(what_ended_long_ago_is_forgotten),
        cmocka_unit_test(a_record_of_an_earlier_release_is_read),
        cmocka_unit_test(a_lapsed_lease_goes_back),
        cmocka_unit_test(a_lease_of_the_dead_is_given_back),
        cmocka_unit_test(a_renewed_lease_holds),
        cmocka_unit_test(failures_that_pass_are_tried_again),
        cmocka_unit_test(a_crash_counts_only_where_one_was_before),
        cmocka_unit_test(a_job_goes_to_a_worker_that_has_its_model),
        cmocka_unit_test(many_jobs_of_other_models_are_no_hindrance),
        cmocka_unit_test(a_job_whose_model_nobody_has_fails),
        cmocka_unit_test(cancel_is_answered_by_the_worker),
        cmocka_unit_test(every_callback_of_a_song_is_due),
        cmocka_unit_test(nothing_holds_up_the_outbox),
        cmocka_unit_test(callbacks_wait_in_the_outbox),
        cmocka_unit_test(a_request_under_a_key_is_done_once),
        cmocka_unit_test(a_key_without_an_answer_is_free),
        cmocka_unit_test(notes_lapse),
        cmocka_unit_test(of_many_under_one_key_one_is_done),
        cmocka_unit_test(the_log_comes_in_order_and_has_an_end),
        cmocka_unit_test(a_waiting_worker_wakes_up),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(a_good_setup_gives_no_warning),
        cmocka_unit_test(other_processes_share_it), /* last: its jobs stay */
    };
    const size_t count = sizeof common / sizeof *common;
    if (argc != 2 || (strcmp(argv[1], "sqlite") != 0 && strcmp(argv[1], "redis") != 0)) {
        fprintf(stderr, "usage: %s sqlite|redis\n", argv[0]);
        return 2;
    }
    redis = strcmp(argv[1], "redis") == 0;
    const size_t own = redis ? redis_test_count : sqlite_test_count;
    struct CMUnitTest all[64];
    assert_true(own + count <= sizeof all / sizeof *all);
    memcpy(all, redis ? redis_tests : sqlite_tests, own * sizeof *all);
    memcpy(all + own, common, sizeof common);
    return _cmocka_run_group_tests(argv[1], all, own + count, start, stop);
}
