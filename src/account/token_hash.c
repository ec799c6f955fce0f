/* A token, and its hash at rest: scrypt, in the form of PHC strings. Pure. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/base64.h"
#include "msaas/tokens.h"
#include "token_hash.h"

#define SALT_BYTES 16
#define PREFIX_CHARS (sizeof MS_TOKEN_PREFIX - 1)

static const struct ms_scrypt usual = {.log_n = 14, .r = 8, .p = 1};

bool ms_token_is_formed(const char *text, size_t size) {
    if (size != MS_TOKEN_CHARS || memcmp(text, MS_TOKEN_PREFIX, PREFIX_CHARS) != 0)
        return false;
    for (size_t i = PREFIX_CHARS; i < size; i++) {
        const char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_'))
            return false;
    }
    return true;
}

int ms_token_digest(const unsigned char key[MS_TOKEN_KEY_BYTES], const char *secret,
                    unsigned char digest[MS_SHA256_BYTES], struct ms_error *err) {
    return ms_hmac_sha256(key, MS_TOKEN_KEY_BYTES, secret, MS_TOKEN_CHARS, digest, err);
}

/* ---- base64 without padding ---- */

static int encode(const void *bytes, size_t size, bool for_urls, char *out, size_t capacity,
                  struct ms_error *err) {
    char *text = ms_base64_encode(bytes, size);
    if (text == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a token");
    text[strcspn(text, "=")] = '\0';
    for (char *c = text; for_urls && *c != '\0'; c++)
        *c = (char)(*c == '+' ? '-' : *c == '/' ? '_' : *c);
    (void)snprintf(out, capacity, "%s", text);
    explicit_bzero(text, strlen(text));
    free(text);
    return 0;
}

/* Exactly `size` bytes. */
static bool decode(const char *text, size_t length, unsigned char *out, size_t size) {
    char copy[64];
    size_t got = 0;
    if (length != (size * 4 + 2) / 3 || length + 4 > sizeof copy)
        return false;
    memcpy(copy, text, length);
    while (length % 4 != 0)
        copy[length++] = '=';
    copy[length] = '\0';
    if (ms_base64_decode(copy, length, size, &got, NULL) != 0 || got != size)
        return false;
    memcpy(out, copy, size);
    return true;
}

/* ---- hashes ---- */

struct parts {
    struct ms_scrypt cost;
    unsigned char salt[SALT_BYTES], hash[MS_SCRYPT_BYTES];
};

/* Of "ln=14," the number, of one or two digits, and what follows it; NULL: it is none. */
static const char *read_cost(const char *at, const char *name, char end, int *out) {
    const size_t size = strlen(name);
    if (at == NULL || strncmp(at, name, size) != 0)
        return NULL;
    at += size;
    const size_t digits = strspn(at, "0123456789");
    if (digits < 1 || digits > 2 || at[digits] != end)
        return NULL;
    *out = (int)strtol(at, NULL, 10);
    return at + digits + 1;
}

static bool split(const char *text, struct parts *out) {
    const char *at = read_cost(text, "$scrypt$ln=", ',', &out->cost.log_n);
    at = read_cost(at, "r=", ',', &out->cost.r);
    const char *salt = read_cost(at, "p=", '$', &out->cost.p);
    if (salt == NULL)
        return false;
    const size_t salt_length = strcspn(salt, "$");
    /* A file may cost at most twice the memory, and a few times the time, of one written here. */
    return salt[salt_length] == '$' && out->cost.log_n >= 1 && out->cost.log_n <= 15 &&
           out->cost.r >= 1 && out->cost.r <= 8 && out->cost.p >= 1 && out->cost.p <= 2 &&
           decode(salt, salt_length, out->salt, SALT_BYTES) &&
           decode(salt + salt_length + 1, strlen(salt + salt_length + 1), out->hash,
                  MS_SCRYPT_BYTES);
}

bool ms_token_hash_is_formed(const char *text) {
    struct parts parts;
    return split(text, &parts);
}

int ms_token_prove(const char *hash, const char *secret, bool *matches, struct ms_error *err) {
    struct parts parts;
    unsigned char made[MS_SCRYPT_BYTES];
    *matches = false;
    if (!split(hash, &parts))
        return 0;
    const int rc =
        ms_scrypt(&parts.cost, secret, MS_TOKEN_CHARS, parts.salt, SALT_BYTES, made, err);
    *matches = rc == 0 && ms_same_bytes(made, parts.hash, sizeof made);
    return rc;
}

int ms_token_make(char secret[MS_TOKEN_CHARS + 1], char hash[MS_TOKEN_HASH_BYTES],
                  struct ms_error *err) {
    unsigned char random[32], salt[SALT_BYTES], made[MS_SCRYPT_BYTES];
    char salt_text[24], made_text[48];
    (void)snprintf(secret, MS_TOKEN_CHARS + 1, "%s", MS_TOKEN_PREFIX);
    int rc = ms_random_bytes(random, sizeof random, err);
    if (rc == 0)
        rc = ms_random_bytes(salt, sizeof salt, err);
    if (rc == 0)
        rc = encode(random, sizeof random, true, secret + PREFIX_CHARS,
                    MS_TOKEN_CHARS + 1 - PREFIX_CHARS, err);
    explicit_bzero(random, sizeof random);
    if (rc == 0)
        rc = ms_scrypt(&usual, secret, MS_TOKEN_CHARS, salt, sizeof salt, made, err);
    if (rc == 0)
        rc = encode(salt, sizeof salt, false, salt_text, sizeof salt_text, err);
    if (rc == 0)
        rc = encode(made, sizeof made, false, made_text, sizeof made_text, err);
    if (rc == 0)
        (void)snprintf(hash, MS_TOKEN_HASH_BYTES, "$scrypt$ln=%d,r=%d,p=%d$%s$%s", usual.log_n,
                       usual.r, usual.p, salt_text, made_text);
    return rc;
}
