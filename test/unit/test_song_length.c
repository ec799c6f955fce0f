/* The length of a song as its head tells it. */
#include "song_length.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const unsigned char flac[42] = {
    'f', 'L', 'a', 'C', 0, 0, 0, 34, 16, 0, 16, 0, 0, 0, 0, 0, 0, 0,
    /* 44,100 Hz, 2 channels, 16 bits, 2 hours: 317,520,000 frames */
    0x0a, 0xc4, 0x42, 0xf0, 0x12, 0xec, 0xf8, 0x80};

static const unsigned char wav[46] = {
    'R', 'I', 'F', 'F', 0,  0, 0,   0,   'W', 'A',  'V',  'E',  'f', 'm',  't',
    ' ', 16,  0,   0,   0,  1, 0,   2,   0,   0x44, 0xac, 0,    0,   0x10, 0xb1,
    2,   0,   4,   0,   16, 0, 'd', 'a', 't', 'a',  0x20, 0x62, 5,   0}; /* 352,800 bytes: 2 s */

static const unsigned char mp3[48] = {0xff, 0xfb, 0x90, 0x00, [36] = 'X', 'i',  'n', 'g', 0,
                                      0,    0,    1,    0,    0,          0x75, 0x30}; /* 30,000 */

static void heads_tell_lengths(void **state) {
    (void)state;
    assert_true(ms_song_seconds(flac, sizeof flac, 12000) == 7200);
    assert_true(ms_song_seconds(wav, sizeof wav, 44 + 352800) == 2);
    assert_true(ms_song_seconds(wav, sizeof wav, 44 + 176400) == 1); /* cut off */
    const double seconds = ms_song_seconds(mp3, sizeof mp3, 10000000);
    assert_true(seconds > 783.6 && seconds < 783.7);
    unsigned char tagged[10 + 200 + sizeof mp3] = {'I', 'D', '3', 4, 0, 0, 0, 0, 1, 72};
    memcpy(tagged + 210, mp3, sizeof mp3);
    assert_true(ms_song_seconds(tagged, sizeof tagged, 10000000) == seconds);
}

static void what_is_cut_or_lies_tells_nothing(void **state) {
    (void)state;
    for (size_t size = 0; size < sizeof flac; size++)
        assert_true(ms_song_seconds(flac, size, 12000) == 0);
    for (size_t size = 0; size < 44; size++)
        assert_true(ms_song_seconds(wav, size, 400000) == 0);
    for (size_t size = 0; size < 44; size++)
        assert_true(ms_song_seconds(mp3, size, 10000000) == 0);
    assert_true(ms_song_seconds(mp3, sizeof mp3, 10000) == 0); /* too few bytes for so many */
    assert_true(ms_song_seconds("OggS", 4, 10000) == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_tell_lengths),
        cmocka_unit_test(what_is_cut_or_lies_tells_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
