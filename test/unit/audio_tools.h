/* What the two audio tests share: a temporary folder, commands that make files, a test signal,
 * whole files in memory. */
#ifndef MSAAS_TEST_AUDIO_TOOLS_H
#define MSAAS_TEST_AUDIO_TOOLS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "msaas/audio.h"

#define RATE_HZ 44100

static char folder[200];

/* Every test runs with the folder as its working directory; the files have plain names. */
static inline int enter_folder(void **state) {
    (void)state;
    const char *base = getenv("TMPDIR");
    (void)snprintf(folder, sizeof folder, "%s/msaas-audio-XXXXXX", base != NULL ? base : "/tmp");
    return mkdtemp(folder) == NULL || chdir(folder) != 0;
}

__attribute__((format(printf, 1, 2))) static void shell(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    char command[2000];
    int length = vsnprintf(command, sizeof command, fmt, args);
    va_end(args);
    assert_true(length > 0 && (size_t)length < sizeof command);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-ec", command, (char *)NULL);
        _exit(127);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status != 0)
        fail_msg("failed: %s", command);
}

static inline int leave_folder(void **state) {
    (void)state;
    (void)!chdir("/");
    shell("rm -rf '%s'", folder);
    return 0;
}

static inline void write_file(const char *name, const void *bytes, size_t size) {
    FILE *file = fopen(name, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static inline void *read_file(const char *name, size_t *size) {
    struct stat status;
    assert_int_equal(stat(name, &status), 0);
    *size = (size_t)status.st_size;
    void *bytes = malloc(*size + 1);
    FILE *file = fopen(name, "rb");
    assert_true(bytes != NULL && file != NULL);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

struct clip {
    float *planes[2];
    int64_t frames;
    bool damaged;
};

static inline void clip_alloc(struct clip *clip, int64_t frames) {
    memset(clip, 0, sizeof *clip);
    clip->frames = frames;
    for (int c = 0; c < 2; c++)
        assert_non_null(clip->planes[c] = calloc((size_t)frames + 1, sizeof(float)));
}

static inline void clip_free(struct clip *clip) {
    free(clip->planes[0]);
    free(clip->planes[1]);
    memset(clip, 0, sizeof *clip);
}

/* Two partials a channel, different left and right, fading in and out (so that no edge is a click);
 * peak below 0.5. */
static inline void clip_signal(struct clip *clip, int64_t frames, int rate_hz) {
    clip_alloc(clip, frames);
    for (int64_t i = 0; i < frames; i++) {
        double t = (double)i / rate_hz;
        double fade = sin(3.14159265358979 * ((double)i + 0.5) / (double)frames);
        clip->planes[0][i] =
            (float)(fade * (0.3 * sin(6.283185307 * 440 * t) + 0.1 * sin(6.283185307 * 1234 * t)));
        clip->planes[1][i] =
            (float)(fade * (0.2 * sin(6.283185307 * 330 * t) + 0.2 * sin(6.283185307 * 987 * t)));
    }
}

static inline void put32(uint8_t *at, uint32_t value) {
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

/* A WAV header of 44 bytes; whatever it claims. format: 1 integer, 3 float. */
static inline void wav_header(uint8_t head[44], int format, int channels, uint32_t rate_hz,
                              int bits, uint32_t data_bytes) {
    memcpy(head, "RIFF....WAVEfmt ", 16);
    put32(head + 4, data_bytes > UINT32_MAX - 36 ? UINT32_MAX : data_bytes + 36);
    put32(head + 16, 16);
    uint32_t block = (uint32_t)channels * (uint32_t)bits / 8;
    put32(head + 20, (uint32_t)format | (uint32_t)channels << 16);
    put32(head + 24, rate_hz);
    put32(head + 28, rate_hz * block);
    put32(head + 32, block | (uint32_t)bits << 16);
    memcpy(head + 36, "data", 4);
    put32(head + 40, data_bytes);
}

/* Interleaved bytes behind such a header. */
static inline void write_wav(const char *name, int format, int channels, uint32_t rate_hz, int bits,
                             const void *data, size_t data_bytes) {
    uint8_t *bytes = malloc(44 + data_bytes);
    assert_non_null(bytes);
    wav_header(bytes, format, channels, rate_hz, bits, (uint32_t)data_bytes);
    memcpy(bytes + 44, data, data_bytes);
    write_file(name, bytes, 44 + data_bytes);
    free(bytes);
}

static inline void write_float_wav(const char *name, const struct clip *clip, uint32_t rate_hz) {
    float *data = malloc((size_t)clip->frames * 8);
    assert_non_null(data);
    for (int64_t i = 0; i < clip->frames; i++) {
        data[2 * i] = clip->planes[0][i];
        data[2 * i + 1] = clip->planes[1][i];
    }
    write_wav(name, 3, 2, rate_hz, 32, data, (size_t)clip->frames * 8);
    free(data);
}

/* Reads in blocks of an odd size, so that no block boundary is where FFmpeg has one. */
static inline int read_all(struct ms_decoder *decoder, struct clip *clip, struct ms_error *err) {
    int64_t capacity = 1 << 16;
    clip_alloc(clip, capacity);
    clip->frames = 0;
    for (;;) {
        if (capacity - clip->frames < 3001) {
            capacity *= 2;
            for (int c = 0; c < 2; c++)
                assert_non_null(clip->planes[c] =
                                    realloc(clip->planes[c], (size_t)capacity * sizeof(float)));
        }
        float *at[2] = {clip->planes[0] + clip->frames, clip->planes[1] + clip->frames};
        size_t got = 0;
        int rc = ms_decoder_read(decoder, at, 3001, &got, err);
        if (rc < 0)
            return rc;
        if (got == 0)
            break;
        clip->frames += (int64_t)got;
    }
    clip->damaged = ms_decoder_was_damaged(decoder);
    return 0;
}

/* An ID3v2.3 tag of so many texts and nothing else. Each costs FFmpeg a search through all before
 * it. */
static inline void write_tags(const char *name, int count) {
    enum { TEXT_BYTES = 20 };
    const int size = count * TEXT_BYTES;
    FILE *file = fopen(name, "wb");
    assert_non_null(file);
    (void)fprintf(file, "ID3%c%c%c%c%c%c%c", 3, 0, 0, size >> 21 & 127, size >> 14 & 127,
                  size >> 7 & 127, size & 127);
    for (int i = 0; i < count; i++) /* an encoding, a name, NUL, a value */
        (void)fprintf(file, "TXXX%c%c%c%c%c%c%c%07d%cx", 0, 0, 0, 10, 0, 0, 0, i, 0);
    assert_int_equal(ftell(file), 10 + (long)size);
    assert_int_equal(fclose(file), 0);
}

static inline int decode_at(const char *name, int rate_hz, struct clip *clip,
                            struct ms_error *err) {
    memset(clip, 0, sizeof *clip);
    struct ms_decoder *decoder = NULL;
    int rc = ms_decoder_open(name, rate_hz, &decoder, err);
    if (rc == 0)
        rc = read_all(decoder, clip, err);
    ms_decoder_free(decoder);
    return rc;
}

static inline void must_decode(const char *name, struct clip *clip) {
    struct ms_error err = {0};
    if (decode_at(name, RATE_HZ, clip, &err) != 0)
        fail_msg("%s", err.text);
}

/* Of `heard` against `meant`, over the first frames of both channels, in dB. */
static inline double snr_db(const struct clip *meant, const struct clip *heard, int64_t frames) {
    double signal = 0, noise = 1e-30;
    for (int c = 0; c < 2; c++) {
        for (int64_t i = 0; i < frames; i++) {
            double s = (double)meant->planes[c][i];
            double n = (double)heard->planes[c][i] - s;
            signal += s * s;
            noise += n * n;
        }
    }
    return 10 * log10(signal / noise);
}

static inline void assert_same_samples(const struct clip *a, const struct clip *b) {
    assert_int_equal(a->frames, b->frames);
    for (int c = 0; c < 2; c++)
        assert_memory_equal(a->planes[c], b->planes[c], (size_t)a->frames * sizeof(float));
}

#endif
