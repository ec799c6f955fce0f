/* What can be heard of a job while it is at work: a real queue, a real store, real encoding; the
 * network alone is a stand-in, which waits where a test looks. */
#include "preview.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../tools/peak.h"
#include "msaas/audio.h"
#include "msaas/log.h"
#include "msaas/sys.h"
#include "worker_world.h"

#define PIECE_FRAMES (MS_PREVIEW_PIECE_S * WORLD_RATE_HZ)
#define SONG_FRAMES (INT64_C(11) * WORLD_RATE_HZ)
#define STRIDE (WORLD_SEGMENT * 3 / 4)
/* Forwards at which the network waits: one piece is complete, and so are two. */
#define FORWARD_1 (PIECE_FRAMES / STRIDE + 20)
#define FORWARD_2 (2 * PIECE_FRAMES / STRIDE + 10)
static const char *const stems[] = {"drums", "bass"};

static atomic_int gate;  /* forwards from this number on wait; 0: none does */
static atomic_bool slow; /* each forward takes half a second: 30 s for those behind the gate */

static void wait_at_the_gate(void *context, int number) {
    const struct timespec nap = {.tv_nsec = 1000000}, half = {.tv_nsec = 500000000};
    (void)context;
    while (atomic_load(&gate) > 0 && number >= atomic_load(&gate))
        (void)nanosleep(&nap, NULL);
    if (atomic_load(&slow))
        (void)nanosleep(&half, NULL);
}

static void begin(struct world *world, double preview_s) {
    world->options.preview_s = preview_s;
    world->model.on_forward = wait_at_the_gate;
    atomic_store(&gate, FORWARD_1);
}

static void piece_key(const struct world *world, const char *stem, int piece,
                      char key[MS_JOB_KEY_MAX]) {
    struct ms_job job = {0};
    memcpy(job.id, world->job_id, sizeof job.id);
    ms_job_preview_key(&job, stem, piece, key);
}

static int count_pieces(struct world *world) {
    char prefix[MS_JOB_KEY_MAX];
    struct ms_object_entry entries[40];
    int count = 0;
    (void)snprintf(prefix, sizeof prefix, MS_JOB_PREVIEW_FOLDER "%s", world->job_id);
    assert_int_equal(
        ms_store_list(world->store, MS_BUCKET_STEMS, prefix, "", 40, entries, &count, NULL), 0);
    return count;
}

static bool has_none(struct world *world) {
    return count_pieces(world) == 0;
}

static double preview_seconds(struct world *world) {
    struct ms_job job;
    assert_int_equal(ms_queue_get(world->queue, world->job_id, &job, NULL), 0);
    const double seconds = job.preview_seconds;
    ms_job_fini(&job);
    return seconds;
}

static bool has_5_s(struct world *world) {
    return preview_seconds(world) == 5;
}

static bool has_10_s(struct world *world) {
    return preview_seconds(world) == 10;
}

/* The frames of an object that is audio, from frame `at` of planes on. Returns how many. */
static int64_t read_object(struct world *world, const char *key, float *planes[2], int64_t at) {
    char path[160];
    struct ms_decoder *decoder = NULL;
    struct ms_error err = {0};
    (void)snprintf(path, sizeof path, "%s/piece.flac", world->root);
    if (ms_store_fetch(world->store, MS_BUCKET_STEMS, key, path, 1 << 28, &err) != 0 ||
        ms_decoder_open(path, WORLD_RATE_HZ, &decoder, &err) != 0)
        fail_msg("%s: %s", key, err.text);
    const int64_t begin = at;
    for (size_t got = 1; got > 0; at += (int64_t)got) {
        float *const to[2] = {planes[0] + at, planes[1] + at};
        if (ms_decoder_read(decoder, to, (size_t)(SONG_FRAMES + 1 - at), &got, &err) != 0)
            fail_msg("%s: %s", key, err.text);
    }
    ms_decoder_free(decoder);
    return at - begin;
}

struct sound {
    float *planes[2];
};

static void sound_init(struct sound *sound) {
    for (int c = 0; c < 2; c++)
        assert_non_null(sound->planes[c] = calloc(SONG_FRAMES + 1, sizeof(float)));
}

static void sound_fini(struct sound *sound) {
    free(sound->planes[0]);
    free(sound->planes[1]);
}

static void read_piece(struct world *world, int stem, int piece, struct sound *sound) {
    char key[MS_JOB_KEY_MAX];
    piece_key(world, stems[stem], piece, key);
    assert_int_equal(read_object(world, key, sound->planes, (int64_t)piece * PIECE_FRAMES),
                     PIECE_FRAMES);
}

/* The pieces are the beginning of the stem: what is kept, at the level of the separation. */
static void check_sound(struct world *world, const struct ms_job *job, int stem,
                        const struct sound *pieces) {
    struct sound whole;
    char key[MS_JOB_KEY_MAX];
    double loudest = 0;
    sound_init(&whole);
    ms_job_kept_key(job, stems[stem], key);
    assert_int_equal(read_object(world, key, whole.planes, 0), SONG_FRAMES);
    for (int c = 0; c < 2; c++)
        for (int64_t i = 0; i < 2 * PIECE_FRAMES; i++) {
            const double want = (double)whole.planes[c][i] / job->stems[stem].kept_gain;
            const double got = (double)pieces->planes[c][i];
            loudest = fmax(loudest, fabs(got));
            if (!(fabs(want - got) < 1.01 / 32768))
                fail_msg("%s: frame %lld is %g, not %g", stems[stem], (long long)i, got, want);
        }
    assert_true(loudest > 0.2);
    sound_fini(&whole);
}

static void check_peaks(struct world *world, const struct ms_job *job) {
    char key[MS_JOB_KEY_MAX], path[160], text[4096] = "";
    ms_job_peaks_key(job, key);
    (void)snprintf(path, sizeof path, "%s/peaks.json", world->root);
    assert_int_equal(ms_store_fetch(world->store, MS_BUCKET_STEMS, key, path, 4095, NULL), 0);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_true(fread(text, 1, sizeof text - 1, file) > 100);
    (void)fclose(file);
    assert_non_null(strstr(text, "\"frames\":485100,\"frames_per_bin\":882,\"stems\":["
                                 "{\"name\":\"drums\",\"gain\":"));
    assert_non_null(strstr(text, ",\"peaks\":\"P"));    /* 8000 / 32768 of full scale: 62 = 0x3e */
    assert_non_null(strstr(text, ",\"peaks\":\"fHx8")); /* twice that: 124 or 125 */
}

/* ---- tests ---- */

static void can_be_heard_while_it_is_at_work(void **state) {
    struct world *world = *state;
    struct sound sounds[2];
    begin(world, 7); /* two pieces */
    world_open(world);
    world_start(world);
    world_submit(world, SONG_FRAMES);
    world_wait_until(world, has_5_s, "5 s of preview");
    assert_int_equal(count_pieces(world), 2);
    for (int s = 0; s < 2; s++) {
        sound_init(&sounds[s]);
        read_piece(world, s, 0, &sounds[s]);
    }
    atomic_store(&gate, FORWARD_2);
    world_wait_until(world, has_10_s, "10 s of preview");
    for (int s = 0; s < 2; s++)
        read_piece(world, s, 1, &sounds[s]);
    assert_int_equal(count_pieces(world), 4);
    atomic_store(&gate, 0);
    struct ms_job job;
    world_wait(world, MS_JOB_SUCCEEDED, &job);
    assert_true(job.preview_seconds == 0);
    for (int s = 0; s < 2; s++) {
        check_sound(world, &job, s, &sounds[s]);
        sound_fini(&sounds[s]);
    }
    check_peaks(world, &job);
    ms_job_fini(&job);
    world_wait_until(world, has_none, "the pieces to go");
}

static void nothing_is_left_of_a_job_that_is_canceled(void **state) {
    struct world *world = *state;
    struct ms_job job;
    bool gone = false;
    begin(world, 60);
    world_open(world);
    world_start(world);
    world_submit(world, SONG_FRAMES);
    world_wait_until(world, has_5_s, "5 s of preview");
    assert_int_equal(ms_queue_erase(world->queue, world->job_id, NULL, &gone, NULL, NULL), 0);
    assert_false(gone);
    atomic_store(&gate, 0);
    const struct timespec nap = {.tv_nsec = 10000000};
    for (int rc = 0; rc != MS_ENOTFOUND; (void)nanosleep(&nap, NULL)) {
        rc = ms_queue_get(world->queue, world->job_id, &job, NULL);
        if (rc == 0)
            ms_job_fini(&job);
    }
    assert_int_equal(count_pieces(world), 0);
}

static void nothing_is_left_of_a_job_that_fails(void **state) {
    struct world *world = *state;
    struct ms_job job;
    begin(world, 60);
    world->model.fail_forward = FORWARD_2;
    world_open(world);
    world_start(world);
    world_submit(world, SONG_FRAMES);
    world_wait_until(world, has_5_s, "5 s of preview");
    atomic_store(&gate, 0);
    world_wait(world, MS_JOB_FAILED, &job);
    assert_true(job.preview_seconds == 0);
    ms_job_fini(&job);
    assert_int_equal(count_pieces(world), 0);
}

static void a_stopped_job_begins_anew(void **state) {
    struct world *world = *state;
    struct ms_job job;
    begin(world, 60);
    world->options.grace_ms = 0;
    world_open(world);
    world_start(world);
    world_submit(world, SONG_FRAMES);
    world_wait_until(world, has_5_s, "5 s of preview");
    atomic_store(&world->stop, true);
    atomic_store(&slow, true); /* else the job might end before the worker hears of it */
    atomic_store(&gate, 0);
    assert_int_equal(world_stop(world), 0);
    atomic_store(&slow, false);
    assert_int_equal(ms_queue_get(world->queue, world->job_id, &job, NULL), 0);
    assert_int_equal(job.state, MS_JOB_QUEUED);
    assert_true(job.preview_seconds == 0);
    ms_job_fini(&job);
    world_start(world);
    world_wait(world, MS_JOB_SUCCEEDED, &job);
    ms_job_fini(&job);
    world_wait_until(world, has_none, "the pieces to go");
}

/* In the child: what has not been tried by the end of the job is not tried any more. */
static void wait_for_the_failure(void *context, int number) {
    const struct timespec nap = {.tv_nsec = 1000000};
    while (number >= 2 * FORWARD_1 && !world_log_says(context, "the job's preview ends early"))
        (void)nanosleep(&nap, NULL);
}

/* A file lies where the pieces' folder should be made: all other objects find their place. A song
 * of one piece has no preview that could fail. */
static void a_store_that_fails_ends_the_preview_alone(void **state) {
    static const char key[] = "preview";
    static const struct ms_object_source source = {.bytes = "in the way", .size = 10};
    struct world *world = *state;
    struct ms_job job;
    world->options.preview_s = 60;
    world->model.on_forward = wait_for_the_failure;
    world->model.on_forward_context = world;
    world_fork(world, NULL);
    world->model.on_forward = NULL;
    world_open(world);
    assert_int_equal(ms_store_put(world->store, MS_BUCKET_STEMS, key, &source, NULL, NULL), 0);
    world_submit(world, PIECE_FRAMES);
    world_wait(world, MS_JOB_SUCCEEDED, &job);
    ms_job_fini(&job);
    assert_false(world_log_says(world, "the job's preview ends early"));
    world_submit(world, SONG_FRAMES);
    world_wait(world, MS_JOB_SUCCEEDED, &job);
    assert_int_equal(job.stem_count, 2);
    assert_int_equal(job.failures, 0);
    ms_job_fini(&job);
    assert_true(world_log_says(world, "the job's preview ends early"));
    assert_int_equal(kill(world->child, SIGKILL), 0);
    (void)world_join(world);
    world_start(world); /* removes what that one left in the scratch folder */
    assert_int_equal(world_stop(world), 0);
}

/* ---- a store that does not answer ---- */

static atomic_bool answers;

static void wait_for_the_end(void *context, int fd, const struct loopback_request *request) {
    const struct timespec nap = {.tv_nsec = 1000000};
    (void)context;
    (void)fd;
    (void)request;
    while (!atomic_load(&answers))
        (void)nanosleep(&nap, NULL);
}

static void a_slow_store_costs_little_memory(void **state) {
    enum { OUTPUTS = 6, BLOCK = 16384 };
    static float silence[BLOCK];
    struct world *world = *state;
    struct loopback s3 = {.answer = wait_for_the_end};
    struct ms_outage outage = {.what = "the store", .errors = &ms_store_errors};
    char endpoint[64];
    struct ms_preview *preview = NULL;
    struct ms_error err = {0};
    struct ms_job job = {0};
    struct ms_pipeline_output outputs[MS_PIPELINE_MAX_OUTPUTS] = {0};
    loopback_start(&s3);
    (void)snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%d", s3.port);
    const struct ms_preview_options options = {
        .store = {.url = "s3://",
                  .endpoint = endpoint,
                  .region = "r",
                  .access_key = "a",
                  .secret_key = "s"},
        .store_outage = &outage,
        .seconds = 600,
    };
    (void)world;
    memset(job.id, 'a', sizeof job.id - 1);
    for (int i = 0; i < OUTPUTS; i++)
        (void)snprintf(outputs[i].label, sizeof outputs[i].label, "stem%d", i);
    if (ms_preview_new(&options, &preview, &err) != 0)
        fail_msg("%s", err.text);
    const long begin_kib = peak_begin_kib();
    ms_preview_begin(preview, &job, outputs, OUTPUTS, WORLD_RATE_HZ, INT64_C(600) * WORLD_RATE_HZ);
    for (int64_t at = 0; at < INT64_C(600) * WORLD_RATE_HZ; at += BLOCK)
        for (int i = 0; i < OUTPUTS; i++)
            ms_preview_hear(preview, i, (const float *const[]){silence, silence}, BLOCK);
    assert_in_range(peak_growth_kib(begin_kib), 20 << 10, 40 << 10); /* all would be 620 MiB */
    (void)ms_preview_end(preview);
    ms_preview_free(preview);
    atomic_store(&answers, true);
    loopback_stop(&s3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_begin, world_end)

int main(int argc, char *argv[]) {
    ms_decoder_prepare(argc, argv);
    const struct CMUnitTest tests[] = {
        TEST(a_store_that_fails_ends_the_preview_alone), /* forks: the first */
        TEST(can_be_heard_while_it_is_at_work),
        TEST(nothing_is_left_of_a_job_that_is_canceled),
        TEST(nothing_is_left_of_a_job_that_fails),
        TEST(a_stopped_job_begins_anew),
        TEST(a_slow_store_costs_little_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
