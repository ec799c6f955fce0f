/* bench_tokens: what a token costs a request, of the last of 1, 10 and 1000 tokens: known ones
 * after their first check, guesses, sessions, and scrypt for the first check; in time
 * of the processor. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "msaas/account.h"
#include "msaas/tokens.h"

static int failed(const struct ms_error *err) {
    (void)fprintf(stderr, "%s\n", err->text);
    return 1;
}

/* Of this thread, so that others at work change the figures little. */
static double cpu_s(void) {
    struct timespec used;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

static double us_each(double began_s, int count) {
    return (cpu_s() - began_s) * 1e6 / count;
}

/* The lines before the last are copies of the first with another name and lookup: scrypt, which
 * makes a real one, is slow by intent. */
static int write_file(const char *path, int count, char secret[MS_TOKEN_CHARS + 1],
                      struct ms_error *err) {
    struct ms_tokens *tokens = NULL;
    struct ms_account account = {.name = "first", .scopes = MS_SCOPE_READ};
    int rc = ms_tokens_add(&tokens, &account, 0, secret, err);
    struct ms_tokens *all = rc == 0 ? malloc(sizeof *all + (size_t)count * sizeof *all->all) : NULL;
    if (rc == 0 && all == NULL)
        rc = ms_error_set(err, MS_ENOMEM, "no memory");
    if (rc == 0) {
        memcpy(all->key, tokens->key, sizeof all->key);
        all->count = count;
    }
    for (int i = 0; rc == 0 && i < count; i++) {
        all->all[i] = tokens->all[0];
        if (i + 1 < count) {
            (void)snprintf(all->all[i].account.name, MS_ACCOUNT_NAME_BYTES, "user%d", i);
            memset(all->all[i].lookup, 0, MS_TOKEN_LOOKUP_BYTES);
            memcpy(all->all[i].lookup, &i, sizeof i);
        }
    }
    if (rc == 0)
        rc = ms_tokens_write(path, all, err);
    free(all);
    ms_tokens_free(tokens);
    return rc;
}

static int measure(const char *path, int count) {
    enum { RUNS = 20000 };
    char secret[MS_TOKEN_CHARS + 1], session[MS_SESSION_BYTES];
    struct ms_error err = {0};
    struct ms_accounts *accounts;
    struct ms_account account;
    int64_t expires_ms;
    if (write_file(path, count, secret, &err) != 0 || ms_accounts_open(path, &accounts, &err) != 0)
        return failed(&err);
    double began_s = cpu_s();
    int wrong =
        ms_accounts_check(accounts, secret, MS_TOKEN_CHARS, true, &account) != MS_TOKEN_KNOWN;
    const double first_us = us_each(began_s, 1);
    began_s = cpu_s();
    for (int i = 0; i < RUNS; i++)
        wrong +=
            ms_accounts_check(accounts, secret, MS_TOKEN_CHARS, false, &account) != MS_TOKEN_KNOWN;
    const double known_us = us_each(began_s, RUNS);
    if (ms_session_begin(accounts, account.name, 3600000, session, &expires_ms, &err) != 0)
        return failed(&err);
    began_s = cpu_s();
    for (int i = 0; i < RUNS; i++)
        wrong += !ms_session_check(accounts, session, strlen(session), &account);
    const double session_us = us_each(began_s, RUNS);
    secret[20] = secret[20] == 'A' ? 'B' : 'A';
    began_s = cpu_s();
    for (int i = 0; i < RUNS; i++)
        wrong +=
            ms_accounts_check(accounts, secret, MS_TOKEN_CHARS, true, &account) != MS_TOKEN_UNKNOWN;
    (void)printf("%4d tokens: first check %.1f ms, then %.2f us; a guess %.2f us; a session "
                 "%.2f us%s\n",
                 count, first_us / 1e3, known_us, us_each(began_s, RUNS), session_us,
                 wrong > 0 ? " WRONG" : "");
    ms_accounts_close(accounts);
    return wrong > 0;
}

int main(void) {
    char path[] = "/tmp/msaas-bench-tokens-XXXXXX";
    const int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    (void)close(fd);
    const int rc = measure(path, 1) + measure(path, 10) + measure(path, MS_TOKENS_MAX);
    (void)unlink(path);
    return rc > 0;
}
