/* A worker's days, good and bad: a real queue, a real store, real decoding and encoding; the
 * network alone is a stand-in. */
#include "worker_world.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "msaas/audio.h"
#include "msaas/fault.h"

#define SHORT_SONG 20000
/* With nap() there are 40 s to break it off; without, another worker does it in no time. */
#define LONG_SEGMENTS 80
#define LONG_SONG (LONG_SEGMENTS * (int64_t)WORLD_SEGMENT)

static void nap(void *context, int number) {
    const struct timespec time = {.tv_nsec = 500000000};
    (void)context;
    (void)number;
    (void)nanosleep(&time, NULL);
}

static bool is_at_work(struct world *world) {
    return atomic_load(&world->model.forwards_begun) >= 2;
}

static bool has_vanished(struct world *world) {
    struct ms_job job;
    const int rc = ms_queue_get(world->queue, world->job_id, &job, NULL);
    if (rc == 0)
        ms_job_fini(&job);
    return rc == MS_ENOTFOUND;
}

static void check_object(struct world *world, const char *key, int64_t bytes, const char *sha256) {
    struct ms_object_info info;
    assert_int_equal(ms_store_head(world->store, MS_BUCKET_STEMS, key, &info, NULL), 0);
    assert_true(info.bytes > 1000);
    assert_int_equal(info.bytes, bytes);
    assert_int_equal(strlen(sha256), 64);
    if (info.sha256[0] != '\0')
        assert_string_equal(info.sha256, sha256);
}

/* ---- good days ---- */

static void does_a_job_and_calls_back(void **state) {
    struct world *world = *state;
    world_open(world);
    world_start(world);
    world_submit(world, SHORT_SONG);
    struct ms_job job;
    world_wait(world, MS_JOB_SUCCEEDED, &job);
    assert_int_equal(job.stem_count, 2);
    for (int i = 0; i < 2; i++) {
        const struct ms_job_stem *stem = &job.stems[i];
        assert_string_equal(stem->name, i == 0 ? "drums" : "bass");
        char key[MS_JOB_KEY_MAX];
        ms_job_stem_key(&job, stem->name, key);
        check_object(world, key, stem->bytes, stem->sha256);
        ms_job_kept_key(&job, stem->name, key);
        check_object(world, key, stem->kept_bytes, stem->kept_sha256);
        assert_true(stem->kept_gain > 0 && stem->kept_gain <= 1);
    }
    assert_int_equal(job.attempts, 1);
    assert_true(job.audio_seconds > 0.45 && job.audio_seconds < 0.46);
    assert_true(job.receipt.seconds > 0);
    assert_string_equal(job.receipt.model_sha256, WORLD_MODEL_SHA256);
    assert_int_equal(job.receipt.precision, MS_PRECISION_FLOAT32);
    assert_non_null(strstr(job.receipt.made_by, "libtorch none"));
    assert_true(ms_worker_is_alive());
    ms_job_fini(&job);
    world_wait_until(world, world_was_called_back, "the callback");
    assert_string_equal(world->callback_body, world->job_id);
}

static void does_one_job_after_the_other(void **state) {
    struct world *world = *state;
    world_open(world);
    world_submit(world, SHORT_SONG);
    world_submit(world, SHORT_SONG + 1);
    world_start(world);
    struct ms_job job;
    world_wait(world, MS_JOB_SUCCEEDED, &job);
    ms_job_fini(&job);
}

/* The stand-in refuses to be opened while it is open: never are two loaded. */
static void loads_the_model_in_the_precision_that_is_asked_for(void **state) {
    static const struct {
        enum ms_precision asked, got;
        int opens; /* so far */
    } jobs[] = {
        {MS_PRECISION_AUTO, MS_PRECISION_FLOAT32, 1},
        {MS_PRECISION_BF16, MS_PRECISION_BF16, 2},
        {MS_PRECISION_BF16, MS_PRECISION_BF16, 2},
        {MS_PRECISION_AUTO, MS_PRECISION_FLOAT32, 3},
        {MS_PRECISION_FLOAT32, MS_PRECISION_FLOAT32, 3},
    };
    struct world *world = *state;
    struct ms_job job;
    world_open(world);
    world_start(world);
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        world->precision = jobs[i].asked;
        world_submit(world, SHORT_SONG + (int64_t)i);
        world_wait(world, MS_JOB_SUCCEEDED, &job);
        assert_int_equal(job.options.precision, jobs[i].asked);
        assert_int_equal(job.receipt.precision, jobs[i].got);
        assert_int_equal(world->model.opens, jobs[i].opens);
        assert_int_equal(atomic_load(&world->model.sessions), 1);
        ms_job_fini(&job);
    }
    assert_int_equal(world_stop(world), 0);
    assert_false(world->model.open);
}

/* ---- what cannot be done is told at once ---- */

static void expect_failure(struct world *world, const char *code) {
    world_start(world);
    struct ms_job job;
    world_wait(world, MS_JOB_FAILED, &job);
    assert_string_equal(job.error_code, code);
    assert_true(strlen(job.error_message) > 10);
    assert_null(
        strstr(job.error_message, world->root)); /* our folders are none of a client's business */
    assert_int_equal(job.attempts, 1);
    assert_int_equal(job.stem_count, 0);
    ms_job_fini(&job);
    world_wait_until(world, world_was_called_back, "the callback");
    assert_false(world_has_stem(world, "drums"));
}

static void fails_what_is_no_song(void **state) {
    static const char text[] = "This is not a song, whatever its sender thinks.";
    struct world *world = *state;
    world_open(world);
    world_submit_bytes(world, text, sizeof text, "fake");
    expect_failure(world, "input");
}

static void fails_when_the_song_is_gone(void **state) {
    struct world *world = *state;
    world_open(world);
    world_submit(world, SHORT_SONG);
    assert_int_equal(ms_store_remove(world->store, MS_BUCKET_SONGS, world->job_id, NULL), 0);
    expect_failure(world, "not_found");
}

static void leaves_jobs_for_other_models_alone(void **state) {
    struct world *world = *state;
    struct ms_job job;
    char other[MS_JOB_ID_HEX];
    world_open(world);
    world_submit_bytes(world, "RIFF", 4, "unheard_of");
    memcpy(other, world->job_id, sizeof other);
    world_submit(world, SHORT_SONG);
    world_start(world);
    world_wait(world, MS_JOB_SUCCEEDED, &job);
    ms_job_fini(&job);
    assert_int_equal(ms_queue_get(world->queue, other, &job, NULL), 0);
    assert_int_equal(job.state, MS_JOB_QUEUED);
    assert_int_equal(job.attempts, 0);
    ms_job_fini(&job);
}

/* ---- what is the worker's own fault ---- */

static bool was_given_back(struct world *world) {
    struct ms_job job;
    assert_int_equal(ms_queue_get(world->queue, world->job_id, &job, NULL), 0);
    const bool back = job.failures >= 1;
    ms_job_fini(&job);
    return back;
}

static bool is_unready(struct world *world) {
    char reason[MS_WORKER_REASON_BYTES];
    (void)world;
    ms_worker_why_unready(reason);
    return reason[0] != '\0';
}

static void expect_success_uncharged(struct world *world) {
    struct ms_job job;
    world_wait(world, MS_JOB_SUCCEEDED, &job);
    assert_true(job.failures >= 1);
    assert_int_equal(job.attempts, 1);
    assert_string_equal(job.error_code, "");
    ms_job_fini(&job);
    world_wait_until(world, world_was_called_back, "the callback");
    assert_true(world_has_stem(world, "drums"));
    world_wait_until(world, world_is_ready, "the worker to be ready");
}

static void waits_until_the_store_works(void **state) {
    struct world *world = *state;
    world_open(world);
    world_submit(world, SHORT_SONG);
    char path[160];
    snprintf(path, sizeof path, "%s/objects/output", world->root); /* where a folder should be */
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    world_start(world);
    world_wait_until(world, was_given_back, "the job to be given back");
    world_wait_until(world, is_unready, "the worker to be unready");
    assert_int_equal(unlink(path), 0);
    expect_success_uncharged(world);
}

static void gives_the_job_back_when_the_model_cannot_be_loaded(void **state) {
    struct world *world = *state;
    world_open(world);
    world->model.fail_open = 2;
    world->precision = MS_PRECISION_BF16;
    world_submit(world, SHORT_SONG);
    world_start(world);
    expect_success_uncharged(world);
}

/* Given back for ever, it would make one worker after the other unwell. */
static void fails_what_was_given_back_too_often(void **state) {
    struct world *world = *state;
    world_open(world);
    world->model.fail_open = 2;
    world->precision = MS_PRECISION_BF16;
    world->failures = MS_JOB_MAX_FAILURES - 1;
    world_submit(world, SHORT_SONG);
    world_start(world);
    struct ms_job job;
    world_wait(world, MS_JOB_FAILED, &job);
    assert_string_equal(job.error_code, "model");
    ms_job_fini(&job);
    world_wait_until(world, world_was_called_back, "the callback");
    world_wait_until(world, world_is_ready, "the worker to be ready");
}

static char lost_folder[160];

/* The song's folder goes away in the middle of the job, which may make a file in it just then. */
static void lose_folder(void *context, int number) {
    char command[200];
    (void)context;
    if (number > 1)
        return;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", lost_folder);
    for (int tries = 0; system(command) != 0; tries++)
        if (tries == 100)
            _exit(3);
}

/* What ends `work` with an exit code of its own. */
static void gives_up_when_it_stays_unwell(void **state) {
    struct world *world = *state;
    struct ms_job job;
    world_open(world);
    (void)snprintf(lost_folder, sizeof lost_folder, "%s", world->scratch);
    world->options.give_up_ms = 1500; /* after the second pause */
    world->model.on_forward = lose_folder;
    world_submit(world, SHORT_SONG);
    world_start(world);
    assert_int_equal(pthread_join(world->thread, NULL), 0);
    world->running = false;
    assert_true(world->unfit);
    assert_int_equal(world->result, MS_EIO);
    assert_int_equal(ms_queue_get(world->queue, world->job_id, &job, NULL), 0);
    assert_int_equal(job.state, MS_JOB_QUEUED);
    assert_int_equal(job.attempts, 0);
    assert_string_equal(job.error_code, "io");
    assert_null(strstr(job.error_message, world->root));
    ms_job_fini(&job);
    /* The next one does it. */
    world->model.on_forward = NULL;
    world_start(world);
    world_wait(world, MS_JOB_SUCCEEDED, &job);
    assert_int_equal(job.attempts, 1);
    ms_job_fini(&job);
}

/* ---- cancel and stop ---- */

static void breaks_off_what_is_canceled(void **state) {
    struct world *world = *state;
    world_open(world);
    world->model.on_forward = nap;
    world_submit(world, LONG_SONG);
    world_start(world);
    world_wait_until(world, is_at_work, "the first segments");
    bool gone = true;
    assert_int_equal(ms_queue_erase(world->queue, world->job_id, NULL, &gone, NULL, NULL), 0);
    assert_false(gone);
    world_wait_until(world, has_vanished, "the end of the job");
    assert_true(atomic_load(&world->model.forwards_begun) < LONG_SEGMENTS);
    assert_false(world_has_song(world));
    assert_false(world_has_stem(world, "drums"));
}

static void puts_the_job_back_when_stopped_without_grace(void **state) {
    struct world *world = *state;
    world_open(world);
    world->options.grace_ms = 100;
    world->model.on_forward = nap;
    world_submit(world, LONG_SONG);
    world_start(world);
    world_wait_until(world, is_at_work, "the first segments");
    assert_int_equal(world_stop(world), 0);
    assert_true(atomic_load(&world->model.forwards_begun) < LONG_SEGMENTS);
    struct ms_job job;
    assert_int_equal(ms_queue_get(world->queue, world->job_id, &job, NULL), 0);
    assert_int_equal(job.state, MS_JOB_QUEUED);
    assert_int_equal(job.failures, 0);
    assert_int_equal(job.crashes, 0);
    ms_job_fini(&job);
    assert_true(world_has_song(world));
    /* The next worker does it. */
    world->model.on_forward = NULL;
    world_start(world);
    world_wait(world, MS_JOB_SUCCEEDED, &job);
    ms_job_fini(&job);
}

static void finishes_the_job_when_stopped_with_grace(void **state) {
    struct world *world = *state;
    world_open(world);
    world->model.on_forward = nap;
    world_submit(world, 4 * WORLD_SEGMENT);
    world_start(world);
    world_wait_until(world, is_at_work, "the first segments");
    assert_int_equal(world_stop(world), 0);
    struct ms_job job;
    assert_int_equal(ms_queue_get(world->queue, world->job_id, &job, NULL), 0);
    assert_int_equal(job.state, MS_JOB_SUCCEEDED);
    ms_job_fini(&job);
}

static void refuse(void *context, int fd, const struct loopback_request *request) {
    static const char busy[] = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
    struct world *world = context;
    (void)request;
    atomic_fetch_add(&world->refusals, 1);
    loopback_send(fd, busy, sizeof busy - 1);
}

static bool was_refused_twice(struct world *world) {
    return atomic_load(&world->refusals) >= 2;
}

static void waits_for_a_store(void **state) {
    struct world *world = *state;
    struct loopback s3 = {.answer = refuse, .context = world};
    world_open(world);
    world_submit(world, SHORT_SONG);
    loopback_start(&s3);
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%d", s3.port);
    world->options.store = (struct ms_store_options){
        .url = "s3://", .endpoint = endpoint, .access_key = "a", .secret_key = "s"};
    world_start(world);
    world_wait_until(world, was_refused_twice, "the worker to ask again");
    assert_int_equal(world_stop(world), 0);
    loopback_stop(&s3);
    struct ms_job job;
    assert_int_equal(ms_queue_get(world->queue, world->job_id, &job, NULL), 0);
    assert_int_equal(job.state, MS_JOB_QUEUED);
    assert_int_equal(job.attempts, 0);
    ms_job_fini(&job);
}

static void fails_a_song_that_is_too_long(void **state) {
    struct world *world = *state;
    world->options.max_song_s = 0.1;
    world_open(world);
    world_submit(world, SHORT_SONG);
    expect_failure(world, "input");
}

static void faults_come_where_they_were_chosen(void **state) {
    (void)state;
    ms_fault_point("here"); /* none is chosen */
    pid_t child = fork();
    if (child == 0) {
        ms_fault_choose("here:3");
        ms_fault_point("here");
        ms_fault_point("there");
        ms_fault_point("here");
        ms_fault_choose(NULL);
        ms_fault_point("here");
        ms_fault_choose("here");
        ms_fault_point("there");
        ms_fault_point("here");
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_begin, world_end)
int main(int argc, char **argv) {
    ms_decoder_prepare(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_come_where_they_were_chosen),
        TEST(does_a_job_and_calls_back),
        TEST(does_one_job_after_the_other),
        TEST(loads_the_model_in_the_precision_that_is_asked_for),
        TEST(fails_what_is_no_song),
        TEST(fails_a_song_that_is_too_long),
        TEST(fails_when_the_song_is_gone),
        TEST(leaves_jobs_for_other_models_alone),
        TEST(gives_the_job_back_when_the_model_cannot_be_loaded),
        TEST(fails_what_was_given_back_too_often),
        TEST(waits_until_the_store_works),
        TEST(gives_up_when_it_stays_unwell),
        TEST(breaks_off_what_is_canceled),
        TEST(puts_the_job_back_when_stopped_without_grace),
        TEST(finishes_the_job_when_stopped_with_grace),
        TEST(waits_for_a_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
