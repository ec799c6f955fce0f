/* What a pipeline leaves and tells when something goes wrong, or when it is canceled. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "msaas/sys.h"
#include "pipeline_bench.h"
#include "spool.h"

/* Whatever goes wrong, neither an output nor a temporary file is left. */
static void check_fails(struct bench *bench, int expected, const char *part) {
    int rc = bench_run_to(bench, 2, "wav");
    if (rc != expected || strstr(bench->err.text, part) == NULL)
        fail_msg("%s (%d) is not \"...%s...\" (%d)", bench->err.text, rc, part, expected);
    assert_int_equal(bench_entries_out(), 0);
}

static void leaves_nothing_after_a_fault(void **state) {
    (void)state;
    struct bench bench;
    bench_init(&bench);
    char *wanted_input = bench.input, *wanted_spool = bench.spool_dir;
    bench.input = bench_path("missing.wav");
    check_fails(&bench, MS_ENOTFOUND, bench.input);
    free(bench.input);
    bench.input = bench_path("empty.wav");
    write_float_wav(bench.input, &bench.song, 0, 0);
    check_fails(&bench, MS_EINPUT, bench.input);
    free(bench.input);
    bench.input = bench_path(
        "deafening.wav"); /* the decoder lets it pass, its level cannot be told in a float */
    struct song loudest;
    song_init(&loudest, 2);
    for (int c = 0; c < 2; c++)
        memcpy((float *)(uintptr_t)loudest.planes[c], (float[]){3.4e38f, -3.4e38f},
               2 * sizeof(float));
    write_float_wav(bench.input, &loudest, 2, 2);
    check_fails(&bench, MS_EINPUT, bench.input);
    song_fini(&loudest);
    free(bench.input);
    bench.input = wanted_input;
    bench.options.max_seconds = (double)(FRAMES - 1) / RATE_HZ;
    check_fails(&bench, MS_EINPUT, "is longer than");
    bench.options.max_seconds = 0;
    bench.spool_dir = bench_path("nowhere");
    check_fails(&bench, MS_EIO, bench.spool_dir);
    free(bench.spool_dir);
    bench.spool_dir = wanted_spool;
    bench.model.fail_forward = 3;
    check_fails(&bench, MS_EINTERNAL, "forward");
    bench.model.fail_forward = 0;

    bench.options.separate.overlap = 1.0;
    check_fails(&bench, MS_EUSAGE, "overlap");
    bench_fini(&bench);
}

/* A full disk, as far as a process can have one of its own: no file may grow past a limit. */
static void tells_a_full_disk(void **state) {
    (void)state;
    struct bench bench;
    bench_init(&bench);
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    for (int clip = 0; clip < 3; clip++) {
        bench.options.clip = (enum ms_clip_mode)clip;
        small = before;
        small.rlim_cur = FRAMES * 4;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        int rc = bench_run_to(&bench, 2, "wav");
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        if (rc != MS_EIO || strstr(bench.err.text, bench_folder) == NULL ||
            strstr(bench.err.text, strerror(EFBIG)) == NULL)
            fail_msg("clip mode %d: %s (%d)", clip, bench.err.text, rc);
        if (bench.options.clip == MS_CLIP_RESCALE) /* told before work begins */
            assert_int_equal(atomic_load(&bench.model.forwards_begun), 0);
        assert_int_equal(bench_entries_out(), 0);
    }
    (void)signal(SIGXFSZ, handler);
    bench_fini(&bench);
}

/* 24-bit FLAC and 16-bit WAV together may take more than the spool that they are made of. */
static void claims_what_its_files_may_take(void **state) {
    (void)state;
    struct bench bench;
    bench_init(&bench);
    bench.options.encode.sample_type = MS_SAMPLE_INT16;
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    for (int keep = 0; keep < 2; keep++)
        for (int frame_bytes = 8; frame_bytes <= 10; frame_bytes++) {
            bench.keep = keep == 1;
            small = before;
            small.rlim_cur = (rlim_t)(FRAMES * frame_bytes);
            atomic_store(&bench.model.forwards_begun, 0);
            assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
            const int rc = bench_run_to(&bench, 2, "wav");
            assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
            const bool fits = frame_bytes >= (keep == 1 ? 10 : 8);
            if (rc != (fits ? 0 : MS_EIO))
                fail_msg("%d bytes, %s: %d", frame_bytes, keep == 1 ? "kept" : "not kept", rc);
            assert_int_equal(atomic_load(&bench.model.forwards_begun) > 0, fits);
            assert_int_equal(bench_entries_out(), fits ? 4 + 4 * keep : 0);
        }
    (void)signal(SIGXFSZ, handler);
    bench_fini(&bench);
}

/* No file may grow past a limit any more once all segments are done: the encoders at the end come
 * upon it. */
static void limit_after_last(void *context, const struct ms_separate_progress *progress) {
    if (progress->segments_done == progress->segments_total)
        assert_int_equal(setrlimit(RLIMIT_FSIZE, context), 0);
}

static void tells_the_first_of_the_faults(void **state) {
    (void)state;
    struct bench bench;
    bench_init(&bench);
    /* Whole blocks of the spools, which are on disk before the last segment is told; louder from
     * stem to stem, none past full scale, and so are the files larger. */
    const int64_t frames = INT64_C(2) * 65536;
    song_fini(&bench.song);
    song_init(&bench.song, frames);
    for (int c = 0; c < 2; c++)
        for (int64_t i = 0; i < frames; i++)
            ((float *)(uintptr_t)bench.song.planes[c])[i] *= 0.25f;
    write_float_wav(bench.input, &bench.song, frames, frames);
    bench.options.encode = (struct ms_encode_options){.format = MS_FORMAT_FLAC};
    assert_int_equal(bench_run_to(&bench, 1, "flac"), 0);
    struct stat sizes[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(stat(bench.outputs[i].path, &sizes[i]), 0);
        assert_true(i == 0 || sizes[i].st_size > sizes[i - 1].st_size);
    }
    assert_int_equal(bench_entries_out(), 4);

    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    bench.hooks = (struct ms_separate_hooks){.context = &small, .progress = limit_after_last};
    /* From output `first` on all fail, the later the sooner. */
    for (int first = 0; first < 4; first++)
        for (int lanes = 1; lanes <= 4; lanes++) {
            small = before;
            small.rlim_cur = (rlim_t)sizes[first].st_size - 1;
            int rc = bench_run_to(&bench, lanes, "flac");
            assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
            if (rc != MS_EIO || strstr(bench.err.text, bench.outputs[first].path) == NULL)
                fail_msg("%d lanes: %s (%d), not of %s", lanes, bench.err.text, rc,
                         bench.outputs[first].path);
            assert_int_equal(bench_entries_out(), 0);
        }
    (void)signal(SIGXFSZ, handler);
    bench_fini(&bench);
}

static void publishes_all_or_none(void **state) {
    (void)state;
    static const char *const names[] = {"vocals.wav", "kept.vocals.flac"};
    struct bench bench;
    bench_init(&bench);
    bench.keep = true;
    for (int i = 0; i < 2; i++) {
        char *in_the_way = ms_strdupf("%s/out/%s", bench_folder, names[i]);
        char *in_it = ms_strdupf("%s/file", in_the_way);
        assert_int_equal(mkdir(in_the_way, 0777), 0);
        FILE *file = fopen(in_it, "wb");
        assert_non_null(file);
        (void)fclose(file);
        assert_true(bench_run_to(&bench, 1, "wav") < 0);
        assert_non_null(strstr(bench.err.text, names[i]));
        assert_int_equal(unlink(in_it), 0);
        assert_int_equal(bench_entries_out(), 1);
        free(in_the_way);
        free(in_it);
    }
    bench_fini(&bench);
}

static void cancel_at_third(void *context, int number) {
    if (number == 3)
        atomic_store((atomic_bool *)context, true);
}

static void cancel_after_last(void *context, const struct ms_separate_progress *progress) {
    if (progress->segments_done == progress->segments_total)
        atomic_store((atomic_bool *)context, true);
}

/* The linker puts this before the spool's own. */
static atomic_bool *cancel_at_spool_read; /* NULL: none */
static atomic_int spool_reads;
int __real_ms_spool_read(struct ms_spool *spool, float *planes[MS_AUDIO_CHANNELS], size_t *frames,
                         struct ms_error *err);

int __wrap_ms_spool_read(struct ms_spool *spool, float *planes[MS_AUDIO_CHANNELS], size_t *frames,
                         struct ms_error *err) {
    atomic_fetch_add(&spool_reads, 1);
    if (cancel_at_spool_read != NULL)
        atomic_store(cancel_at_spool_read, true);
    return __real_ms_spool_read(spool, planes, frames, err);
}

static void stops_when_canceled(void **state) {
    (void)state;
    struct bench bench;
    bench_init(&bench);
    static atomic_bool cancel; /* outlives a test that fails */
    bench.hooks.cancel = &cancel;
    bench.model.on_forward = cancel_at_third;
    bench.model.on_forward_context = &cancel;
    assert_int_equal(bench_run_to(&bench, 1, "wav"), MS_ECANCELED);
    assert_int_equal(bench_entries_out(), 0);

    /* Before the spooled stems are encoded. */
    atomic_store(&cancel, false);
    bench.model.on_forward = NULL;
    bench.hooks.context = &cancel;
    bench.hooks.progress = cancel_after_last;
    assert_int_equal(bench_run_to(&bench, 2, "wav"), MS_ECANCELED);
    assert_int_equal(bench_entries_out(), 0);

    /* While they are: the stem whose blocks are read goes no further, no other begins. */
    bench.hooks.progress = NULL;
    cancel_at_spool_read = &cancel;
    for (int lanes = 1; lanes <= 4; lanes++) {
        atomic_store(&cancel, false);
        atomic_store(&spool_reads, 0);
        assert_int_equal(bench_run_to(&bench, lanes, "wav"), MS_ECANCELED);
        assert_in_range(atomic_load(&spool_reads), 1, lanes);
        assert_int_equal(bench_entries_out(), 0);
    }
    cancel_at_spool_read = NULL;
    bench_fini(&bench);
}

static void tells_a_truncated_source(void **state) {
    (void)state;
    struct bench bench;
    bench_init(&bench);
    write_float_wav(bench.input, &bench.song, 30000, 1000000000 / 8);
    assert_int_equal(bench_run_to(&bench, 2, "wav"), 0);
    assert_int_equal(bench.stats.frames, 30000);
    bench_fini(&bench);
}

int main(int argc, char **argv) {
    ms_decoder_prepare(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(leaves_nothing_after_a_fault, bench_set_up,
                                        bench_tear_down),
        cmocka_unit_test_setup_teardown(tells_a_full_disk, bench_set_up, bench_tear_down),
        cmocka_unit_test_setup_teardown(claims_what_its_files_may_take, bench_set_up,
                                        bench_tear_down),
        cmocka_unit_test_setup_teardown(tells_the_first_of_the_faults, bench_set_up,
                                        bench_tear_down),
        cmocka_unit_test_setup_teardown(publishes_all_or_none, bench_set_up, bench_tear_down),
        cmocka_unit_test_setup_teardown(stops_when_canceled, bench_set_up, bench_tear_down),
        cmocka_unit_test_setup_teardown(tells_a_truncated_source, bench_set_up, bench_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
