/* Which token is whose. Owns what was read of the file, and what scrypt has proven of it. Any
 * thread; `lock` is held for microseconds, `proving` for the time of scrypt. */
#include "accounts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/log.h"
#include "msaas/sys.h"

struct ms_metric ms_accounts_checks = {
    .name = "msaas_token_checks_total",
    .help = "Tokens of requests that were checked; proven: by scrypt.",
    .kind = MS_METRIC_COUNTER,
    .labels = {"verdict"},
    .known = {"known", "unknown", "proven"},
};

/* What is known of a token besides its line. */
struct ms_proof {
    enum { UNPROVEN, PROVEN, REFUTED } state;
    unsigned char digest[MS_SHA256_BYTES]; /* of the token that was proven */
};

bool ms_token_is_valid(const struct ms_token *token) {
    return token->expires_ms == 0 || ms_unix_ms() < token->expires_ms;
}

/* ---- the file ---- */

static bool is_same_file(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* What was proven of a token stays so while it has the same hash and the key is the same. */
static void keep_proofs(const struct ms_set *old, struct ms_set *set) {
    if (old == NULL || memcmp(old->tokens->key, set->tokens->key, MS_TOKEN_KEY_BYTES) != 0)
        return;
    for (int i = 0; i < set->tokens->count; i++)
        for (int j = 0; j < old->tokens->count; j++)
            if (set->lookups[i] == old->lookups[j] &&
                strcmp(set->tokens->all[i].hash, old->tokens->all[j].hash) == 0)
                set->proofs[i] = old->proofs[j];
}

static uint64_t lookup_of(const unsigned char *bytes) {
    uint64_t lookup;
    memcpy(&lookup, bytes, sizeof lookup);
    return lookup;
}

static void drop(struct ms_set *set) {
    if (set == NULL)
        return;
    ms_tokens_free(set->tokens);
    free(set->proofs);
    free(set->lookups);
    free(set);
}

static int read_set(const char *path, struct ms_set **out, struct ms_error *err) {
    static const char purpose[] = "msaas session";
    struct ms_set *set = calloc(1, sizeof *set);
    *out = set;
    if (set == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the tokens");
    int rc = ms_tokens_read(path, &set->tokens, err);
    if (rc != 0)
        return rc;
    const int count = set->tokens->count;
    set->proofs = calloc((size_t)count + 1, sizeof *set->proofs);
    set->lookups = calloc((size_t)count + 1, sizeof *set->lookups);
    if (set->proofs == NULL || set->lookups == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the tokens");
    for (int i = 0; i < count; i++)
        set->lookups[i] = lookup_of(set->tokens->all[i].lookup);
    return ms_hmac_sha256(set->tokens->key, MS_TOKEN_KEY_BYTES, purpose, sizeof purpose - 1,
                          set->session_key, err);
}

static int load(struct ms_accounts *accounts, struct ms_error *err) {
    struct ms_set *set;
    const int rc = read_set(accounts->path, &set, err);
    if (rc == 0) {
        (void)pthread_mutex_lock(&accounts->lock);
        struct ms_set *old = accounts->set;
        keep_proofs(old, set);
        accounts->set = set;
        (void)pthread_mutex_unlock(&accounts->lock);
        set = old;
    }
    drop(set);
    return rc;
}

int ms_accounts_refresh(struct ms_accounts *accounts, bool *changed, struct ms_error *err) {
    struct stat now = {0};
    if (stat(accounts->path, &now) != 0)
        now = (struct stat){0};
    /* A file that could not be read is tried again: the cause may lie outside of it. */
    const bool same = is_same_file(&now, &accounts->seen);
    *changed = !same;
    if (same && !accounts->failed)
        return 0;
    accounts->seen = now;
    const int rc = load(accounts, err);
    *changed = *changed || rc == 0;
    accounts->failed = rc != 0;
    return rc;
}

int ms_accounts_open(const char *path, struct ms_accounts **out, struct ms_error *err) {
    struct ms_accounts *accounts = calloc(1, sizeof *accounts);
    bool changed;
    *out = NULL;
    if (accounts == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the tokens");
    (void)pthread_mutex_init(&accounts->proving, NULL);
    (void)pthread_mutex_init(&accounts->lock, NULL);
    accounts->failed = true; /* nothing was read yet */
    accounts->path = strdup(path);
    int rc = accounts->path != NULL ? ms_accounts_refresh(accounts, &changed, err)
                                    : ms_error_set(err, MS_ENOMEM, "no memory for a path");
    if (rc == 0)
        *out = accounts;
    else
        ms_accounts_close(accounts);
    return rc;
}

void ms_accounts_close(struct ms_accounts *accounts) {
    if (accounts == NULL)
        return;
    drop(accounts->set);
    free(accounts->path);
    (void)pthread_mutex_destroy(&accounts->lock);
    (void)pthread_mutex_destroy(&accounts->proving);
    free(accounts);
}

int ms_accounts_count(struct ms_accounts *accounts) {
    (void)pthread_mutex_lock(&accounts->lock);
    const int count = accounts->set->tokens->count;
    (void)pthread_mutex_unlock(&accounts->lock);
    return count;
}

/* ---- checks ---- */

/* All lookups are compared, whichever fits. -1: none. */
static int find(const struct ms_set *set, const unsigned char *digest) {
    const uint64_t wanted = lookup_of(digest);
    int found = -1;
    for (int i = 0; i < set->tokens->count; i++)
        found = set->lookups[i] == wanted ? i : found;
    return found;
}

/* Without scrypt. hash: of an unproven one. */
static enum ms_token_verdict look(struct ms_accounts *accounts, const char *secret,
                                  unsigned char digest[MS_SHA256_BYTES],
                                  char hash[MS_TOKEN_HASH_BYTES], struct ms_account *out) {
    enum ms_token_verdict verdict = MS_TOKEN_UNKNOWN;
    (void)pthread_mutex_lock(&accounts->lock);
    const struct ms_set *set = accounts->set;
    const int at =
        ms_token_digest(set->tokens->key, secret, digest, NULL) == 0 ? find(set, digest) : -1;
    const struct ms_token *token = at >= 0 ? &set->tokens->all[at] : NULL;
    if (token != NULL && ms_token_is_valid(token)) {
        const struct ms_proof *proof = &set->proofs[at];
        *out = token->account;
        memcpy(hash, token->hash, MS_TOKEN_HASH_BYTES);
        if (proof->state == UNPROVEN)
            verdict = MS_TOKEN_UNPROVEN;
        else if (proof->state == PROVEN && ms_same_bytes(proof->digest, digest, MS_SHA256_BYTES))
            verdict = MS_TOKEN_KNOWN;
    }
    (void)pthread_mutex_unlock(&accounts->lock);
    return verdict;
}

/* The line with this hash was proven or refuted, if it is still there. */
static void note(struct ms_accounts *accounts, const char *hash, bool good,
                 const unsigned char digest[MS_SHA256_BYTES]) {
    (void)pthread_mutex_lock(&accounts->lock);
    const struct ms_set *set = accounts->set;
    for (int i = 0; i < set->tokens->count; i++) {
        struct ms_proof *proof = &set->proofs[i];
        if (strcmp(set->tokens->all[i].hash, hash) != 0)
            continue;
        /* Refuted: the lookup of another token. One try is enough, each would cost scrypt. */
        proof->state = good ? PROVEN : REFUTED;
        memcpy(proof->digest, digest, MS_SHA256_BYTES);
    }
    (void)pthread_mutex_unlock(&accounts->lock);
}

static enum ms_token_verdict prove(struct ms_accounts *accounts, const char *secret,
                                   struct ms_account *out) {
    unsigned char digest[MS_SHA256_BYTES];
    char hash[MS_TOKEN_HASH_BYTES];
    (void)pthread_mutex_lock(&accounts->proving);
    enum ms_token_verdict verdict = look(accounts, secret, digest, hash, out);
    if (verdict == MS_TOKEN_UNPROVEN) { /* nobody else has proven it meanwhile */
        struct ms_error err = {0};
        bool good;
        ms_metric_add(&ms_accounts_checks, 1, "proven", NULL);
        if (ms_token_prove(hash, secret, &good, &err) == 0) {
            note(accounts, hash, good, digest);
            verdict = look(accounts, secret, digest, hash, out);
        } else { /* says nothing of the token */
            ms_log(MS_LOG_WARN, "a token cannot be checked: %s", err.text);
        }
    }
    (void)pthread_mutex_unlock(&accounts->proving);
    return verdict;
}

enum ms_token_verdict ms_accounts_check(struct ms_accounts *accounts, const char *secret,
                                        size_t size, bool may_block, struct ms_account *out) {
    unsigned char digest[MS_SHA256_BYTES];
    char hash[MS_TOKEN_HASH_BYTES];
    enum ms_token_verdict verdict = MS_TOKEN_UNKNOWN;
    if (ms_token_is_formed(secret, size))
        verdict = look(accounts, secret, digest, hash, out);
    if (verdict == MS_TOKEN_UNPROVEN && may_block)
        verdict = prove(accounts, secret, out);
    if (verdict != MS_TOKEN_UNPROVEN)
        ms_metric_add(&ms_accounts_checks, 1, verdict == MS_TOKEN_KNOWN ? "known" : "unknown",
                      NULL);
    return verdict;
}
