/* Peaks of signals that are known, and the document of them. */
#include "msaas/peaks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "msaas/base64.h"
#include "msaas/json.h"

/* Blocks of so many frames, whose value in each channel depends on the frame. */
static void add(struct ms_peaks *peaks, int64_t frames, size_t block,
                float (*value)(int channel, int64_t frame)) {
    float *planes[MS_AUDIO_CHANNELS];
    for (int c = 0; c < MS_AUDIO_CHANNELS; c++)
        planes[c] = malloc(block * sizeof(float));
    for (int64_t at = 0; at < frames; at += (int64_t)block) {
        const size_t count = frames - at < (int64_t)block ? (size_t)(frames - at) : block;
        for (int c = 0; c < MS_AUDIO_CHANNELS; c++)
            for (size_t i = 0; i < count; i++)
                planes[c][i] = value(c, at + (int64_t)i);
        ms_peaks_add(peaks, (const float *const[]){planes[0], planes[1]}, count);
    }
    for (int c = 0; c < MS_AUDIO_CHANNELS; c++)
        free(planes[c]);
}

/* One sample of bin n is n / 10, left or right, above or below zero; the rest is quiet. */
static float steps(int channel, int64_t frame) {
    const int64_t bin = frame / MS_PEAKS_BIN_FRAMES;
    if (frame % MS_PEAKS_BIN_FRAMES != bin * 80 || channel != bin % 2)
        return 0.001F;
    return (bin % 3 == 0 ? -1.0F : 1.0F) * (float)bin / 10;
}

static void has_the_peak_of_every_bin(void **state) {
    const int64_t frames = 12 * MS_PEAKS_BIN_FRAMES - 1; /* the last bin lacks a frame */
    static const size_t blocks[] = {1, 7, 441, 882, 1000, 65536};
    (void)state;
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        struct ms_peaks peaks;
        assert_int_equal(ms_peaks_init(&peaks, frames, NULL), 0);
        assert_int_equal(peaks.frames_per_bin, MS_PEAKS_BIN_FRAMES);
        assert_int_equal(peaks.count, 12);
        add(&peaks, frames, blocks[i], steps);
        static const uint8_t expected[12] = {0,   26,  51,  76,  102, 128,
                                             153, 178, 204, 230, 255, 255 /* beyond full scale */};
        for (int b = 0; b < 12; b++)
            assert_in_range(peaks.bins[b] + 1, expected[b], expected[b] + 2); /* halves */
        assert_int_equal(peaks.bins[10], 255);
        assert_int_equal(peaks.bins[11], 255);
        ms_peaks_fini(&peaks);
        assert_null(peaks.bins);
    }
}

static float loud_at_the_end(int channel, int64_t frame) {
    return channel == 1 && frame == 60LL * 60 * 44100 - 1 ? 0.5F : 0;
}

static void has_so_many_bins_at_most(void **state) {
    static const struct {
        int64_t frames, per_bin, count;
    } songs[] = {
        {1, 882, 1},
        {882, 882, 1},
        {883, 882, 2},
        {882LL * 30000, 882, 30000},
        {882LL * 30000 + 1, 1764, 15001},
        {60LL * 60 * 44100, 882LL * 8, 22500},
        {24LL * 3600 * 44100, 882LL * 256, 16875},
    };
    struct ms_peaks peaks;
    (void)state;
    for (size_t i = 0; i < sizeof songs / sizeof *songs; i++) {
        assert_int_equal(ms_peaks_init(&peaks, songs[i].frames, NULL), 0);
        assert_int_equal(peaks.frames_per_bin, songs[i].per_bin);
        assert_int_equal(peaks.count, songs[i].count);
        ms_peaks_fini(&peaks);
    }
    const int64_t hour = 60LL * 60 * 44100;
    assert_int_equal(ms_peaks_init(&peaks, hour, NULL), 0);
    add(&peaks, hour + 5000, 65536, loud_at_the_end); /* more than there were to be */
    assert_int_equal(peaks.bins[22499], 128);
    assert_int_equal(peaks.bins[22498], 0);
    ms_peaks_fini(&peaks);
}

static void writes_a_document(void **state) {
    static const char *const names[] = {"drums", "no_drums"};
    static const double gains[] = {1, 0.5};
    struct ms_peaks peaks[2];
    char *text = NULL;
    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ms_peaks_init(&peaks[i], 5000, NULL), 0);
        add(&peaks[i], 5000, 100, steps);
    }
    peaks[1].bins[0] = 7;
    assert_int_equal(ms_peaks_to_json(peaks, names, gains, 2, 44100, &text, NULL), 0);
    struct ms_json *document = NULL;
    assert_int_equal(ms_json_parse(text, strlen(text), &document, NULL), 0);
    int64_t value = 0;
    static const struct {
        const char *name;
        int64_t value;
    } members[] = {
        {"version", 1}, {"sample_rate", 44100}, {"frames", 5000}, {"frames_per_bin", 882}};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        assert_true(ms_json_int(ms_json_get(document, members[i].name), &value));
        assert_int_equal(value, members[i].value);
    }
    const struct ms_json *stem = ms_json_first(ms_json_get(document, "stems"));
    for (int i = 0; i < 2; i++, stem = ms_json_next(stem)) {
        double gain = 0;
        size_t size = 0;
        assert_string_equal(ms_json_string(ms_json_get(stem, "name")), names[i]);
        assert_true(ms_json_double(ms_json_get(stem, "gain"), &gain) && gain == gains[i]);
        char *digits = strdup(ms_json_string(ms_json_get(stem, "peaks")));
        assert_int_equal(ms_base64_decode(digits, strlen(digits), 100, &size, NULL), 0);
        assert_int_equal(size, 6);
        assert_memory_equal(digits, peaks[i].bins, 6);
        free(digits);
    }
    assert_null(stem);
    ms_json_free(document);
    free(text);
    for (int i = 0; i < 2; i++)
        ms_peaks_fini(&peaks[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_the_peak_of_every_bin),
        cmocka_unit_test(has_so_many_bins_at_most),
        cmocka_unit_test(writes_a_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
