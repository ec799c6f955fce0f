/* Encoding: every format by exact length, samples and tags, read back by this decoder and by
 * others' programs; and what is left on the disk when something fails. */
#include "audio_tools.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#include "msaas/cmd.h"
#include "msaas/option.h"

#define FRAMES 60001

static struct clip source;

static int set_up(void **state) {
    if (enter_folder(state) != 0)
        return 1;
    clip_signal(&source, FRAMES, RATE_HZ);
    return 0;
}

static int tear_down(void **state) {
    clip_free(&source);
    return leave_folder(state);
}

static const struct ms_encode_options wav16 = {.format = MS_FORMAT_WAV};

/* In blocks of odd sizes. */
static int encode_frames(const char *name, const struct ms_encode_options *options,
                         const struct ms_audio_tags *tags, const struct clip *clip,
                         struct ms_error *err) {
    struct ms_encoder *encoder = NULL;
    int rc = ms_encoder_open(name, RATE_HZ, options, tags, &encoder, err);
    for (int64_t at = 0, block = 1; rc == 0 && at < clip->frames; at += block) {
        block = block * 3 % 7919 + 1;
        if (block > clip->frames - at)
            block = clip->frames - at;
        const float *planes[2] = {clip->planes[0] + at, clip->planes[1] + at};
        rc = ms_encoder_write(encoder, planes, (size_t)block, err);
    }
    if (rc == 0)
        rc = ms_encoder_finish(encoder, err);
    if (rc == 0)
        rc = ms_encoder_publish(encoder, err);
    ms_encoder_free(encoder);
    return rc;
}

static void must_encode(const char *name, const struct ms_encode_options *options,
                        const struct ms_audio_tags *tags, const struct clip *clip) {
    struct ms_error err = {0};
    if (encode_frames(name, options, tags, clip, &err) != 0)
        fail_msg("%s", err.text);
}

static int count_files(void) {
    DIR *open_folder = opendir(".");
    assert_non_null(open_folder);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(open_folder)) != NULL;)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(open_folder);
    return count;
}

/* Bytes of 16-bit stereo that another program decodes the file to, at the rate of the file. */
static int64_t frames_by(const char *command) {
    shell("%s > raw", command);
    struct stat status;
    assert_int_equal(stat("raw", &status), 0);
    assert_int_equal(status.st_size % 4, 0);
    return status.st_size / 4;
}

static void names_are_known(void **state) {
    (void)state;
    static const char *const names[] = {"wav", "mp3", "flac", "opus", "m4a"};
    for (int i = 0; i < 5; i++) {
        enum ms_audio_format format;
        assert_int_equal(ms_audio_format_parse(names[i], &format, NULL), 0);
        assert_int_equal((int)format, i);
        assert_string_equal(ms_audio_format_extension(format), names[i]);
    }
    enum ms_audio_format format;
    struct ms_error err = {0};
    assert_int_equal(ms_audio_format_parse("wma", &format, &err), MS_EUSAGE);
    assert_non_null(strstr(err.text, "wma"));
    assert_int_equal(ms_audio_format_parse("", &format, &err), MS_EUSAGE);
}

static void float_wav_is_exact(void **state) {
    (void)state;
    struct clip loud, clip;
    clip_signal(&loud, FRAMES, RATE_HZ);
    loud.planes[0][100] = 3.5f; /* float may go beyond full scale */
    loud.planes[1][101] = -1e-20f;
    struct ms_encode_options options = {.format = MS_FORMAT_WAV, .sample_type = MS_SAMPLE_FLOAT32};
    must_encode("float.wav", &options, NULL, &loud);
    must_decode("float.wav", &clip);
    assert_same_samples(&loud, &clip);
    clip_free(&clip);
    clip_free(&loud);
}

/* Rounded to the nearest step, clamped, and the same in WAV and FLAC. */
static void integers_are_rounded_and_clamped(void **state) {
    (void)state;
    struct clip loud;
    clip_signal(&loud, FRAMES, RATE_HZ);
    static const float edges[] = {2,
                                  -2,
                                  1,
                                  -1,
                                  0.99999f,
                                  -0.99999f,
                                  1e30f,
                                  -1e30f,
                                  0.4f / 32768,
                                  0.6f / 32768,
                                  -0.6f / 32768,
                                  0.6f / 8388608};
    memcpy(loud.planes[0], edges, sizeof edges);
    for (int bits = 16; bits <= 24; bits += 8) {
        float scale = bits == 16 ? 32768 : 8388608;
        for (int f = 0; f < 2; f++) {
            struct ms_encode_options options = {.format = f == 0 ? MS_FORMAT_WAV : MS_FORMAT_FLAC,
                                                .sample_type =
                                                    bits == 16 ? MS_SAMPLE_INT16 : MS_SAMPLE_INT24};
            const char *name = f == 0 ? "int.wav" : "int.flac";
            must_encode(name, &options, NULL, &loud);
            struct clip clip;
            must_decode(name, &clip);
            assert_int_equal(clip.frames, FRAMES);
            for (int c = 0; c < 2; c++) {
                for (int64_t i = 0; i < FRAMES; i++) {
                    float want = rintf(loud.planes[c][i] * scale);
                    want = want > scale - 1 ? scale - 1 : want < -scale ? -scale : want;
                    if (clip.planes[c][i] != want / scale)
                        fail_msg("%s %d bits, frame %d: %.9g for %.9g", name, bits, (int)i,
                                 (double)clip.planes[c][i], (double)loud.planes[c][i]);
                }
            }
            clip_free(&clip);
            shell("test $(soxi -b %s) = %d", name, bits);
        }
    }
    clip_free(&loud);
}

static const struct {
    const char *name;
    struct ms_encode_options options;
    double least_snr_db;
} lossy[] = {
    {"stem.mp3", {.format = MS_FORMAT_MP3}, 35},
    {"slow.mp3", {.format = MS_FORMAT_MP3, .mp3_preset = 2}, 35},
    {"fast.mp3", {.format = MS_FORMAT_MP3, .mp3_preset = 7, .bitrate_kbps = 128}, 20},
    {"stem.opus", {.format = MS_FORMAT_OPUS}, 25},
    {"low.opus", {.format = MS_FORMAT_OPUS, .bitrate_kbps = 64}, 15},
    {"stem.m4a", {.format = MS_FORMAT_M4A}, 55},
    {"low.m4a", {.format = MS_FORMAT_M4A, .bitrate_kbps = 96}, 15},
};
#define LOSSY_COUNT ((int)(sizeof lossy / sizeof *lossy))

static void lossy_stems_have_the_exact_length(void **state) {
    (void)state;
    /* Around the block sizes of the codecs, one frame, and none of these. */
    static const int lengths[] = {FRAMES, 1,    46,   47,   48,    1024,  1152,
                                  1153,   1198, 2048, 4410, 44099, 44101, 47999};
    for (int k = 0; k < LOSSY_COUNT; k++) {
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
            struct clip made;
            clip_signal(&made, lengths[l], RATE_HZ);
            must_encode(lossy[k].name, &lossy[k].options, NULL, &made);
            struct clip clip;
            must_decode(lossy[k].name, &clip);
            if (clip.frames != lengths[l])
                fail_msg("%s: %lld frames of %d", lossy[k].name, (long long)clip.frames,
                         lengths[l]);
            double snr = snr_db(&made, &clip, made.frames);
            if (lengths[l] == FRAMES && snr < lossy[k].least_snr_db)
                fail_msg("%s: %.1f dB", lossy[k].name, snr);
            clip_free(&clip);
            clip_free(&made);
        }
    }
}

static void other_decoders_find_the_exact_length(void **state) {
    (void)state;
    struct ms_encode_options options = lossy[0].options;
    must_encode("other.mp3", &options, NULL, &source);
    assert_int_equal(frames_by("ffmpeg -v error -i other.mp3 -f s16le -"), FRAMES);
    assert_int_equal(frames_by("lame --quiet --decode other.mp3 -t -"), FRAMES);
    clip_free(&source);
    clip_signal(&source, 1153, RATE_HZ); /* LAME pads this one by more than a packet */
    must_encode("short.mp3", &options, NULL, &source);
    assert_int_equal(frames_by("ffmpeg -v error -i short.mp3 -f s16le -"), 1153);
    assert_int_equal(frames_by("lame --quiet --decode short.mp3 -t -"), 1153);
    clip_free(&source);
    clip_signal(&source, FRAMES, RATE_HZ);
    options.format = MS_FORMAT_OPUS;
    must_encode("other.opus", &options, NULL, &source);
    assert_int_equal(frames_by("ffmpeg -v error -i other.opus -f s16le -"), 65307);
    options.format = MS_FORMAT_M4A;
    must_encode("other.m4a", &options, NULL, &source);
    /* ffmpeg 5 does not cut the end itself; what players go by is the track's edit list. */
    shell("test $(ffprobe -v error -show_entries stream=duration_ts -of csv=p=0 other.m4a) = %d",
          FRAMES);
    options.format = MS_FORMAT_FLAC;
    must_encode("other.flac", &options, NULL, &source);
    assert_int_equal(frames_by("ffmpeg -v error -i other.flac -f s16le -"), FRAMES);
    shell("test $(soxi -s other.flac) = %d", FRAMES);
    options.format = MS_FORMAT_WAV;
    must_encode("other.wav", &options, NULL, &source);
    shell("test $(soxi -s other.wav) = %d", FRAMES);
}

static void the_same_input_gives_the_same_bytes(void **state) {
    (void)state;
    for (int format = MS_FORMAT_WAV; format <= MS_FORMAT_M4A; format++) {
        struct ms_encode_options options = {.format = (enum ms_audio_format)format,
                                            .mp3_preset = 2};
        size_t size[2];
        char *bytes[2];
        for (int i = 0; i < 2; i++) {
            must_encode("same", &options, NULL, &source);
            bytes[i] = read_file("same", &size[i]);
        }
        assert_int_equal(size[0], size[1]);
        assert_memory_equal(bytes[0], bytes[1], size[0]);
        /* No version of FFmpeg in it either. */
        assert_null(memmem(bytes[0], size[0], "Lavf5", 5));
        assert_null(memmem(bytes[0], size[0], "Lavc5", 5));
        free(bytes[0]);
        free(bytes[1]);
    }
}

/* What ffprobe finds in the file, one KEY=VALUE a line, wherever the container keeps it; then each
 * of these. */
static void expect_tags(const char *name, const char *const *tags, int count) {
    shell("ffprobe -v error -show_entries format_tags:stream_tags -of default=nw=1 %s > tags",
          name);
    size_t size;
    char *text = read_file("tags", &size);
    text[size] = '\0';
    for (int i = 0; i < count; i++)
        if (strcasestr(text, tags[i]) == NULL)
            fail_msg("%s: no %s in\n%s", name, tags[i], text);
    assert_null(strstr(text, "secret"));
    free(text);
}

static bool contains(const char *name, const void *bytes, size_t size) {
    size_t whole;
    void *all = read_file(name, &whole);
    bool found = memmem(all, whole, bytes, size) != NULL;
    free(all);
    return found;
}

/* Jobs name none and get what `msaas separate` takes by default. */
static void the_default_preset_is_the_options_default(void **state) {
    (void)state;
    char *argv[] = {"separate", "song", NULL};
    const struct ms_command *const commands[] = {&ms_cmd_separate, NULL};
    const struct ms_call call = {
        .command = &ms_cmd_separate, .commands = commands, .argc = 2, .argv = argv};
    struct ms_options *parsed = NULL;
    assert_int_equal(ms_options_parse(&call, &parsed, NULL), 0);
    const int presets[2] = {0, (int)ms_options_int(parsed, MS_OPTION_MP3_PRESET)};
    size_t size[2];
    char *bytes[2];
    for (int i = 0; i < 2; i++) {
        struct ms_encode_options options = {.format = MS_FORMAT_MP3, .mp3_preset = presets[i]};
        must_encode("default.mp3", &options, NULL, &source);
        bytes[i] = read_file("default.mp3", &size[i]);
    }
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(bytes[0], bytes[1], size[0]);
    free(bytes[0]);
    free(bytes[1]);
    ms_options_free(parsed);
}

static void tags_and_cover_are_carried_over(void **state) {
    (void)state;
    static const char *const tags[] = {"TAG:title=L'\xc3\xa9t\xc3\xa9 \xe9\x9f\xb3\xe6\xa5\xbd\n",
                                       "TAG:artist=Artist\n",
                                       "TAG:album=Album\n",
                                       "TAG:date=1999\n",
                                       "TAG:genre=Jazz\n",
                                       "TAG:album_artist=Various\n",
                                       "TAG:track=3/12\n",
                                       "TAG:lyrics=La la la\n"};
    static const char *const pictures[] = {"cover.png", "cover.jpg"};
    must_encode("plain.wav", &wav16, NULL, &source);
    shell(
        "ffmpeg -v error -f lavfi -i testsrc=s=120x80 -frames:v 1 cover.png -frames:v 1 cover.jpg");
    for (int p = 0; p < 2; p++) {
        size_t picture_bytes;
        void *picture = read_file(pictures[p], &picture_bytes);
        shell("ffmpeg -v error -y -i plain.wav -i %s -map 0 -map 1 -c:a libmp3lame -c:v copy"
              " -disposition:v attached_pic -metadata:s:v comment='Cover (front)'"
              " -metadata title=\"%s\" -metadata artist=Artist -metadata album=Album"
              " -metadata album_artist=Various -metadata track=3/12 -metadata date=1999"
              " -metadata genre=Jazz -metadata lyrics='La la la' -metadata encoder=other -metadata "
              "private=secret tagged.mp3",
              pictures[p], "L'\xc3\xa9t\xc3\xa9 \xe9\x9f\xb3\xe6\xa5\xbd");
        struct ms_error err = {0};
        struct ms_decoder *decoder = NULL;
        assert_int_equal(ms_decoder_open("tagged.mp3", RATE_HZ, &decoder, &err), 0);
        for (int format = MS_FORMAT_WAV; format <= MS_FORMAT_M4A; format++) {
            struct ms_encode_options options = {.format = (enum ms_audio_format)format,
                                                .mp3_preset = 7};
            char name[32];
            (void)snprintf(name, sizeof name, "carried.%s",
                           ms_audio_format_extension(options.format));
            must_encode(name, &options, ms_decoder_tags(decoder), &source);
            /* WAV has no field for the last three, and none for a picture. */
            expect_tags(name, tags, format == MS_FORMAT_WAV ? 5 : 8);
            struct clip clip;
            must_decode(name, &clip);
            assert_int_equal(clip.frames, FRAMES);
            clip_free(&clip);
            /* And from there to the next one; in Opus the picture is base64 and seen only there. */
            struct ms_decoder *again = NULL;
            assert_int_equal(ms_decoder_open(name, RATE_HZ, &again, &err), 0);
            options.format = MS_FORMAT_FLAC;
            must_encode("second.flac", &options, ms_decoder_tags(again), &source);
            ms_decoder_free(again);
            if (format != MS_FORMAT_WAV && format != MS_FORMAT_OPUS)
                assert_true(contains(name, picture, picture_bytes));
            assert_int_equal(contains("second.flac", picture, picture_bytes),
                             format != MS_FORMAT_WAV);
        }
        expect_tags("second.flac", tags, 8);
        ms_decoder_free(decoder);
        free(picture);
    }
}

/* ffmpeg writes no such tag: ID3's own frame for lyrics, with a language and a title. */
static void lyrics_of_id3_are_carried_over(void **state) {
    (void)state;
    static const char frame[] = "USLT\0\0\0\x15\0\0\0engOld song\0La la la"; /* 21 bytes */
    static const char *const tags[] = {"TAG:lyrics=La la la\n"};
    static const enum ms_audio_format formats[] = {MS_FORMAT_MP3, MS_FORMAT_FLAC, MS_FORMAT_OPUS,
                                                   MS_FORMAT_M4A};
    const size_t size = sizeof frame - 1;
    must_encode("plain.mp3", &(struct ms_encode_options){.format = MS_FORMAT_MP3}, NULL, &source);
    FILE *file = fopen("uslt.id3", "wb");
    assert_non_null(file);
    (void)fprintf(file, "ID3%c%c%c%c%c%c%c", 3, 0, 0, 0, 0, 0, (int)size);
    assert_int_equal(fwrite(frame, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    shell("cat uslt.id3 plain.mp3 > uslt.mp3");
    struct ms_error err = {0};
    struct ms_decoder *decoder = NULL;
    assert_int_equal(ms_decoder_open("uslt.mp3", RATE_HZ, &decoder, &err), 0);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        const struct ms_encode_options options = {.format = formats[i]};
        char name[32];
        (void)snprintf(name, sizeof name, "sung.%s", ms_audio_format_extension(formats[i]));
        must_encode(name, &options, ms_decoder_tags(decoder), &source);
        expect_tags(name, tags, 1);
    }
    ms_decoder_free(decoder);
}

/* Nothing under the final name before _publish, nothing at all when it never comes. */
static void no_partial_file_is_seen(void **state) {
    (void)state;
    shell("mkdir -p alone");
    assert_int_equal(chdir("alone"), 0);
    struct ms_error err = {0};
    const float *planes[2] = {source.planes[0], source.planes[1]};
    for (int step = 0; step < 4; step++) {
        struct ms_encoder *encoder = NULL;
        assert_int_equal(ms_encoder_open("stem.wav", RATE_HZ, &wav16, NULL, &encoder, &err), 0);
        if (step >= 1)
            assert_int_equal(ms_encoder_write(encoder, planes, FRAMES, &err), 0);
        if (step >= 2)
            assert_int_equal(ms_encoder_finish(encoder, &err), 0);
        assert_int_not_equal(access("stem.wav", F_OK), 0);
        assert_int_equal(count_files(), 1);
        if (step >= 3) {
            assert_int_equal(ms_encoder_publish(encoder, &err), 0);
            assert_int_equal(access("stem.wav", F_OK), 0);
        }
        ms_encoder_free(encoder);
        assert_int_equal(count_files(), step >= 3);
    }
    assert_int_equal(chdir(".."), 0);
}

static void the_mode_follows_the_umask(void **state) {
    (void)state;
    static const mode_t masks[] = {022, 027, 077, 002};
    mode_t before = umask(0);
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
        (void)umask(masks[i]);
        must_encode("mode.wav", &wav16, NULL, &source);
        struct stat status;
        assert_int_equal(stat("mode.wav", &status), 0);
        assert_int_equal(status.st_mode & 0777, 0666 & ~masks[i]);
    }
    (void)umask(before);
}

static void long_and_unicode_names_work(void **state) {
    (void)state;
    char name[300];
    memset(name, 'n', sizeof name);
    (void)strcpy(name + 251, ".wav"); /* 255 bytes: the most */
    must_encode(name, &wav16, NULL, &source);
    memmove(name + 252, name + 251, 5);
    name[251] = 'n';
    struct ms_error err = {0};
    assert_int_equal(encode_frames(name, &wav16, NULL, &source, &err), MS_EIO);
    assert_non_null(strstr(err.text, "too long"));
    must_encode("\xe9\x9f\xb3 \xf0\x9f\x8e\xb5 %s.wav", &wav16, NULL, &source);
}

static void folders_that_cannot_be_written_are_named(void **state) {
    (void)state;
    struct ms_error err = {0};
    assert_int_equal(encode_frames("no/such/stem.wav", &wav16, NULL, &source, &err), MS_EIO);
    assert_non_null(strstr(err.text, "no/such/stem.wav"));
    assert_non_null(strstr(err.text, "No such file"));
    assert_int_equal(encode_frames("/proc/stem.wav", &wav16, NULL, &source, &err), MS_EIO);
    /* The final name is taken by a folder: only _publish can tell. */
    assert_int_equal(mkdir("taken.wav", 0700), 0);
    assert_int_equal(encode_frames("taken.wav", &wav16, NULL, &source, &err), MS_EIO);
    assert_non_null(strstr(err.text, "taken.wav"));
}

/* A limit on the size of files stands for the full disk: the same error on the same way. */
static void a_full_disk_is_an_error(void **state) {
    (void)state;
    shell("mkdir -p full");
    assert_int_equal(chdir("full"), 0);
    for (int format = MS_FORMAT_WAV; format <= MS_FORMAT_M4A; format++) {
        /* In the middle of the samples, and at the last bytes. */
        struct ms_encode_options options = {.format = (enum ms_audio_format)format,
                                            .mp3_preset = 7};
        must_encode("fits", &options, NULL, &source);
        struct stat status;
        assert_int_equal(stat("fits", &status), 0);
        assert_int_equal(unlink("fits"), 0);
        const off_t limits[] = {0, 1000, status.st_size / 2, status.st_size - 1};
        for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
            pid_t pid = fork();
            if (pid == 0) {
                struct rlimit limit = {(rlim_t)limits[i], (rlim_t)limits[i]};
                (void)signal(SIGXFSZ, SIG_IGN);
                if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
                    _exit(3);
                struct ms_error err = {0};
                int rc = encode_frames("stem", &options, NULL, &source, &err);
                _exit(rc == MS_EIO && strstr(err.text, "stem") != NULL &&
                              strstr(err.text, "File too large") != NULL
                          ? 0
                          : 1);
            }
            int exit_status = -1;
            assert_int_equal(waitpid(pid, &exit_status, 0), pid);
            if (exit_status != 0)
                fail_msg("format %d, limit %lld: status %d", format, (long long)limits[i],
                         exit_status);
            assert_int_equal(count_files(), 0);
        }
    }
    assert_int_equal(chdir(".."), 0);
}

static void impossible_options_are_refused(void **state) {
    (void)state;
    static const struct ms_encode_options bad[] = {
        {.format = MS_FORMAT_MP3, .mp3_preset = 1},
        {.format = MS_FORMAT_MP3, .mp3_preset = 8},
        {.format = MS_FORMAT_MP3, .mp3_preset = 2, .bitrate_kbps = 321},
        {.format = MS_FORMAT_OPUS, .bitrate_kbps = 5},
        {.format = MS_FORMAT_M4A, .bitrate_kbps = 10000},
        {.format = MS_FORMAT_FLAC, .sample_type = MS_SAMPLE_FLOAT32},
        {.format = (enum ms_audio_format)99},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ms_error err = {0};
        assert_int_equal(encode_frames("bad.out", &bad[i], NULL, &source, &err), MS_EUSAGE);
        assert_true(err.text[0] != '\0');
        assert_int_not_equal(access("bad.out", F_OK), 0);
    }
}

static void nothing_written_is_still_a_file(void **state) {
    (void)state;
    struct clip none = {.frames = 0};
    for (int format = MS_FORMAT_WAV; format <= MS_FORMAT_M4A; format++) {
        struct ms_encode_options options = {.format = (enum ms_audio_format)format,
                                            .mp3_preset = 2};
        must_encode("none", &options, NULL, &none);
    }
}

int main(int argc, char **argv) {
    ms_decoder_prepare(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_known),
        cmocka_unit_test(float_wav_is_exact),
        cmocka_unit_test(integers_are_rounded_and_clamped),
        cmocka_unit_test(lossy_stems_have_the_exact_length),
        cmocka_unit_test(other_decoders_find_the_exact_length),
        cmocka_unit_test(the_same_input_gives_the_same_bytes),
        cmocka_unit_test(the_default_preset_is_the_options_default),
        cmocka_unit_test(tags_and_cover_are_carried_over),
        cmocka_unit_test(lyrics_of_id3_are_carried_over),
        cmocka_unit_test(no_partial_file_is_seen),
        cmocka_unit_test(the_mode_follows_the_umask),
        cmocka_unit_test(long_and_unicode_names_work),
        cmocka_unit_test(folders_that_cannot_be_written_are_named),
        cmocka_unit_test(a_full_disk_is_an_error),
        cmocka_unit_test(impossible_options_are_refused),
        cmocka_unit_test(nothing_written_is_still_a_file),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
