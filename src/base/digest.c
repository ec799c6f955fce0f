/* SHA-256 on OpenSSL's EVP. Owns its running digests; any thread, one object one thread at a time. */
#include "msaas/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct ms_sha256 {
    EVP_MD_CTX *context;
    bool failed;
};

int ms_sha256_new(struct ms_sha256 **out, struct ms_error *err) {
    struct ms_sha256 *digest = calloc(1, sizeof *digest);
    if (digest == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a digest");
    digest->context = EVP_MD_CTX_new();
    if (digest->context == NULL || EVP_DigestInit_ex(digest->context, EVP_sha256(), NULL) != 1) {
        ms_sha256_free(digest);
        return ms_error_set(err, MS_EINTERNAL, "OpenSSL offers no SHA-256");
    }
    *out = digest;
    return 0;
}

void ms_sha256_update(struct ms_sha256 *digest, const void *bytes, size_t size) {
    if (EVP_DigestUpdate(digest->context, bytes, size) != 1)
        digest->failed = true;
}

void ms_sha256_hex(struct ms_sha256 *digest, char hex[MS_SHA256_HEX]) {
    static const char digits[] = "0123456789abcdef";
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    hex[0] = '\0';
    if (digest->failed || EVP_DigestFinal_ex(digest->context, raw, &size) != 1 ||
        size != MS_SHA256_BYTES)
        return;
    for (size_t i = 0; i < MS_SHA256_BYTES; i++) {
        hex[2 * i] = digits[raw[i] >> 4];
        hex[2 * i + 1] = digits[raw[i] & 15];
    }
    hex[MS_SHA256_HEX - 1] = '\0';
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
    unsigned char block[BLOCK_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ms_error_set(err, errno == ENOENT ? MS_ENOTFOUND : MS_EIO, "%s: %s", path,
                            strerror(errno));
    rc = ms_sha256_new(&digest, err);
    if (rc != 0)
        goto out;
    for (;;) {
        ssize_t got = read(fd, block, sizeof block);
        if (got == 0)
            break;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            rc = ms_error_set(err, MS_EIO, "%s: %s", path, strerror(errno));
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
