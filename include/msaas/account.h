/* Accounts: who may ask the service for what. Each has a token, and a line in the file of tokens
 * that `msaas token` writes. Any thread. */
#ifndef MSAAS_ACCOUNT_H
#define MSAAS_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "msaas/err.h"
#include "msaas/metrics.h"

enum {
    MS_SCOPE_SUBMIT = 1, /* send songs, erase one's own jobs */
    MS_SCOPE_READ = 2,   /* see one's own jobs and fetch their stems */
    MS_SCOPE_ADMIN = 4,  /* everything, the jobs of all accounts too */
};

#define MS_ACCOUNT_NAME_BYTES 33 /* [a-z0-9_-], with the final NUL */

struct ms_account {
    /* "": whoever uses an open /apiv1, beside accounts: sees jobs without an owner only */
    char name[MS_ACCOUNT_NAME_BYTES];
    unsigned scopes;
    int64_t max_waiting; /* of these 0: no limit */
    double max_minutes_a_day;
    int64_t max_bytes_a_day;
};

/* 1 to 32 of [a-z0-9_-]. */
bool ms_account_name_is_valid(const char *name);

/* "submit,read" -> bits, and back. MS_EUSAGE: an unknown scope, or none. */
#define MS_SCOPES_TEXT_BYTES 24
MS_MUST_CHECK int ms_scopes_parse(const char *text, unsigned *scopes, struct ms_error *err);
void ms_scopes_text(unsigned scopes, char text[MS_SCOPES_TEXT_BYTES]);

/* ---- the accounts of a service ---- */

/* Those of a file of tokens (tokens.h), and which tokens were proven since they were read. */
struct ms_accounts;
MS_MUST_CHECK int ms_accounts_open(const char *path, struct ms_accounts **out,
                                   struct ms_error *err);
void ms_accounts_close(struct ms_accounts *accounts);
/* Reads the file again if it is another than the last time, or was changed. After an error the
 * tokens stay as they were; *changed: the error is new, or the tokens are. */
MS_MUST_CHECK int ms_accounts_refresh(struct ms_accounts *accounts, bool *changed,
                                      struct ms_error *err);
int ms_accounts_count(struct ms_accounts *accounts);

/* Whose token it is. A token that was proven costs one HMAC and a search, and so does one that is
 * unknown or expired: its digest finds nothing, so that guesses cost no scrypt, and their time does
 * not tell how near they were. A known one is proven by scrypt the first time, one at a time and if
 * may_block: until then MS_TOKEN_UNPROVEN. After may_block that means: try again later, scrypt has
 * no memory, or the file was replaced meanwhile. */
enum ms_token_verdict { MS_TOKEN_KNOWN, MS_TOKEN_UNKNOWN, MS_TOKEN_UNPROVEN };
MS_MUST_CHECK enum ms_token_verdict ms_accounts_check(struct ms_accounts *accounts,
                                                      const char *secret, size_t size,
                                                      bool may_block, struct ms_account *out);

/* Sessions: a text that stands for the token of an account until it expires, or until the token
 * does or is revoked. It is signed under the key of the file: every replica with the same file
 * knows it, and nothing is kept. */
#define MS_SESSION_BYTES 128 /* "ann.1790000000.MAC", with the final NUL */
MS_MUST_CHECK int ms_session_begin(struct ms_accounts *accounts, const char *name,
                                   int64_t lifetime_ms, char session[MS_SESSION_BYTES],
                                   int64_t *expires_ms, struct ms_error *err);
MS_MUST_CHECK bool ms_session_check(struct ms_accounts *accounts, const char *session, size_t size,
                                    struct ms_account *out);

/* How often which verdict was given, by "verdict": known, unknown, proven (by scrypt). */
extern struct ms_metric ms_accounts_checks;

#endif
