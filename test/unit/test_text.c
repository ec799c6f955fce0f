/* What of a stranger's text may reach a terminal. */
#include "msaas/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void reads_utf8_as_it_must_be(void **state) {
    static const struct {
        const char *text;
        size_t length;
        uint32_t code;
    } cases[] = {
        {"a", 1, 'a'},
        {"\xC3\xA9x", 2, 0xE9},
        {"\xE2\x82\xAC", 3, 0x20AC},
        {"\xF0\x9F\x8E\xB5", 4, 0x1F3B5},
        {"\xF4\x8F\xBF\xBF", 4, 0x10FFFF},
        {"\x80", 0, 0},
        {"\xC1\xBF", 0, 0},
        {"\xC3", 0, 0},
        {"\xC3(", 0, 0},
        {"\xE0\x9F\xBF", 0, 0},
        {"\xED\xA0\x80", 0, 0},
        {"\xF0\x8F\xBF\xBF", 0, 0},
        {"\xF4\x90\x80\x80", 0, 0},
        {"\xF5\x80\x80\x80", 0, 0},
        {"\xFF", 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t code = 0;
        assert_int_equal(ms_utf8_read(cases[i].text, strlen(cases[i].text), &code),
                         cases[i].length);
        if (cases[i].length > 0)
            assert_int_equal(code, cases[i].code);
        char whole[16]; /* behind good text, and at its end */
        (void)snprintf(whole, sizeof whole, "\xC3\xA9%s", cases[i].text);
        assert_int_equal(ms_is_utf8(whole), cases[i].length > 0);
    }
    assert_true(ms_is_utf8(""));
}

static void flattens_what_steers(void **state) {
    static const char *const cases[][2] = {
        {"as it is", "as it is"},
        {"", ""},
        {"a\nb\tc", "a b c"},
        {"\x1b[31m\x7f", "?[31m?"},
        {"\xC2\x9B"
         "31m",
         "?31m"},
        {"\xC2\x80\xC2\x9F\xC2\xA0", "??\xC2\xA0"},
        {"\x9B"
         "31m",
         "?31m"},
        {"\xE2\x80\xAE"
         "gpj\xE2\x81\xA9\xE2\x80\x8F\xE2\x80\xA8\xD8\x9C",
         "?gpj????"},
        {"\xE2\x80\xAF\xE2\x81\xA5\xE2\x80\x90", "\xE2\x80\xAF\xE2\x81\xA5\xE2\x80\x90"},
        {"na\xC3\xAFve \xF0\x9F\x8E\xB5 cut \xE2\x82", "na\xC3\xAFve \xF0\x9F\x8E\xB5 cut ??"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "%s", cases[i][0]);
        ms_text_flatten(text);
        assert_string_equal(text, cases[i][1]);
    }
}

static void words_of_a_list(void **state) {
    (void)state;
    size_t length;
    assert_null(ms_text_word(NULL, &length));
    assert_null(ms_text_word("", &length));
    assert_null(ms_text_word(" ,\t,", &length));
    const char *at = ms_text_word(", a.b,\tc ", &length);
    assert_non_null(at);
    assert_int_equal(length, 3);
    assert_memory_equal(at, "a.b", 3);
    at = ms_text_word(at + length, &length);
    assert_non_null(at);
    assert_int_equal(length, 1);
    assert_int_equal(*at, 'c');
    assert_null(ms_text_word(at + length, &length));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_utf8_as_it_must_be),
        cmocka_unit_test(flattens_what_steers),
        cmocka_unit_test(words_of_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
