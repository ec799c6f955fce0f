/* Any bytes as the header Cookie, of accounts with a known key: only the session that was signed is
 * one. It stands in the corpus, so that what is nearly it is tried, too. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "caller.h"
#include "msaas/sys.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* As late as a session can say. */
#define EXPIRES_MS INT64_C(999999999999000)

static const char file_text[] =
    "{\"key\":\"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\",\"tokens\":["
    "{\"name\":\"ann\",\"scopes\":\"read\",\"lookup\":\"0001020304050607\",\"hash\":"
    "\"$scrypt$ln=14,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}";

static struct ms_accounts *accounts;
static char good[MS_SESSION_BYTES];

static void open_accounts(void) {
    const int file = memfd_create("tokens", 0);
    int64_t expires_ms;
    char path[40];
    struct ms_account account;
    struct ms_error err = {0};
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    if (file < 0 || write(file, file_text, sizeof file_text - 1) != sizeof file_text - 1 ||
        ms_accounts_open(path, &accounts, &err) != 0 ||
        ms_session_begin(accounts, "ann", EXPIRES_MS + 500 - ms_unix_ms(), good, &expires_ms,
                         &err) != 0 ||
        expires_ms != EXPIRES_MS || !ms_session_check(accounts, good, strlen(good), &account))
        abort();
}

static bool is_value_of_cookie(const char *cookie, const char *value, size_t length) {
    static const char name[] = MS_API_SESSION_COOKIE "=";
    const size_t before = (size_t)(value - cookie);
    return before >= sizeof name - 1 &&
           memcmp(value - (sizeof name - 1), name, sizeof name - 1) == 0 &&
           length <= strlen(value) && memchr(value, ';', length) == NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct ms_account account;
    size_t length = 0;
    if (accounts == NULL)
        open_accounts();
    char *cookie = malloc(size + 1);
    if (cookie == NULL)
        return 0;
    memcpy(cookie, bytes, size);
    cookie[size] = '\0';
    const char *session = ms_api_session_of(cookie, &length);
    if (session != NULL && !is_value_of_cookie(cookie, session, length))
        abort();
    const bool is_good =
        session != NULL && length == strlen(good) && memcmp(session, good, length) == 0;
    if (session != NULL && ms_session_check(accounts, session, length, &account) != is_good)
        abort();
    free(cookie);
    return 0;
}
