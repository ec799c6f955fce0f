/* Jobs that ended long ago, and those of earlier releases. See queue_contract.h. */
#include "queue_contract.h"

#define HOUR_MS 3600000

static void end_next(enum ms_queue_change how) {
    struct ms_job job;
    char token[MS_TOKEN_HEX];
    reserve(&job, token, LEASE_MS);
    add_stem(&job, "bass");
    OK(change(how, &job, token));
    ms_job_fini(&job);
}

static bool is_old(const char *id, int64_t keep_ms) {
    struct ms_job job;
    const int rc = ms_queue_get_old(queue, id, keep_ms, &job, &err);
    if (rc == 0)
        ms_job_fini(&job);
    else
        assert_int_equal(rc, MS_ENOTFOUND);
    return rc == 0;
}

static void expect_list(int64_t keep_ms, int64_t skip, int expected, const char *first) {
    char ids[MS_OLD_MAX][MS_JOB_ID_HEX];
    int count = -1;
    OK(ms_queue_list_old(queue, keep_ms, skip, ids, &count, &err));
    assert_int_equal(count, expected);
    if (first != NULL)
        assert_string_equal(ids[0], first);
}

void what_ended_long_ago_is_forgotten(void **state) {
    enum { DONE, FAILED, AGAIN, SPOILT, WAITING, COUNT };
    char ids[COUNT][MS_JOB_ID_HEX], again[MS_JOB_ID_HEX];
    struct ms_job seen;
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        put(2000 + i, ids[i]);
        nap(); /* so that each came in a millisecond of its own */
    }
    UNTIL(ms_queue_get(queue, ids[WAITING], &seen, &err) == 0 &&
          ms_unix_ms() - seen.created_ms >= SHORT_MS);
    ms_job_fini(&seen);
    end_next(MS_CHANGE_FINISH);
    for (int i = FAILED; i <= SPOILT; i++)
        end_next(MS_CHANGE_FAIL);

    expect_list(HOUR_MS, 0, 0, NULL);
    expect_list(0, 0, COUNT, ids[DONE]);
    expect_list(0, WAITING, 1, ids[WAITING]);
    expect_list(0, COUNT, 0, NULL);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(is_old(ids[i], 0), i != WAITING);
        assert_false(is_old(ids[i], HOUR_MS));
    }
    assert_false(is_old("nothing", 0));
    /* It came long ago, but has only just ended. */
    if (is_old(ids[DONE], SHORT_MS)) {
        OK(ms_queue_get(queue, ids[DONE], &seen, &err));
        assert_true(ms_unix_ms() - seen.finished_ms >= SHORT_MS);
        ms_job_fini(&seen);
    }
    UNTIL(is_old(ids[DONE], SHORT_MS));

    put(2000 + AGAIN, again);
    assert_string_equal(again, ids[AGAIN]);
    assert_int_equal(ms_queue_forget(queue, ids[AGAIN], 0, &err), MS_ENOTFOUND);
    assert_int_equal(ms_queue_forget(queue, ids[WAITING], 0, &err), MS_ENOTFOUND);
    assert_int_equal(ms_queue_forget(queue, ids[DONE], HOUR_MS, &err), MS_ENOTFOUND);
    OK(ms_queue_get_old(queue, ids[DONE], SHORT_MS, &seen, &err));
    assert_string_equal(seen.stems[0].name, "bass");
    ms_job_fini(&seen);
    spoil(ids[SPOILT], 0);
    for (int i = DONE; i <= SPOILT; i++) {
        if (i == AGAIN)
            continue;
        OK(ms_queue_forget(queue, ids[i], 0, &err));
        assert_int_equal(ms_queue_get(queue, ids[i], &seen, &err), MS_ENOTFOUND);
        assert_int_equal(ms_queue_forget(queue, ids[i], 0, &err), MS_ENOTFOUND);
    }
    assert_int_equal(state_of(ids[AGAIN]), MS_JOB_QUEUED);
    erase(ids[AGAIN]);
    erase(ids[WAITING]);
}

/* A document as the release before lossless stems wrote it. */
void a_record_of_an_earlier_release_is_read(void **state) {
    static const char doc[] =
        "{\"id\":\"%s\",\"state\":\"succeeded\",\"input\":{\"name\":\"a.mp3\",\"bytes\":3,"
        "\"seconds\":1.5},\"options\":{\"model\":\"htdemucs\",\"stems\":null,\"two_stems\":null,"
        "\"format\":\"flac\",\"bitrate\":null,\"shifts\":0,\"seed\":0,\"overlap\":0.25,"
        "\"clip\":\"rescale\",\"precision\":\"auto\"},\"callback\":null,\"other_callbacks\":[],"
        "\"created_ms\":1764000000123,\"started_ms\":1764000000124,\"finished_ms\":1764000000125,"
        "\"not_before_ms\":0,\"attempts\":1,\"failures\":0,\"crashes\":0,\"reached\":0,"
        "\"networks\":1,\"progress\":1,\"eta_seconds\":null,\"cancel_asked\":false,"
        "\"stems\":[{\"name\":\"vocals\",\"bytes\":77,\"sha256\":\"%064d\"}],\"error\":null,"
        "\"receipt\":null}";
    char id[MS_JOB_ID_HEX], text[2000], path[100], command[400];
    struct ms_job job;
    (void)state;
    put(2100, id);
    end_next(MS_CHANGE_FINISH);
    (void)snprintf(text, sizeof text, doc, id, 0);
    (void)snprintf(path, sizeof path, "%s/doc", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    if (redis)
        (void)snprintf(command, sizeof command,
                       "redis-cli -h 127.0.0.1 -p %s -a s3cret --no-auth-warning -n 3 -x "
                       "hset msaas:job:%s doc <%s >/dev/null",
                       port, id, path);
    else
        (void)snprintf(command, sizeof command,
                       "python3 -c 'import sqlite3; db = sqlite3.connect(\"%s/queue.db\"); "
                       "db.execute(\"UPDATE jobs SET doc = ? WHERE id = ?\", "
                       "(open(\"%s\").read(), \"%s\")); db.commit()'",
                       folder, path, id);
    assert_int_equal(system(command), 0);
    OK(ms_queue_get(queue, id, &job, &err));
    assert_int_equal(job.state, MS_JOB_SUCCEEDED);
    assert_string_equal(job.options.format, "flac");
    assert_int_equal(job.stem_count, 1);
    assert_int_equal(job.stems[0].bytes, 77);
    assert_string_equal(job.stems[0].kept_sha256, "");
    ms_job_fini(&job);
    struct ms_job present;
    bool created = true;
    make_job(2100, &job);
    OK(ms_queue_enqueue(queue, &job, &created, &present, &err));
    assert_false(created);
    assert_int_equal(present.state, MS_JOB_SUCCEEDED);
    ms_job_fini(&job);
    ms_job_fini(&present);
    erase(id);
}
