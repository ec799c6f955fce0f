/* Requests that are sent again, that wait, and that have conditions: Idempotency-Key, Prefer: wait,
 * If-Match and If-None-Match. */
#include "api_site.h"
#include "idempotency.h"
#include "song_length.h"

#define WAITERS 12 /* more than the server has threads */

static struct answer send_song(const char *path, const char *headers, const char *song,
                               size_t size) {
    char all[500];
    (void)snprintf(all, sizeof all, "Content-Type: audio/wav\r\n%s", headers);
    return call_at(peer.port, "POST", path, all, song, size);
}

static struct answer get_job(const char *method, const char *id, const char *headers) {
    char path[128];
    (void)snprintf(path, sizeof path, "/apiv2/jobs/%s", id);
    return call_at(peer.port, method, path, headers, NULL, 0);
}

/* ---- keys ---- */

static void the_same_request_gets_the_same_answer(void **state) {
    char song[64], other[64], id[MS_JOB_ID_HEX];
    const size_t size = new_song(song), other_size = new_song(other);
    (void)state;
    struct answer first = send_song("/apiv2/jobs", "Idempotency-Key: \"one\"\r\n", song, size);
    expect("first", &first, 202);
    (void)snprintf(id, sizeof id, "%s", member(&first, "id"));
    work(id, four);
    static const char *const same[] = {
        "Idempotency-Key: \"one\"\r\n", "Idempotency-Key: \"o\\\"ne\"\r\n", /* another key */
        "Idempotency-Key: one\r\n", "Idempotency-Key: \"one\"; a=b\r\n"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        struct answer again = send_song("/apiv2/jobs", same[i], song, size);
        expect(same[i], &again, 202);
        assert_int_equal(strcmp(again.body, first.body) == 0, i != 1);
        assert_true(strstr(header(&again, "Location"), id) != NULL);
        answer_free(&again);
    }
    answer_free(&first);
    expect_problem("another song",
                   send_song("/apiv2/jobs", "Idempotency-Key: one\r\n", other, other_size), 422,
                   "idempotency_key_reused");
    expect_problem("other options",
                   send_song("/apiv2/jobs?shifts=1", "Idempotency-Key: one\r\n", song, size), 422,
                   "idempotency_key_reused");
    expect_problem("another name",
                   send_song("/apiv2/jobs?name=x", "Idempotency-Key: one\r\n", song, size), 422,
                   "idempotency_key_reused");
    erase(id);
    struct answer again = send_song("/apiv2/jobs", "Idempotency-Key: one\r\n", song, size);
    expect("erased meanwhile", &again, 202);
    assert_string_equal(member(&again, "id"), id);
    answer_free(&again);
    expect_empty();
}

static void errors_leave_the_key_free(void **state) {
    char song[64], id[MS_JOB_ID_HEX];
    const size_t size = new_song(song);
    (void)state;
    expect_problem("wrong",
                   send_song("/apiv2/jobs?format=exe", "Idempotency-Key: two\r\n", song, size), 422,
                   "invalid_option");
    expect_problem("unknown",
                   send_song("/apiv2/jobs?model=nobody", "Idempotency-Key: two\r\n", song, size),
                   422, "unknown_model");
    struct answer right = send_song("/apiv2/jobs", "Idempotency-Key: two\r\n", song, size);
    expect("right", &right, 202);
    (void)snprintf(id, sizeof id, "%s", member(&right, "id"));
    answer_free(&right);
    erase(id);
}

static void bad_keys_are_refused(void **state) {
    char song[64], longest[400];
    const size_t size = new_song(song);
    static const char *const bad[] = {
        "Idempotency-Key: \r\n",         "Idempotency-Key: \"\"\r\n",
        "Idempotency-Key: \"open\r\n",   "Idempotency-Key: \xc3\xa9\r\n",
        "Idempotency-Key: \"a\\b\"\r\n", "Idempotency-Key: \"a\"b\r\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_problem(bad[i], send_song("/apiv2/jobs", bad[i], song, size), 400,
                       "invalid_idempotency_key");
    (void)snprintf(longest, sizeof longest, "Idempotency-Key: %0256d\r\n", 0);
    expect_problem("too long", send_song("/apiv2/jobs", longest, song, size), 400,
                   "invalid_idempotency_key");
    expect_empty();
}

/* As another replica would hold it: the same request is at work there. */
static void the_second_waits_for_the_first(void **state) {
    char song[64], name[] = "\nthree";
    const size_t size = new_song(song);
    struct ms_api_link *link = NULL;
    struct ms_api_key key = {0};
    struct ms_job_options options;
    struct ms_job job;
    struct ms_problem problem;
    struct ms_error err = {0};
    (void)state;
    assert_int_equal(ms_api_open_link(api, &link, &err), 0);
    assert_int_equal(ms_sha256_of(name, strlen(name), key.name, &err), 0);
    ms_job_options_default("tiny", &options);
    assert_int_equal(ms_job_init(&job, song, size, &options, "tiny", &err), 0);
    job.networks = models[0].networks;
    job.audio_seconds = ms_song_seconds(song, size, (int64_t)size);
    assert_true(ms_api_key_begin(link, &key, &job, &problem));
    expect_problem("at work", send_song("/apiv2/jobs", "Idempotency-Key: three\r\n", song, size),
                   409, "idempotency_key_in_use");
    expect_empty();
    ms_api_give_back(api, link); /* a handler's, from now on */
    char *said = NULL;
    assert_int_equal(ms_job_to_public_json(&job, false, &said, &err), 0);
    ms_api_key_end(api, &key, said);
    struct answer again = send_song("/apiv2/jobs", "Idempotency-Key: three\r\n", song, size);
    expect("answered there", &again, 202);
    assert_string_equal(again.body, said);
    answer_free(&again);
    free(said);
    ms_job_fini(&job);
    expect_empty();
}

/* ---- waiting ---- */

struct waiting {
    pthread_t thread;
    char id[MS_JOB_ID_HEX];
    int status;
    char state[16], applied[32];
};

static void *wait_for_the_job(void *context) {
    struct waiting *w = context;
    char head[400];
    (void)snprintf(head, sizeof head,
                   "GET /apiv2/jobs/%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                   "Prefer: respond-async, Wait=1000\r\n\r\n",
                   w->id);
    const int fd = dial(peer.port);
    struct answer answer = {0};
    if (say_text(fd, head)) {
        answer.text = hear_all(fd, NULL, NULL);
        answer.body = body_of(answer.text);
        w->status = status_of(answer.text);
        if (strstr(answer.text, "Preference-Applied: wait=60\r\n") != NULL)
            (void)snprintf(w->applied, sizeof w->applied, "yes");
        (void)snprintf(w->state, sizeof w->state, "%.15s",
                       strstr(answer.body, "\"succeeded\"") != NULL ? "succeeded" : "other");
        free(answer.text);
    }
    close(fd);
    return NULL;
}

static void wait_for_listeners(int count) {
    for (double until_s = ms_monotonic_s() + PATIENCE_S; atomic_load(&api->listeners) != count;
         (void)usleep(1000))
        assert_true(ms_monotonic_s() < until_s);
}

static void answers_wait_for_the_end(void **state) {
    struct waiting waiters[WAITERS];
    char id[MS_JOB_ID_HEX];
    (void)state;
    submit("", id);
    for (int i = 0; i < WAITERS; i++) {
        waiters[i] = (struct waiting){.status = 0};
        memcpy(waiters[i].id, id, sizeof id);
        assert_int_equal(pthread_create(&waiters[i].thread, NULL, wait_for_the_job, &waiters[i]),
                         0);
    }
    wait_for_listeners(WAITERS);
    struct answer now = get_job("GET", id, ""); /* they hold no thread */
    assert_string_equal(member(&now, "state"), "queued");
    answer_free(&now);
    work(id, four);
    for (int i = 0; i < WAITERS; i++) {
        (void)pthread_join(waiters[i].thread, NULL);
        assert_int_equal(waiters[i].status, 200);
        assert_string_equal(waiters[i].state, "succeeded");
        assert_string_equal(waiters[i].applied, "yes");
    }
    wait_for_listeners(0);
    now = get_job("GET", id, "Prefer: wait=60\r\n"); /* it has ended: at once */
    expect("ended", &now, 200);
    answer_free(&now);
    erase(id);
}

static void answers_do_not_wait_for_ever(void **state) {
    char song[64], id[MS_JOB_ID_HEX];
    const size_t size = new_song(song);
    (void)state;
    struct answer answer = send_song("/apiv2/jobs", "Prefer: wait=1\r\n", song, size);
    expect("POST", &answer, 202);
    assert_string_equal(member(&answer, "state"), "queued");
    assert_string_equal(header(&answer, "Preference-Applied"), "wait=1");
    (void)snprintf(id, sizeof id, "%s", member(&answer, "id"));
    assert_true(strstr(header(&answer, "Location"), id) != NULL);
    answer_free(&answer);
    static const char *const none[] = {"",
                                       "Prefer: wait=0\r\n",
                                       "Prefer: wait\r\n",
                                       "Prefer: wait=x\r\n",
                                       "Prefer: await=5\r\n",
                                       "Prefer: return=minimal\r\n"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        answer = get_job("GET", id, none[i]);
        expect(none[i], &answer, 200);
        assert_string_equal(header(&answer, "Preference-Applied"), "");
        answer_free(&answer);
    }
    work(id, four);
    answer = send_song("/apiv2/jobs", "Prefer: foo, wait=\"60\"\r\n", song, size);
    expect("POST of a job that has ended", &answer, 200);
    assert_string_equal(member(&answer, "state"), "succeeded");
    answer_free(&answer);
    expect_problem("no job", get_job("GET", ID0, "Prefer: wait=60\r\n"), 404, "unknown_job");
    erase(id);
}

static void whoever_waits_hears_of_the_erasure(void **state) {
    struct waiting waiter = {.status = 0};
    (void)state;
    submit("", waiter.id);
    assert_int_equal(pthread_create(&waiter.thread, NULL, wait_for_the_job, &waiter), 0);
    wait_for_listeners(1);
    erase(waiter.id);
    (void)pthread_join(waiter.thread, NULL);
    assert_int_equal(waiter.status, 410);
    expect_empty();
}

/* ---- conditions ---- */

static void conditions_are_obeyed(void **state) {
    char id[MS_JOB_ID_HEX], before[200], now[200], line[300];
    (void)state;
    submit("", id);
    struct answer answer = get_job("GET", id, "");
    (void)snprintf(before, sizeof before, "%s", header(&answer, "ETag"));
    assert_int_equal(strlen(before), 66);
    answer_free(&answer);
    (void)snprintf(line, sizeof line, "If-None-Match: %s\r\n", before);
    answer = get_job("GET", id, line);
    expect(line, &answer, 304);
    assert_int_equal(answer.body_bytes, 0);
    answer_free(&answer);
    work(id, four);
    answer = get_job("HEAD", id, line);
    expect("it has changed", &answer, 200);
    (void)snprintf(now, sizeof now, "%s", header(&answer, "ETag"));
    assert_string_not_equal(now, before);
    answer_free(&answer);

    (void)snprintf(line, sizeof line, "If-Match: %s\r\n", before);
    expect_problem("GET", get_job("GET", id, line), 412, "precondition_failed");
    expect_problem("DELETE", get_job("DELETE", id, line), 412, "precondition_failed");
    expect_problem("DELETE", get_job("DELETE", ID0, "If-Match: *\r\n"), 404, "unknown_job");
    expect_problem("a stem", get_stem(id, "GET", line), 412, "precondition_failed");
    expect_problem("before the range",
                   get_stem(id, "GET", "If-Match: \"a\"\r\nRange: bytes=0-1\r\n"), 412,
                   "precondition_failed");
    answer = get_stem(id, "HEAD", "");
    (void)snprintf(line, sizeof line, "If-Match: \"a\", %s\r\n", header(&answer, "ETag"));
    answer_free(&answer);
    answer = get_stem(id, "GET", line);
    expect_stem("the stem", &answer, "drums");
    answer_free(&answer);
    answer = get_stem(id, "GET", "If-Match: *\r\n");
    expect("any", &answer, 200);
    answer_free(&answer);
    (void)snprintf(line, sizeof line, "If-Match: %s\r\n", now);
    answer = get_job("DELETE", id, line);
    expect("DELETE", &answer, 204);
    answer_free(&answer);
    expect_empty();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_request_gets_the_same_answer),
        cmocka_unit_test(errors_leave_the_key_free),
        cmocka_unit_test(bad_keys_are_refused),
        cmocka_unit_test(the_second_waits_for_the_first),
        cmocka_unit_test(answers_wait_for_the_end),
        cmocka_unit_test(answers_do_not_wait_for_ever),
        cmocka_unit_test(whoever_waits_hears_of_the_erasure),
        cmocka_unit_test(conditions_are_obeyed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
