/* Streams: the same files as on the disk, told their lengths before, without seeking. */
#include "audio_tools.h"

#include "msaas/media.h"

#define FRAMES 200003

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

/* *most: the most bytes that were held at once. */
static void stream(const char *name, const struct ms_encode_options *options,
                   const struct ms_audio_tags *tags, const struct clip *clip, int64_t *length,
                   size_t *most) {
    struct ms_error err = {0};
    struct ms_encoder *encoder = NULL;
    FILE *file = fopen(name, "wb");
    assert_non_null(file);
    if (ms_encoder_open_stream("a test", clip->frames, RATE_HZ, options, tags, &encoder, &err) != 0)
        fail_msg("%s", err.text);
    *length = ms_encoder_length(encoder);
    *most = 0;
    const void *bytes;
    size_t size;
    for (int64_t at = 0, block = 1; at < clip->frames; at += block) {
        block = block * 3 % 7919 + 1;
        if (block > clip->frames - at)
            block = clip->frames - at;
        const float *planes[2] = {clip->planes[0] + at, clip->planes[1] + at};
        if (ms_encoder_write(encoder, planes, (size_t)block, &err) != 0)
            fail_msg("%s", err.text);
        assert_int_equal(ms_encoder_take(encoder, &bytes, &size, &err), 0);
        assert_int_equal(fwrite(bytes, 1, size, file), size);
        *most = size > *most ? size : *most;
    }
    if (ms_encoder_finish(encoder, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(ms_encoder_take(encoder, &bytes, &size, &err), 0);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    ms_encoder_free(encoder);
    assert_int_equal(fclose(file), 0);
}

static void encode(const char *name, const struct ms_encode_options *options,
                   const struct ms_audio_tags *tags, const struct clip *clip) {
    struct ms_error err = {0};
    struct ms_encoder *encoder = NULL;
    const float *planes[2] = {clip->planes[0], clip->planes[1]};
    if (ms_encoder_open(name, RATE_HZ, options, tags, &encoder, &err) != 0 ||
        ms_encoder_write(encoder, planes, (size_t)clip->frames, &err) != 0 ||
        ms_encoder_finish(encoder, &err) != 0 || ms_encoder_publish(encoder, &err) != 0)
        fail_msg("%s", err.text);
    ms_encoder_free(encoder);
}

static const struct ms_encode_options all[] = {
    {.format = MS_FORMAT_WAV, .sample_type = MS_SAMPLE_INT16},
    {.format = MS_FORMAT_WAV, .sample_type = MS_SAMPLE_INT24},
    {.format = MS_FORMAT_WAV, .sample_type = MS_SAMPLE_FLOAT32},
    {.format = MS_FORMAT_FLAC, .sample_type = MS_SAMPLE_INT16},
    {.format = MS_FORMAT_FLAC, .sample_type = MS_SAMPLE_INT24},
    {.format = MS_FORMAT_MP3},
    {.format = MS_FORMAT_MP3, .bitrate_kbps = 64},
    {.format = MS_FORMAT_OPUS},
    {.format = MS_FORMAT_M4A},
};
#define COUNT ((int)(sizeof all / sizeof *all))

/* A song with texts and a picture. */
static struct ms_decoder *tagged_song(void) {
    write_float_wav("song.wav", &source, RATE_HZ);
    shell("ffmpeg -v error -f lavfi -i color=red:s=64x64 -frames:v 1 -y cover.png; "
          "ffmpeg -v error -i song.wav -i cover.png -map 0 -map 1 -c:v copy -disposition:v "
          "attached_pic -metadata title='Xing Info' -metadata artist=Somebody -y song.flac");
    struct ms_decoder *decoder = NULL;
    struct ms_error err = {0};
    if (ms_decoder_open("song.flac", RATE_HZ, &decoder, &err) != 0)
        fail_msg("%s", err.text);
    return decoder;
}

static void streams_are_the_files(void **state) {
    (void)state;
    struct ms_decoder *song = tagged_song();
    for (int tagged = 0; tagged < 2; tagged++) {
        for (int i = 0; i < COUNT; i++) {
            const struct ms_audio_tags *tags = tagged != 0 ? ms_decoder_tags(song) : NULL;
            int64_t length;
            size_t most, file_size, stream_size;
            encode("file", &all[i], tags, &source);
            stream("stream", &all[i], tags, &source, &length, &most);
            unsigned char *file = read_file("file", &file_size);
            unsigned char *streamed = read_file("stream", &stream_size);
            assert_int_equal(length, all[i].format == MS_FORMAT_WAV ? (int64_t)stream_size : -1);
            /* Half a second of music, or a head. */
            assert_in_range(most, 1, 400000);
            int different = 0;
            for (size_t at = 0; at < file_size && at < stream_size; at++)
                different += file[at] != streamed[at];
            switch (all[i].format) {
            case MS_FORMAT_WAV:
            case MS_FORMAT_OPUS:
                assert_int_equal(file_size, stream_size);
                assert_int_equal(different, 0);
                break;
            case MS_FORMAT_MP3: /* but the CRCs of music and tag, and the table of places */
                assert_int_equal(file_size, stream_size);
                assert_in_range(different, 0, 4 + 100);
                break;
            case MS_FORMAT_FLAC: /* but MD5, and the sizes of frames */
                assert_int_equal(file_size, stream_size);
                assert_in_range(different, 1, 16 + 6 + 4);
                break;
            case MS_FORMAT_M4A: break; /* fragments */
            }
            free(file);
            free(streamed);
        }
    }
    ms_decoder_free(song);
}

/* As other programs see them. */
static void streams_have_their_length(void **state) {
    (void)state;
    static const int64_t lengths[] = {1, 575, 576, 577, 1151, 1152, 1153, 47, 44100, 65536, 65537};
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        struct clip clip = source;
        clip.frames = lengths[l];
        for (int i = 0; i < COUNT; i++) {
            int64_t length;
            size_t most;
            struct clip heard;
            stream("stream", &all[i], NULL, &clip, &length, &most);
            must_decode("stream", &heard);
            if (heard.frames != clip.frames)
                fail_msg("format %d: %lld frames instead of %lld", all[i].format,
                         (long long)heard.frames, (long long)clip.frames);
            clip_free(&heard);
        }
    }
}

static void streams_sound_right(void **state) {
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        int64_t length;
        size_t most;
        struct clip heard;
        stream("stream", &all[i], NULL, &source, &length, &most);
        must_decode("stream", &heard);
        assert_true(snr_db(&source, &heard, source.frames) > 20);
        assert_false(heard.damaged);
        clip_free(&heard);
    }
}

/* Past 4 GiB the head is RF64's. */
static void the_head_of_a_long_wav(void **state) {
    (void)state;
    const struct ms_encode_options options = {.format = MS_FORMAT_WAV,
                                              .sample_type = MS_SAMPLE_FLOAT32};
    const int64_t frames = INT64_C(700) << 20;
    struct ms_encoder *encoder = NULL;
    const void *bytes;
    size_t size;
    assert_int_equal(
        ms_encoder_open_stream("a test", frames, RATE_HZ, &options, NULL, &encoder, NULL), 0);
    assert_int_equal(ms_encoder_take(encoder, &bytes, &size, NULL), 0);
    const unsigned char *head = bytes;
    assert_memory_equal(head, "RF64\xff\xff\xff\xffWAVEds64", 16);
    const int64_t length = (int64_t)size + frames * 8;
    assert_int_equal(ms_encoder_length(encoder), length);
    uint64_t riff, data, count;
    memcpy(&riff, head + 20, 8);
    memcpy(&data, head + 28, 8);
    memcpy(&count, head + 36, 8);
    assert_int_equal(riff, length - 8);
    assert_int_equal(data, frames * 8);
    assert_int_equal(count, frames);
    ms_encoder_free(encoder);
}

int main(int argc, char **argv) {
    ms_decoder_prepare(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_are_the_files),
        cmocka_unit_test(streams_have_their_length),
        cmocka_unit_test(streams_sound_right),
        cmocka_unit_test(the_head_of_a_long_wav),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
