/* What the separator computes, against a plain, whole-array writing of Demucs' rules; a stand-in
 * for the network. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_network.h"
#include "grid.h"
#include "msaas/separate.h"
#include "normalise.h"
#include "song.h"

#define RATE_HZ 600
#define SEGMENT 1000

/* ---- Demucs' rules, written the plain way ---- */

/* The network on the frames [at, at + length) of the padded, normalised song, its window centred on
 * them. */
static void reference_chunk(struct fake_network *model, int network, const double *normal[2],
                            int64_t frames, int64_t at, int64_t length, int64_t segment,
                            float *window, float *out) {
    int64_t whole = model->network.info.segment_frames, left = (segment - length) / 2;
    for (int c = 0; c < 2; c++)
        for (int64_t i = 0; i < whole; i++) {
            int64_t t = at - left + i;
            window[c * whole + i] =
                i < segment && t >= 0 && t < frames ? (float)normal[c][t] : 0.0f;
        }
    fake_forward(model, network, window, out);
}

/* One network over the song, the grid starting at `start` <= 0; adds the result to sum
 * [stem][2][frames]. */
static void reference_run(struct fake_network *model, int network, const double *normal[2],
                          int64_t frames, int64_t start, int64_t segment, int64_t stride,
                          double factor[], double *sum) {
    int stems = model->network.info.stem_count;
    int64_t whole = model->network.info.segment_frames, length = frames - start;
    double *out = calloc((size_t)(stems * 2 * length), sizeof *out),
           *weights = calloc((size_t)length, sizeof *weights);
    float *window = new_plane(2 * whole), *chunk = new_plane(stems * 2 * whole);
    for (int64_t offset = 0; offset < length; offset += stride) {
        int64_t count = length - offset < segment ? length - offset : segment,
                skip = (segment - count) / 2;
        reference_chunk(model, network, normal, frames, start + offset, count, segment, window,
                        chunk);
        for (int64_t i = 0; i < count; i++) {
            double weight =
                (double)(i < segment / 2 ? i + 1 : segment - i) / (double)(segment - segment / 2);
            weights[offset + i] += weight;
            for (int p = 0; p < stems * 2; p++)
                out[p * length + offset + i] += weight * (double)chunk[p * whole + skip + i];
        }
    }
    for (int p = 0; p < stems * 2; p++)
        for (int64_t t = 0; t < frames; t++)
            sum[p * frames + t] += factor[p / 2] * out[p * length + t - start] / weights[t - start];
    free(out);
    free(weights);
    free(window);
    free(chunk);
}

static double *reference(struct fake_network *model, const struct song *song,
                         const struct ms_separate_options *options) {
    const struct ms_model_info *info = &model->network.info;
    int64_t frames = song->frames;
    int64_t segment = options->segment_s > 0.0
                          ? (int64_t)(options->segment_s * info->sample_rate_hz)
                          : info->segment_frames;
    int64_t stride = (int64_t)((1.0 - options->overlap) * (double)segment);
    double mean = 0.0, deviation = 0.0;
    for (int64_t i = 0; i < frames; i++)
        mean += ((double)song->planes[0][i] + (double)song->planes[1][i]) / 2.0 / (double)frames;
    for (int64_t i = 0; i < frames; i++)
        deviation +=
            pow(((double)song->planes[0][i] + (double)song->planes[1][i]) / 2.0 - mean, 2.0);
    deviation = frames > 1 ? sqrt(deviation / (double)(frames - 1)) : 0.0;
    double *normal[2], *sum = calloc((size_t)(info->stem_count * 2 * frames), sizeof *sum);
    for (int c = 0; c < 2; c++) {
        normal[c] = calloc((size_t)frames, sizeof *normal[c]);
        for (int64_t i = 0; i < frames; i++)
            normal[c][i] = ((double)song->planes[c][i] - mean) / (deviation + 1e-8);
    }
    double *cover = calloc((size_t)segment, sizeof *cover);
    struct ms_grid grid; /* for the random starts alone */
    ms_grid_init(&grid, frames, segment, stride, options->shifts, info->sample_rate_hz / 2,
                 options->seed, cover);
    for (int n = 0; n < info->member_count; n++)
        for (int r = 0; r < grid.runs; r++) {
            double factor[MS_MODEL_MAX_STEMS];
            for (int s = 0; s < info->stem_count; s++) {
                double total = 0.0;
                for (int m = 0; m < info->member_count; m++)
                    total += info->weights[m][s];
                factor[s] = info->weights[n][s] / total / grid.runs;
            }
            reference_run(model, n, (const double **)normal, frames, grid.start[r], segment, stride,
                          factor, sum);
        }
    for (int64_t i = 0; i < info->stem_count * 2 * frames; i++)
        sum[i] = sum[i] * deviation + mean;
    free(normal[0]);
    free(normal[1]);
    free(cover);
    return sum;
}

static void check_against_reference(struct fake_network *model, struct ms_separator *separator,
                                    int64_t frames, const struct ms_separate_options *options) {
    struct song song;
    song_init(&song, frames);
    struct stems stems;
    stems_init(&stems, model->network.info.stem_count, &song);
    struct ms_error err = {0};
    if (run_song(separator, &song, &stems, options, NULL, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(stems.frames, frames);
    double *expected = reference(model, &song, options);
    for (int s = 0; s < stems.count; s++)
        for (int c = 0; c < 2; c++)
            for (int64_t i = 0; i < frames; i++) {
                double want = options->wanted[s] ? expected[(s * 2 + c) * frames + i] : 0.0;
                if (!(fabs(want - (double)stems.planes[s][c][i]) < 4e-6))
                    fail_msg("%lld frames, overlap %g, segment %g s, %d shifts: stem %d channel %d "
                             "frame %lld is %g, not %g",
                             (long long)frames, options->overlap, options->segment_s,
                             options->shifts, s, c, (long long)i, (double)stems.planes[s][c][i],
                             want);
            }
    free(expected);
    stems_fini(&stems);
    song_fini(&song);
}

/* ---- tests ---- */

static void measures_the_level(void **state) {
    (void)state;
    enum { FRAMES = 100000 };
    float *left = new_plane(FRAMES), *right = new_plane(FRAMES);
    long double sum = 0.0L, squares = 0.0L;
    for (int i = 0; i < FRAMES; i++) {
        left[i] =
            1000.0f +
            1e-3f *
                sinf((float)i); /* a large offset: naive sums of squares would lose all digits */
        right[i] = 1000.0f + 1e-3f * (float)(i % 7);
        sum += ((long double)left[i] + (long double)right[i]) / 2.0L;
    }
    for (int i = 0; i < FRAMES; i++) {
        long double apart = ((long double)left[i] + (long double)right[i]) / 2.0L - sum / FRAMES;
        squares += apart * apart;
    }
    struct ms_level level = {0};
    for (size_t at = 0, count; at < FRAMES; at += count) {
        count = at % 1000 + 1 < FRAMES - at ? at % 1000 + 1 : FRAMES - at;
        ms_level_add(&level, left + at, right + at, count);
    }
    assert_int_equal(level.frames, FRAMES);
    assert_true(fabs(level.mean - (double)(sum / FRAMES)) < 1e-9);
    assert_true(fabs(ms_level_deviation(&level) / (double)sqrtl(squares / (FRAMES - 1)) - 1.0) <
                1e-6);
    free(left);
    free(right);
}

static void shifts_start_where_the_seed_says(void **state) {
    (void)state;
    double cover[4];
    struct ms_grid grid, again;
    int seen[4] = {0};
    ms_grid_init(&grid, 10, 4, 3, 100, 3, 42, cover);
    ms_grid_init(&again, 10, 4, 3, 100, 3, 42, cover);
    for (int r = 0; r < 100; r++) {
        assert_int_equal(grid.start[r], again.start[r]);
        assert_true(grid.start[r] >= -3 && grid.start[r] <= 0);
        seen[-grid.start[r]]++;
    }
    for (int i = 0; i < 4; i++)
        assert_in_range(seen[i], 10, 45);
    ms_grid_init(&again, 10, 4, 3, 100, 3, 43, cover);
    assert_memory_not_equal(grid.start, again.start, sizeof grid.start);
}

static void matches_a_whole_array(void **state) {
    (void)state;
    static const int64_t lengths[] = {1,    2,    499,  500,  501,  749,  750,  751, 999,
                                      1000, 1001, 1500, 1501, 2249, 2250, 2251, 4999};
    static const double overlaps[] = {0.0, 0.1, 0.25, 0.5, 0.937};
    static const int segments[] = {SEGMENT, SEGMENT - 3};
    for (size_t g = 0; g < 2; g++) {
        struct fake_network model;
        fake_init(&model, RATE_HZ, segments[g], 2);
        struct ms_separator *separator = new_separator(&model, 2);
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
            for (size_t o = 0; o < sizeof overlaps / sizeof *overlaps; o++)
                for (int shifts = 0; shifts <= 3; shifts += 3)
                    for (int part = 0; part < 2; part++) {
                        struct ms_separate_options options = default_options();
                        options.overlap = overlaps[o];
                        options.shifts = shifts;
                        options.seed = l;
                        options.segment_s = part == 0 ? 0.0 : 0.7351;
                        options.wanted[1] = o != 1;
                        check_against_reference(&model, separator, lengths[l], &options);
                    }
        ms_separator_free(separator);
        assert_int_equal(model.sessions, 0);
    }
}

/* Songs that end soon after the history dropped what it no longer needs: windows reach back as far
 * as it goes. */
static void matches_after_the_history_moved(void **state) {
    (void)state;
    struct fake_network model;
    fake_init(&model, RATE_HZ, SEGMENT, 1);
    struct ms_separator *separator = new_separator(&model, 1);
    static const double overlaps[] = {0.0, 0.25, 0.9};
    for (int64_t frames = 20300; frames < 22400; frames += 107)
        for (size_t o = 0; o < sizeof overlaps / sizeof *overlaps; o++) {
            struct ms_separate_options options = default_options();
            options.overlap = overlaps[o];
            check_against_reference(&model, separator, frames, &options);
        }
    ms_separator_free(separator);
}

static void an_identity_comes_out_unchanged(void **state) {
    (void)state;
    struct fake_network model;
    fake_init(&model, RATE_HZ, SEGMENT, 1);
    model.plain = true;
    struct ms_separator *separator = new_separator(&model, 2);
    struct ms_separate_options options = default_options();
    struct song song;
    struct stems stems;
    song_init(&song, 50003);
    stems_init(&stems, 1, &song);
    for (options.shifts = 0; options.shifts <= 2; options.shifts++) {
        assert_int_equal(run_song(separator, &song, &stems, &options, NULL, NULL), 0);
        for (int c = 0; c < 2; c++)
            for (int64_t i = 0; i < song.frames; i++)
                assert_true(fabsf(stems.planes[0][c][i] - song.planes[c][i]) < 1e-6f);
    }
    stems_fini(&stems);
    song_fini(&song);
    ms_separator_free(separator);
}

/* Every batch but a song's last is full, of the next song too; the last is as full as can be. */
static void lanes_and_batches_are_bit_identical(void **state) {
    (void)state;
    static const int batches[] = {1, 2, 3, 5, 64};
    struct fake_network model;
    fake_init(&model, RATE_HZ, SEGMENT, 4);
    struct ms_separate_options options = default_options();
    struct song song;
    song_init(&song, 60011);
    struct stems one, more;
    stems_init(&one, 4, &song);
    stems_init(&more, 4, &song);
    for (options.shifts = 0; options.shifts <= 2; options.shifts += 2) {
        struct ms_separator *separator = new_separator(&model, 1);
        atomic_store(&model.forwards_begun, 0);
        assert_int_equal(run_song(separator, &song, &one, &options, NULL, NULL), 0);
        ms_separator_free(separator);
        const int segments = atomic_load(&model.forwards_begun);
        for (int run = 0; run < 50; run++) {
            const int lanes = run / 10 + 1, batch = batches[run / 2 % 5];
            if (run % 2 == 0)
                separator = new_batch_separator(&model, lanes, batch);
            atomic_store(&model.forwards_begun, 0);
            assert_int_equal(run_song(separator, &song, &more, &options, NULL, NULL), 0);
            assert_int_equal(atomic_load(&model.forwards_begun), (segments + batch - 1) / batch);
            if (run % 2 == 1)
                ms_separator_free(separator);
            for (int s = 0; s < 4; s++)
                for (int c = 0; c < 2; c++)
                    assert_memory_equal(one.planes[s][c], more.planes[s][c],
                                        (size_t)song.frames * sizeof(float));
        }
    }
    stems_fini(&one);
    stems_fini(&more);
    song_fini(&song);
}

static void weighs_a_bag(void **state) {
    (void)state;
    struct fake_network model;
    fake_init(&model, RATE_HZ, SEGMENT, 3);
    model.network.info.member_count = 3;
    static const double weights[3][3] = {{1, 0, 1}, {0, 1, 2}, {0, 0, 0.5}};
    for (int n = 0; n < 3; n++)
        for (int s = 0; s < 3; s++)
            model.network.info.weights[n][s] = weights[n][s];
    struct ms_separator *separator = new_separator(&model, 2);
    struct ms_separate_options options = default_options();
    options.shifts = 2;
    check_against_reference(&model, separator, 3333, &options);
    assert_int_equal(model.forwards[0], model.forwards[2]);
    ms_separator_free(separator);
    separator = new_batch_separator(&model, 2, 3);
    check_against_reference(&model, separator, 3333, &options);
    assert_int_equal(model.forwards[0], model.forwards[2]);

    /* One stem alone: only the networks that give it are run. */
    for (int n = 0; n < 3; n++)
        atomic_store(&model.forwards[n], 0);
    options.wanted[0] = options.wanted[2] = false;
    check_against_reference(&model, separator, 3333, &options);
    assert_int_equal(model.forwards[0], 0);
    assert_true(model.forwards[1] > 0);
    assert_int_equal(model.forwards[2], 0);
    ms_separator_free(separator);

    model.network.info.weights[1][1] = 0.0;
    separator = new_separator(&model, 1);
    struct song song;
    struct stems stems;
    struct ms_error err = {0};
    song_init(&song, 100);
    stems_init(&stems, 3, &song);
    assert_int_equal(run_song(separator, &song, &stems, &options, NULL, &err), MS_EMODEL);
    assert_non_null(strstr(err.text, "bass"));
    stems_fini(&stems);
    song_fini(&song);
    ms_separator_free(separator);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(measures_the_level),
        cmocka_unit_test(shifts_start_where_the_seed_says),
        cmocka_unit_test(matches_a_whole_array),
        cmocka_unit_test(matches_after_the_history_moved),
        cmocka_unit_test(an_identity_comes_out_unchanged),
        cmocka_unit_test(lanes_and_batches_are_bit_identical),
        cmocka_unit_test(weighs_a_bag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
