/* SHA-2 digests (FIPS 180-4), HMAC (RFC 2104), scrypt on OpenSSL, and random bytes. Any thread; one
 * object serves one thread at a time. */
#ifndef MSAAS_DIGEST_H
#define MSAAS_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "msaas/err.h"

#define MS_SHA256_BYTES 32
#define MS_SHA256_HEX (2 * MS_SHA256_BYTES + 1) /* with the final NUL */

struct ms_sha256; /* a running digest */
MS_MUST_CHECK int ms_sha256_new(struct ms_sha256 **out, struct ms_error *err);
void ms_sha256_update(struct ms_sha256 *digest, const void *bytes, size_t size);
/* Ends the digest; lower-case hex. If OpenSSL fails, the text is empty, which is not the digest of
 * any file. */
void ms_sha256_hex(struct ms_sha256 *digest, char hex[MS_SHA256_HEX]);
void ms_sha256_free(struct ms_sha256 *digest);
/* The same for SHA-224: ms_sha256_hex gives 56 digits then. */
MS_MUST_CHECK int ms_sha224_new(struct ms_sha256 **out, struct ms_error *err);

/* The digest of bytes in memory. */
MS_MUST_CHECK int ms_sha256_of(const void *bytes, size_t size, char hex[MS_SHA256_HEX],
                               struct ms_error *err);
/* The digest of a whole file, which is read in blocks. */
MS_MUST_CHECK int ms_sha256_of_file(const char *path, char hex[MS_SHA256_HEX],
                                    struct ms_error *err);

#define MS_SHA224_BYTES 28
#define MS_SHA224_HEX (2 * MS_SHA224_BYTES + 1) /* with the final NUL */
MS_MUST_CHECK int ms_sha224_of(const void *bytes, size_t size, char hex[MS_SHA224_HEX],
                               struct ms_error *err);

/* A checksum by its name, "sha1" or "sha256", raw; *raw_size: its bytes. MS_EUSAGE: another name.
 * */
#define MS_CHECKSUM_BYTES 32
MS_MUST_CHECK int ms_checksum_of(const char *name, const void *bytes, size_t size,
                                 unsigned char raw[MS_CHECKSUM_BYTES], size_t *raw_size,
                                 struct ms_error *err);

/* HMAC-SHA-256, raw. A key of any length; mac may be the key. */
MS_MUST_CHECK int ms_hmac_sha256(const void *key, size_t key_size, const void *bytes, size_t size,
                                 unsigned char mac[MS_SHA256_BYTES], struct ms_error *err);

/* scrypt (RFC 7914) of the bytes, raw: N is 2^log_n. Takes 128 * r * 2^log_n bytes of memory and,
 * by intent, time: tens of milliseconds with log_n 14 and r 8. MS_ENOMEM: these parameters take
 * more than 64 MiB. */
#define MS_SCRYPT_BYTES 32
struct ms_scrypt {
    int log_n, r, p;
};
MS_MUST_CHECK int ms_scrypt(const struct ms_scrypt *cost, const void *bytes, size_t size,
                            const void *salt, size_t salt_size, unsigned char out[MS_SCRYPT_BYTES],
                            struct ms_error *err);

/* Lower-case; hex has room for 2 * size + 1. */
void ms_hex(const void *bytes, size_t size, char *hex);

/* Whether the bytes are the same, in a time that does not tell where they differ. */
bool ms_same_bytes(const void *a, const void *b, size_t size);

MS_MUST_CHECK int ms_random_bytes(void *bytes, size_t size, struct ms_error *err);
/* `digits` random lower-case hex digits and a NUL, fit for tokens and secrets. */
MS_MUST_CHECK int ms_random_hex(char *hex, size_t digits, struct ms_error *err);

#endif
