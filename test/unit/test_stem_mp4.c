/* Stem files: box by box (tools/mp4_boxes.py), as FFmpeg and this decoder read them, sample by
 * sample where the codec is exact; and what happens when the disk is full. */
#include "audio_tools.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#include "msaas/stem_mp4.h"
#include "tags.h"

#define FRAMES 60001

static struct clip stems[MS_STEM_MP4_STEMS];

static void fill(struct clip clips[MS_STEM_MP4_STEMS], int64_t frames) {
    for (int s = 0; s < MS_STEM_MP4_STEMS; s++) {
        clip_signal(&clips[s], frames, RATE_HZ);
        for (int c = 0; c < 2; c++) /* each its own level, and together below full scale */
            for (int64_t i = 0; i < frames; i++)
                clips[s].planes[c][i] *= 0.4f / (float)(s + 1) * (s % 2 == 0 ? 1 : -1);
    }
}

static void empty(struct clip clips[MS_STEM_MP4_STEMS]) {
    for (int s = 0; s < MS_STEM_MP4_STEMS; s++)
        clip_free(&clips[s]);
}

static int set_up(void **state) {
    if (enter_folder(state) != 0)
        return 1;
    fill(stems, FRAMES);
    return 0;
}

static int tear_down(void **state) {
    empty(stems);
    return leave_folder(state);
}

/* In blocks of odd sizes. */
static int make(const char *name, const struct ms_stem_mp4_options *options,
                const struct ms_audio_tags *tags, const struct clip clips[MS_STEM_MP4_STEMS],
                struct ms_error *err) {
    struct ms_stem_mp4 *file = NULL;
    const int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    int rc = ms_stem_mp4_open(fd, RATE_HZ, options, &file, err);
    const int64_t frames = clips[0].frames;
    for (int64_t at = 0, block = 1; rc == 0 && at < frames; at += block) {
        block = block * 3 % 7919 + 1;
        if (block > frames - at)
            block = frames - at;
        const float *planes[MS_STEM_MP4_STEMS][MS_AUDIO_CHANNELS];
        for (int s = 0; s < MS_STEM_MP4_STEMS; s++)
            for (int c = 0; c < 2; c++)
                planes[s][c] = clips[s].planes[c] + at;
        rc = ms_stem_mp4_write(file, (const float *const(*)[MS_AUDIO_CHANNELS])planes,
                               (size_t)block, err);
    }
    int64_t bytes = -1;
    if (rc == 0)
        rc = ms_stem_mp4_finish(file, tags, &bytes, err);
    ms_stem_mp4_free(file);
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0); /* it is still the caller's */
    if (rc == 0)
        assert_int_equal(status.st_size, bytes);
    assert_int_equal(close(fd), 0);
    return rc;
}

static void must_make(const char *name, enum ms_stem_mp4_codec codec,
                      const struct ms_audio_tags *tags,
                      const struct clip clips[MS_STEM_MP4_STEMS]) {
    const struct ms_stem_mp4_options options = {.codec = codec};
    struct ms_error err = {0};
    if (make(name, &options, tags, clips, &err) != 0)
        fail_msg("%s", err.text);
    shell("python3 '%s' %s > boxes.json", MP4_BOXES, name);
}

/* What a track of the file should be. */
static void meant(int track, const struct clip clips[MS_STEM_MP4_STEMS], struct clip *out) {
    clip_alloc(out, clips[0].frames);
    for (int s = 0; s < MS_STEM_MP4_STEMS; s++)
        for (int c = 0; c < 2; c++)
            for (int64_t i = 0; (track == 0 || track == s + 1) && i < out->frames; i++)
                out->planes[c][i] += clips[s].planes[c][i];
}

/* Every track alone, by FFmpeg: it cuts the delay at the beginning, not what fills the end. */
static void decode_track(const char *name, int track, struct clip *clip) {
    shell("ffmpeg -v error -y -i %s -map 0:%d -c:a pcm_f32le track.wav", name, track);
    must_decode("track.wav", clip);
}

static void every_track_is_its_stem(void **state) {
    (void)state;
    for (int codec = MS_STEM_MP4_AAC; codec <= MS_STEM_MP4_ALAC; codec++) {
        must_make("x.stem.mp4", (enum ms_stem_mp4_codec)codec, NULL, stems);
        shell("grep -q '\"codec\": \"%s\", \"frames\": %d, \"tags\": {}' boxes.json",
              codec == MS_STEM_MP4_AAC ? "mp4a" : "alac", FRAMES);
        for (int track = 0; track < MS_STEM_MP4_TRACKS; track++) {
            struct clip want, clip;
            meant(track, stems, &want);
            decode_track("x.stem.mp4", track, &clip);
            assert_true(clip.frames >= FRAMES);
            if (codec == MS_STEM_MP4_AAC && snr_db(&want, &clip, FRAMES) < 30)
                fail_msg("track %d: %.1f dB", track, snr_db(&want, &clip, FRAMES));
            for (int c = 0; codec == MS_STEM_MP4_ALAC && c < 2; c++)
                for (int64_t i = 0; i < FRAMES; i++)
                    if (clip.planes[c][i] != rintf(want.planes[c][i] * 32768) / 32768)
                        fail_msg("track %d, frame %d: %.9g for %.9g", track, (int)i,
                                 (double)clip.planes[c][i], (double)want.planes[c][i]);
            clip_free(&clip);
            clip_free(&want);
        }
    }
}

/* A program that knows nothing of stems plays the mix. */
static void others_play_the_mix(void **state) {
    (void)state;
    must_make("x.stem.mp4", MS_STEM_MP4_AAC, NULL, stems);
    struct clip want, clip;
    meant(0, stems, &want);
    must_decode("x.stem.mp4", &clip);
    assert_int_equal(clip.frames, FRAMES);
    assert_true(snr_db(&want, &clip, FRAMES) > 30);
    clip_free(&clip);
    clip_free(&want);
    shell("ffprobe -v error -show_entries stream=codec_name,channels,sample_rate,duration_ts:"
          "stream_disposition=default:stream_tags=handler_name -of csv=p=0 x.stem.mp4 > streams");
    shell("printf 'aac,44100,2,%d,%%s\\n' 1,Mix 0,Drums 0,Bass 0,Other 0,Vocals > wanted", FRAMES);
    shell("diff wanted streams");
    shell("test -z \"$(ffmpeg -v warning -i x.stem.mp4 -map 0 -f null - 2>&1)\"");
}

static void every_length_is_exact(void **state) {
    (void)state;
    static const int lengths[] = {1, 1023, 1024, 1025, 4095, 4096, 4097, 44100};
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        struct clip clips[MS_STEM_MP4_STEMS];
        fill(clips, lengths[l]);
        for (int codec = MS_STEM_MP4_AAC; codec <= MS_STEM_MP4_ALAC; codec++) {
            must_make("x.stem.mp4", (enum ms_stem_mp4_codec)codec, NULL, clips);
            shell("grep -q '\"frames\": %d,' boxes.json", lengths[l]);
            struct clip clip;
            must_decode("x.stem.mp4", &clip);
            assert_int_equal(clip.frames, lengths[l]);
            clip_free(&clip);
        }
        empty(clips);
    }
}

static void loud_samples_are_clamped_where_they_must_be(void **state) {
    (void)state;
    struct clip clips[MS_STEM_MP4_STEMS], clip;
    fill(clips, 5000);
    for (int s = 0; s < MS_STEM_MP4_STEMS; s++) /* only the mix is too loud */
        clips[s].planes[0][2000] = 0.5f;
    clips[1].planes[1][2001] = -7;
    must_make("x.stem.mp4", MS_STEM_MP4_ALAC, NULL, clips);
    decode_track("x.stem.mp4", 0, &clip);
    assert_true(clip.planes[0][2000] == 32767.0f / 32768 && clip.planes[1][2001] == -1);
    clip_free(&clip);
    decode_track("x.stem.mp4", 2, &clip);
    assert_true(clip.planes[0][2000] == 0.5f && clip.planes[1][2001] == -1);
    clip_free(&clip);
    empty(clips);
}

static void tags_and_cover_are_there(void **state) {
    (void)state;
    static const char *const texts[MS_TAGS_TEXTS] = {"Lied \xc3\xbc\xe2\x82\xac",
                                                     "Ann",
                                                     "Album",
                                                     "Band",
                                                     "3/12",
                                                     "1/2",
                                                     "2026",
                                                     "Cee",
                                                     "Folk",
                                                     "said",
                                                     "sung"};
    static const char *const names[MS_TAGS_TEXTS] = {"title", "artist",  "album", "album_artist",
                                                     "track", "disc",    "date",  "composer",
                                                     "genre", "comment", "lyrics"};
    struct ms_audio_tags *tags = ms_tags_new();
    assert_non_null(tags);
    for (int i = 0; i < MS_TAGS_TEXTS; i++)
        assert_int_equal(ms_tags_set_text(tags, i, texts[i], NULL), 0);
    shell("ffmpeg -v error -y -f lavfi -i color=red:s=8x8 -frames:v 1 cover.png");
    size_t size;
    uint8_t *cover = read_file("cover.png", &size);
    assert_int_equal(ms_tags_set_cover(tags, cover, (int)size, NULL), 0);
    must_make("x.stem.mp4", MS_STEM_MP4_AAC, tags, stems);
    ms_tags_free(tags);
    for (int i = 0; i < MS_TAGS_TEXTS; i++)
        shell("test \"$(ffprobe -v error -show_entries format_tags=%s -of csv=p=0 x.stem.mp4)\" = "
              "'%s'",
              names[i], texts[i]);
    shell("ffmpeg -v error -y -i x.stem.mp4 -map 0:v -c copy -f image2 out.png");
    shell("cmp cover.png out.png");
    free(cover);
}

/* The disk's numbers are odd: no 0, no text. */
static void numbers_that_are_none_are_left_out(void **state) {
    (void)state;
    static const char *const odd[] = {"A1", "0", "70000", "3/70000"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        struct ms_audio_tags *tags = ms_tags_new();
        assert_int_equal(ms_tags_set_text(tags, 4, odd[i], NULL), 0);
        must_make("x.stem.mp4", MS_STEM_MP4_ALAC, tags, stems);
        ms_tags_free(tags);
        shell("grep -q '\"tags\": {}' boxes.json");
    }
}

static void the_same_stems_give_the_same_bytes(void **state) {
    (void)state;
    must_make("a.stem.mp4", MS_STEM_MP4_AAC, NULL, stems);
    must_make("b.stem.mp4", MS_STEM_MP4_AAC, NULL, stems);
    shell("cmp a.stem.mp4 b.stem.mp4");
}

static void a_full_disk_is_an_error(void **state) {
    (void)state;
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    for (rlim_t size = 0; size <= 100000; size += 50000) {
        struct ms_error err = {0};
        const struct ms_stem_mp4_options options = {.codec = MS_STEM_MP4_ALAC};
        small.rlim_cur = size;
        (void)signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        const int rc = make("full", &options, NULL, stems, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(rc, MS_EIO);
        assert_non_null(strstr(err.text, "File too large"));
    }
}

int main(int argc, char **argv) {
    ms_decoder_prepare(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_track_is_its_stem),
        cmocka_unit_test(others_play_the_mix),
        cmocka_unit_test(every_length_is_exact),
        cmocka_unit_test(loud_samples_are_clamped_where_they_must_be),
        cmocka_unit_test(tags_and_cover_are_there),
        cmocka_unit_test(numbers_that_are_none_are_left_out),
        cmocka_unit_test(the_same_stems_give_the_same_bytes),
        cmocka_unit_test(a_full_disk_is_an_error),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
