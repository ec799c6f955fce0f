/* The accounts that are in force. */
#ifndef MSAAS_ACCOUNT_ACCOUNTS_H
#define MSAAS_ACCOUNT_ACCOUNTS_H

#include <pthread.h>
#include <sys/stat.h>

#include "msaas/account.h"
#include "msaas/tokens.h"

/* What was read of the file at a time. */
struct ms_set {
    struct ms_tokens *tokens;
    struct ms_proof *proofs; /* as many, in the same order */
    uint64_t *lookups;       /* the same, side by side: all are compared at each check */
    unsigned char session_key[MS_SHA256_BYTES]; /* derived from that of the tokens */
};

struct ms_accounts {
    char *path;
    pthread_mutex_t proving; /* held for the time of scrypt; taken before `lock` */
    pthread_mutex_t lock;    /* of `set` and all that is in it */
    struct ms_set *set;
    struct stat seen; /* the file when it was last read: of those who refresh, one at a time */
    bool failed;      /* then */
};

/* With the lock held. Whether the token has not expired. */
bool ms_token_is_valid(const struct ms_token *token);

#endif
