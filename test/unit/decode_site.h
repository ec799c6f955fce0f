/* The files that tests of decoding read, made by ffmpeg of one clip. */
#ifndef MSAAS_TEST_DECODE_SITE_H
#define MSAAS_TEST_DECODE_SITE_H

#include "audio_tools.h"

#define FRAMES 60001 /* of no codec's block size */
/* Its last packet lies beyond the end of an edit list that is rounded down to milliseconds. */
#define EDGE_FRAMES (58 * 1024 + 9)

/* source.wav: float, 44.1 kHz, stereo, FRAMES long. One run of ffmpeg makes all others of it. */
static struct clip source;

/* "48k": exact at that rate, as ffmpeg's own conversion makes a few frames too many. */
#define AT_48K " -af aresample=48000,atrim=end_sample=65307 "

static inline int set_up(void **state) {
    if (enter_folder(state) != 0)
        return 1;
    clip_signal(&source, FRAMES, RATE_HZ);
    write_float_wav("source.wav", &source, RATE_HZ);
    shell(
        "ffmpeg -v error -i source.wav"
        " -c:a pcm_s16le s16.wav -c:a pcm_u8 u8.wav -c:a pcm_s24le s24.wav -c:a pcm_s32le s32.wav"
        " -c:a pcm_f64le f64.wav -c:a pcm_s16be s16.aiff -c:a pcm_s24be s24.aif"
        " -c:a pcm_s16be caf.caf -af atrim=end_sample=60000 -c:a pcm_s16le w64.w64"
        " -b:a 256k ffmpeg.mp3 -q:a 2 v2.mp3" AT_48K "r48.mp3"
        " -b:a 256k aac.m4a -b:a 256k -movie_timescale 44100 aac.mp4"
        " -c:a aac -b:a 256k -movie_timescale 600 600.mov"
        " -af atrim=end_sample=%d -c:a aac edge.m4a -use_editlist 0 -metadata title=x itunes.m4a"
        " -c:a libvorbis -q:a 7 -page_duration 100000 vorbis.ogg" AT_48K
        "-b:a 256k opus.opus" AT_48K "-c:a libopus -b:a 256k opus.webm"
        " -c:a libvorbis vorbis.mkv -c:a wmav2 -b:a 192k wma.wma -c:a aac adts.aac -c:a ac3 ac3.ac3"
        " -c:a aac -movflags frag_keyframe+empty_moov -frag_duration 200000 fragmented.mp4"
        " -write_xing 0 -id3v2_version 0 one.mp3"
        " -ac 1 -ar 32000 -write_xing 0 -id3v2_version 0 two.mp3"
        " -af 'pan=5.1|FL=FL|FR=0*FL|FC=0*FL|LFE=FR|BL=0*FL|BR=0*FL' -c:a pcm_f32le surround.wav",
        EDGE_FRAMES);
    shell("ffmpeg -v error -i s16.wav s16.flac -c:a alac alac.m4a -c:a flac flac.ogg -c:a flac "
          "flac.mka"
          " s16.wv; lame --quiet -b 256 s16.wav lame.mp3");
    shell("ffmpeg -v error -f lavfi -i testsrc=s=64x48:r=10:d=1.36 -i source.wav"
          " -c:v mpeg4 -c:a aac v.mp4 -c:v mpeg4 -c:a libvorbis v.mkv"
          " -c:v libvpx -deadline realtime -c:a libopus v.webm"
          " -map 0 -c:v mpeg4 silent.mp4 -map 0 -frames:v 1 picture.png");
    return 0;
}

static inline int tear_down(void **state) {
    clip_free(&source);
    return leave_folder(state);
}

static inline void expect(const char *name, int64_t frames, double least_snr_db) {
    struct clip clip;
    must_decode(name, &clip);
    if (clip.frames != frames)
        fail_msg("%s: %lld frames instead of %lld", name, (long long)clip.frames,
                 (long long)frames);
    double snr = snr_db(&source, &clip, frames);
    if (snr < least_snr_db)
        fail_msg("%s: %.1f dB", name, snr);
    assert_false(clip.damaged);
    clip_free(&clip);
}

static inline void refuse(const char *name, int code, const char *cause) {
    struct ms_error err = {0};
    struct clip clip;
    int rc = decode_at(name, RATE_HZ, &clip, &err);
    if (rc != code || strstr(err.text, cause) == NULL || strstr(err.text, name) == NULL)
        fail_msg("%s: %d instead of %d, \"%s\"", name, rc, code, err.text);
    assert_int_equal(err.code, code);
    clip_free(&clip);
}

#endif
