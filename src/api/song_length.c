/* Reads the few numbers of a song's head that tell its length, by hand: serve decodes nothing. See
 * song_length.h. */
#include "song_length.h"

#include <stdbool.h>
#include <string.h>

#define MAX_CHUNKS 64      /* of a WAV, before its samples */
#define MIN_FRAME_BYTES 24 /* of MPEG audio layer III */

struct bytes {
    const unsigned char *at;
    size_t count;
};

/* The number of `size` bytes at an offset; 0 behind the end. */
static uint32_t big(struct bytes b, size_t offset, size_t size) {
    uint32_t value = 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | (offset + i < b.count ? b.at[offset + i] : 0U);
    return value;
}

static uint32_t little(struct bytes b, size_t offset, size_t size) {
    uint32_t value = 0;
    for (size_t i = size; i > 0; i--)
        value = value << 8 | (offset + i - 1 < b.count ? b.at[offset + i - 1] : 0U);
    return value;
}

static bool has(struct bytes b, size_t offset, const char *magic, size_t size) {
    return offset + size <= b.count && memcmp(b.at + offset, magic, size) == 0;
}

static struct bytes from(struct bytes b, size_t offset) {
    const size_t skipped = offset < b.count ? offset : b.count;
    return (struct bytes){b.at + skipped, b.count - skipped};
}

/* STREAMINFO is the first block. */
static double seconds_of_flac(struct bytes b) {
    const uint32_t rate_hz = big(b, 18, 3) >> 4;
    const double frames = (double)(b.count > 21 ? b.at[21] & 15U : 0U) * 0x1p32 + big(b, 22, 4);
    return b.count >= 42 && (b.at[4] & 127) == 0 && rate_hz > 0 ? frames / rate_hz : 0;
}

/* PCM only: the byte rate of others is a guess. */
static double seconds_of_wav(struct bytes b, int64_t song_bytes) {
    double frame_bytes = 0, rate_hz = 0;
    size_t at = 12;
    for (int i = 0; i < MAX_CHUNKS && at + 8 <= b.count; i++) {
        const uint32_t size = little(b, at + 4, 4);
        const int64_t left = song_bytes - (int64_t)at - 8;
        if (has(b, at, "fmt ", 4)) {
            const uint32_t kind = little(b, at + 8, 2);
            const bool pcm = kind == 1 || kind == 3 || kind == 0xfffe;
            rate_hz = little(b, at + 12, 4);
            frame_bytes = pcm ? little(b, at + 10, 2) * (double)little(b, at + 22, 2) / 8 : 0;
        } else if (has(b, at, "data", 4)) { /* a stream has no size, or the largest */
            const double bytes = size == 0 || (int64_t)size > left ? (double)left : size;
            return frame_bytes > 0 && rate_hz > 0 && left > 0 ? bytes / frame_bytes / rate_hz : 0;
        }
        at += 8 + (size_t)size + (size & 1);
    }
    return 0;
}

/* The first frame of layer III may hold the number of those that follow. */
static double seconds_of_mp3(struct bytes b, int64_t song_bytes) {
    static const int rates_hz[3] = {44100, 48000, 32000};
    if (b.count < 4 || b.at[0] != 0xff || (b.at[1] & 0xe6) != 0xe2 || (b.at[2] >> 2 & 3) == 3)
        return 0;
    const int version = b.at[1] >> 3 & 3; /* 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5 */
    const bool mono = b.at[3] >> 6 == 3;
    if (version == 1)
        return 0;
    const int rate_hz = rates_hz[b.at[2] >> 2 & 3] >> (version == 3 ? 0 : version == 2 ? 1 : 2);
    const size_t tag = 4U + (version == 3 ? (mono ? 17U : 32U) : (mono ? 9U : 17U));
    if ((!has(b, tag, "Xing", 4) && !has(b, tag, "Info", 4)) || (big(b, tag + 4, 4) & 1) == 0)
        return 0;
    const uint32_t frames = big(b, tag + 8, 4);
    if (frames > song_bytes / MIN_FRAME_BYTES)
        return 0;
    return (double)frames * (version == 3 ? 1152 : 576) / rate_hz;
}

double ms_song_seconds(const void *head, size_t head_bytes, int64_t song_bytes) {
    struct bytes b = {head, head_bytes};
    if (has(b, 0, "ID3", 3) && b.count >= 10) {
        const size_t size = (size_t)(b.at[6] & 127) << 21 | (size_t)(b.at[7] & 127) << 14 |
                            (size_t)(b.at[8] & 127) << 7 | (size_t)(b.at[9] & 127);
        b = from(b, 10 + size + ((b.at[5] & 16) != 0 ? 10 : 0));
    }
    if (has(b, 0, "fLaC", 4))
        return seconds_of_flac(b);
    if (has(b, 0, "RIFF", 4) && has(b, 8, "WAVE", 4))
        return seconds_of_wav(b, song_bytes);
    return seconds_of_mp3(b, song_bytes);
}
