/* How the separator behaves: faults, canceling, progress, memory; a stand-in for the network. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_network.h"
#include "msaas/separate.h"
#include "msaas/sys.h"
#include "msaas/thread.h"
#include "song.h"

#define RATE_HZ 600
#define SEGMENT 1000

static void separates_silence_and_nothing(void **state) {
    (void)state;
    struct fake_network model;
    fake_init(&model, RATE_HZ, SEGMENT, 2);
    model.plain = true;
    struct ms_separator *separator = new_separator(&model, 2);
    struct ms_separate_options options = default_options();
    struct song song;
    struct stems stems;
    struct ms_error err = {0};
    song_init(&song, 3000);
    stems_init(&stems, 2, &song);
    memset((float *)(uintptr_t)song.planes[0], 0, 3000 * sizeof(float));
    memset((float *)(uintptr_t)song.planes[1], 0, 3000 * sizeof(float));
    assert_int_equal(run_song(separator, &song, &stems, &options, NULL, NULL), 0);
    assert_int_equal(stems.frames, 3000);
    for (int i = 0; i < 3000; i++)
        assert_true(stems.planes[1][1][i] == 0.0f);
    song.frames = song.second_frames = 0;
    assert_int_equal(run_song(separator, &song, &stems, &options, NULL, &err), MS_EINPUT);
    assert_string_equal(err.text, "the audio has no samples");
    /* So loud that the stems could not be told in floats. */
    song.frames = song.second_frames = 3000;
    ((float *)(uintptr_t)song.planes[0])[7] = 3e38f;
    assert_int_equal(run_song(separator, &song, &stems, &options, NULL, &err), MS_EINPUT);
    assert_string_equal(err.text, "the audio is too loud to be separated");
    stems_fini(&stems);
    song_fini(&song);
    ms_separator_free(separator);
}

static void refuses_bad_options(void **state) {
    (void)state;
    struct fake_network model;
    fake_init(&model, RATE_HZ, SEGMENT, 2);
    struct ms_separator *separator = NULL;
    assert_int_equal(ms_separator_new(&model.network, 0, 1, &separator, NULL), MS_EUSAGE);
    assert_int_equal(ms_separator_new(&model.network, 100000, 1, &separator, NULL), MS_EUSAGE);
    assert_int_equal(ms_separator_new(&model.network, 1, 0, &separator, NULL), MS_EUSAGE);
    assert_int_equal(ms_separator_new(&model.network, 1, 65, &separator, NULL), MS_EUSAGE);
    separator = new_separator(&model, 1);
    struct song song;
    struct stems stems;
    song_init(&song, 100);
    stems_init(&stems, 2, &song);
    static const struct ms_separate_options bad[] = {
        {.overlap = 1.0},           {.overlap = -0.1},   {.overlap = (double)NAN},
        {.segment_s = 1.7},         {.segment_s = -1.0}, {.segment_s = 1e-9},
        {.segment_s = (double)NAN}, {.shifts = -1},      {.shifts = 101}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(run_song(separator, &song, &stems, &bad[i], NULL, NULL), MS_EUSAGE);
    stems_fini(&stems);
    song_fini(&song);
    ms_separator_free(separator);
}

/* After every fault the separator does the next job as if nothing had been. */
static void check_faults(int batch) {
    struct fake_network model;
    fake_init(&model, RATE_HZ, SEGMENT, 2);
    struct ms_separator *separator = new_batch_separator(&model, 3, batch);
    struct ms_separate_options options = default_options();
    struct song song;
    struct stems good, stems;
    struct ms_error err = {0};
    song_init(&song, 9000);
    stems_init(&good, 2, &song);
    stems_init(&stems, 2, &song);
    assert_int_equal(run_song(separator, &song, &good, &options, NULL, NULL), 0);
    for (int fault = 0; fault < 7; fault++) {
        int expected = MS_EINPUT;
        struct song broken = song;
        stems.fail_at = -1;
        switch (fault) {
        case 0: broken.fail_at = 4000; break;
        case 1: broken.fail_at = 7000, broken.fail_pass = 1; break;
        case 2: broken.fail_rewind = true, expected = MS_EIO; break;
        case 3: stems.fail_at = 2000, expected = MS_EIO; break;
        case 4:
            model.fail_forward = atomic_load(&model.forwards_begun) + (batch > 1 ? 2 : 6);
            expected = MS_EINTERNAL;
            break;
        case 5: broken.second_frames = 8999; break;
        case 6: broken.frames = 8999; break;
        }
        assert_int_equal(run_song(separator, &broken, &stems, &options, NULL, &err), expected);
        assert_int_equal(err.code, expected);
        stems.fail_at = -1;
        assert_int_equal(run_song(separator, &song, &stems, &options, NULL, NULL), 0);
        for (int c = 0; c < 2; c++)
            assert_memory_equal(good.planes[1][c], stems.planes[1][c],
                                (size_t)song.frames * sizeof(float));
    }
    ms_separator_free(separator);

    for (int failing = 1; failing <= 3; failing++) {
        atomic_store(&model.sessions_begun, 0);
        model.fail_session = failing;
        assert_int_equal(ms_separator_new(&model.network, 3, batch, &separator, &err), MS_ENOMEM);
        assert_non_null(strstr(err.text, "no session"));
        assert_null(separator);
        assert_int_equal(model.sessions, 0);
    }
    stems_fini(&good);
    stems_fini(&stems);
    song_fini(&song);
}

static void passes_faults_on(void **state) {
    (void)state;
    check_faults(1);
    check_faults(4);
}

struct canceling {
    atomic_bool flag;
    int at_forward;
};

static void cancel_at(void *context, int number) {
    struct canceling *canceling = context;
    if (number >= canceling->at_forward)
        atomic_store(&canceling->flag, true);
}

static void check_cancel(int batch) {
    struct fake_network model;
    fake_init(&model, RATE_HZ, SEGMENT, 2);
    struct canceling canceling = {.at_forward = 7};
    model.on_forward = cancel_at;
    model.on_forward_context = &canceling;
    struct ms_separator *separator = new_batch_separator(&model, 2, batch);
    struct ms_separate_options options = default_options();
    struct ms_separate_hooks hooks = {.cancel = &canceling.flag};
    struct song song;
    struct stems stems;
    struct ms_error err = {0};
    song_init(&song, 100000);
    stems_init(&stems, 2, &song);
    assert_int_equal(run_song(separator, &song, &stems, &options, &hooks, &err), MS_ECANCELED);
    assert_in_range(model.forwards_begun, 7,
                    7 + 3); /* at most what the lanes had begun and had waiting */
    assert_int_equal(run_song(separator, &song, &stems, &options, &hooks, &err),
                     MS_ECANCELED); /* still set: at once */
    assert_in_range(model.forwards_begun, 7, 7 + 3);
    assert_int_equal(stems.frames, 0);
    model.on_forward = NULL;
    atomic_store(&canceling.flag, false);
    assert_int_equal(run_song(separator, &song, &stems, &options, &hooks, &err), 0);
    assert_int_equal(stems.frames, song.frames);
    stems_fini(&stems);
    song_fini(&song);
    ms_separator_free(separator);
}

static void stops_when_canceled(void **state) {
    (void)state;
    check_cancel(1);
    check_cancel(3);
}

static void note_progress(void *context, const struct ms_separate_progress *progress) {
    struct ms_separate_progress *last = context;
    assert_int_equal(progress->segments_done, last->segments_done + 1);
    assert_true(progress->frames_done >= last->frames_done);
    *last = *progress;
}

static void tells_progress(void **state) {
    (void)state;
    struct fake_network model;
    fake_init(&model, RATE_HZ, SEGMENT, 1);
    struct ms_separator *separator = new_separator(&model, 4);
    struct ms_separate_options options = default_options();
    struct song song;
    struct stems stems;
    song_init(&song, 2251);
    stems_init(&stems, 1, &song);
    struct ms_separate_progress last = {.segments_done = -1};
    struct ms_separate_hooks hooks = {.context = &last, .progress = note_progress};
    assert_int_equal(run_song(separator, &song, &stems, &options, &hooks, NULL), 0);
    assert_int_equal(last.segments_done, 4);
    assert_int_equal(last.segments_total, 4);
    assert_int_equal(last.frames_done, 2251);
    assert_int_equal(last.frames_total, 2251);
    stems_fini(&stems);
    song_fini(&song);
    ms_separator_free(separator);
}

/* ---- a song of any length, never held ---- */

struct endless {
    int64_t at, frames, written;
};

static int endless_read(void *context, float *const planes[2], size_t capacity, size_t *frames,
                        struct ms_error *err) {
    (void)err;
    struct endless *endless = context;
    int64_t left = endless->frames - endless->at;
    *frames = left < (int64_t)capacity ? (size_t)left : capacity;
    for (size_t i = 0; i < *frames; i++)
        planes[0][i] = planes[1][i] = (float)((endless->at + (int64_t)i) % 441) / 441.0f;
    endless->at += (int64_t)*frames;
    return 0;
}

static int endless_rewind(void *context, struct ms_error *err) {
    (void)err;
    ((struct endless *)context)->at = 0;
    return 0;
}

/* ---- a song's last batch, which is not full, while the caller writes ---- */

#define STRIDE 750 /* of segments of 1000 frames */

#define DEADLINE_S 120.0

struct writing {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int begun; /* forwards */
    int64_t written;
};

static void note_forward(void *context, int number) {
    struct writing *writing = context;
    pthread_mutex_lock(&writing->lock);
    writing->begun = number > writing->begun ? number : writing->begun;
    pthread_cond_signal(&writing->changed);
    pthread_mutex_unlock(&writing->lock);
}

/* The third of ten segments is the first to be written after the last two have been submitted: its
 * frames are not taken before those begin. */
static int write_slowly(void *context, const float *const (*stems)[2], const float *const mix[2],
                        size_t frames, struct ms_error *err) {
    (void)stems;
    (void)mix;
    struct writing *writing = context;
    const double deadline_s = ms_monotonic_s() + DEADLINE_S;
    bool in_time = true;
    writing->written += (int64_t)frames;
    pthread_mutex_lock(&writing->lock);
    while (in_time && writing->written == 3 * STRIDE && writing->begun < 3)
        in_time = ms_cond_wait_until(&writing->changed, &writing->lock, deadline_s);
    pthread_mutex_unlock(&writing->lock);
    return in_time ? 0 : ms_error_set(err, MS_EINTERNAL, "the last batch does not begin");
}

static void begins_the_last_batch_while_stems_are_written(void **state) {
    (void)state;
    struct fake_network model;
    struct writing writing = {.lock = PTHREAD_MUTEX_INITIALIZER};
    assert_int_equal(ms_cond_init(&writing.changed), 0);
    fake_init(&model, RATE_HZ, SEGMENT, 1);
    model.on_forward = note_forward;
    model.on_forward_context = &writing;
    struct ms_separator *separator = new_batch_separator(&model, 1, 4);
    struct ms_separate_options options = default_options();
    struct endless song = {.frames = 9 * STRIDE + 100};
    struct ms_mix_source source = {&song, endless_read, endless_rewind};
    struct ms_stem_sink sink = {&writing, write_slowly};
    struct ms_error err = {0};
    if (ms_separator_run(separator, &source, &sink, &options, NULL, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(writing.written, song.frames);
    assert_int_equal(writing.begun, 3);
    ms_separator_free(separator);
    pthread_cond_destroy(&writing.changed);
}

/* ---- memory: the published model's sizes, an hour of audio ---- */

static int endless_write(void *context, const float *const (*stems)[2], const float *const mix[2],
                         size_t frames, struct ms_error *err) {
    (void)stems;
    (void)mix;
    (void)err;
    ((struct endless *)context)->written += (int64_t)frames;
    return 0;
}

static void memory_is_flat(void **state) {
    (void)state;
    struct fake_network model;
    fake_init(&model, 44100, 343980, 1);
    model.plain = true;
    struct ms_separator *separator = new_separator(&model, 2);
    struct ms_separate_options options = default_options();
    int64_t peak[2];
    for (int i = 0; i < 2; i++) {
        struct endless endless = {.frames = (int64_t)44100 * 60 * (i == 0 ? 2 : 60)};
        struct ms_mix_source source = {&endless, endless_read, endless_rewind};
        struct ms_stem_sink sink = {&endless, endless_write};
        assert_int_equal(ms_separator_run(separator, &source, &sink, &options, NULL, NULL), 0);
        assert_int_equal(endless.written, endless.frames);
        peak[i] = ms_peak_rss_bytes();
    }
    assert_true((double)peak[1] <= 1.03 * (double)peak[0]);
    ms_separator_free(separator);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_flat), /* first: the peak must be its own */
        cmocka_unit_test(separates_silence_and_nothing),
        cmocka_unit_test(refuses_bad_options),
        cmocka_unit_test(passes_faults_on),
        cmocka_unit_test(stops_when_canceled),
        cmocka_unit_test(tells_progress),
        cmocka_unit_test(begins_the_last_batch_while_stems_are_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
