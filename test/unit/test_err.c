/* Unit tests of errors: what they are about, and how their texts are put together. */
#include "msaas/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void the_text_begins_with_the_subject(void **state) {
    (void)state;
    struct ms_error err = {0};
    assert_int_equal(ms_error_about(&err, MS_EIO, "song.wav", "cannot be read: %s", "cause"),
                     MS_EIO);
    assert_int_equal(err.code, MS_EIO);
    assert_string_equal(err.subject, "song.wav");
    assert_string_equal(err.text, "song.wav: cannot be read: cause");
    assert_true(ms_error_is_about(&err, "song.wav"));
    assert_false(ms_error_is_about(&err, "song.wa"));

    assert_int_equal(ms_error_set(&err, MS_ENOMEM, "no memory"), MS_ENOMEM);
    assert_string_equal(err.subject, "");
    assert_string_equal(err.text, "no memory");
    assert_int_equal(ms_error_about(&err, MS_EIO, NULL, "broken"), MS_EIO);
    assert_string_equal(err.text, "broken");
}

static void a_prefix_becomes_the_subject(void **state) {
    (void)state;
    struct ms_error err = {0};
    (void)ms_error_about(&err, MS_EUSAGE, "cuda", "no such device");
    assert_int_equal(ms_error_prefix(&err, "--%s", "device"), MS_EUSAGE);
    assert_string_equal(err.subject, "--device");
    assert_string_equal(err.text, "--device: cuda: no such device");
    ms_error_append(&err, "; there is %s", "cpu");
    assert_string_equal(err.text, "--device: cuda: no such device; there is cpu");
}

static void a_subject_can_be_replaced(void **state) {
    (void)state;
    struct ms_error err = {0}, other = {0};
    (void)ms_error_about(&err, MS_EIO, "/tmp/a/song", "is /tmp/a/song");
    ms_error_rename(&err, err.subject + strlen("/tmp/a/"));
    assert_string_equal(err.text, "song: is /tmp/a/song");
    assert_int_equal(ms_error_copy(&other, &err), MS_EIO);
    assert_string_equal(other.subject, "song");
    ms_error_rename(&err, "");
    assert_string_equal(err.text, "is /tmp/a/song");
    ms_error_rename(&err, "it");
    assert_string_equal(err.text, "it: is /tmp/a/song");
}

static void what_is_too_long_is_cut(void **state) {
    (void)state;
    char longest[3000];
    struct ms_error err = {0};
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    (void)ms_error_about(&err, MS_EIO, longest, "the cause");
    assert_int_equal(strlen(err.subject), MS_ERROR_SUBJECT_BYTES - 1);
    assert_string_equal(err.text + strlen(err.subject), ": the cause");
    assert_true(ms_error_is_about(&err, longest));
    ms_error_append(&err, "%s", longest);
    assert_int_equal(strlen(err.text), MS_ERROR_TEXT_BYTES - 1);
}

static void nobody_has_to_want_the_text(void **state) {
    (void)state;
    const struct ms_error from = {.code = MS_ENET};
    assert_int_equal(ms_error_set(NULL, MS_EIO, "lost"), MS_EIO);
    assert_int_equal(ms_error_about(NULL, MS_EIO, "it", "lost"), MS_EIO);
    assert_int_equal(ms_error_copy(NULL, &from), MS_ENET);
    ms_error_append(NULL, "more");
    ms_error_rename(NULL, "other");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_begins_with_the_subject),
        cmocka_unit_test(a_prefix_becomes_the_subject),
        cmocka_unit_test(a_subject_can_be_replaced),
        cmocka_unit_test(what_is_too_long_is_cut),
        cmocka_unit_test(nobody_has_to_want_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
