/* Renders: the law of gain and pan, sums sample by sample, what is asked for in words, and what
 * happens when stems are gone, damaged or too many ask. On a store in a folder. */
#include "audio_tools.h"

#include "mix.h"
#include "msaas/digest.h"
#include "msaas/media.h"
#include "msaas/render.h"
#include "msaas/sys.h"

#define FRAMES 300007
#define STEMS 4

static const char *const names[STEMS] = {"drums", "bass", "other", "vocals"};
static const double kept_gains[STEMS] = {1, 0.5, 0.83, 0.999};
static struct clip stems[STEMS]; /* as they are kept */
static struct ms_job job;
static struct ms_store *store;
static struct ms_store_options store_options;
static struct ms_renders *renders;

static void keep_stem(int index) {
    struct ms_error err = {0};
    struct ms_job_stem *stem = &job.stems[index];
    const struct ms_encode_options flac = {.format = MS_FORMAT_FLAC,
                                           .sample_type = MS_SAMPLE_INT24};
    const struct ms_encode_options mp3 = {.format = MS_FORMAT_MP3};
    const float *planes[2] = {stems[index].planes[0], stems[index].planes[1]};
    for (int i = 0; i < 2; i++) {
        struct ms_encoder *encoder = NULL;
        struct ms_object_info info;
        char key[MS_JOB_KEY_MAX];
        if (ms_encoder_open("stem", RATE_HZ, i == 0 ? &flac : &mp3, NULL, &encoder, &err) != 0 ||
            ms_encoder_write(encoder, planes, FRAMES, &err) != 0 ||
            ms_encoder_finish(encoder, &err) != 0 || ms_encoder_publish(encoder, &err) != 0)
            fail_msg("%s", err.text);
        ms_encoder_free(encoder);
        if (i == 0)
            ms_job_kept_key(&job, names[index], key);
        else
            ms_job_stem_key(&job, names[index], key);
        const struct ms_object_source source = {.path = "stem"};
        if (ms_store_put(store, MS_BUCKET_STEMS, key, &source, &info, &err) != 0)
            fail_msg("%s", err.text);
        char hex[MS_SHA256_HEX];
        assert_int_equal(ms_sha256_of_file("stem", hex, NULL), 0);
        memcpy(i == 0 ? stem->kept_sha256 : stem->sha256, hex, sizeof hex);
        *(i == 0 ? &stem->kept_bytes : &stem->bytes) = info.bytes;
    }
    /* What is kept has 24 bits. */
    for (int c = 0; c < 2; c++)
        for (int64_t i = 0; i < FRAMES; i++)
            stems[index].planes[c][i] = rintf(stems[index].planes[c][i] * 8388608) / 8388608;
}

static int set_up(void **state) {
    struct ms_error err = {0};
    static char url[300];
    if (enter_folder(state) != 0)
        return 1;
    (void)snprintf(url, sizeof url, "file:%s/objects", folder);
    store_options = (struct ms_store_options){.url = url, .create_buckets = true};
    if (ms_store_open(&store_options, &store, &err) != 0 ||
        ms_renders_new(&store_options, 4, &renders, &err) != 0)
        fail_msg("%s", err.text);
    (void)snprintf(job.id, sizeof job.id, "%056d", 7);
    ms_job_options_default("tiny", &job.options);
    job.state = MS_JOB_SUCCEEDED;
    job.stem_count = STEMS;
    for (int s = 0; s < STEMS; s++) {
        clip_alloc(&stems[s], FRAMES);
        for (int c = 0; c < 2; c++)
            for (int64_t i = 0; i < FRAMES; i++)
                stems[s].planes[c][i] =
                    (float)(0.4 * sin((double)i * (0.01 + 0.013 * s + 0.007 * c)) +
                            0.1 * sin((double)i * 0.3));
        (void)snprintf(job.stems[s].name, sizeof job.stems[s].name, "%s", names[s]);
        job.stems[s].kept_gain = kept_gains[s];
        keep_stem(s);
    }
    return 0;
}

static int tear_down(void **state) {
    for (int s = 0; s < STEMS; s++)
        clip_free(&stems[s]);
    ms_store_close(store);
    ms_renders_free(renders);
    return leave_folder(state);
}

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

static struct ms_render *open_render(const struct ms_render_plan *plan) {
    struct ms_error err = {0};
    struct ms_render *render = NULL;
    if (ms_render_open(renders, plan, false, &render, &err) != 0)
        fail_msg("%s", err.text);
    return render;
}

/* Into the file "out", in pieces of odd sizes. Returns the code of the end. */
static int read_render(const struct ms_render_plan *plan, struct ms_error *err) {
    char buffer[10007];
    size_t size = 1;
    int64_t total = 0;
    struct ms_render *render = open_render(plan);
    FILE *file = fopen("out", "wb");
    assert_non_null(file);
    int rc = 0;
    while (size > 0 && (rc = ms_render_read(render, buffer, sizeof buffer, &size, err)) == 0) {
        assert_int_equal(fwrite(buffer, 1, size, file), size);
        total += (int64_t)size;
    }
    if (rc == 0 && ms_render_length(render) >= 0)
        assert_int_equal(ms_render_length(render), total);
    assert_true(total <= ms_render_most_bytes(render));
    ms_render_close(render);
    assert_int_equal(fclose(file), 0);
    return rc;
}

static void must_read(const struct ms_render_plan *plan, struct clip *clip) {
    struct ms_error err = {0};
    if (read_render(plan, &err) != 0)
        fail_msg("%s", err.text);
    must_decode("out", clip);
}

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

static void plan_of(int stem, const char *format, const char *clip, struct ms_render_plan *plan) {
    struct ms_error err = {0};
    const struct ms_render_options options = {.format = format, .clip = clip};
    if (ms_render_plan_stem(&job, &job.stems[stem], &options, plan, &err) != 0)
        fail_msg("%s", err.text);
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

/* ---- parts ---- */

static void plan_of_part(int stem, const char *format, const char *from, const char *seconds,
                         struct ms_render_plan *plan) {
    struct ms_error err = {0};
    const struct ms_render_options options = {.format = format, .from = from, .seconds = seconds};
    if (ms_render_plan_stem(&job, &job.stems[stem], &options, plan, &err) != 0)
        fail_msg("%s", err.text);
    assert_true(ms_render_is_part(plan) && !plan->as_stored);
}

/* Bit for bit, from `first` on. */
static void assert_is_part(const struct clip *part, const struct clip *whole, int64_t first,
                           int64_t frames) {
    assert_int_equal(part->frames, frames);
    for (int c = 0; c < 2; c++)
        assert_memory_equal(part->planes[c], whole->planes[c] + first,
                            (size_t)frames * sizeof(float));
}

static void parts_are_those_of_the_whole(void **state) {
    (void)state;
    static const struct {
        const char *from, *seconds;
        int64_t first, frames;
    } cases[] = {
        {"0", "5", 0, 220500},
        {"5", "5", 220500, FRAMES - 220500}, /* cut at the end */
        {"5", NULL, 220500, FRAMES - 220500},
        {NULL, "1.5", 0, 66150},
        {"0.1044897", "0.1", 4608, 4410}, /* at a block of the FLAC */
        {"0.1044671", "0.1", 4607, 4410}, /* one frame before it */
        {"0.1045124", "0.1", 4609, 4410}, /* and behind it */
        {"1.23456789", "0.987654", 54444, 43556},
        {"0.0000112", "0.001", 0, 45}, /* rounded to the nearest frame */
        {"6.8028", "1", 300003, 4},    /* the last frames */
        {"6.79", "100000", 299439, FRAMES - 299439},
        {"3e0", "1e-1", 132300, 4410},
    };
    for (int keeps = 0; keeps < 2; keeps++) {
        const struct ms_job with = job;
        if (keeps == 1) /* an MP3 is read from its beginning */
            for (int s = 0; s < STEMS; s++)
                job.stems[s].kept_sha256[0] = '\0';
        struct ms_render_plan plan;
        struct clip whole, part;
        plan_of(1, "wav", NULL, &plan);
        must_read(&plan, &whole);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            plan_of_part(1, "wav", cases[i].from, cases[i].seconds, &plan);
            must_read(&plan, &part);
            assert_is_part(&part, &whole, cases[i].first, cases[i].frames);
            clip_free(&part);
        }
        clip_free(&whole);
        job = with;
    }
}

/* Windows of a player, in FLAC, and of a mix. */
static void windows_joined_are_the_whole(void **state) {
    (void)state;
    for (int mixed = 0; mixed < 2; mixed++) {
        struct ms_render_options options = {.format = "flac", .sample_type = "int16"};
        struct ms_render_plan plan;
        struct clip whole, window;
        for (int at = -1; at < 10; at++) {
            char from[40];
            (void)snprintf(from, sizeof from, "%g", at * 0.7);
            options.from = at < 0 ? NULL : from;
            options.seconds = at < 0 ? NULL : "0.7";
            const int rc =
                mixed ? ms_render_plan_mix(&job, "bass:-3", "drums:0.3", &options, &plan, NULL)
                      : ms_render_plan_stem(&job, &job.stems[2], &options, &plan, NULL);
            assert_int_equal(rc, 0);
            must_read(&plan, at < 0 ? &whole : &window);
            if (at < 0)
                continue;
            const int64_t left = FRAMES - (int64_t)at * 30870;
            assert_is_part(&window, &whole, (int64_t)at * 30870, left < 30870 ? left : 30870);
            clip_free(&window);
        }
        clip_free(&whole);
    }
}

static void a_part_in_every_format(void **state) {
    (void)state;
    static const char *const formats[] = {"wav", "opus", "m4a", "flac", "mp3"};
    for (int i = 0; i < 5; i++) {
        struct ms_render_plan plan;
        struct clip heard, want = {.frames = 44100};
        plan_of_part(1, formats[i], "2.5", "1", &plan);
        must_read(&plan, &heard);
        assert_int_equal(heard.frames, 44100);
        for (int c = 0; c < 2; c++)
            want.planes[c] = stems[1].planes[c] + 110250;
        assert_true(snr_db(&want, &heard, 44100) > 12);
        clip_free(&heard);
    }
}

static void parts_that_there_are_not(void **state) {
    (void)state;
    static const struct {
        const char *from, *seconds, *says;
    } cases[] = {
        {"-1", NULL, "from: must be from 0 to 360000, not -1"},
        {"x", NULL, "from: must be a number"},
        {"nan", NULL, "from: must be a number"},
        {NULL, "0", "seconds: must be from 0.001 to 360000, not 0"},
        {NULL, "1e9", "seconds: must be from"},
        {"1:30", "4", "from: must be a number, not \"1:30\""},
    };
    struct ms_render_plan plan;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct ms_render_options options = {.from = cases[i].from,
                                                  .seconds = cases[i].seconds};
        struct ms_error err = {0};
        assert_int_equal(ms_render_plan_mix(&job, NULL, NULL, &options, &plan, &err), MS_EUSAGE);
        if (strstr(err.text, cases[i].says) == NULL)
            fail_msg("case %zu says \"%s\"", i, err.text);
    }
    static const char *const past[] = {"6.80289", "7", "360000"};
    for (int i = 0; i < 3; i++) { /* only the file knows its end */
        struct ms_error err = {0};
        struct ms_render *render = NULL;
        plan_of_part(0, "wav", past[i], NULL, &plan);
        assert_int_equal(ms_render_open(renders, &plan, false, &render, &err), MS_EUSAGE);
        assert_string_equal(err.text, "from: must be less than 6.803, the song's length");
        assert_null(render);
    }
}

static void put_damaged(const char *key, const void *bytes, size_t size) {
    const struct ms_object_source source = {.bytes = bytes, .size = (int64_t)size};
    assert_int_equal(ms_store_put(store, MS_BUCKET_STEMS, key, &source, NULL, NULL), 0);
}

/* What is damaged before the part does not matter, what is damaged in it does. */
static void parts_of_damaged_stems(void **state) {
    (void)state;
    struct ms_render_plan plan;
    struct ms_error err = {0};
    struct clip whole, part;
    size_t size;
    plan_of(3, "wav", NULL, &plan);
    must_read(&plan, &whole);
    plan_of(3, "flac", NULL, &plan);
    assert_int_equal(read_render(&plan, &err), 0);
    unsigned char *bytes = read_file("out", &size);
    memset(bytes + size / 2, 0, 200000);
    put_damaged("damaged", bytes, size);
    plan_of_part(3, "wav", "6", "0.5", &plan);
    (void)snprintf(plan.parts[0].key, sizeof plan.parts[0].key, "damaged");
    must_read(&plan, &part);
    assert_is_part(&part, &whole, 264600, 22050);
    clip_free(&part);
    plan_of_part(3, "wav", "1", "5.5", &plan);
    (void)snprintf(plan.parts[0].key, sizeof plan.parts[0].key, "damaged");
    struct ms_render *render = NULL;
    int rc = ms_render_open(renders, &plan, false, &render, &err);
    ms_render_close(render);
    if (rc == 0)
        rc = read_render(&plan, &err);
    assert_int_equal(rc, MS_ECORRUPT);
    free(bytes);
    clip_free(&whole);
}

/* Of what is asked for, and of what it is made of. */
static void digest_of(const struct ms_render_plan *plan, char hex[MS_SHA256_HEX]) {
    struct ms_sha256 *digest = NULL;
    assert_int_equal(ms_sha256_new(&digest, NULL), 0);
    assert_true(ms_render_plan_digest(plan, digest));
    ms_sha256_hex(digest, hex);
    ms_sha256_free(digest);
}

static void a_digest_tells_answers_apart(void **state) {
    (void)state;
    static const struct ms_render_options options[] = {
        {.format = "wav"},
        {.format = "wav", .sample_type = "int24"},
        {.format = "wav", .clip = "none"},
        {.format = "wav", .from = "1"},
        {.format = "wav", .from = "1", .seconds = "1"},
        {.format = "wav", .seconds = "1"},
        {.format = "mp3"},
        {.format = "mp3", .bitrate = "96"},
        {.format = "flac"},
    };
    char seen[2 * 9 + 2][MS_SHA256_HEX];
    int count = 0;
    struct ms_render_plan plan;
    for (int i = 0; i < 9; i++)
        for (int mixed = 0; mixed < 2; mixed++) {
            const int rc = mixed
                               ? ms_render_plan_mix(&job, NULL, NULL, &options[i], &plan, NULL)
                               : ms_render_plan_stem(&job, &job.stems[0], &options[i], &plan, NULL);
            assert_int_equal(rc, 0);
            digest_of(&plan, seen[count++]);
        }
    assert_int_equal(ms_render_plan_mix(&job, "bass:-1", NULL, &options[0], &plan, NULL), 0);
    digest_of(&plan, seen[count++]);
    plan.parts[1].sha256[0] ^= 1;
    digest_of(&plan, seen[count++]);
    for (int i = 0; i < count; i++)
        for (int k = 0; k < i; k++)
            if (strcmp(seen[i], seen[k]) == 0)
                fail_msg("%d and %d have one digest", k, i);
    char again[MS_SHA256_HEX];
    plan.parts[1].sha256[0] ^= 1;
    digest_of(&plan, again);
    assert_string_equal(again, seen[count - 2]);
    plan.parts[1].sha256[0] = '\0';
    struct ms_sha256 *digest = NULL;
    assert_int_equal(ms_sha256_new(&digest, NULL), 0);
    assert_false(ms_render_plan_digest(&plan, digest));
    ms_sha256_free(digest);
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

/* Windows of players have places of their own. */
static void short_parts_have_their_own_places(void **state) {
    (void)state;
    const struct ms_render_options wav = {.format = "wav", .sample_type = "float32"};
    struct ms_render_plan whole, window, old;
    struct ms_renders *one = NULL;
    struct ms_render *windows[MS_RENDERS_ASLEEP] = {NULL}, *song = NULL, *more = NULL;
    assert_int_equal(ms_render_plan_mix(&job, NULL, NULL, &wav, &whole, NULL), 0);
    plan_of_part(0, "flac", "1", "5", &window);
    assert_int_equal(ms_renders_new(&store_options, 1, &one, NULL), 0);
    for (int i = 0; i < MS_RENDERS_ASLEEP; i++)
        assert_int_equal(ms_render_open(one, &window, false, &windows[i], NULL), 0);
    assert_int_equal(ms_render_open(one, &window, false, &more, NULL), MS_ETOOLARGE);
    assert_int_equal(ms_render_open(one, &whole, false, &song, NULL), 0);
    ms_render_close(windows[0]);
    assert_int_equal(ms_render_open(one, &window, false, &windows[0], NULL), 0);
    ms_render_close(song);
    for (int i = 0; i < MS_RENDERS_ASLEEP; i++)
        ms_render_close(windows[i]);
    /* What is long, or must be read from the song's beginning, has the others' places. */
    old = window;
    (void)snprintf(old.parts[0].format, sizeof old.parts[0].format, "mp3");
    ms_job_stem_key(&job, names[0], old.parts[0].key);
    old.parts[0].bytes = job.stems[0].bytes;
    window.end_frame = window.first_frame + (int64_t)MS_RENDER_SHORT_S * 44100 + 1;
    const struct ms_render_plan *const both[] = {&old, &window};
    for (int i = 0; i < 2; i++) {
        char buffer[100];
        size_t size;
        bool refused = false;
        assert_int_equal(ms_render_open(one, both[i], false, &song, NULL), 0);
        for (int tries = 0; !refused && tries < 100; tries++) {
            assert_int_equal(ms_render_read(song, buffer, sizeof buffer, &size, NULL), 0);
            refused = ms_render_open(one, both[i], false, &more, NULL) == MS_ETOOLARGE;
            ms_render_close(more);
        }
        assert_true(refused);
        ms_render_close(song);
    }
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
        cmocka_unit_test(parts_are_those_of_the_whole),
        cmocka_unit_test(windows_joined_are_the_whole),
        cmocka_unit_test(a_part_in_every_format),
        cmocka_unit_test(parts_that_there_are_not),
        cmocka_unit_test(parts_of_damaged_stems),
        cmocka_unit_test(a_digest_tells_answers_apart),
        cmocka_unit_test(stems_that_are_gone),
        cmocka_unit_test(damaged_stems_end_the_answer),
        cmocka_unit_test(who_leaves_ends_the_work),
        cmocka_unit_test(too_many_are_refused),
        cmocka_unit_test(short_parts_have_their_own_places),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
