/* Names of songs as names of files: nothing leaves its folder or steers a terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "msaas/file_name.h"
#include "msaas/text.h"

static void names(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"song.mp3", "song"},
        {"Song.FLAC", "Song"},
        {"Mr. Brown", "Mr. Brown"},
        {"a.b.wav", "a.b"},
        {"C:\\music\\S\xC3\xB6ng: 1.mp3", "S\xC3\xB6ng_ 1"},
        {"../../etc/passwd", "passwd"},
        {"..", ""},
        {".", ""},
        {".mp3", ""},
        {"", ""},
        {"a/", ""},
        {".hidden", "hidden"},
        {"x . .", "x"},
        {"a\r\nSet-Cookie: b\"c\".mp3", "a__Set-Cookie_ b_c_"},
        {"\x1b[31mred", "_[31mred"},
        {"bad \xff\xc3 bytes", "bad __ bytes"},
        {"\xE2\x80\xAE"
         "gpj.mp3",
         "_gpj"}, /* right-to-left override */
        {"<a|b?*>", "_a_b___"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[MS_FILE_NAME_BYTES];
        ms_file_name(cases[i][0], out);
        assert_string_equal(out, cases[i][1]);
    }
}

static void long_names_are_cut_between_characters(void **state) {
    (void)state;
    char name[700] = "x", out[MS_FILE_NAME_BYTES];
    for (int i = 0; i < 200; i++)
        memcpy(name + 1 + 3 * i, "\xE3\x81\x82", 4);
    ms_file_name(name, out);
    assert_int_equal(strlen(out), 199);
    assert_true(ms_is_utf8(out));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(long_names_are_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
