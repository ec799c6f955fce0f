/* Base64: RFC 4648's vectors, line breaks, faults by their place, songs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/base64.h"

static const char *const vectors[][2] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
};

/* Decodes a copy; *bytes is the caller's to free, whatever is returned. */
static int decode(const char *text, size_t text_size, size_t max_bytes, char **bytes, size_t *size,
                  struct ms_error *err) {
    *bytes = malloc(text_size > 0 ? text_size : 1); /* and not a byte more: ASan looks */
    assert_non_null(*bytes);
    memcpy(*bytes, text, text_size);
    return ms_base64_decode(*bytes, text_size, max_bytes, size, err);
}

static void published_vectors(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        char *text = ms_base64_encode(vectors[i][0], strlen(vectors[i][0]));
        assert_string_equal(text, vectors[i][1]);
        char *bytes = NULL;
        size_t size = 99;
        assert_int_equal(decode(text, strlen(text), 6, &bytes, &size, NULL), 0);
        assert_int_equal(size, strlen(vectors[i][0]));
        assert_memory_equal(bytes, vectors[i][0], size);
        free(bytes);
        free(text);
    }
}

static void line_breaks_anywhere(void **state) {
    (void)state;
    static const char text[] = "\r\nZm\r\n9vY\nmFyZm9vYg=\r\n=\n";
    char *bytes = NULL;
    size_t size = 0;
    assert_int_equal(decode(text, strlen(text), 100, &bytes, &size, NULL), 0);
    assert_int_equal(size, 10);
    assert_memory_equal(bytes, "foobarfoob", 10);
    free(bytes);
}

static void refuses(void **state) {
    (void)state;
    static const char *const bad[] = {
        "Z",        "Zg",           "Zg=",  "Zm8",   "=",     "====",  "Z===",
        "Zg===",    "Zg==Zg==",     "Zh==", "Zm9=",  "Zm9v=", "Zm 9v", "Zm9v\t",
        "Zm9vZm-_", "Zm9v\xc3\xa9", "Zg=a", "Zm9v,", "Zg==a", "Z\n",
    };
    char *bytes = NULL;
    size_t size = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (decode(bad[i], strlen(bad[i]), 100, &bytes, &size, NULL) != MS_EINPUT)
            fail_msg("\"%s\" was taken", bad[i]);
        free(bytes);
    }
    struct ms_error err = {0};
    assert_int_equal(decode("Zm9v\0m9v", 8, 100, &bytes, &size, &err), MS_EINPUT);
    assert_non_null(strstr(err.text, "offset 4"));
    free(bytes);
}

static void keeps_to_the_limit(void **state) {
    (void)state;
    char *bytes = NULL;
    size_t size = 0;
    assert_int_equal(decode("Zm9vYmFy", 8, 5, &bytes, &size, NULL), MS_ETOOLARGE);
    free(bytes);
    assert_int_equal(decode("Zm9vYmE=", 8, 4, &bytes, &size, NULL), MS_ETOOLARGE);
    free(bytes);
    assert_int_equal(decode("Zg==", 4, 0, &bytes, &size, NULL), MS_ETOOLARGE);
    free(bytes);
    assert_int_equal(decode("Zm9vYmE=", 8, 5, &bytes, &size, NULL), 0);
    free(bytes);
}

static void a_long_song_comes_back(void **state) {
    (void)state;
    enum { SONG_BYTES = 1000003 };
    unsigned char *song = malloc(SONG_BYTES);
    char *bytes = NULL;
    size_t size = 0;
    uint32_t next = 1;
    assert_non_null(song);
    for (int i = 0; i < SONG_BYTES; i++) {
        next = next * 1664525u + 1013904223u;
        song[i] = (unsigned char)(next >> 24);
    }
    char *text = ms_base64_encode(song, SONG_BYTES);
    assert_non_null(text);
    assert_int_equal(decode(text, strlen(text), SONG_BYTES, &bytes, &size, NULL), 0);
    assert_int_equal(size, SONG_BYTES);
    assert_memory_equal(bytes, song, SONG_BYTES);
    free(bytes);
    free(text);
    free(song);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vectors),
        cmocka_unit_test(line_breaks_anywhere),
        cmocka_unit_test(refuses),
        cmocka_unit_test(keeps_to_the_limit),
        cmocka_unit_test(a_long_song_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
