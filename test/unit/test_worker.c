/* A worker's days, good and bad: a real queue, a real store, real decoding and encoding; the
 * network alone is a stand-in. */
#include "worker_world.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "msaas/fault.h"

#define SHORT_SONG 20000
#define LONG_SONG                                                                                  \
    (2000 * (int64_t)WORLD_SEGMENT) /* with nap() ten seconds and more, were nobody to stop it */

static void nap(void *context, int number) {
    const struct timespec time = {.tv_nsec = 100000000};

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

/* ---- good days ---- */

static void test_success(void **state) {
    struct world world;
    struct ms_job job;

    (void)state;
    world_begin(&world);
    world_open(&world);
    world_start(&world);
    world_submit(&world, SHORT_SONG);
    world_wait(&world, MS_JOB_SUCCEEDED, &job);
    assert_int_equal(job.stem_count, 2);
    for (int i = 0; i < 2; i++) {
        struct ms_object_info info;
        char key[MS_JOB_KEY_MAX];

        assert_string_equal(job.stems[i].name, i == 0 ? "drums" : "bass");
        ms_job_stem_key(&job, job.stems[i].name, key);
        assert_int_equal(ms_store_head(world.store, MS_BUCKET_STEMS, key, &info, NULL), 0);
        assert_true(info.bytes > 1000);
        assert_int_equal(info.bytes, job.stems[i].bytes);
        assert_int_equal(strlen(job.stems[i].sha256), 64);
        if (info.sha256[0] != '\0')
            assert_string_equal(info.sha256, job.stems[i].sha256);
    }
    assert_int_equal(job.attempts, 1);
    assert_true(job.audio_seconds > 0.45 && job.audio_seconds < 0.46);
    assert_true(job.receipt.seconds > 0);
    assert_string_equal(job.receipt.model_sha256, WORLD_MODEL_SHA256);
    assert_int_equal(job.receipt.precision, MS_PRECISION_FLOAT32);
    assert_non_null(strstr(job.receipt.made_by, "libtorch none"));
    assert_true(ms_worker_is_alive());
    ms_job_fini(&job);
    world_wait_until(&world, world_was_called_back, "the callback");
    assert_string_equal(world.callback_body, world.job_id);
    world_end(&world);
}

static void test_two_jobs_one_after_the_other(void **state) {
    struct world world;
    struct ms_job job;

    (void)state;
    world_begin(&world);
    world_open(&world);
    world_submit(&world, SHORT_SONG);
    world_submit(&world, SHORT_SONG + 1);
    world_start(&world);
    world_wait(&world, MS_JOB_SUCCEEDED, &job);
    ms_job_fini(&job);
    world_end(&world);
}

/* The stand-in refuses to be opened while it is open: never are two loaded. */
static void test_precisions(void **state) {
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
    struct world world;
    struct ms_job job;

    (void)state;
    world_begin(&world);
    world_open(&world);
    world_start(&world);
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        world.precision = jobs[i].asked;
        world_submit(&world, SHORT_SONG + (int64_t)i);
        world_wait(&world, MS_JOB_SUCCEEDED, &job);
        assert_int_equal(job.options.precision, jobs[i].asked);
        assert_int_equal(job.receipt.precision, jobs[i].got);
        assert_int_equal(world.model.opens, jobs[i].opens);
        assert_int_equal(atomic_load(&world.model.sessions), 1);
        ms_job_fini(&job);
    }
    world_end(&world);
    assert_false(world.model.open);
}

/* ---- what cannot be done is told at once ---- */

static void expect_failure(struct world *world, const char *code) {
    struct ms_job job;

    world_start(world);
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
    world_end(world);
}

static void test_no_song(void **state) {
    static const char text[] = "This is not a song, whatever its sender thinks.";
    struct world world;

    (void)state;
    world_begin(&world);
    world_open(&world);
    world_submit_bytes(&world, text, sizeof text, "fake");
    expect_failure(&world, "input");
}

static void test_song_is_gone(void **state) {
    struct world world;

    (void)state;
    world_begin(&world);
    world_open(&world);
    world_submit(&world, SHORT_SONG);
    assert_int_equal(ms_store_remove(world.store, MS_BUCKET_SONGS, world.job_id, NULL), 0);
    expect_failure(&world, "not_found");
}

static void test_another_model(void **state) {
    struct world world;

    (void)state;
    world_begin(&world);
    world_open(&world);
    world_submit_bytes(&world, "RIFF", 4, "unheard_of");
    expect_failure(&world, "model");
}

static void test_a_precision_that_cannot_be_loaded(void **state) {
    struct world world;

    (void)state;
    world_begin(&world);
    world_open(&world);
    world.model.fail_open = 2;
    world.precision = MS_PRECISION_BF16;
    world_submit(&world, SHORT_SONG);
    expect_failure(&world, "model");
}

/* ---- what may pass is tried again ---- */

static bool has_failed_once(struct world *world) {
    struct ms_job job;
    bool failed;

    assert_int_equal(ms_queue_get(world->queue, world->job_id, &job, NULL), 0);
    failed = job.failures >= 1;
    ms_job_fini(&job);
    return failed;
}

static void test_store_fails_for_a_while(void **state) {
    struct world world;
    struct ms_job job;
    char path[160];
    FILE *file;

    (void)state;
    world_begin(&world);
    world_open(&world);
    world_submit(&world, SHORT_SONG);
    snprintf(path, sizeof path, "%s/objects/output", world.root); /* where a folder should be */
    file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    world_start(&world);
    world_wait_until(&world, has_failed_once, "a failure");
    assert_int_equal(unlink(path), 0);
    world_wait(&world, MS_JOB_SUCCEEDED, &job);
    assert_true(job.failures >= 1 && job.attempts >= 2);
    ms_job_fini(&job);
    world_wait_until(&world, world_was_called_back, "the callback");
    assert_true(world_has_stem(&world, "drums"));
    world_end(&world);
}

/* ---- cancel and stop ---- */

static void test_cancel(void **state) {
    struct world world;
    bool gone = true;

    (void)state;
    world_begin(&world);
    world_open(&world);
    world.model.on_forward = nap;
    world_submit(&world, LONG_SONG);
    world_start(&world);
    world_wait_until(&world, is_at_work, "the first segments");
    assert_int_equal(ms_queue_erase(world.queue, world.job_id, NULL, &gone, NULL, NULL), 0);
    assert_false(gone);
    world_wait_until(&world, has_vanished, "the end of the job");
    assert_true(atomic_load(&world.model.forwards_begun) < 100);
    assert_false(world_has_song(&world));
    assert_false(world_has_stem(&world, "drums"));
    world_end(&world);
}

static void test_stop_without_grace(void **state) {
    struct world world;
    struct ms_job job;

    (void)state;
    world_begin(&world);
    world_open(&world);
    world.options.grace_ms = 100;
    world.model.on_forward = nap;
    world_submit(&world, LONG_SONG);
    world_start(&world);
    world_wait_until(&world, is_at_work, "the first segments");
    assert_int_equal(world_stop(&world), 0);
    assert_true(atomic_load(&world.model.forwards_begun) < 100);
    assert_int_equal(ms_queue_get(world.queue, world.job_id, &job, NULL), 0);
    assert_int_equal(job.state, MS_JOB_QUEUED);
    assert_int_equal(job.failures, 0);
    assert_int_equal(job.crashes, 0);
    ms_job_fini(&job);
    assert_true(world_has_song(&world));
    /* The next worker does it. */
    world.model.on_forward = NULL;
    world_start(&world);
    world_wait(&world, MS_JOB_SUCCEEDED, &job);
    ms_job_fini(&job);
    world_end(&world);
}

static void test_stop_with_grace(void **state) {
    struct world world;
    struct ms_job job;

    (void)state;
    world_begin(&world);
    world_open(&world);
    world.model.on_forward = nap;
    world_submit(&world, 10 * WORLD_SEGMENT);
    world_start(&world);
    world_wait_until(&world, is_at_work, "the first segments");
    assert_int_equal(world_stop(&world), 0);
    assert_int_equal(ms_queue_get(world.queue, world.job_id, &job, NULL), 0);
    assert_int_equal(job.state, MS_JOB_SUCCEEDED);
    ms_job_fini(&job);
    world_end(&world);
}

/* Nothing listens on port 1 of loopback. */
static void test_waits_for_a_store(void **state) {
    struct world world;
    struct ms_job job;

    (void)state;
    world_begin(&world);
    world_open(&world);
    world_submit(&world, SHORT_SONG);
    world.options.store = (struct ms_store_options){
        .url = "s3://", .endpoint = "http://127.0.0.1:1", .access_key = "a", .secret_key = "s"};
    world_start(&world);
    nap(NULL,
        0); /* it may have tried by now or not: either way it waits, and hears that it is to stop */
    assert_int_equal(world_stop(&world), 0);
    assert_int_equal(ms_queue_get(world.queue, world.job_id, &job, NULL), 0);
    assert_int_equal(job.state, MS_JOB_QUEUED);
    assert_int_equal(job.attempts, 0);
    ms_job_fini(&job);
    world_end(&world);
}

/* ---- a worker that was frozen ---- */

static int at_work_fd = -1, go_on_fd = -1;

/* In the child: says that it is at work, and goes on when it is told to. */
static void meet(void *context, int number) {
    char byte = 0;

    (void)context;
    if (number == 2 && (write(at_work_fd, &byte, 1) != 1 || read(go_on_fd, &byte, 1) != 1))
        _exit(4);
}

static bool was_dropped(struct world *world) {
    return world_log_says(world, "job dropped");
}

static bool was_reaped(struct world *world) {
    struct ms_job job;
    int count;
    bool queued;

    assert_int_equal(ms_queue_reap(world->queue, &count, NULL), 0);
    assert_int_equal(ms_queue_get(world->queue, world->job_id, &job, NULL), 0);
    queued = job.state != MS_JOB_RUNNING;
    ms_job_fini(&job);
    return queued;
}

static void test_frozen(void **state) {
    struct world world;
    struct ms_job job;
    char token[MS_TOKEN_HEX], byte = 0;
    int at_work[2], go_on[2], status;
    pid_t child;

    (void)state;
    world_begin(&world);
    assert_true(pipe(at_work) == 0 && pipe(go_on) == 0);
    at_work_fd = at_work[1];
    go_on_fd = go_on[0];
    world.model.on_forward = meet;
    world.options.lease_ms = 500;
    child = world_fork(&world, NULL);
    world_open(&world);
    world_submit(&world, SHORT_SONG);
    assert_int_equal(read(at_work[0], &byte, 1), 1);
    assert_int_equal(kill(child, SIGSTOP), 0);
    world_wait_until(&world, was_reaped, "the lease to lapse");
    assert_int_equal(ms_queue_reserve(world.queue, 60000, 1000, &job, token, NULL), 0);
    assert_string_equal(job.id, world.job_id);
    assert_int_equal(job.crashes, 1);
    assert_int_equal(kill(child, SIGCONT), 0);
    assert_int_equal(write(go_on[1], &byte, 1), 1);
    world_wait_until(&world, was_dropped, "the frozen worker to drop the job");
    assert_false(world_has_stem(&world, "drums"));
    assert_false(world_has_stem(&world, "bass"));
    assert_true(world_has_song(&world));
    job.stem_count = 0; /* the other one ends it as it likes: the job is its own */
    strcpy(job.error_code, "input");
    assert_int_equal(ms_queue_change(world.queue, MS_CHANGE_FAIL, &job, token, 0, NULL), 0);
    ms_job_fini(&job);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    for (int i = 0; i < 2; i++) {
        close(at_work[i]);
        close(go_on[i]);
    }
    world.model.on_forward = NULL; /* somebody must sweep the folder of the one killed */
    world_start(&world);
    world_wait_until(&world, world_was_called_back, "the callback");
    world_end(&world);
}

/* ---- a worker that is killed ---- */

static void test_killed_at(const char *point, bool published) {
    struct world world;
    struct ms_queue_stats stats;
    struct ms_job job;
    int status = 0;
    pid_t child;

    world_begin(&world);
    world.options.lease_ms = 500;
    child = world_fork(&world, point);
    world_open(&world);
    world_submit(&world, SHORT_SONG);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail_msg("%s was never come to", point);
    world_wait_until(&world, was_reaped, "the lease to lapse");
    assert_int_equal(ms_queue_get(world.queue, world.job_id, &job, NULL), 0);
    assert_int_equal(job.state, published ? MS_JOB_SUCCEEDED : MS_JOB_QUEUED);
    ms_job_fini(&job);
    assert_int_equal(ms_queue_stats(world.queue, &stats, NULL), 0);
    assert_int_equal(stats.callbacks_due, published);

    world.options.lease_ms = 20000;
    world.options.fault = NULL;
    world_start(&world);
    world_wait(&world, MS_JOB_SUCCEEDED, &job);
    assert_int_equal(job.crashes, published ? 0 : 1);
    ms_job_fini(&job);
    assert_true(world_has_stem(&world, "drums") && world_has_stem(&world, "bass"));
    if (strcmp(point, "before-callback") != 0) /* else it is held for a while yet */
        world_wait_until(&world, world_was_called_back, "the callback");
    world_end(&world);
}

static void test_killed(void **state) {
    static const char *const points[] = {"after-claim", "mid-decode", "mid-inference",
                                         "between-uploads", "before-publish"};

    (void)state;
    for (size_t i = 0; i < sizeof points / sizeof *points; i++)
        test_killed_at(points[i], false);
    test_killed_at("after-publish", true);
    test_killed_at("before-callback", true);
}

/* A job that hangs where nothing can end it: the process ends instead. */
static void test_hangs(void **state) {
    struct world world;
    struct ms_job job;
    int status = 0;

    (void)state;
    world_begin(&world);
    world.options.lease_ms = 500;
    world.options.stall_s = 1;
    const pid_t child = world_fork(&world, "hang@mid-decode");
    world_open(&world);
    world_submit(&world, SHORT_SONG);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == MS_WORKER_STALLED);
    world_wait_until(&world, was_reaped, "the lease to lapse");
    assert_int_equal(ms_queue_get(world.queue, world.job_id, &job, NULL), 0);
    assert_int_equal(job.state, MS_JOB_QUEUED);
    assert_int_equal(job.crashes, 1);
    ms_job_fini(&job);

    world.options.lease_ms = 20000;
    world.options.stall_s = 120;
    world_start(&world);
    world_wait(&world, MS_JOB_SUCCEEDED, &job);
    ms_job_fini(&job);
    world_wait_until(&world, world_was_called_back, "the callback");
    world_end(&world);
}

static void test_too_long(void **state) {
    struct world world;

    (void)state;
    world_begin(&world);
    world.options.max_song_s = 0.1;
    world_open(&world);
    world_submit(&world, SHORT_SONG);
    expect_failure(&world, "input");
}

static void test_fault_points(void **state) {
    int status = 0;
    pid_t child;

    (void)state;
    ms_fault_point("here"); /* none is chosen */
    child = fork();
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
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_points),
        cmocka_unit_test(test_success),
        cmocka_unit_test(test_two_jobs_one_after_the_other),
        cmocka_unit_test(test_precisions),
        cmocka_unit_test(test_no_song),
        cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_song_is_gone),
        cmocka_unit_test(test_another_model),
        cmocka_unit_test(test_a_precision_that_cannot_be_loaded),
        cmocka_unit_test(test_store_fails_for_a_while),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_stop_without_grace),
        cmocka_unit_test(test_stop_with_grace),
        cmocka_unit_test(test_waits_for_a_store),
        cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_hangs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
