/* A song's whole way through real decoding, separating and encoding; a stand-in for the network
 * alone. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline_bench.h"

static void read_audio(const char *path, float *planes[2], int64_t *frames) {
    struct ms_decoder *decoder = NULL;
    struct ms_error err = {0};
    if (ms_decoder_open(path, RATE_HZ, &decoder, &err) != 0)
        fail_msg("%s", err.text);
    planes[0] = new_plane(FRAMES + 1);
    planes[1] = new_plane(FRAMES + 1);
    size_t got = 1;
    for (*frames = 0; got > 0; *frames += (int64_t)got) {
        float *const at[2] = {planes[0] + *frames, planes[1] + *frames};
        if (ms_decoder_read(decoder, at, (size_t)(FRAMES + 1 - *frames), &got, &err) != 0)
            fail_msg("%s", err.text);
        if (*frames + (int64_t)got == FRAMES + 1)
            break;
    }
    ms_decoder_free(decoder);
}

static void bench_run(struct bench *bench) {
    if (bench_run_to(bench, 2, "wav") != 0)
        fail_msg("%s", bench->err.text);
    assert_int_equal(bench->stats.frames, FRAMES);
    assert_false(bench->stats.damaged);
    assert_true(bench->stats.total_s > 0.0);
}

/* Stem s of the plain network is the mix s + 1 times, around the mix's mean. */
static double mix_mean(const struct song *song) {
    double sum = 0.0;
    for (int64_t i = 0; i < song->frames; i++)
        sum += ((double)song->planes[0][i] + (double)song->planes[1][i]) / 2.0;
    return sum / (double)song->frames;
}

static double stem_at(const struct bench *bench, int stem, int channel, int64_t frame,
                      double mean) {
    return (stem + 1) * ((double)bench->song.planes[channel][frame] - mean) + mean;
}

enum treatment { RESCALED, CLAMPED, UNTOUCHED };

/* The file must be factor[0] * stem 0 + ... + mix_factor * mix, then treated. Returns the peak
 * before. */
static double check_file(struct bench *bench, const char *path, const double factors[4],
                         double mix_factor, enum treatment treatment) {
    float *planes[2];
    int64_t frames;
    double mean = mix_mean(&bench->song), peak = 0.0;
    read_audio(path, planes, &frames);
    assert_int_equal(frames, FRAMES);
    double *expected[2];
    for (int c = 0; c < 2; c++) {
        expected[c] = calloc(FRAMES, sizeof *expected[c]);
        for (int64_t i = 0; i < FRAMES; i++) {
            expected[c][i] = mix_factor * (double)bench->song.planes[c][i];
            for (int s = 0; s < 4; s++)
                expected[c][i] += factors[s] * stem_at(bench, s, c, i, mean);
            peak = fmax(peak, fabs(expected[c][i]));
        }
    }
    for (int c = 0; c < 2; c++)
        for (int64_t i = 0; i < FRAMES; i++) {
            double want = expected[c][i];
            if (treatment == RESCALED)
                want /= fmax(1.01 * peak, 1.0);
            else if (treatment == CLAMPED)
                want = fmin(fmax(want, -0.99), 0.99);
            if (!(fabs(want - (double)planes[c][i]) < 1e-5))
                fail_msg("%s: channel %d frame %lld is %g, not %g", path, c, (long long)i,
                         (double)planes[c][i], want);
        }
    for (int c = 0; c < 2; c++) {
        free(planes[c]);
        free(expected[c]);
    }
    return peak;
}

static void check_output(struct bench *bench, int number, const double factors[4],
                         double mix_factor, enum treatment treatment) {
    (void)check_file(bench, bench->outputs[number].path, factors, mix_factor, treatment);
}

/* ---- tests ---- */

static void labels_stems(void **state) {
    (void)state;
    struct fake_network model;
    fake_init(&model, RATE_HZ, SEGMENT, 4);
    struct ms_pipeline_options options = {.two_stems = -1, .stems = {[1] = true, [3] = true}};
    struct ms_pipeline_output outputs[MS_PIPELINE_MAX_OUTPUTS];
    int count = 0;
    assert_int_equal(ms_pipeline_labels(&model.network.info, &options, outputs, &count, NULL), 0);
    assert_int_equal(count, 2);
    assert_string_equal(outputs[0].label, "bass");
    assert_string_equal(outputs[1].label, "vocals");
    assert_null(outputs[1].path);
    assert_null(outputs[1].kept_path);
    static const char *const others[] = {
        [MS_OTHER_ADD] = "no_vocals", [MS_OTHER_MINUS] = "minus_vocals"};
    options.two_stems = 3;
    for (int method = 0; method < 2; method++) {
        options.other_method = (enum ms_other_method)method;
        assert_int_equal(ms_pipeline_labels(&model.network.info, &options, outputs, &count, NULL),
                         0);
        assert_int_equal(count, 2);
        assert_string_equal(outputs[0].label, "vocals");
        assert_string_equal(outputs[1].label, others[method]);
    }
    options.other_method = MS_OTHER_NONE;
    assert_int_equal(ms_pipeline_labels(&model.network.info, &options, outputs, &count, NULL), 0);
    assert_int_equal(count, 1);
    options.two_stems = 4;
    assert_int_equal(ms_pipeline_labels(&model.network.info, &options, outputs, &count, NULL),
                     MS_EUSAGE);
    options = (struct ms_pipeline_options){.two_stems = -1};
    assert_int_equal(ms_pipeline_labels(&model.network.info, &options, outputs, &count, NULL),
                     MS_EUSAGE);
}

static void keeps_to_the_clip_mode(void **state) {
    (void)state;
    static const enum treatment treatments[] = {
        [MS_CLIP_RESCALE] = RESCALED, [MS_CLIP_CLAMP] = CLAMPED, [MS_CLIP_NONE] = UNTOUCHED};
    struct bench bench;
    bench_init(&bench);
    for (int clip = 0; clip < 3; clip++) {
        bench.options.clip = (enum ms_clip_mode)clip;
        bench_run(&bench);
        for (int s = 0; s < 4; s++) {
            double factors[4] = {0};
            factors[s] = 1.0;
            check_output(&bench, s, factors, 0.0, treatments[clip]);
        }
        assert_int_equal(bench_entries_out(), 4);
    }
    bench_fini(&bench);
}

static bool is_flac_of_24_bits(const char *path) {
    unsigned char head[26] = {0};
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(head, 1, sizeof head, file), sizeof head);
    (void)fclose(file);
    /* STREAMINFO: 20 bits of rate, 3 of channels - 1, 5 of bits - 1 */
    return memcmp(head, "fLaC", 4) == 0 && ((head[20] & 1) << 4 | head[21] >> 4) == 23;
}

/* Of one separation, and from what is as loud as the stem is: whatever the clip mode says of the
 * other file. */
static void keeps_what_was_not_asked_for(void **state) {
    (void)state;
    static const enum treatment treatments[] = {
        [MS_CLIP_RESCALE] = RESCALED, [MS_CLIP_CLAMP] = CLAMPED, [MS_CLIP_NONE] = UNTOUCHED};
    struct bench bench;
    bench_init(&bench);
    bench_run(&bench);
    const int forwards = atomic_load(&bench.model.forwards_begun);
    assert_int_equal(bench_entries_out(), 4);
    bench.keep = true;
    for (int clip = 0; clip < 3; clip++) {
        atomic_store(&bench.model.forwards_begun, 0);
        bench.options.clip = (enum ms_clip_mode)clip;
        bench_run(&bench);
        assert_int_equal(atomic_load(&bench.model.forwards_begun), forwards);
        for (int s = 0; s < 4; s++) {
            double factors[4] = {0};
            factors[s] = 1.0;
            check_output(&bench, s, factors, 0.0, treatments[clip]);
            const char *kept = bench.outputs[s].kept_path;
            const double peak = check_file(&bench, kept, factors, 0.0, RESCALED);
            assert_true(is_flac_of_24_bits(kept));
            assert_true(fabs(bench.stats.gains[s] * fmax(1.01 * peak, 1.0) - 1) < 1e-5);
            assert_true(s < 3 || bench.stats.gains[s] < 1);
        }
        assert_int_equal(bench_entries_out(), 8);
    }
    bench_fini(&bench);
}

static void makes_two_stems(void **state) {
    (void)state;
    struct bench bench;
    bench_init(&bench);
    bench.model.network.info.member_count = 4; /* a bag: one network for each stem */
    for (int n = 0; n < 4; n++)
        for (int s = 0; s < 4; s++)
            bench.model.network.info.weights[n][s] = n == s;
    bench.options.clip = MS_CLIP_RESCALE;
    bench.options.two_stems = 1;
    static const double own[] = {0, 1, 0, 0}, rest[] = {1, 0, 1, 1}, minus[] = {0, -1, 0, 0};
    bench.options.other_method = MS_OTHER_ADD;
    bench_run(&bench);
    check_output(&bench, 0, own, 0.0, RESCALED);
    check_output(&bench, 1, rest, 0.0, RESCALED);
    assert_true(bench.model.forwards[0] > 0);

    atomic_store(&bench.model.forwards[0], 0);
    bench.options.other_method = MS_OTHER_MINUS;
    bench_run(&bench);
    check_output(&bench, 0, own, 0.0, RESCALED);
    check_output(&bench, 1, minus, 1.0, RESCALED);
    assert_int_equal(bench_entries_out(), 3);

    bench.options.other_method = MS_OTHER_NONE;
    bench_run(&bench);
    check_output(&bench, 0, own, 0.0, RESCALED);
    assert_int_equal(bench.model.forwards[0], 0);
    assert_int_equal(bench_entries_out(), 1);
    bench_fini(&bench);
}

static char *slurp(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *bytes = malloc(1 << 22);
    assert_non_null(bytes);
    *size = fread(bytes, 1, 1 << 22, file);
    (void)fclose(file);
    return bytes;
}

static void bytes_do_not_depend_on_lanes(void **state) {
    (void)state;
    static const enum ms_audio_format formats[] = {MS_FORMAT_WAV, MS_FORMAT_MP3, MS_FORMAT_FLAC};
    struct bench bench;
    bench_init(&bench);
    bench.model.plain = false;
    bench.options.encode.sample_type = MS_SAMPLE_INT16;
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
        bench.options.encode.format = formats[f];
        char *bytes[4] = {NULL};
        size_t sizes[4];
        for (int lanes = 1; lanes <= 4; lanes++) {
            if (bench_run_to(&bench, lanes, ms_audio_format_extension(formats[f])) != 0)
                fail_msg("%s", bench.err.text);
            for (int i = 0; i < 4; i++) {
                size_t size;
                char *these = slurp(bench.outputs[i].path, &size);
                assert_true(size > 1000);
                if (lanes == 1) {
                    bytes[i] = these;
                    sizes[i] = size;
                    continue;
                }
                assert_int_equal(size, sizes[i]);
                assert_memory_equal(these, bytes[i], size);
                free(these);
            }
        }
        for (int i = 0; i < 4; i++)
            free(bytes[i]);
    }
    bench_fini(&bench);
}

int main(int argc, char **argv) {
    ms_decoder_prepare(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(labels_stems, bench_set_up, bench_tear_down),
        cmocka_unit_test_setup_teardown(keeps_to_the_clip_mode, bench_set_up, bench_tear_down),
        cmocka_unit_test_setup_teardown(keeps_what_was_not_asked_for, bench_set_up,
                                        bench_tear_down),
        cmocka_unit_test_setup_teardown(makes_two_stems, bench_set_up, bench_tear_down),
        cmocka_unit_test_setup_teardown(bytes_do_not_depend_on_lanes, bench_set_up,
                                        bench_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
