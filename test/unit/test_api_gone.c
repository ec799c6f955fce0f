/* The store is the truth: stems that are gone from it, and stems of which the queue knows nothing.
 * The test is the worker. */
#include "api_site.h"

static void remove_stem(const char *id, const char *name) {
    char key[MS_JOB_KEY_MAX];
    (void)snprintf(key, sizeof key, "%s-%s.mp3", id, name);
    assert_int_equal(ms_store_remove(store, MS_BUCKET_STEMS, key, NULL), 0);
}

/* The queue has lost its records; the store has not lost its tracks. */
static void v1_answers_from_the_store_what_the_queue_has_lost(void **state) {
    char id[MS_JOB_ID_HEX];
    bool gone;
    (void)state;
    submit("", id);
    work(id, four);
    assert_int_equal(ms_queue_erase(queue, id, NULL, &gone, NULL, NULL), 0);
    assert_true(gone);
    struct answer answer = track("GET", "track", id, "base");
    expect_stem("from the store", &answer, "bass");
    assert_string_equal(header(&answer, "Content-Type"), "audio/mpeg");
    assert_int_equal(strlen(header(&answer, "ETag")), 66);
    answer_free(&answer);
    char path[128];
    (void)snprintf(path, sizeof path, "/apiv1/track/%s/vocals.mp3", id);
    answer = call_at(peer.port, "GET", path, "Range: bytes=0-0\r\n", NULL, 0);
    expect("a part", &answer, 206);
    answer_free(&answer);
    answer = call("HEAD", path);
    expect("its head", &answer, 200);
    assert_string_equal(header(&answer, "Content-Length"), "600000");
    answer_free(&answer);
    expect_problem("unknown", track("GET", "track", id, "guitar"), 404, NULL);
    expect_problem("no id", track("GET", "track", "x", "bass"), 404, NULL);
    expect_problem("no id", track("DELETE", "remove", "x", "bass"), 404, NULL);
    for (int i = 0; four[i] != NULL; i++) {
        answer = track(i % 2 == 0 ? "GET" : "DELETE", "remove", id, four[i]);
        expect("remove", &answer, 200);
        assert_string_equal(member(&answer, "reason"), "Track removed");
        answer_free(&answer);
        expect_problem("removed", track("GET", "track", id, four[i]), 404, NULL);
        expect_problem("again", track("DELETE", "remove", id, four[i]), 404, NULL);
    }
    assert_int_equal(ms_store_remove(store, MS_BUCKET_SONGS, id, NULL), 0);
    expect_empty();
}

static void expect_state(const char *id, const char *wanted) {
    char path[128], got[32] = "";
    (void)snprintf(path, sizeof path, "/apiv2/jobs/%s", id);
    /* it is not looked at each time */
    for (int tries = 0; strcmp(got, wanted) != 0 && tries < 6000; tries++) {
        struct answer answer = call("GET", path);
        expect(path, &answer, 200);
        (void)snprintf(got, sizeof got, "%s", member(&answer, "state"));
        answer_free(&answer);
        (void)usleep(tries > 0 ? 10000 : 0);
    }
    assert_string_equal(got, wanted);
}

static struct answer send_again(const char *song, size_t size) {
    struct answer answer = post("/apiv2/jobs", "audio/wav", song, size);
    expect("the same song again", &answer, 202);
    return answer;
}

/* Whoever notices it first: who looks at the job, who fetches a stem, who sends the song again. */
static void v2_says_that_stems_are_gone_and_makes_them_anew(void **state) {
    char song[64], id[MS_JOB_ID_HEX];
    const size_t size = new_song(song);
    (void)state;
    struct answer answer = send_again(song, size);
    (void)snprintf(id, sizeof id, "%s", member(&answer, "id"));
    answer_free(&answer);
    work(id, four);
    expect_state(id, "succeeded");
    remove_stem(id, "drums");
    expect_state(id, "expired");
    expect_problem("its stem", get_stem(id, "GET", ""), 410, "job_expired");
    answer = get_stem(id, "HEAD", "");
    expect("its stem's head", &answer, 410);
    answer_free(&answer);
    answer = track("GET", "track", id, "bass"); /* this one is there */
    expect_stem("another stem", &answer, "bass");
    answer_free(&answer);
    answer = call("GET", "/apiv2/jobs?state=expired");
    assert_int_equal(ms_json_count(ms_json_get(answer.json, "jobs")), 1);
    answer_free(&answer);

    answer = send_again(song, size);
    assert_string_equal(member(&answer, "state"), "queued");
    answer_free(&answer);
    work(id, four);
    remove_stem(id, "vocals");
    answer = send_again(song, size); /* nobody has noticed before */
    assert_string_equal(member(&answer, "state"), "queued");
    answer_free(&answer);
    work(id, four);
    answer = send_again(song, size);
    assert_string_equal(member(&answer, "state"), "succeeded");
    answer_free(&answer);
    remove_stem(id, "bass");
    expect_problem("the track", track("GET", "track", id, "bass"), 410, NULL);
    struct ms_job job;
    assert_int_equal(ms_queue_get(queue, id, &job, NULL), 0);
    assert_int_equal(job.state, MS_JOB_EXPIRED);
    ms_job_fini(&job);
    erase(id);
    expect_empty();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(v1_answers_from_the_store_what_the_queue_has_lost),
        cmocka_unit_test(v2_says_that_stems_are_gone_and_makes_them_anew),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
