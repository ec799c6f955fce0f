/* Making tokens, and the form of their hashes. Pure; any thread. */
#ifndef MSAAS_ACCOUNT_TOKEN_HASH_H
#define MSAAS_ACCOUNT_TOKEN_HASH_H

#include "msaas/tokens.h"

bool ms_token_hash_is_formed(const char *text);
/* A new token and its hash. */
MS_MUST_CHECK int ms_token_make(char secret[MS_TOKEN_CHARS + 1], char hash[MS_TOKEN_HASH_BYTES],
                                struct ms_error *err);

#endif
