/* SHA-2, HMAC and scrypt against the examples that their standards publish (FIPS 180-4, RFC 3874,
 * RFC 4231, RFC 7914). */
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

static void sha224(void **state) {
    (void)state;
    char hex[MS_SHA224_HEX];
    assert_int_equal(ms_sha224_of("abc", 3, hex, NULL), 0);
    assert_string_equal(hex, "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7");
    assert_int_equal(
        ms_sha224_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, hex, NULL), 0);
    assert_string_equal(hex, "75388b16512776cc5dba5da1fd890150b0c6455cb4f58b1952522525");
    assert_int_equal(ms_sha224_of("", 0, hex, NULL), 0);
    assert_string_equal(hex, "d14a028c2a3a2bc9476102bb288234c415a2b01f828ea62ac5b3e42f");
}

static void expect_mac(const void *key, size_t key_size, const void *text, size_t size,
                       const char *expected) {
    unsigned char mac[MS_SHA256_BYTES];
    assert_int_equal(ms_hmac_sha256(key, key_size, text, size, mac, NULL), 0);
    char hex[2 * MS_SHA256_BYTES + 1];
    for (size_t i = 0; i < sizeof mac; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", mac[i]);
    assert_string_equal(hex, expected);
}

static void hmac(void **state) {
    (void)state;
    char key[131];
    unsigned char mac[MS_SHA256_BYTES];
    memset(key, 0x0b, 20);
    expect_mac(key, 20, "Hi There", 8,
               "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    expect_mac("Jefe", 4, "what do ya want for nothing?", 28,
               "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    expect_mac(key, sizeof key, "Test Using Larger Than Block-Size Key - Hash Key First", 54,
               "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    expect_mac(NULL, 0, "", 0, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
    memcpy(mac, "Jefe", 4); /* the key may be overwritten */
    assert_int_equal(ms_hmac_sha256(mac, 4, "what do ya want for nothing?", 28, mac, NULL), 0);
    assert_int_equal(mac[0], 0x5b);
    assert_int_equal(mac[31], 0x43);
}

static void random_digits(void **state) {
    (void)state;
    char a[301], b[301];
    for (size_t digits = 0; digits < 300; digits += 37) {
        memset(a, 'x', sizeof a);
        assert_int_equal(ms_random_hex(a, digits, NULL), 0);
        assert_int_equal(strlen(a), digits);
        assert_int_equal(strspn(a, "0123456789abcdef"), digits);
        assert_int_equal(ms_random_hex(b, digits, NULL), 0);
        assert_true(digits == 0 || strcmp(a, b) != 0);
    }
}

static void scrypt_of_its_rfc(void **state) {
    (void)state;
    const struct ms_scrypt cost = {14, 8, 1}, large = {17, 8, 1};
    unsigned char out[MS_SCRYPT_BYTES];
    char hex[2 * MS_SCRYPT_BYTES + 1];
    assert_int_equal(ms_scrypt(&cost, "pleaseletmein", 13, "SodiumChloride", 14, out, NULL), 0);
    for (size_t i = 0; i < sizeof out; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", out[i]);
    assert_string_equal(hex, "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2");
    assert_int_equal(ms_scrypt(&large, "a", 1, "b", 1, out, NULL), MS_ENOMEM);
    assert_true(ms_same_bytes("abc", "abc", 3));
    assert_false(ms_same_bytes("abc", "abd", 3));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_memory),
        cmocka_unit_test(by_pieces),
        cmocka_unit_test(of_a_file),
        cmocka_unit_test(sha224),
        cmocka_unit_test(hmac),
        cmocka_unit_test(random_digits),
        cmocka_unit_test(scrypt_of_its_rfc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
