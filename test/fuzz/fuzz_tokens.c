/* Any bytes as the file of tokens. What is taken has valid names and hashes, each once. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "msaas/tokens.h"
#include "token_hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check(const struct ms_tokens *tokens) {
    if (tokens->count < 0 || tokens->count > MS_TOKENS_MAX)
        abort();
    for (int i = 0; i < tokens->count; i++) {
        const struct ms_token *token = &tokens->all[i];
        if (!ms_account_name_is_valid(token->account.name) || token->account.scopes == 0 ||
            !ms_token_hash_is_formed(token->hash) || token->account.max_waiting < 0 ||
            token->account.max_bytes_a_day < 0 || !(token->account.max_minutes_a_day >= 0) ||
            ms_tokens_find(tokens, token->account.name) != token)
            abort();
        char time[MS_TOKEN_TIME_BYTES];
        ms_token_time(token->created_ms, time);
        ms_token_time(token->expires_ms, time);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static int file = -1;
    char path[40];
    struct ms_tokens *tokens = NULL;
    struct ms_error err = {0};
    if (file < 0)
        file = memfd_create("tokens", 0);
    if (file < 0 || ftruncate(file, 0) != 0 || pwrite(file, bytes, size, 0) != (ssize_t)size)
        abort();
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    if (ms_tokens_read(path, &tokens, &err) == 0)
        check(tokens);
    ms_tokens_free(tokens);
    return 0;
}
