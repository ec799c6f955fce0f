/* SHA-256 against the examples that its standard publishes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "msaas/digest.h"

#define OF_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define OF_NOTHING "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define OF_MILLION_A "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"

static void of_memory(void **state) {
    (void)state;
    char hex[MS_SHA256_HEX];
    assert_int_equal(ms_sha256_of("abc", 3, hex, NULL), 0);
    assert_string_equal(hex, OF_ABC);
    assert_int_equal(ms_sha256_of("", 0, hex, NULL), 0);
    assert_string_equal(hex, OF_NOTHING);
}

static void by_pieces(void **state) {
    (void)state;
    char hex[MS_SHA256_HEX];
    char piece[1000];
    struct ms_sha256 *digest = NULL;
    memset(piece, 'a', sizeof piece);
    assert_int_equal(ms_sha256_new(&digest, NULL), 0);
    for (int i = 0; i < 1000; i++)
        ms_sha256_update(digest, piece, sizeof piece);
    ms_sha256_hex(digest, hex);
    assert_string_equal(hex, OF_MILLION_A);
    ms_sha256_free(digest);
    ms_sha256_free(NULL);
}

static void of_a_file(void **state) {
    (void)state;
    char hex[MS_SHA256_HEX];
    struct ms_error err = {0};
    char path[] = "/tmp/msaas-digest-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "w");
    assert_non_null(file);
    for (int i = 0; i < 1000000; i++)
        assert_int_equal(fputc('a', file), 'a');
    assert_int_equal(fclose(file), 0);
    assert_int_equal(ms_sha256_of_file(path, hex, &err), 0);
    assert_string_equal(hex, OF_MILLION_A);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(ms_sha256_of_file(path, hex, &err), MS_ENOTFOUND);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(ms_sha256_of_file("/tmp", hex, &err), MS_EIO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_memory),
        cmocka_unit_test(by_pieces),
        cmocka_unit_test(of_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
