/* The file of tokens, as `msaas token` writes it and the service reads it: JSON,
 *
 *   {"key": HEX64, "tokens": [
 *   {"name": "ann", "scopes": "submit,read", "lookup": HEX16, "hash": "$scrypt$ln=14,r=8,p=1$...",
 *    "created": "2026-05-01T00:00:00Z", "expires": ..., "max_waiting": ..., ...}]}
 *
 * A token itself is nowhere: it is shown once, when it is made. It is "msaas_" and 256 random bits,
 * so what stands here does not help to guess it. lookup is the beginning of its HMAC under `key`:
 * it finds the token's line, and only a token that has a line is worth the time of scrypt. */
#ifndef MSAAS_TOKENS_H
#define MSAAS_TOKENS_H

#include "msaas/account.h"
#include "msaas/digest.h"

#define MS_TOKEN_PREFIX "msaas_"
#define MS_TOKEN_CHARS 49 /* the prefix, and 43 of base64url (RFC 4648) */
#define MS_TOKEN_KEY_BYTES 32
#define MS_TOKEN_LOOKUP_BYTES 8
#define MS_TOKEN_HASH_BYTES 128 /* "$scrypt$ln=14,r=8,p=1$SALT$HASH", with the final NUL */
#define MS_TOKENS_MAX 1000

struct ms_token {
    struct ms_account account;
    int64_t created_ms, expires_ms; /* Unix time, in whole seconds; expires_ms 0: never */
    unsigned char lookup[MS_TOKEN_LOOKUP_BYTES];
    char hash[MS_TOKEN_HASH_BYTES];
};

struct ms_tokens {
    unsigned char key[MS_TOKEN_KEY_BYTES];
    int count;
    struct ms_token all[];
};

/* Whether the text has the form of a token; no more is known of it. */
bool ms_token_is_formed(const char *text, size_t size);

/* The caller frees *out. The error names the file and never holds what is in it. MS_ENOTFOUND: it
 * does not exist; MS_EIO; MS_ECORRUPT: it is not such a file. */
MS_MUST_CHECK int ms_tokens_read(const char *path, struct ms_tokens **out, struct ms_error *err);
/* Replaces the file by one of mode 0600, at once; it keeps its owner where that may be. */
MS_MUST_CHECK int ms_tokens_write(const char *path, const struct ms_tokens *tokens,
                                  struct ms_error *err);
void ms_tokens_free(struct ms_tokens *tokens);
/* NULL: there is none of this name. */
const struct ms_token *ms_tokens_find(const struct ms_tokens *tokens, const char *name);

/* Makes a token for the account and puts it into *tokens, which moves (NULL: none yet). secret: the
 * token. MS_ECONFLICT: there is one of this name. */
MS_MUST_CHECK int ms_tokens_add(struct ms_tokens **tokens, const struct ms_account *account,
                                int64_t expires_ms, char secret[MS_TOKEN_CHARS + 1],
                                struct ms_error *err);
MS_MUST_CHECK int ms_tokens_revoke(struct ms_tokens *tokens, const char *name,
                                   struct ms_error *err);

/* The HMAC of a token under the key, which begins with its lookup. */
MS_MUST_CHECK int ms_token_digest(const unsigned char key[MS_TOKEN_KEY_BYTES], const char *secret,
                                  unsigned char digest[MS_SHA256_BYTES], struct ms_error *err);
/* *matches: whether the hash is that of the token. Takes the time and memory of scrypt, and fails
 * where there is none. */
MS_MUST_CHECK int ms_token_prove(const char *hash, const char *secret, bool *matches,
                                 struct ms_error *err);

/* "2026-05-01T00:00:00Z", in whole seconds. */
#define MS_TOKEN_TIME_BYTES 40
void ms_token_time(int64_t unix_ms, char text[MS_TOKEN_TIME_BYTES]);

#endif
