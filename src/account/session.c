/* Sessions: "NAME.EXPIRES.MAC". The MAC is of name, expiry and the token's hash, under a key that
 * is derived from that of the file, so that a session ends with its token. Owns nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accounts.h"
#include "msaas/sys.h"

#define MAC_HEX (MS_SHA256_HEX - 1)
#define EXPIRES_DIGITS 12

static const char nobody[] = "$scrypt$ln=14,r=8,p=1$aaaaaaaaaaaaaaaaaaaaaa$"
                             "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/* With the lock held. */
static bool sign(const struct ms_accounts *accounts, const char *name, const char *hash,
                 long long expires_s, char mac[MAC_HEX + 1]) {
    unsigned char raw[MS_SHA256_BYTES];
    char text[MS_ACCOUNT_NAME_BYTES + 32 + MS_TOKEN_HASH_BYTES];
    const int size = snprintf(text, sizeof text, "%s.%lld.%s", name, expires_s, hash);
    if (ms_hmac_sha256(accounts->set->session_key, MS_SHA256_BYTES, text, (size_t)size, raw,
                       NULL) != 0)
        return false;
    ms_hex(raw, sizeof raw, mac);
    return true;
}

int ms_session_begin(struct ms_accounts *accounts, const char *name, int64_t lifetime_ms,
                     char session[MS_SESSION_BYTES], int64_t *expires_ms, struct ms_error *err) {
    char mac[MAC_HEX + 1];
    bool ok = false;
    *expires_ms = (ms_unix_ms() + lifetime_ms) / 1000 * 1000;
    (void)pthread_mutex_lock(&accounts->lock);
    const struct ms_token *token = ms_tokens_find(accounts->set->tokens, name);
    if (token != NULL) {
        if (token->expires_ms > 0 && token->expires_ms < *expires_ms)
            *expires_ms = token->expires_ms;
        ok = sign(accounts, name, token->hash, *expires_ms / 1000, mac);
    }
    (void)pthread_mutex_unlock(&accounts->lock);
    if (!ok)
        return token == NULL ? ms_error_set(err, MS_ENOTFOUND, "there is no token \"%s\"", name)
                             : ms_error_set(err, MS_EINTERNAL, "the session cannot be signed");
    (void)snprintf(session, MS_SESSION_BYTES, "%s.%lld.%s", name, (long long)(*expires_ms / 1000),
                   mac);
    return 0;
}

bool ms_session_check(struct ms_accounts *accounts, const char *session, size_t size,
                      struct ms_account *out) {
    char text[MS_SESSION_BYTES], mac[MAC_HEX + 1];
    bool ok = false;
    if (size >= sizeof text)
        return false;
    memcpy(text, session, size);
    text[size] = '\0';
    char *digits = strchr(text, '.');
    char *signature = digits != NULL ? strchr(digits + 1, '.') : NULL;
    if (signature == NULL || strlen(signature + 1) != MAC_HEX)
        return false;
    *digits++ = *signature++ = '\0';
    const size_t length = strspn(digits, "0123456789");
    if (length == 0 || length > EXPIRES_DIGITS || digits[length] != '\0')
        return false;
    const long long expires_s = strtoll(digits, NULL, 10);
    (void)pthread_mutex_lock(&accounts->lock);
    const struct ms_token *token = ms_tokens_find(accounts->set->tokens, text);
    /* A name that nobody has takes as long as one that somebody has. */
    const bool is_ours =
        sign(accounts, text, token != NULL ? token->hash : nobody, expires_s, mac) &&
        ms_same_bytes(mac, signature, MAC_HEX);
    if (is_ours && token != NULL && ms_token_is_valid(token) && ms_unix_ms() < expires_s * 1000) {
        *out = token->account;
        ok = true;
    }
    (void)pthread_mutex_unlock(&accounts->lock);
    return ok;
}
