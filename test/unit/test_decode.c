/* Decoding: every kind of input by its exact length and its samples, and what is left of damaged
 * ones. test_decode_refusals.c has what must be refused. */
#include <libavutil/channel_layout.h>
#include <signal.h>

#include "decode_site.h"

static void float_comes_through_bit_for_bit(void **state) {
    (void)state;
    struct clip clip;
    must_decode("source.wav", &clip);
    assert_same_samples(&source, &clip);
    clip_free(&clip);
}

static void int16_is_divided_by_32768(void **state) {
    (void)state;
    int16_t data[2 * 1000];
    for (int i = 0; i < 2000; i++)
        data[i] = (int16_t)(i * 37 - 32768);
    data[1999] = 32767;
    write_wav("ints.wav", 1, 2, RATE_HZ, 16, data, sizeof data);
    struct clip clip;
    must_decode("ints.wav", &clip);
    assert_int_equal(clip.frames, 1000);
    for (int i = 0; i < 1000; i++)
        for (int c = 0; c < 2; c++)
            assert_true(clip.planes[c][i] == (float)data[2 * i + c] / 32768.0f);
    clip_free(&clip);
}

static void every_pcm_is_read(void **state) {
    (void)state;
    expect("u8.wav", FRAMES, 35);
    expect("s16.wav", FRAMES, 80);
    expect("s24.wav", FRAMES, 120);
    expect("s32.wav", FRAMES, 140);
    expect("f64.wav", FRAMES, 300);
    expect("s16.aiff", FRAMES, 80);
    expect("s24.aif", FRAMES, 120);
    expect("caf.caf", FRAMES, 80);
    expect("w64.w64", 60000, 80); /* ffmpeg pads it to 8 bytes and counts them */
}

static void lossless_is_exact(void **state) {
    (void)state;
    struct clip wav, other;
    must_decode("s16.wav", &wav);
    static const char *const names[] = {"s16.flac", "alac.m4a", "flac.ogg", "flac.mka", "s16.wv"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        must_decode(names[i], &other);
        assert_same_samples(&wav, &other);
        clip_free(&other);
    }
    clip_free(&wav);
}

static void lossy_has_the_sources_length(void **state) {
    (void)state;
    expect("lame.mp3", FRAMES, 30);
    expect("ffmpeg.mp3", FRAMES, 30);
    expect("v2.mp3", FRAMES, 25);
    expect("r48.mp3", FRAMES, 25);
    expect("aac.m4a", FRAMES, 25);
    expect("aac.mp4", FRAMES, 25);
    expect("600.mov", FRAMES, 25);
    expect("edge.m4a", EDGE_FRAMES, 15);
    expect("vorbis.ogg", FRAMES, 25);
    expect("opus.opus", FRAMES, 25);
    expect("opus.webm", FRAMES, 25);
}

/* These do not say where the audio begins and ends within their packets. */
static void formats_without_gapless_information_are_read(void **state) {
    (void)state;
    static const char *const names[] = {"vorbis.mkv",     "wma.wma", "adts.aac", "ac3.ac3",
                                        "fragmented.mp4", "v.mkv",   "v.webm",   "v.mp4"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct clip clip;
        must_decode(names[i], &clip);
        if (clip.frames < FRAMES - 4096 || clip.frames > FRAMES + 4096)
            fail_msg("%s: %lld frames", names[i], (long long)clip.frames);
        clip_free(&clip);
    }
}

static void put32_be(uint8_t *at, uint32_t value) {
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* iTunes says in a tag of its own what to cut. ffmpeg does not write it: it is put behind the other
 * tags, which are the last thing in the file, and the boxes around it grow. */
static void itunes_tag_is_obeyed(void **state) {
    (void)state;
    static const char *const around[] = {"moov", "udta", "meta", "ilst"};
    size_t size;
    uint8_t *bytes = read_file("itunes.m4a", &size);
    char value[120];
    int value_bytes = snprintf(value, sizeof value, " 00000000 00000400 0000019F %016X 00000000",
                               (unsigned)(FRAMES - 333));
    uint8_t tag[300];
    uint32_t tag_bytes = 8;
    const struct {
        const char *name, *text;
        uint32_t text_bytes, head_bytes; /* head: 0, or the kind of data */
    } parts[] = {{"mean", "com.apple.iTunes", 16, 4},
                 {"name", "iTunSMPB", 8, 4},
                 {"data", value, (uint32_t)value_bytes, 8}};
    for (int i = 0; i < 3; i++) {
        uint32_t part_bytes = 8 + parts[i].head_bytes + parts[i].text_bytes;
        put32_be(tag + tag_bytes, part_bytes);
        memcpy(tag + tag_bytes + 4, parts[i].name, 4);
        memset(tag + tag_bytes + 8, 0, parts[i].head_bytes);
        if (parts[i].head_bytes == 8)
            tag[tag_bytes + 11] = 1; /* UTF-8 */
        memcpy(tag + tag_bytes + 8 + parts[i].head_bytes, parts[i].text, parts[i].text_bytes);
        tag_bytes += part_bytes;
    }
    put32_be(tag, tag_bytes);
    memcpy(tag + 4, "----", 4);
    uint8_t *at = bytes;
    for (int i = 0; i < 4; i++) {
        at = memmem(at, size - (size_t)(at - bytes), around[i], 4);
        assert_non_null(at);
        uint32_t box_bytes = (uint32_t)(bytes + size - (at - 4)); /* all end with the file */
        put32_be(at - 4, box_bytes + tag_bytes);
    }
    FILE *file = fopen("itunes.m4a", "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file) + fwrite(tag, 1, tag_bytes, file),
                     size + tag_bytes);
    assert_int_equal(fclose(file), 0);
    free(bytes);
    expect("itunes.m4a", FRAMES - 333, 25);
}

/* An edit list that cuts more than padding is obeyed. */
static void m4a_edits_are_obeyed(void **state) {
    (void)state;
    struct clip clip;
    shell("ffmpeg -v error -ss 0.5 -i aac.m4a -c copy cut.m4a");
    must_decode("cut.m4a", &clip);
    int64_t left = FRAMES - RATE_HZ / 2;
    assert_in_range(clip.frames, left - 1100, left + 1100);
    clip_free(&clip);
}

static void rates_are_converted_to_the_exact_length(void **state) {
    (void)state;
    static const int rates[] = {8000,  11025, 16000, 22050, 32000,  44099,
                                47952, 48000, 88200, 96000, 176400, 192000};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        for (int64_t frames = 20011; frames < 20014; frames++) {
            struct clip made;
            clip_signal(&made, frames, rates[i]);
            write_float_wav("rate.wav", &made, (uint32_t)rates[i]);
            struct clip clip;
            must_decode("rate.wav", &clip);
            int64_t expected = (frames * 2 * RATE_HZ + rates[i]) / (2 * rates[i]);
            if (clip.frames != expected)
                fail_msg("%d Hz: %lld frames became %lld, not %lld", rates[i], (long long)frames,
                         (long long)clip.frames, (long long)expected);
            struct clip meant;
            /* The same fade over the same time, at the other rate. */
            clip_alloc(&meant, expected);
            for (int64_t k = 0; k < expected; k++) {
                double t = (double)k / RATE_HZ;
                double fade = sin(3.14159265358979 * (t * rates[i] + 0.5) / (double)frames);
                meant.planes[0][k] = (float)(fade * (0.3 * sin(6.283185307 * 440 * t) +
                                                     0.1 * sin(6.283185307 * 1234 * t)));
                meant.planes[1][k] = (float)(fade * (0.2 * sin(6.283185307 * 330 * t) +
                                                     0.2 * sin(6.283185307 * 987 * t)));
            }
            double snr = snr_db(&meant, &clip, expected);
            if (snr < 70)
                fail_msg("%d Hz: %.1f dB", rates[i], snr);
            clip_free(&made);
            clip_free(&clip);
            clip_free(&meant);
        }
    }
}

static void mono_is_doubled_at_full_level(void **state) {
    (void)state;
    struct clip clip;
    write_wav("mono.wav", 3, 1, RATE_HZ, 32, source.planes[0], FRAMES * sizeof(float));
    must_decode("mono.wav", &clip);
    assert_int_equal(clip.frames, FRAMES);
    assert_memory_equal(clip.planes[0], source.planes[0], FRAMES * sizeof(float));
    assert_memory_equal(clip.planes[1], source.planes[0], FRAMES * sizeof(float));
    clip_free(&clip);
}

/* Whether FFmpeg has a layout for so many channels, which later releases have for more. */
static bool is_named(int channels) {
    AVChannelLayout layout = {0};
    av_channel_layout_default(&layout, channels);
    const bool named = layout.order != AV_CHANNEL_ORDER_UNSPEC;
    av_channel_layout_uninit(&layout);
    return named;
}

/* ITU-R BS.775: the centre and the surrounds join the front at -3 dB, the front keeps its level.
 * Where no layout is known (9 to 15 channels, or some of these) they are averaged. */
static void surround_is_mixed_with_the_front_at_its_own_level(void **state) {
    (void)state;
    for (int channels = 3; channels <= MS_AUDIO_MAX_CHANNELS; channels++) {
        float data[1000 * MS_AUDIO_MAX_CHANNELS] = {0};
        for (int i = 0; i < 1000; i++) {
            data[i * channels] = 0.9f;
            data[i * channels + 1] = -0.5f;
        }
        write_wav("wide.wav", 3, channels, RATE_HZ, 32, data, (size_t)(4000 * channels));
        struct clip clip;
        must_decode("wide.wav", &clip);
        assert_int_equal(clip.frames, 1000);
        const bool named = is_named(channels);
        assert_true(named || channels > 8);
        assert_float_equal(clip.planes[0][500], named ? 0.9f : 0.4f / (float)channels, 1e-6);
        assert_float_equal(clip.planes[1][500], named ? -0.5f : 0.4f / (float)channels, 1e-6);
        clip_free(&clip);
    }
    struct clip clip;
    must_decode("surround.wav", &clip); /* left: the source; the rest is silent but for the LFE */
    assert_int_equal(clip.frames, FRAMES);
    for (int64_t i = 0; i < FRAMES; i++) {
        assert_true(clip.planes[0][i] == source.planes[0][i]);
        assert_true(clip.planes[1][i] == 0);
    }
    clip_free(&clip);
    /* Full scale in all of 5.1 is more than full scale, and not clipped. */
    float data[100 * 6];
    for (int i = 0; i < 600; i++)
        data[i] = 1;
    write_wav("full.wav", 3, 6, RATE_HZ, 32, data, sizeof data);
    must_decode("full.wav", &clip);
    for (int c = 0; c < 2; c++)
        assert_float_equal(clip.planes[c][50], 2.4142136f, 1e-5);
    clip_free(&clip);
}

static void a_second_pass_gives_the_same(void **state) {
    (void)state;
    static const char *const names[] = {"source.wav", "lame.mp3", "aac.m4a", "r48.mp3",
                                        "opus.opus"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct ms_error err = {0};
        struct ms_decoder *decoder = NULL;
        assert_int_equal(ms_decoder_open(names[i], RATE_HZ, &decoder, &err), 0);
        float block[2][777];
        float *planes[2] = {block[0], block[1]};
        size_t got;
        assert_int_equal(ms_decoder_read(decoder, planes, 777, &got, &err), 0);
        assert_int_equal(got, 777);
        assert_int_equal(ms_decoder_rewind(decoder, &err), 0); /* from the middle */
        struct clip first;
        assert_int_equal(read_all(decoder, &first, &err), 0);
        assert_int_equal(ms_decoder_rewind(decoder, &err), 0); /* from the end */
        struct clip second;
        assert_int_equal(read_all(decoder, &second, &err), 0);
        assert_int_equal(first.frames, FRAMES);
        assert_same_samples(&first, &second);
        clip_free(&first);
        clip_free(&second);
        ms_decoder_free(decoder);
    }
}

/* Two MP3 streams of different rate and channels, one after the other in one file. */
static void a_format_that_changes_midway_is_followed(void **state) {
    (void)state;
    struct clip clip;
    shell("cat one.mp3 two.mp3 > both.mp3");
    must_decode("both.mp3", &clip);
    assert_in_range(clip.frames, 2 * FRAMES - 8000, 2 * FRAMES + 8000);
    clip_free(&clip);
}

static void a_large_cover_does_not_hide_the_audio(void **state) {
    (void)state;
    struct clip clip;
    /* Noise does not compress: a PNG of more than the megabyte that is probed. */
    shell("head -c 1440000 /dev/urandom |"
          "ffmpeg -v error -f rawvideo -pix_fmt rgb24 -s 800x600 -i - -frames:v 1 big.png;"
          "test $(stat -c %%s big.png) -gt 1100000;"
          "ffmpeg -v error -i lame.mp3 -i big.png -map 0 -map 1 -c copy -disposition:v attached_pic"
          " covered.mp3; mv covered.mp3 covered");
    must_decode("covered", &clip);
    assert_int_equal(clip.frames, FRAMES);
    clip_free(&clip);
    /* The same tag in front of another format, where the tag alone would speak for MP3. */
    size_t size;
    uint8_t *bytes = read_file("covered", &size);
    int tag_bytes = 10 + (bytes[6] << 21 | bytes[7] << 14 | bytes[8] << 7 | bytes[9]);
    free(bytes);
    shell("head -c %d covered > tagged; cat s16.flac >> tagged", tag_bytes);
    must_decode("tagged", &clip);
    assert_int_equal(clip.frames, FRAMES);
    clip_free(&clip);
}

static void what_is_left_of_a_broken_file_is_used(void **state) {
    (void)state;
    struct clip clip;
    static const char *const names[] = {"lame.mp3", "s16.flac", "vorbis.ogg", "s24.wav"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t size;
        void *bytes = read_file(names[i], &size);
        write_file("half", bytes, size / 2);
        must_decode("half", &clip);
        assert_in_range(clip.frames, FRAMES / 8, FRAMES * 3 / 4);
        if (strcmp(names[i], "vorbis.ogg") != 0) /* Ogg's pages do not say how long the whole is */
            assert_true(clip.damaged);
        clip_free(&clip);
        free(bytes);
    }
    /* Matroska knows the length of the whole file only. */
    size_t size;
    shell("ffmpeg -v error -y -i s16.flac -c:a flac whole.mka");
    must_decode("whole.mka", &clip);
    assert_false(clip.damaged);
    clip_free(&clip);
    void *mka = read_file("whole.mka", &size);
    write_file("half.mka", mka, size / 2);
    must_decode("half.mka", &clip);
    assert_true(clip.damaged);
    clip_free(&clip);
    free(mka);
    /* MP4's index at the end is lost with it. */
    void *bytes = read_file("aac.m4a", &size);
    write_file("half.m4a", bytes, size / 2);
    refuse("half.m4a", MS_EINPUT, "");
    free(bytes);
    /* A hole in the middle is passed over and reported. */
    uint8_t *mp3 = read_file("lame.mp3", &size);
    for (size_t i = size / 3; i < size / 2; i++)
        mp3[i] = (uint8_t)(i * 97 >> 3);
    write_file("hole.mp3", mp3, size);
    must_decode("hole.mp3", &clip);
    assert_true(clip.frames > FRAMES / 2);
    assert_true(clip.damaged);
    clip_free(&clip);
    /* Headers alone, without one frame of audio. */
    write_file("stub.mp3", mp3, 300);
    refuse("stub.mp3", MS_EINPUT, "");
    free(mp3);
}

/* Random damage anywhere ends in frames or in a refusal, never in a crash or a loop. */
static void random_damage_is_survived(void **state) {
    (void)state;
    static const char *const names[] = {"lame.mp3", "s16.flac",  "vorbis.ogg", "aac.m4a",
                                        "v.mkv",    "opus.opus", "wma.wma",    "s16.aiff"};
    uint32_t random = 1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t size;
        uint8_t *bytes = read_file(names[i], &size);
        for (int round = 0; round < 12; round++) {
            for (int hit = 0; hit < 20; hit++) {
                random = random * 1664525u + 1013904223u;
                const size_t reach = round % 2 == 0 || size < 2000 ? size : 2000;
                bytes[(random >> 4) % reach] ^= (uint8_t)(random >> 24);
            }
            write_file("damaged", bytes, size);
            struct clip clip;
            const int rc = decode_at("damaged", RATE_HZ, &clip, NULL);
            assert_true(rc == 0 || rc == MS_EINPUT);
            clip_free(&clip);
        }
        free(bytes);
    }
}

static void unicode_names_work(void **state) {
    (void)state;
    shell("cp s16.wav 'f\xc3\xbcr \xe9\x9f\xb3\xe6\xa5\xbd \xf0\x9f\x8e\xb5:http.wav'");
    struct clip clip;
    must_decode("f\xc3\xbcr \xe9\x9f\xb3\xe6\xa5\xbd \xf0\x9f\x8e\xb5:http.wav", &clip);
    assert_int_equal(clip.frames, FRAMES);
    clip_free(&clip);
}

int main(int argc, char **argv) {
    /* As whoever starts a program may have left them: all of this holds none the less. */
    (void)signal(SIGCHLD, SIG_IGN);
    (void)signal(SIGXCPU, SIG_IGN);
    ms_decoder_prepare(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(float_comes_through_bit_for_bit),
        cmocka_unit_test(int16_is_divided_by_32768),
        cmocka_unit_test(every_pcm_is_read),
        cmocka_unit_test(lossless_is_exact),
        cmocka_unit_test(lossy_has_the_sources_length),
        cmocka_unit_test(formats_without_gapless_information_are_read),
        cmocka_unit_test(itunes_tag_is_obeyed),
        cmocka_unit_test(m4a_edits_are_obeyed),
        cmocka_unit_test(rates_are_converted_to_the_exact_length),
        cmocka_unit_test(mono_is_doubled_at_full_level),
        cmocka_unit_test(surround_is_mixed_with_the_front_at_its_own_level),
        cmocka_unit_test(a_second_pass_gives_the_same),
        cmocka_unit_test(a_format_that_changes_midway_is_followed),
        cmocka_unit_test(a_large_cover_does_not_hide_the_audio),
        cmocka_unit_test(what_is_left_of_a_broken_file_is_used),
        cmocka_unit_test(random_damage_is_survived),
        cmocka_unit_test(unicode_names_work),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
