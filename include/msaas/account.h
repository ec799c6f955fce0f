/* Accounts: who may ask the service for what. Each has a token, and a line in the file of tokens
 * that `msaas token` writes. Any thread. */
#ifndef MSAAS_ACCOUNT_H
#define MSAAS_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "msaas/err.h"

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

#endif
