/* Stem files of jobs: which tracks they have at which level, and what happens where stems are gone,
 * damaged or others. On a store in a folder. */
#include "audio_tools.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#include "msaas/digest.h"
#include "msaas/render.h"

#define FRAMES 30011
#define STEMS 4

/* Not in the order of the tracks. */
static const char *const names[STEMS] = {"vocals", "drums", "bass", "other"};
static const int track_of[STEMS] = {4, 1, 2, 3};
static const double kept_gains[STEMS] = {0.8, 1, 0.5, 1};
static struct clip stems[STEMS]; /* as they are kept */
static struct ms_job job;
static struct ms_store *store;
static struct ms_store_options store_options;
static struct ms_renders *renders;

static void keep(int index, const struct clip *clip, enum ms_audio_format format) {
    struct ms_error err = {0};
    struct ms_job_stem *stem = &job.stems[index];
    const struct ms_encode_options options = {.format = format, .sample_type = MS_SAMPLE_INT24};
    const float *planes[2] = {clip->planes[0], clip->planes[1]};
    struct ms_decoder *song = NULL; /* for its tags */
    struct ms_encoder *encoder = NULL;
    struct ms_object_info info;
    char key[MS_JOB_KEY_MAX], hex[MS_SHA256_HEX];
    if (ms_decoder_open("song.flac", RATE_HZ, &song, &err) != 0 ||
        ms_encoder_open("stem", RATE_HZ, &options, ms_decoder_tags(song), &encoder, &err) != 0 ||
        ms_encoder_write(encoder, planes, (size_t)clip->frames, &err) != 0 ||
        ms_encoder_finish(encoder, &err) != 0 || ms_encoder_publish(encoder, &err) != 0)
        fail_msg("%s", err.text);
    ms_encoder_free(encoder);
    ms_decoder_free(song);
    const bool kept = format == MS_FORMAT_FLAC;
    if (kept)
        ms_job_kept_key(&job, names[index], key);
    else
        ms_job_stem_key(&job, names[index], key);
    const struct ms_object_source source = {.path = "stem"};
    if (ms_store_put(store, MS_BUCKET_STEMS, key, &source, &info, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(ms_sha256_of_file("stem", hex, NULL), 0);
    memcpy(kept ? stem->kept_sha256 : stem->sha256, hex, sizeof hex);
    *(kept ? &stem->kept_bytes : &stem->bytes) = info.bytes;
}

static int set_up(void **state) {
    struct ms_error err = {0};
    static char url[300];
    if (enter_folder(state) != 0)
        return 1;
    shell("ffmpeg -v error -f lavfi -i anullsrc=d=0.1 -metadata title=Lied -metadata track=3/9 "
          "song.flac");
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
                    (float)(0.2 * sin((double)i * (0.01 + 0.013 * s + 0.007 * c)));
        (void)snprintf(job.stems[s].name, sizeof job.stems[s].name, "%s", names[s]);
        job.stems[s].kept_gain = kept_gains[s];
        keep(s, &stems[s], MS_FORMAT_FLAC);
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

static int make(const struct ms_job *of, const char *codec, struct ms_error *err) {
    struct ms_render_stem_file plan;
    int64_t bytes = 0;
    *err = (struct ms_error){0};
    assert_int_equal(ms_render_plan_stem_file(of, codec, NULL, &plan, err), 0);
    const int fd = open("x.stem.mp4", O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    const int rc = ms_render_stem_file(renders, &plan, fd, &bytes, err);
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    if (rc == 0)
        assert_int_equal(status.st_size, bytes);
    assert_int_equal(close(fd), 0);
    return rc;
}

static void must_make(const struct ms_job *of, const char *codec) {
    struct ms_error err;
    if (make(of, codec, &err) != 0)
        fail_msg("%s", err.text);
    shell("python3 '%s' x.stem.mp4 > boxes.json", MP4_BOXES);
}

/* The loudest stem was kept at half its level: so all tracks are at half theirs, and the mix is
 * their sum. */
static void tracks_have_one_scale(void **state) {
    (void)state;
    must_make(&job, "alac");
    shell("grep -q '\"codec\": \"alac\", \"frames\": %d' boxes.json", FRAMES);
    for (int track = 0; track <= STEMS; track++) {
        struct clip clip;
        shell("ffmpeg -v error -y -i x.stem.mp4 -map 0:%d -c:a pcm_f32le track.wav", track);
        must_decode("track.wav", &clip);
        assert_int_equal(clip.frames, FRAMES);
        for (int c = 0; c < 2; c++) {
            for (int64_t i = 0; i < FRAMES; i++) {
                double want = 0;
                for (int s = 0; s < STEMS; s++)
                    if (track == 0 || track == track_of[s])
                        want += (double)stems[s].planes[c][i] / kept_gains[s] * 0.5;
                if (fabs(want - (double)clip.planes[c][i]) > 0.51 / 32768)
                    fail_msg("track %d, frame %d: %g for %g", track, (int)i,
                             (double)clip.planes[c][i], want);
            }
        }
        clip_free(&clip);
    }
}

static void the_song_s_tags_are_kept(void **state) {
    (void)state;
    must_make(&job, NULL);
    shell("grep -q '\"codec\": \"mp4a\", \"frames\": %d' boxes.json", FRAMES);
    shell("test \"$(ffprobe -v error -show_entries format_tags=title,track -of csv=p=0 "
          "x.stem.mp4)\" = Lied,3/9");
}

/* Jobs of an earlier release keep nothing lossless. */
static void what_was_asked_for_will_do(void **state) {
    (void)state;
    struct ms_job old = job;
    for (int s = 0; s < STEMS; s++) {
        keep(s, &stems[s], MS_FORMAT_MP3);
        old.stems[s] = job.stems[s];
        old.stems[s].kept_sha256[0] = '\0';
    }
    must_make(&old, NULL);
    shell("grep -q '\"frames\": %d,' boxes.json", FRAMES);
}

static void others_are_refused(void **state) {
    (void)state;
    struct ms_render_stem_file plan;
    struct ms_error err = {0};
    struct ms_job other = job;
    other.stem_count = 3;
    assert_int_equal(ms_render_plan_stem_file(&other, NULL, NULL, &plan, &err), MS_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "this job has vocals, drums, bass"));
    other.stem_count = STEMS;
    (void)snprintf(other.stems[2].name, sizeof other.stems[2].name, "guitar");
    assert_int_equal(ms_render_plan_stem_file(&other, NULL, NULL, &plan, &err), MS_EUNSUPPORTED);
    const struct {
        const char *codec, *bitrate, *says;
    } cases[] = {
        {"flac", NULL, "codec: must be one of aac|alac"},
        {"alac", "128", "bitrate: alac has no bit rate"},
        {NULL, "31", "bitrate: must be from 32 to 512"},
        {"aac", "513", "bitrate: must be from 32 to 512"},
        {"aac", "x", "bitrate: must be"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int rc =
            ms_render_plan_stem_file(&job, cases[i].codec, cases[i].bitrate, &plan, &err);
        assert_int_equal(rc, MS_EUSAGE);
        if (strstr(err.text, cases[i].says) == NULL)
            fail_msg("%s", err.text);
    }
}

static void stems_that_are_not_what_was_stored(void **state) {
    (void)state;
    struct ms_error err;
    char key[MS_JOB_KEY_MAX];
    struct clip shorter = stems[2];
    const struct ms_job before = job;
    shorter.frames--;
    keep(2, &shorter, MS_FORMAT_FLAC);
    assert_int_equal(make(&job, NULL, &err), MS_ECORRUPT);
    assert_non_null(strstr(err.text, "not of the same length"));
    ms_job_kept_key(&job, names[2], key);
    assert_int_equal(ms_store_remove(store, MS_BUCKET_STEMS, key, NULL), 0);
    assert_int_equal(make(&job, NULL, &err), MS_ENOTFOUND);
    job = before;
    keep(2, &stems[2], MS_FORMAT_FLAC);
    must_make(&job, NULL);
}

static void too_many_at_once(void **state) {
    (void)state;
    struct ms_renders *two = NULL;
    struct ms_render_stem_file plan;
    struct ms_render *busy[2];
    struct ms_error err = {0};
    int64_t bytes;
    assert_int_equal(ms_renders_new(&store_options, 2, &two, &err), 0);
    assert_int_equal(ms_render_plan_stem_file(&job, NULL, NULL, &plan, &err), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(ms_render_open(two, &plan.stems[i], false, &busy[i], &err), 0);
    assert_int_equal(ms_render_stem_file(two, &plan, -1, &bytes, &err), MS_ETOOLARGE);
    ms_render_close(busy[0]);
    ms_render_close(busy[1]);
    ms_renders_free(two);
}

static void a_full_disk_is_an_error(void **state) {
    (void)state;
    struct rlimit before, small;
    struct ms_error err;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 100000;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const int rc = make(&job, "alac", &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(rc, MS_EIO);
}

int main(int argc, char **argv) {
    ms_decoder_prepare(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tracks_have_one_scale),
        cmocka_unit_test(the_song_s_tags_are_kept),
        cmocka_unit_test(what_was_asked_for_will_do),
        cmocka_unit_test(others_are_refused),
        cmocka_unit_test(stems_that_are_not_what_was_stored),
        cmocka_unit_test(too_many_at_once),
        cmocka_unit_test(a_full_disk_is_an_error),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
