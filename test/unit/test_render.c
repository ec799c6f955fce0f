/* Renders: the law of gain and pan, sums sample by sample, what is asked for in words, and what
 * happens when stems are gone, damaged or too many ask. On a store in a folder. */
#include "render_scene.h"

#include "mix.h"
#include "msaas/media.h"
#include "msaas/sys.h"

/* ---- the law ---- */

static void pan_is_that_of_web_audio(void **state) {
    (void)state;
    const double half = sqrt(0.5);
    const struct {
        double db, pan, scale, matrix[2][2];
    } cases[] = {
        {0, 0, 1, {{1, 0}, {0, 1}}},         {0, -1, 1, {{1, 1}, {0, 0}}},
        {0, 1, 1, {{0, 0}, {1, 1}}},         {0, -0.5, 1, {{1, half}, {0, half}}},
        {0, 0.5, 1, {{half, 0}, {half, 1}}}, {20, 0, 0.5, {{5, 0}, {0, 5}}},
        {-20, 1, 2, {{0, 0}, {0.2, 0.2}}},   {-INFINITY, 0.3, 2, {{0, 0}, {0, 0}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double matrix[2][2];
        ms_mix_matrix(cases[i].db, cases[i].pan, cases[i].scale, matrix);
        for (int c = 0; c < 2; c++)
            for (int d = 0; d < 2; d++)
                if (fabs(matrix[c][d] - cases[i].matrix[c][d]) > 1e-12)
                    fail_msg("case %zu: [%d][%d] is %g", i, c, d, matrix[c][d]);
        assert_int_equal(ms_mix_is_silent((const double(*)[2])matrix), i == 7);
    }
}

/* ---- words ---- */

static void wrong_words_are_refused(void **state) {
    (void)state;
    const struct {
        const char *gains, *pan, *format, *bitrate, *sample_type, *clip;
        const char *says;
    } cases[] = {
        {"guitar:0", NULL, NULL, NULL, NULL, NULL,
         "gains: the job has no stem \"guitar\"; it has "
         "drums, bass, other, vocals"},
        {"drums", NULL, NULL, NULL, NULL, NULL, "gains: must be like drums:0,vocals:-6"},
        {"drums:", NULL, NULL, NULL, NULL, NULL, "gains: drums: must be a number"},
        {"drums:x", NULL, NULL, NULL, NULL, NULL, "; -inf mutes"},
        {"drums:nan", NULL, NULL, NULL, NULL, NULL, "gains: drums: must be a number"},
        {"drums:inf", NULL, NULL, NULL, NULL, NULL, "gains: drums: must be a number"},
        {"drums:24.1", NULL, NULL, NULL, NULL, NULL, "gains: drums: must be from -120 to 24"},
        {"drums:-121", NULL, NULL, NULL, NULL, NULL, "from -120 to 24"},
        {"drums:0,drums:1", NULL, NULL, NULL, NULL, NULL, "gains: names drums twice"},
        {"drums:0,", NULL, NULL, NULL, NULL, NULL, "gains: must be like"},
        {",", NULL, NULL, NULL, NULL, NULL, "gains: must be like"},
        {"drums:0.0000000000000000000000000000000000000000000000000001", NULL, NULL, NULL, NULL,
         NULL, "gains: must be like"},
        {NULL, "vocals:1.1", NULL, NULL, NULL, NULL, "pan: vocals: must be from -1 to 1, not 1.1"},
        {NULL, "vocals:-inf", NULL, NULL, NULL, NULL, "pan: vocals: must be a number"},
        {NULL, NULL, "wma", NULL, NULL, NULL, "format: "},
        {NULL, NULL, "mp3", "321", NULL, NULL, "bitrate: "},
        {NULL, NULL, "wav", "320", NULL, NULL, "bitrate: "},
        {NULL, NULL, "wav", NULL, "int32", NULL, "sample_type: "},
        {NULL, NULL, "flac", NULL, "float32", NULL, "sample_type: "},
        {NULL, NULL, "mp3", NULL, "int16", NULL, "sample_type: only wav and flac have one"},
        {NULL, NULL, NULL, NULL, NULL, "rescale", "clip: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct ms_render_options options = {.format = cases[i].format,
                                                  .bitrate = cases[i].bitrate,
                                                  .sample_type = cases[i].sample_type,
                                                  .clip = cases[i].clip};
        struct ms_render_plan plan;
        struct ms_error err = {0};
        assert_int_equal(
            ms_render_plan_mix(&job, cases[i].gains, cases[i].pan, &options, &plan, &err),
            MS_EUSAGE);
        if (strstr(err.text, cases[i].says) == NULL)
            fail_msg("case %zu says \"%s\", not \"%s\"", i, err.text, cases[i].says);
    }
}

static void words_are_understood(void **state) {
    (void)state;
    const struct ms_render_options nothing = {.format = "", .bitrate = "", .clip = ""};
    struct ms_render_plan plan;
    assert_int_equal(ms_render_plan_mix(&job, "", NULL, &nothing, &plan, NULL), 0);
    assert_string_equal(plan.format, "mp3");
    assert_int_equal(plan.part_count, STEMS);
    assert_true(plan.clamp && !plan.as_stored);
    assert_string_equal(plan.parts[1].key + strlen(plan.parts[1].key) - 10, "-bass.flac");
    assert_int_equal(plan.parts[1].matrix[0][0] * 1000, 2000); /* kept at half its size */
    const struct ms_render_options all = {
        .format = "m4a", .bitrate = "96", .sample_type = "", .clip = "none"};
    assert_int_equal(
        ms_render_plan_mix(&job, "vocals:-6.5,bass:-inf", "drums:-1", &all, &plan, NULL), 0);
    assert_int_equal(plan.bitrate_kbps, 96);
    assert_false(plan.clamp);
    assert_true(ms_mix_is_silent((const double(*)[2])plan.parts[1].matrix));
}

/* ---- renders ---- */

static void mix(const char *gains, const char *pan, const struct ms_render_options *options,
                struct clip *clip) {
    struct ms_error err = {0};
    struct ms_render_plan plan;
    if (ms_render_plan_mix(&job, gains, pan, options, &plan, &err) != 0)
        fail_msg("%s", err.text);
    must_read(&plan, clip);
}

/* gains are factors, of what was separated. */
static double sum_at(const double gains[STEMS], const double matrices[STEMS][2][2], int channel,
                     int64_t i) {
    double sum = 0;
    for (int s = 0; s < STEMS; s++)
        for (int d = 0; d < 2; d++)
            sum +=
                gains[s] / kept_gains[s] * matrices[s][channel][d] * (double)stems[s].planes[d][i];
    return sum;
}

static const double still[2][2] = {{1, 0}, {0, 1}};

static void a_float_mix_is_the_sum(void **state) {
    (void)state;
    const struct ms_render_options floats = {
        .format = "wav", .sample_type = "float32", .clip = "none"};
    double gains[STEMS] = {1, 1, 1, 1}, matrices[STEMS][2][2];
    for (int s = 0; s < STEMS; s++)
        memcpy(matrices[s], still, sizeof still);
    for (int round = 0; round < 2; round++) {
        struct clip heard;
        mix(round == 0 ? NULL : "drums:-6,vocals:-inf,bass:3.5", round == 0 ? "" : "other:0.25",
            &floats, &heard);
        if (round == 1) {
            gains[0] = pow(10, -6.0 / 20);
            gains[1] = pow(10, 3.5 / 20);
            gains[3] = 0;
            matrices[2][0][0] = cos(0.25 * acos(0));
            matrices[2][1][0] = sin(0.25 * acos(0));
        }
        assert_int_equal(heard.frames, FRAMES);
        double loudest = 0;
        for (int c = 0; c < 2; c++)
            for (int64_t i = 0; i < FRAMES; i++) {
                const double want = sum_at(gains, (const double(*)[2][2])matrices, c, i);
                const double got = (double)heard.planes[c][i];
                if (fabs(got - want) > 6e-8 * fmax(1, fabs(want)))
                    fail_msg("round %d, channel %d, frame %lld: %.9g instead of %.9g", round, c,
                             (long long)i, got, want);
                loudest = fmax(loudest, fabs(got));
            }
        assert_true(loudest > 1.2); /* nothing is cut */
        clip_free(&heard);
    }
}

static void peaks_are_cut_unless_told_otherwise(void **state) {
    (void)state;
    const struct ms_render_options floats = {.format = "wav", .sample_type = "float32"};
    const struct ms_render_options whole = {.format = "flac", .sample_type = "int24"};
    struct clip cut, integer;
    mix(NULL, NULL, &floats, &cut);
    mix(NULL, NULL, &whole, &integer);
    int64_t at_full_scale = 0;
    for (int c = 0; c < 2; c++)
        for (int64_t i = 0; i < FRAMES; i++) {
            const float value = cut.planes[c][i];
            assert_true(value >= -1 && value <= 1);
            at_full_scale += value == 1;
            assert_true(fabsf(integer.planes[c][i] - value) <= 1.01f / 8388608);
        }
    assert_true(at_full_scale > 100);
    clip_free(&cut);
    clip_free(&integer);
}

static void silence_has_the_song_s_length(void **state) {
    (void)state;
    const struct ms_render_options wav = {.format = "wav"};
    struct clip heard;
    mix("drums:-inf,bass:-inf,other:-inf,vocals:-inf", NULL, &wav, &heard);
    assert_int_equal(heard.frames, FRAMES);
    for (int64_t i = 0; i < FRAMES; i++)
        assert_true(heard.planes[0][i] == 0 && heard.planes[1][i] == 0);
    clip_free(&heard);
}

static void a_stem_in_every_format(void **state) {
    (void)state;
    static const char *const formats[] = {"wav", "opus", "m4a", "flac", "mp3"};
    for (int i = 0; i < 5; i++) {
        struct ms_render_plan plan;
        struct clip heard;
        plan_of(1, formats[i], NULL, &plan);
        assert_int_equal(plan.as_stored, i >= 3);
        must_read(&plan, &heard);
        assert_int_equal(heard.frames, FRAMES);
        assert_true(snr_db(&stems[1], &heard, FRAMES) > 15);
        clip_free(&heard);
    }
}

/* As it was separated, or as loud as it is kept. */
static void the_scale_of_a_stem_is_taken_back_when_it_may_clip(void **state) {
    (void)state;
    struct ms_render_plan plan;
    struct clip kept, whole;
    plan_of(1, "wav", "rescale", &plan);
    must_read(&plan, &kept);
    plan_of(1, "wav", "clamp", &plan);
    must_read(&plan, &whole);
    for (int64_t i = 0; i < FRAMES; i++) {
        const float want = fminf(fmaxf(2 * stems[1].planes[0][i], -1), 32767.0f / 32768);
        assert_true(fabsf(whole.planes[0][i] - want) <= 0.51f / 32768);
        assert_true(fabsf(kept.planes[0][i] - stems[1].planes[0][i]) <= 0.51f / 32768);
    }
    clip_free(&kept);
    clip_free(&whole);
}

/* Jobs of earlier releases keep nothing without loss. */
static void what_keeps_nothing_is_made_of_what_there_is(void **state) {
    (void)state;
    struct ms_job old = job;
    for (int s = 0; s < STEMS; s++)
        old.stems[s].kept_sha256[0] = '\0';
    const struct ms_render_options wav = {.format = "wav"};
    struct ms_render_plan plan;
    struct clip heard;
    assert_int_equal(ms_render_plan_stem(&old, &old.stems[0], &wav, &plan, NULL), 0);
    assert_false(plan.as_stored);
    must_read(&plan, &heard);
    assert_int_equal(heard.frames, FRAMES);
    assert_true(snr_db(&stems[0], &heard, FRAMES) > 15);
    clip_free(&heard);
    assert_int_equal(ms_render_plan_mix(&old, NULL, NULL, &wav, &plan, NULL), 0);
    must_read(&plan, &heard);
    assert_int_equal(heard.frames, FRAMES);
    clip_free(&heard);
}

/* ---- what goes wrong ---- */

static void stems_that_are_gone(void **state) {
    (void)state;
    struct ms_render_plan plan;
    struct ms_render *render = NULL;
    const struct ms_render_options wav = {.format = "wav"};
    assert_int_equal(ms_render_plan_mix(&job, NULL, NULL, &wav, &plan, NULL), 0);
    plan.parts[2].key[5] = 'x';
    assert_int_equal(ms_render_open(renders, &plan, false, &render, NULL), MS_ENOTFOUND);
    assert_null(render);
    plan_of(0, "flac", NULL, &plan);
    plan.parts[0].key[5] = 'x';
    assert_int_equal(ms_render_open(renders, &plan, false, &render, NULL), MS_ENOTFOUND);
}

/* A wrong byte or a missing end: the reader gets an error, never a whole file. */
static void damaged_stems_end_the_answer(void **state) {
    (void)state;
    struct ms_render_plan plan;
    struct ms_error err = {0};
    size_t size;
    char path[300];
    (void)snprintf(path, sizeof path, "objects/%s/%s", MS_BUCKET_STEMS, "kept");
    plan_of(3, "flac", NULL, &plan);
    assert_true(plan.as_stored);
    assert_int_equal(read_render(&plan, &err), 0);
    unsigned char *bytes = read_file("out", &size);
    bytes[size / 2] ^= 0x55;
    put_damaged("damaged", bytes, size);
    (void)snprintf(plan.parts[0].key, sizeof plan.parts[0].key, "damaged");
    assert_int_equal(read_render(&plan, &err), MS_ECORRUPT);
    struct stat status;
    assert_int_equal(stat("out", &status), 0);
    assert_true(status.st_size < (off_t)size); /* its end was held back */

    plan_of(3, "wav", NULL, &plan);
    put_damaged("damaged", bytes, size / 2);
    (void)snprintf(plan.parts[0].key, sizeof plan.parts[0].key, "damaged");
    struct ms_render *render = NULL;
    assert_int_equal(ms_render_open(renders, &plan, false, &render, NULL), MS_ECORRUPT);
    plan.parts[0].bytes = (int64_t)size / 2; /* as if the record agreed */
    assert_int_equal(read_render(&plan, &err), MS_ECORRUPT);
    put_damaged("damaged", "no music", 8);
    plan.parts[0].bytes = 8;
    assert_int_equal(ms_render_open(renders, &plan, false, &render, NULL), MS_ECORRUPT);
    free(bytes);
}

static void who_leaves_ends_the_work(void **state) {
    (void)state;
    const struct ms_render_options wav = {.format = "wav", .sample_type = "float32"};
    struct ms_render_plan plan;
    char buffer[100];
    size_t size;
    assert_int_equal(ms_render_plan_mix(&job, NULL, NULL, &wav, &plan, NULL), 0);
    for (int reads = 0; reads < 3; reads++) {
        struct ms_render *render = open_render(&plan);
        for (int i = 0; i < reads; i++)
            assert_int_equal(ms_render_read(render, buffer, sizeof buffer, &size, NULL), 0);
        ms_render_close(render);
    }
    ms_render_close(NULL);
}

static void too_many_are_refused(void **state) {
    (void)state;
    const struct ms_render_options wav = {.format = "wav", .sample_type = "float32"};
    struct ms_render_plan plan, stored;
    struct ms_renders *one = NULL;
    struct ms_render *open[MS_RENDERS_ASLEEP + 1] = {NULL}, *more = NULL;
    char buffer[100];
    size_t size;
    plan_of(0, "flac", NULL, &stored);
    assert_int_equal(ms_render_plan_mix(&job, NULL, NULL, &wav, &plan, NULL), 0);
    assert_int_equal(ms_renders_new(&store_options, 1, &one, NULL), 0);
    assert_int_equal(ms_render_open(one, &plan, false, &open[0], NULL), 0);
    for (int tries = 0; more == NULL && tries < 100; tries++) { /* while its reader reads */
        struct ms_error err = {0};
        assert_int_equal(ms_render_read(open[0], buffer, sizeof buffer, &size, NULL), 0);
        const int rc = ms_render_open(one, &plan, false, &more, &err);
        if (rc == MS_ETOOLARGE) {
            assert_non_null(strstr(err.text, "come back later"));
            break;
        }
        ms_render_close(more); /* this machine slept for a second */
        more = NULL;
        assert_true(tries < 99);
    }
    assert_int_equal(ms_render_open(one, &stored, false, &more, NULL), 0); /* costs nothing */
    ms_render_close(more);
    /* One whose reader sleeps makes room for the next. */
    for (int i = 1; i < MS_RENDERS_ASLEEP; i++)
        for (int tries = 0; ms_render_open(one, &plan, false, &open[i], NULL) != 0; tries++) {
            assert_true(tries < 1000); /* seconds */
            (void)usleep(10000);
        }
    for (int tries = 0; tries < 300; tries++) {
        assert_int_equal(ms_render_open(one, &plan, false, &more, NULL), MS_ETOOLARGE);
        (void)usleep(10000);
    }
    assert_int_equal(ms_render_open(one, &plan, true, &open[MS_RENDERS_ASLEEP], NULL), 0);
    for (int i = 0; i <= MS_RENDERS_ASLEEP; i++)
        ms_render_close(open[i]);
    assert_int_equal(ms_render_open(one, &plan, false, &more, NULL), 0);
    ms_render_close(more);
    ms_renders_free(one);
}

int main(int argc, char **argv) {
    ms_decoder_prepare(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pan_is_that_of_web_audio),
        cmocka_unit_test(wrong_words_are_refused),
        cmocka_unit_test(words_are_understood),
        cmocka_unit_test(a_float_mix_is_the_sum),
        cmocka_unit_test(peaks_are_cut_unless_told_otherwise),
        cmocka_unit_test(silence_has_the_song_s_length),
        cmocka_unit_test(a_stem_in_every_format),
        cmocka_unit_test(the_scale_of_a_stem_is_taken_back_when_it_may_clip),
        cmocka_unit_test(what_keeps_nothing_is_made_of_what_there_is),
        cmocka_unit_test(stems_that_are_gone),
        cmocka_unit_test(damaged_stems_end_the_answer),
        cmocka_unit_test(who_leaves_ends_the_work),
        cmocka_unit_test(too_many_are_refused),
    };
    return cmocka_run_group_tests(tests, scene_begin, scene_end);
}
