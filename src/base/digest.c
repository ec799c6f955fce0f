/* SHA-2, HMAC and scrypt by OpenSSL, random bytes from the kernel. Owns its running digests. Any
 * thread; one thread at a time for each object. */
#include "msaas/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define SCRYPT_MEMORY_BYTES (UINT64_C(64) << 20)

struct ms_sha256 {
    EVP_MD_CTX *context;
    unsigned raw_size;
    bool failed;
};

static void to_hex(const unsigned char *raw, size_t digits, char *hex) {
    static const char alphabet[] = "0123456789abcdef";
    for (size_t i = 0; i < digits; i++)
        hex[i] = alphabet[i % 2 == 0 ? raw[i / 2] >> 4 : raw[i / 2] & 15];
    hex[digits] = '\0';
}

static int new_digest(const EVP_MD *kind, unsigned raw_size, struct ms_sha256 **out,
                      struct ms_error *err) {
    struct ms_sha256 *digest = calloc(1, sizeof *digest);
    if (digest == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a digest");
    digest->context = EVP_MD_CTX_new();
    digest->raw_size = raw_size;
    if (digest->context == NULL || EVP_DigestInit_ex(digest->context, kind, NULL) != 1) {
        ms_sha256_free(digest);
        return ms_error_set(err, MS_EINTERNAL, "OpenSSL has no SHA-2");
    }
    *out = digest;
    return 0;
}

int ms_sha256_new(struct ms_sha256 **out, struct ms_error *err) {
    return new_digest(EVP_sha256(), MS_SHA256_BYTES, out, err);
}

int ms_sha224_new(struct ms_sha256 **out, struct ms_error *err) {
    return new_digest(EVP_sha224(), MS_SHA224_BYTES, out, err);
}

void ms_sha256_update(struct ms_sha256 *digest, const void *bytes, size_t size) {
    if (EVP_DigestUpdate(digest->context, bytes, size) != 1)
        digest->failed = true;
}

void ms_sha256_hex(struct ms_sha256 *digest, char hex[MS_SHA256_HEX]) {
    unsigned size = 0;
    hex[0] = '\0';
    unsigned char raw[EVP_MAX_MD_SIZE];
    if (digest->failed || EVP_DigestFinal_ex(digest->context, raw, &size) != 1 ||
        size != digest->raw_size)
        return;
    to_hex(raw, 2 * (size_t)size, hex);
}

void ms_sha256_free(struct ms_sha256 *digest) {
    if (digest == NULL)
        return;
    EVP_MD_CTX_free(digest->context);
    free(digest);
}

int ms_sha256_of(const void *bytes, size_t size, char hex[MS_SHA256_HEX], struct ms_error *err) {
    struct ms_sha256 *digest = NULL;
    int rc = ms_sha256_new(&digest, err);
    if (rc != 0)
        return rc;
    ms_sha256_update(digest, bytes, size);
    ms_sha256_hex(digest, hex);
    ms_sha256_free(digest);
    return 0;
}

int ms_sha256_of_file(const char *path, char hex[MS_SHA256_HEX], struct ms_error *err) {
    enum { BLOCK_BYTES = 1 << 16 };
    struct ms_sha256 *digest = NULL;
    int rc = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ms_error_about(err, errno == ENOENT ? MS_ENOTFOUND : MS_EIO, path, "%s",
                              strerror(errno));
    rc = ms_sha256_new(&digest, err);
    if (rc != 0)
        goto out;
    unsigned char block[BLOCK_BYTES];
    for (;;) {
        ssize_t got = read(fd, block, sizeof block);
        if (got == 0)
            break;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            rc = ms_error_about(err, MS_EIO, path, "%s", strerror(errno));
            goto out;
        }
        ms_sha256_update(digest, block, (size_t)got);
    }
    ms_sha256_hex(digest, hex);
out:
    ms_sha256_free(digest);
    (void)close(fd);
    return rc;
}

int ms_sha224_of(const void *bytes, size_t size, char hex[MS_SHA224_HEX], struct ms_error *err) {
    unsigned raw_size = 0;
    hex[0] = '\0';
    unsigned char raw[EVP_MAX_MD_SIZE];
    if (EVP_Digest(bytes, size, raw, &raw_size, EVP_sha224(), NULL) != 1 ||
        raw_size != MS_SHA224_BYTES)
        return ms_error_set(err, MS_EINTERNAL, "OpenSSL has no SHA-224");
    to_hex(raw, 2 * (size_t)raw_size, hex);
    return 0;
}

int ms_checksum_of(const char *name, const void *bytes, size_t size,
                   unsigned char raw[MS_CHECKSUM_BYTES], size_t *raw_size, struct ms_error *err) {
    const EVP_MD *kind = strcmp(name, "sha1") == 0     ? EVP_sha1()
                         : strcmp(name, "sha256") == 0 ? EVP_sha256()
                                                       : NULL;
    unsigned char all[EVP_MAX_MD_SIZE];
    unsigned count = 0;
    if (kind == NULL)
        return ms_error_set(err, MS_EUSAGE, "checksums are sha1 or sha256, not \"%.20s\"", name);
    if (EVP_Digest(bytes, size, all, &count, kind, NULL) != 1 || count > MS_CHECKSUM_BYTES)
        return ms_error_set(err, MS_EINTERNAL, "OpenSSL has no %s", name);
    memcpy(raw, all, count);
    *raw_size = count;
    return 0;
}

int ms_hmac_sha256(const void *key, size_t key_size, const void *bytes, size_t size,
                   unsigned char mac[MS_SHA256_BYTES], struct ms_error *err) {
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned raw_size = 0;
    if (key_size > INT_MAX ||
        HMAC(EVP_sha256(), key_size > 0 ? key : "", (int)key_size, bytes, size, raw, &raw_size) ==
            NULL ||
        raw_size != MS_SHA256_BYTES)
        return ms_error_set(err, MS_EINTERNAL, "OpenSSL could not compute an HMAC");
    memcpy(mac, raw, MS_SHA256_BYTES);
    explicit_bzero(raw, sizeof raw);
    return 0;
}

int ms_scrypt(const struct ms_scrypt *cost, const void *bytes, size_t size, const void *salt,
              size_t salt_size, unsigned char out[MS_SCRYPT_BYTES], struct ms_error *err) {
    if (EVP_PBE_scrypt(bytes, size, salt, salt_size, UINT64_C(1) << cost->log_n, (uint64_t)cost->r,
                       (uint64_t)cost->p, SCRYPT_MEMORY_BYTES, out, MS_SCRYPT_BYTES) != 1)
        return ms_error_set(err, MS_ENOMEM, "OpenSSL could not compute scrypt with N=2^%d, r=%d",
                            cost->log_n, cost->r);
    return 0;
}

void ms_hex(const void *bytes, size_t size, char *hex) {
    to_hex(bytes, 2 * size, hex);
}

bool ms_same_bytes(const void *a, const void *b, size_t size) {
    return CRYPTO_memcmp(a, b, size) == 0;
}

int ms_random_bytes(void *bytes, size_t size, struct ms_error *err) {
    for (size_t done = 0; done < size;) {
        const ssize_t got = getrandom((unsigned char *)bytes + done, size - done, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return ms_error_set(err, MS_EINTERNAL, "no random bytes: %s", strerror(errno));
        done += (size_t)got;
    }
    return 0;
}

int ms_random_hex(char *hex, size_t digits, struct ms_error *err) {
    unsigned char raw[64];
    int rc = 0;
    hex[0] = '\0';
    for (size_t done = 0; rc == 0 && done < digits;) {
        const size_t some = digits - done < 2 * sizeof raw ? digits - done : 2 * sizeof raw;
        rc = ms_random_bytes(raw, sizeof raw, err);
        if (rc == 0)
            to_hex(raw, some, hex + done);
        done += some;
    }
    explicit_bzero(raw, sizeof raw);
    return rc;
}
