/* Workers that are frozen, killed or hang in the middle of a job: who does it then, and when. See
 * worker_world.h. */
#include "worker_world.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "msaas/audio.h"

#define SHORT_SONG 20000
/* On a machine under load a worker may lose it a time more. */
#define SHORT_LEASE_MS 1000
/* Longer than any test waits. */
#define HOUR_MS 3600000

/* ---- a worker that was frozen ---- */

static int at_work_fd = -1, go_on_fd = -1;

/* In the child: says that it is at work, and goes on when it is told to. */
static void meet(void *context, int number) {
    char byte = 0;
    (void)context;
    if (number == 2 && (write(at_work_fd, &byte, 1) != 1 || read(go_on_fd, &byte, 1) != 1))
        _exit(4);
}

/* Not while it writes to the queue: it would keep the file's lock as long as it is frozen. */
static void freeze(struct world *world) {
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(world->queue_url + strlen("sqlite:"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_busy_timeout(db, 60000), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(kill(world->child, SIGSTOP), 0);
    int status = 0;
    assert_int_equal(waitpid(world->child, &status, WUNTRACED), world->child);
    assert_true(WIFSTOPPED(status));
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static bool was_dropped(struct world *world) {
    return world_log_says(world, "job dropped");
}

static bool was_reaped(struct world *world) {
    struct ms_reaped reaped;
    assert_int_equal(ms_queue_reap(world->queue, "fake", 600000, &reaped, NULL), 0);
    struct ms_job job;
    assert_int_equal(ms_queue_get(world->queue, world->job_id, &job, NULL), 0);
    bool queued = job.state != MS_JOB_RUNNING;
    ms_job_fini(&job);
    return queued;
}

static void drops_the_job_that_it_lost_while_frozen(void **state) {
    struct world *world = *state;
    int at_work[2], go_on[2];
    assert_true(pipe(at_work) == 0 && pipe(go_on) == 0);
    at_work_fd = at_work[1];
    go_on_fd = go_on[0];
    world->model.on_forward = meet;
    world->options.lease_ms = SHORT_LEASE_MS;
    const pid_t child = world_fork(world, NULL);
    world_open(world);
    world_submit(world, SHORT_SONG);
    char byte = 0;
    assert_int_equal(read(at_work[0], &byte, 1), 1);
    freeze(world);
    world_wait_until(world, was_reaped, "the lease to lapse");
    struct ms_job job;
    char token[MS_TOKEN_HEX];
    assert_int_equal(ms_queue_reserve(world->queue, "fake", HOUR_MS, 1000, &job, token, NULL), 0);
    assert_string_equal(job.id, world->job_id);
    assert_true(job.attempts >= 2);
    assert_int_equal(kill(child, SIGCONT), 0);
    assert_int_equal(write(go_on[1], &byte, 1), 1);
    world_wait_until(world, was_dropped, "the frozen worker to drop the job");
    assert_false(world_has_stem(world, "drums"));
    assert_false(world_has_stem(world, "bass"));
    assert_true(world_has_song(world));
    job.stem_count = 0; /* the other one ends it as it likes: the job is its own */
    strcpy(job.error_code, "input");
    assert_int_equal(ms_queue_change(world->queue, MS_CHANGE_FAIL, &job, token, 0, NULL), 0);
    ms_job_fini(&job);
    assert_int_equal(kill(child, SIGKILL), 0);
    (void)world_join(world);
    for (int i = 0; i < 2; i++) {
        close(at_work[i]);
        close(go_on[i]);
    }
    world->model.on_forward = NULL; /* somebody must sweep the folder of the one killed */
    world_start(world);
    world_wait_until(world, world_was_called_back, "the callback");
}

/* ---- a worker that is killed ---- */

struct kill {
    const char *point;
    bool published; /* the job's end is in the queue already */
};

static void is_done_by_the_next_when_killed(void **state) {
    struct world *world = *state;
    const struct kill *killed = world->prestate;
    world->options.lease_ms = SHORT_LEASE_MS;
    world_fork(world, killed->point);
    world_open(world);
    world_submit(world, SHORT_SONG);
    const int status = world_join(world);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail_msg("%s was never come to", killed->point);
    world_wait_until(world, was_reaped, "the lease to lapse");
    struct ms_job job;
    assert_int_equal(ms_queue_get(world->queue, world->job_id, &job, NULL), 0);
    assert_int_equal(job.state, killed->published ? MS_JOB_SUCCEEDED : MS_JOB_QUEUED);
    ms_job_fini(&job);
    struct ms_queue_stats stats;
    assert_int_equal(ms_queue_stats(world->queue, &stats, NULL), 0);
    assert_int_equal(stats.callbacks_due, killed->published);

    world->options.lease_ms = WORLD_LEASE_MS;
    world_start(world);
    world_wait(world, MS_JOB_SUCCEEDED, &job);
    assert_true(killed->published || job.attempts >= 2);
    ms_job_fini(&job);
    assert_true(world_has_stem(world, "drums") && world_has_stem(world, "bass"));
    if (strcmp(killed->point, "before-callback") != 0) /* else it is held for a while yet */
        world_wait_until(world, world_was_called_back, "the callback");
}

/* The lease would last an hour: the next worker gives it back. */
static void goes_on_at_once_where_it_was_killed(void **state) {
    struct world *world = *state;
    struct ms_job job;
    world->options.lease_ms = HOUR_MS;
    world_fork(world, "mid-inference");
    world_open(world);
    world_submit(world, SHORT_SONG);
    const int status = world_join(world);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(ms_queue_get(world->queue, world->job_id, &job, NULL), 0);
    assert_int_equal(job.state, MS_JOB_RUNNING);
    ms_job_fini(&job);
    world_start(world);
    world_wait(world, MS_JOB_SUCCEEDED, &job);
    assert_int_equal(job.attempts, 2);
    ms_job_fini(&job);
}

/* A second worker of the same host and folder starts while the first is at work. */
static void takes_nothing_from_the_living(void **state) {
    struct world *world = *state;
    struct ms_job job;
    int at_work[2], go_on[2];
    char byte = 0;
    assert_true(pipe(at_work) == 0 && pipe(go_on) == 0);
    at_work_fd = at_work[1];
    go_on_fd = go_on[0];
    world->model.on_forward = meet;
    world->options.lease_ms = HOUR_MS;
    world_fork(world, NULL);
    world_open(world);
    world_submit(world, SHORT_SONG);
    assert_int_equal(read(at_work[0], &byte, 1), 1);
    world->model.on_forward = NULL;
    world_start(world);
    world_wait_until(world, world_is_ready, "the second worker to be ready");
    assert_int_equal(write(go_on[1], &byte, 1), 1);
    world_wait(world, MS_JOB_SUCCEEDED, &job);
    assert_int_equal(job.attempts, 1);
    ms_job_fini(&job);
    assert_int_equal(kill(world->child, SIGKILL), 0);
    (void)world_join(world);
    assert_int_equal(world_stop(world), 0);
    world_start(world); /* somebody must sweep the folder of the one killed */
    world_wait_until(world, world_is_ready, "the next worker to be ready");
    for (int i = 0; i < 2; i++) {
        close(at_work[i]);
        close(go_on[i]);
    }
}

/* A job that hangs where nothing can end it: the process ends instead. */
static void ends_when_its_job_hangs(void **state) {
    struct world *world = *state;
    world->options.lease_ms = SHORT_LEASE_MS;
    world->options.stall_s = 1;
    world_fork(world, "hang@mid-decode");
    world_open(world);
    world_submit(world, SHORT_SONG);
    const int status = world_join(world);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == MS_WORKER_STALLED);
    world_wait_until(world, was_reaped, "the lease to lapse");
    struct ms_job job;
    assert_int_equal(ms_queue_get(world->queue, world->job_id, &job, NULL), 0);
    assert_int_equal(job.state, MS_JOB_QUEUED);
    assert_true(job.attempts >= 1 && job.reached > 0);
    ms_job_fini(&job);

    world->options.lease_ms = WORLD_LEASE_MS;
    world->options.stall_s = WORLD_STALL_S;
    world_start(world);
    world_wait(world, MS_JOB_SUCCEEDED, &job);
    ms_job_fini(&job);
    world_wait_until(world, world_was_called_back, "the callback");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_begin, world_end)
#define KILLED(point, published)                                                                   \
    {                                                                                              \
        "is_done_by_the_next_when_killed " point, is_done_by_the_next_when_killed, world_begin,    \
            world_end, &(struct kill) {                                                            \
            point, published                                                                       \
        }                                                                                          \
    }

int main(int argc, char **argv) {
    ms_decoder_prepare(argc, argv);
    const struct CMUnitTest tests[] = {
        TEST(drops_the_job_that_it_lost_while_frozen),
        KILLED("after-claim", false),
        KILLED("mid-decode", false),
        KILLED("mid-inference", false),
        KILLED("between-uploads", false),
        KILLED("before-publish", false),
        KILLED("after-publish", true),
        KILLED("before-callback", true),
        TEST(goes_on_at_once_where_it_was_killed),
        TEST(takes_nothing_from_the_living),
        TEST(ends_when_its_job_hangs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
