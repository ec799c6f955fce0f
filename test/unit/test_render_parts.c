/* Parts of stems and mixes, as players ask for them, and the digests of what is asked for. See
 * render_scene.h. */
#include "render_scene.h"

#include "msaas/media.h"

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
        cmocka_unit_test(parts_are_those_of_the_whole),
        cmocka_unit_test(windows_joined_are_the_whole),
        cmocka_unit_test(a_part_in_every_format),
        cmocka_unit_test(parts_that_there_are_not),
        cmocka_unit_test(parts_of_damaged_stems),
        cmocka_unit_test(a_digest_tells_answers_apart),
        cmocka_unit_test(short_parts_have_their_own_places),
    };
    return cmocka_run_group_tests(tests, scene_begin, scene_end);
}
