/* A thread that looks once a second whether the file of tokens has changed, and has it read again.
 * It logs what came of it; a file that cannot be used leaves the tokens as they were. */
#ifndef MSAAS_CMD_TOKEN_WATCH_H
#define MSAAS_CMD_TOKEN_WATCH_H

#include "msaas/account.h"

struct ms_token_watch;
/* accounts: borrowed until ms_token_watch_free. */
MS_MUST_CHECK int ms_token_watch_new(struct ms_accounts *accounts, struct ms_token_watch **out,
                                     struct ms_error *err);
void ms_token_watch_free(struct ms_token_watch *watch);

#endif
