/* See encode_head.h. */
#include "encode_head.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <libavutil/crc.h>
#include <libavutil/intreadwrite.h>

/* ---- WAV: RIFF, its size, "WAVE"; then chunks: name, size, bytes ---- */

bool ms_head_wav(uint8_t *head, size_t size, int64_t frames, int64_t data_bytes) {
    if (size < 20 || memcmp(head, "RIFF", 4) != 0)
        return false;
    const int64_t riff_bytes = (int64_t)size - 8 + data_bytes;
    const bool long_form = riff_bytes > UINT32_MAX;
    const uint32_t none = UINT32_MAX;
    uint8_t *at = head + 12;
    for (; at + 8 < head + size && memcmp(at, "data", 4) != 0; at += 8 + AV_RL32(at + 4)) {
        if (AV_RL32(at + 4) > (size_t)(head + size - at) - 8)
            return false;
        if (memcmp(at, "fact", 4) == 0)
            AV_WL32(at + 8, long_form ? none : (uint32_t)frames);
        if (long_form && memcmp(at, "JUNK", 4) == 0 && AV_RL32(at + 4) >= 28) {
            memcpy(at, "ds64", 4);
            AV_WL64(at + 8, (uint64_t)riff_bytes);
            AV_WL64(at + 16, (uint64_t)data_bytes);
            AV_WL64(at + 24, (uint64_t)frames);
            AV_WL32(at + 32, 0); /* no further table */
        }
    }
    if (at + 8 != head + size)
        return false;
    if (long_form)
        memcpy(head, "RF64", 4);
    AV_WL32(head + 4, long_form ? none : (uint32_t)riff_bytes);
    AV_WL32(at + 4, long_form ? none : (uint32_t)data_bytes);
    return true;
}

/* ---- MP3: LAME's tag, as FFmpeg writes it behind "Xing" ---- */

#define MP3_FRAMES 1152 /* samples of a frame at 44.1 kHz */
#define XING_DELAY 141  /* from "Xing" on; 12 bits of delay, 12 of padding */
#define XING_LENGTH 148
#define XING_CRC 154
#define DECODER_DELAY 529 /* that every decoder adds, and the tag leaves out */

/* LAME pads the end by 576 to 1727 samples. */
static int64_t padding_of(int64_t coded) {
    const int64_t padding = MP3_FRAMES - coded % MP3_FRAMES;
    return padding < 576 ? padding + MP3_FRAMES : padding;
}

bool ms_head_mp3(uint8_t *head, size_t size, int64_t frames, int delay_frames, int64_t bit_rate,
                 int rate_hz) {
    const size_t least = XING_CRC + 2;
    size_t at = size < least ? 0 : size - least;
    while (at > 0 && memcmp(head + at, "Xing", 4) != 0)
        at--;
    if (at < 36)
        return false;
    const uint8_t *frame = head + at - 36; /* its header, and the side information of stereo */
    uint8_t *xing = head + at;
    const int64_t delay = delay_frames - DECODER_DELAY;
    const int64_t padding = padding_of(frames + delay);
    const int64_t count = (frames + delay + padding) / MP3_FRAMES;
    const int64_t bytes =
        (int64_t)(head + size - frame) + count * (MP3_FRAMES / 8) * bit_rate / rate_hz;
    memcpy(xing, "Info", 4); /* a constant bit rate */
    AV_WB32(xing + 8, (uint32_t)count);
    AV_WB32(xing + 12, (uint32_t)bytes);
    xing[XING_DELAY] = (uint8_t)(delay >> 4);
    AV_WB16(xing + XING_DELAY + 1, (uint16_t)((delay & 15) << 12 | padding));
    AV_WB32(xing + XING_LENGTH, (uint32_t)bytes);
    AV_WB16(xing + XING_CRC,
            (uint16_t)av_crc(av_crc_get_table(AV_CRC_16_ANSI_LE), 0, frame, 36 + XING_CRC));
    return true;
}

/* ---- M4A: boxes of a size, a name of four letters, and what is in them ---- */

#define AAC_FRAMES 1024
#define MOST_BOXES 4

/* The box of this name among those in [at, end); NULL: there is none, or not all of it. */
static uint8_t *find_box(uint8_t *at, const uint8_t *end, const char name[4]) {
    while (end - at >= 8) {
        const uint32_t size = AV_RB32(at);
        if (size < 8 || size > (size_t)(end - at))
            return NULL;
        if (memcmp(at + 4, name, 4) == 0)
            return at;
        at += size;
    }
    return NULL;
}

static size_t put_box(uint8_t *to, const char name[4], uint32_t first, const char *text) {
    const size_t size = 12 + strlen(text);
    AV_WB32(to, (uint32_t)size);
    memcpy(to + 4, name, 4);
    AV_WB32(to + 8, first);
    memcpy(to + 12, text, size - 12);
    return size;
}

static size_t put_itunsmpb(uint8_t *to, int64_t frames, int delay_frames) {
    char text[160];
    const int64_t padding = (AAC_FRAMES - (frames + delay_frames) % AAC_FRAMES) % AAC_FRAMES;
    (void)snprintf(text, sizeof text,
                   " 00000000 %08X %08X %016" PRIX64 " 00000000 00000000 00000000 00000000"
                   " 00000000 00000000 00000000 00000000",
                   (unsigned)delay_frames, (unsigned)padding, (uint64_t)frames);
    size_t size = 8;
    size += put_box(to + size, "mean", 0, "com.apple.iTunes");
    size += put_box(to + size, "name", 0, "iTunSMPB");
    const size_t data = size;
    size += put_box(to + size, "data", 1, "0000"); /* 1: UTF-8; then a language, 0 */
    memset(to + data + 12, 0, 4);
    memcpy(to + size, text, strlen(text));
    size += strlen(text);
    AV_WB32(to + data, (uint32_t)(size - data));
    AV_WB32(to, (uint32_t)size);
    memcpy(to + 4, "----", 4);
    return size;
}

int64_t ms_head_m4a(uint8_t *head, size_t size, int64_t frames, int delay_frames) {
    static const char *const way[MOST_BOXES] = {"moov", "udta", "meta", "ilst"};
    uint8_t *boxes[MOST_BOXES], *at = head;
    const uint8_t *end = head + size;
    for (int i = 0; i < MOST_BOXES; i++) {
        boxes[i] = find_box(at, end, way[i]);
        if (boxes[i] == NULL)
            return i == 0 ? 0 : -1;
        at = boxes[i] + (i == 2 ? 12 : 8); /* meta has a version */
        end = boxes[i] + AV_RB32(boxes[i]);
    }
    uint8_t text[MS_HEAD_M4A_BYTES];
    const size_t more = put_itunsmpb(text, frames, delay_frames);
    memmove(at + more, at, (size_t)(head + size - at));
    memcpy(at, text, more);
    for (int i = 0; i < MOST_BOXES; i++)
        AV_WB32(boxes[i], AV_RB32(boxes[i]) + (uint32_t)more);
    return (int64_t)(size + more);
}

/* ---- FLAC ---- */

void ms_head_flac(uint8_t *info, int size, int64_t frames) {
    if (size < 18 || frames >= INT64_C(1) << 36) /* more cannot be told */
        return;
    info[13] = (uint8_t)((info[13] & 0xf0) | frames >> 32);
    AV_WB32(info + 14, (uint32_t)frames);
}
