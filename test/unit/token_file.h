/* A file of tokens in a folder of its own. */
#ifndef MSAAS_TEST_TOKEN_FILE_H
#define MSAAS_TEST_TOKEN_FILE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/metrics.h"
#include "msaas/sys.h"
#include "msaas/tokens.h"

/* Writes a token of this name into the file, which may not be there yet. */
static inline void put_token(const char *path, const char *name, unsigned scopes,
                             int64_t expires_ms, char secret[MS_TOKEN_CHARS + 1]) {
    struct ms_error err = {0};
    struct ms_tokens *tokens = NULL;
    struct ms_account account = {.scopes = scopes, .max_waiting = 7};
    (void)snprintf(account.name, sizeof account.name, "%s", name);
    int rc = ms_tokens_read(path, &tokens, &err);
    if (rc == 0 || rc == MS_ENOTFOUND)
        rc = ms_tokens_add(&tokens, &account, expires_ms, secret, &err);
    if (rc == 0)
        rc = ms_tokens_write(path, tokens, &err);
    if (rc != 0)
        fail_msg("%s", err.text);
    ms_tokens_free(tokens);
}

static inline void drop_token(const char *path, const char *name) {
    struct ms_error err = {0};
    struct ms_tokens *tokens = NULL;
    if (ms_tokens_read(path, &tokens, &err) != 0 || ms_tokens_revoke(tokens, name, &err) != 0 ||
        ms_tokens_write(path, tokens, &err) != 0)
        fail_msg("%s", err.text);
    ms_tokens_free(tokens);
}

/* How many tokens were checked with this verdict so far. */
static inline int checked(const char *verdict) {
    static struct ms_metric *const list[] = {&ms_accounts_checks, NULL};
    char line[96];
    ms_metrics_use(list);
    char *page = ms_metrics_page("test");
    assert_non_null(page);
    (void)snprintf(line, sizeof line, "msaas_token_checks_total{verdict=\"%s\"} ", verdict);
    const char *at = strstr(page, line);
    assert_non_null(at);
    const int count = atoi(at + strlen(line));
    free(page);
    return count;
}

#endif
