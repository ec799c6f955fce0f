/* Tokens: their file, their check, and sessions. What a check costs is counted in runs of scrypt.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include "msaas/account.h"
#include "token_file.h"

static char folder[] = "/tmp/msaas-tokens-XXXXXX";
static char path[64];

/* OpenSSL's memory: none of the large pieces while it is short. */
static bool short_of_memory;

static void *take(size_t size, const char *file, int line) {
    (void)file, (void)line;
    return short_of_memory && size > 1 << 20 ? NULL : malloc(size);
}

static void *take_again(void *old, size_t size, const char *file, int line) {
    (void)file, (void)line;
    return realloc(old, size);
}

static void give_back(void *old, const char *file, int line) {
    (void)file, (void)line;
    free(old);
}

static int set_up(void **state) {
    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/tokens.json", folder);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    (void)unlink(path);
    return rmdir(folder);
}

static struct ms_accounts *open_accounts(void) {
    struct ms_error err = {0};
    struct ms_accounts *accounts = NULL;
    if (ms_accounts_open(path, &accounts, &err) != 0)
        fail_msg("%s", err.text);
    return accounts;
}

static enum ms_token_verdict check(struct ms_accounts *accounts, const char *secret,
                                   bool may_block) {
    struct ms_account account = {0};
    return ms_accounts_check(accounts, secret, strlen(secret), may_block, &account);
}

static void put_text(const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static char *get_text(void) {
    static char text[65536];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    assert_int_equal(fclose(file), 0);
    return text;
}

/* ---- the file ---- */

static void names_and_scopes(void **state) {
    (void)state;
    unsigned scopes;
    char text[MS_SCOPES_TEXT_BYTES];
    assert_int_equal(ms_scopes_parse("read, submit", &scopes, NULL), 0);
    assert_int_equal(scopes, MS_SCOPE_READ | MS_SCOPE_SUBMIT);
    ms_scopes_text(scopes, text);
    assert_string_equal(text, "submit,read");
    ms_scopes_text(7, text);
    assert_string_equal(text, "submit,read,admin");
    for (const char *const *bad =
             (const char *const[]){"", ",", "write", "rea", "read;admin", NULL};
         *bad != NULL; bad++)
        assert_int_equal(ms_scopes_parse(*bad, &scopes, NULL), MS_EUSAGE);
    assert_true(ms_account_name_is_valid("a-b_9"));
    assert_false(ms_account_name_is_valid(""));
    assert_false(ms_account_name_is_valid("Ann"));
    assert_false(ms_account_name_is_valid("a.b"));
    assert_false(ms_account_name_is_valid("abcdefghijklmnopqrstuvwxyz01234567"));
}

static void the_file_keeps_all_but_the_token(void **state) {
    (void)state;
    char ann[MS_TOKEN_CHARS + 1], bob[MS_TOKEN_CHARS + 1];
    put_token(path, "ann", MS_SCOPE_SUBMIT | MS_SCOPE_READ, 0, ann);
    put_token(path, "bob", MS_SCOPE_ADMIN, INT64_C(4102444800000), bob);
    assert_int_equal(strlen(ann), MS_TOKEN_CHARS);
    assert_true(ms_token_is_formed(ann, strlen(ann)));
    assert_string_not_equal(ann, bob);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_null(strstr(get_text(), ann + strlen(MS_TOKEN_PREFIX)));
    assert_non_null(strstr(get_text(), "\"expires\":\"2100-01-01T00:00:00Z\""));

    struct ms_tokens *tokens;
    assert_int_equal(ms_tokens_read(path, &tokens, NULL), 0);
    assert_int_equal(tokens->count, 2);
    const struct ms_token *of_bob = ms_tokens_find(tokens, "bob");
    assert_non_null(of_bob);
    assert_int_equal(of_bob->account.scopes, MS_SCOPE_ADMIN);
    assert_int_equal(of_bob->account.max_waiting, 7);
    assert_int_equal(of_bob->expires_ms, INT64_C(4102444800000));
    bool matches;
    assert_int_equal(ms_token_prove(of_bob->hash, bob, &matches, NULL), 0);
    assert_true(matches);
    assert_int_equal(ms_token_prove(of_bob->hash, ann, &matches, NULL), 0);
    assert_false(matches);
    const struct ms_account again = {.name = "bob", .scopes = MS_SCOPE_READ};
    char secret[MS_TOKEN_CHARS + 1];
    assert_int_equal(ms_tokens_add(&tokens, &again, 0, secret, NULL), MS_ECONFLICT);
    assert_int_equal(ms_tokens_revoke(tokens, "bob", NULL), 0);
    assert_int_equal(ms_tokens_revoke(tokens, "bob", NULL), MS_ENOTFOUND);
    assert_int_equal(tokens->count, 1);
    ms_tokens_free(tokens);
    assert_int_equal(unlink(path), 0);
}

/* Each is the good file with one thing wrong. */
static void a_wrong_file_is_refused(void **state) {
    (void)state;
    static const char *const changes[][2] = {
        {"{\"key\"", "{\"kez\""},
        {"\"name\":\"ann\"", "\"name\":\"A\""},
        {"\"name\":\"ann\"", "\"name\":\"bob\""},
        {"\"scopes\":\"read\"", "\"scopes\":\"\""},
        {"\"scopes\":\"read\"", "\"scopes\":[]"},
        {"\"lookup\":\"", "\"lookup\":\"0"},
        {"$scrypt$", "$argon2$"},
        {"ln=14", "ln=99"},
        {"ln=14", "ln=40"},
        {"p=1$", "p=1$a"},
        {"\"expires\":\"2100-01-01T00:00:00Z\"", "\"expires\":\"tomorrow\""},
        {"\"expires\":\"2100-01-01T00:00:00Z\"", "\"expires\":true"},
        {"\"max_waiting\":7", "\"max_waiting\":-7"},
        {"\"max_waiting\":7", "\"max_waiting\":\"7\""},
        {"]}", "]"},
        {"\"tokens\":[", "\"tokens\":[7,"},
    };
    char secret[MS_TOKEN_CHARS + 1], good[8192];
    put_token(path, "ann", MS_SCOPE_READ, INT64_C(4102444800000), secret);
    put_token(path, "bob", MS_SCOPE_READ, 0, secret);
    (void)snprintf(good, sizeof good, "%s", get_text());
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct ms_tokens *tokens = NULL;
        struct ms_error err = {0};
        char bad[8300];
        const char *at = strstr(good, changes[i][0]);
        assert_non_null(at);
        (void)snprintf(bad, sizeof bad, "%.*s%s%s", (int)(at - good), good, changes[i][1],
                       at + strlen(changes[i][0]));
        put_text(bad);
        if (ms_tokens_read(path, &tokens, &err) != MS_ECORRUPT)
            fail_msg("taken: %s", changes[i][1]);
        assert_non_null(strstr(err.text, path));
        assert_null(strstr(err.text, "scrypt")); /* nothing of what is in it */
    }
    assert_int_equal(unlink(path), 0);
    struct ms_tokens *tokens = NULL;
    assert_int_equal(ms_tokens_read(path, &tokens, NULL), MS_ENOTFOUND);
}

/* ---- checks ---- */

static void scrypt_runs_once_for_each_token(void **state) {
    (void)state;
    char ann[MS_TOKEN_CHARS + 1], bob[MS_TOKEN_CHARS + 1];
    put_token(path, "ann", MS_SCOPE_READ, 0, ann);
    put_token(path, "bob", MS_SCOPE_READ, 0, bob);
    struct ms_accounts *accounts = open_accounts();
    const int proven = checked("proven");
    assert_int_equal(check(accounts, ann, false), MS_TOKEN_UNPROVEN);
    assert_int_equal(checked("proven"), proven);
    for (int i = 0; i < 100; i++)
        assert_int_equal(check(accounts, ann, true), MS_TOKEN_KNOWN);
    assert_int_equal(check(accounts, ann, false), MS_TOKEN_KNOWN);
    assert_int_equal(checked("proven"), proven + 1);
    struct ms_account account;
    assert_int_equal(ms_accounts_check(accounts, bob, strlen(bob), true, &account), MS_TOKEN_KNOWN);
    assert_string_equal(account.name, "bob");
    assert_int_equal(checked("proven"), proven + 2);

    /* What was proven stays so when others come and go. */
    bool changed;
    drop_token(path, "bob");
    assert_int_equal(ms_accounts_refresh(accounts, &changed, NULL), 0);
    assert_true(changed);
    assert_int_equal(check(accounts, ann, false), MS_TOKEN_KNOWN);
    assert_int_equal(check(accounts, bob, true), MS_TOKEN_UNKNOWN);
    assert_int_equal(checked("proven"), proven + 2);
    ms_accounts_close(accounts);
    assert_int_equal(unlink(path), 0);
}

/* A guess takes one way, however near it is: no scrypt, and no difference between near and far. */
static void guesses_cost_no_scrypt(void **state) {
    (void)state;
    char ann[MS_TOKEN_CHARS + 1], old[MS_TOKEN_CHARS + 1];
    put_token(path, "ann", MS_SCOPE_READ, 0, ann);
    put_token(path, "old", MS_SCOPE_READ, ms_unix_ms() - 1000, old);
    struct ms_accounts *accounts = open_accounts();
    const int proven = checked("proven"), unknown = checked("unknown");
    int guesses = 0;
    for (int i = (int)strlen(MS_TOKEN_PREFIX); i < MS_TOKEN_CHARS; i++, guesses++) {
        char near[MS_TOKEN_CHARS + 1];
        memcpy(near, ann, sizeof near);
        near[i] = near[i] == 'A' ? 'B' : 'A';
        assert_int_equal(check(accounts, near, false), MS_TOKEN_UNKNOWN);
    }
    static const char *const others[] = {"", "msaas_", "ann",
                                         "msaas_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++, guesses++)
        assert_int_equal(check(accounts, others[i], false), MS_TOKEN_UNKNOWN);
    assert_int_equal(check(accounts, old, true), MS_TOKEN_UNKNOWN);
    assert_int_equal(checked("unknown"), unknown + guesses + 1);
    assert_int_equal(checked("proven"), proven);
    assert_int_equal(check(accounts, ann, true), MS_TOKEN_KNOWN);
    assert_int_equal(checked("proven"), proven + 1);
    ms_accounts_close(accounts);
    assert_int_equal(unlink(path), 0);
}

/* A line whose hash is another token's: one run of scrypt finds that out, and no more are made. */
static void a_refuted_line_costs_scrypt_once(void **state) {
    (void)state;
    char ann[MS_TOKEN_CHARS + 1], bob[MS_TOKEN_CHARS + 1];
    put_token(path, "ann", MS_SCOPE_READ, 0, ann);
    put_token(path, "bob", MS_SCOPE_READ, 0, bob);
    struct ms_tokens *tokens;
    assert_int_equal(ms_tokens_read(path, &tokens, NULL), 0);
    memcpy(tokens->all[0].hash, tokens->all[1].hash, sizeof tokens->all[0].hash);
    tokens->count = 1;
    assert_int_equal(ms_tokens_write(path, tokens, NULL), 0);
    ms_tokens_free(tokens);
    struct ms_accounts *accounts = open_accounts();
    const int proven = checked("proven");
    for (int i = 0; i < 5; i++)
        assert_int_equal(check(accounts, ann, true), MS_TOKEN_UNKNOWN);
    assert_int_equal(checked("proven"), proven + 1);
    ms_accounts_close(accounts);
    assert_int_equal(unlink(path), 0);
}

/* scrypt wants 16 MiB. Without them nothing is known of the token: not that it is wrong. */
static void no_memory_refutes_no_token(void **state) {
    (void)state;
    char ann[MS_TOKEN_CHARS + 1];
    put_token(path, "ann", MS_SCOPE_READ, 0, ann);
    struct ms_accounts *accounts = open_accounts();
    short_of_memory = true;
    assert_int_equal(check(accounts, ann, true), MS_TOKEN_UNPROVEN);
    short_of_memory = false;
    assert_int_equal(check(accounts, ann, true), MS_TOKEN_KNOWN);
    ms_accounts_close(accounts);
    assert_int_equal(unlink(path), 0);
}

static void a_broken_file_changes_nothing(void **state) {
    (void)state;
    char ann[MS_TOKEN_CHARS + 1], good[8192];
    struct ms_error err = {0};
    bool changed;
    put_token(path, "ann", MS_SCOPE_READ, 0, ann);
    (void)snprintf(good, sizeof good, "%s", get_text());
    struct ms_accounts *accounts = open_accounts();
    assert_int_equal(ms_accounts_refresh(accounts, &changed, &err), 0);
    assert_false(changed);
    put_text("{\"key\": ");
    assert_int_equal(ms_accounts_refresh(accounts, &changed, &err), MS_ECORRUPT);
    assert_true(changed); /* told once */
    assert_int_equal(ms_accounts_refresh(accounts, &changed, &err), MS_ECORRUPT);
    assert_false(changed);
    assert_int_equal(check(accounts, ann, true), MS_TOKEN_KNOWN);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(ms_accounts_refresh(accounts, &changed, &err), MS_ENOTFOUND);
    assert_true(changed);
    assert_int_equal(check(accounts, ann, true), MS_TOKEN_KNOWN);
    put_text(good);
    assert_int_equal(ms_accounts_refresh(accounts, &changed, &err), 0);
    assert_true(changed);
    assert_int_equal(ms_accounts_count(accounts), 1);
    ms_accounts_close(accounts);
    assert_int_equal(unlink(path), 0);
}

/* As Kubernetes changes a Secret: a link is turned to another folder. */
static void a_link_that_turns_is_seen(void **state) {
    (void)state;
    char ann[MS_TOKEN_CHARS + 1], bob[MS_TOKEN_CHARS + 1], one[96], two[96];
    bool changed;
    (void)snprintf(one, sizeof one, "%s/one", folder);
    (void)snprintf(two, sizeof two, "%s/two", folder);
    put_token(one, "ann", MS_SCOPE_READ, 0, ann);
    put_token(two, "bob", MS_SCOPE_READ, 0, bob);
    assert_int_equal(symlink("one", path), 0);
    struct ms_accounts *accounts = open_accounts();
    assert_int_equal(check(accounts, ann, true), MS_TOKEN_KNOWN);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("two", path), 0);
    assert_int_equal(ms_accounts_refresh(accounts, &changed, NULL), 0);
    assert_true(changed);
    assert_int_equal(check(accounts, ann, true), MS_TOKEN_UNKNOWN);
    assert_int_equal(check(accounts, bob, true), MS_TOKEN_KNOWN);
    ms_accounts_close(accounts);

    put_token(path, "cas", MS_SCOPE_READ, 0, ann); /* through the link, which stays one */
    struct stat status;
    assert_int_equal(lstat(path, &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    assert_int_equal(unlink(one), 0);
    assert_int_equal(unlink(two), 0);
    assert_int_equal(unlink(path), 0);
}

/* ---- sessions ---- */

static bool is_session(struct ms_accounts *accounts, const char *session) {
    struct ms_account account;
    return ms_session_check(accounts, session, strlen(session), &account);
}

static void sessions_end_with_their_token(void **state) {
    (void)state;
    char ann[MS_TOKEN_CHARS + 1], bob[MS_TOKEN_CHARS + 1], session[MS_SESSION_BYTES];
    int64_t expires_ms;
    bool changed;
    put_token(path, "ann", MS_SCOPE_READ, 0, ann);
    put_token(path, "bob", MS_SCOPE_READ, ms_unix_ms() + 60000, bob);
    struct ms_accounts *accounts = open_accounts();
    assert_int_equal(ms_session_begin(accounts, "ann", 3600000, session, &expires_ms, NULL), 0);
    assert_true(expires_ms > ms_unix_ms() && expires_ms <= ms_unix_ms() + 3600000);
    assert_true(is_session(accounts, session));
    struct ms_accounts *replica = open_accounts(); /* it has seen neither token nor session */
    assert_true(is_session(replica, session));
    ms_accounts_close(replica);

    for (size_t i = 0; i < strlen(session); i++) { /* no character may be another */
        char forged[MS_SESSION_BYTES];
        memcpy(forged, session, sizeof forged);
        forged[i] = forged[i] == '0' ? '1' : '0';
        assert_false(is_session(accounts, forged));
    }
    assert_false(is_session(accounts, ""));
    assert_false(is_session(accounts, "ann"));
    assert_false(is_session(accounts, "ann.4102444800."));

    char other[MS_SESSION_BYTES];
    assert_int_equal(ms_session_begin(accounts, "bob", 3600000, other, &expires_ms, NULL), 0);
    assert_true(expires_ms <= ms_unix_ms() + 60000); /* no longer than its token */
    assert_int_equal(ms_session_begin(accounts, "bob", -1000, other, &expires_ms, NULL), 0);
    assert_false(is_session(accounts, other)); /* expired */
    assert_int_equal(ms_session_begin(accounts, "eve", 3600000, other, &expires_ms, NULL),
                     MS_ENOTFOUND);

    drop_token(path, "ann");
    put_token(path, "ann", MS_SCOPE_READ, 0, ann); /* the same name again, another token */
    assert_int_equal(ms_accounts_refresh(accounts, &changed, NULL), 0);
    assert_false(is_session(accounts, session));
    ms_accounts_close(accounts);
    assert_int_equal(unlink(path), 0);
}

int main(void) {
    if (CRYPTO_set_mem_functions(take, take_again, give_back) != 1)
        return 1; /* OpenSSL has memory already */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_scopes),
        cmocka_unit_test(the_file_keeps_all_but_the_token),
        cmocka_unit_test(a_wrong_file_is_refused),
        cmocka_unit_test(scrypt_runs_once_for_each_token),
        cmocka_unit_test(guesses_cost_no_scrypt),
        cmocka_unit_test(a_refuted_line_costs_scrypt_once),
        cmocka_unit_test(no_memory_refutes_no_token),
        cmocka_unit_test(a_broken_file_changes_nothing),
        cmocka_unit_test(a_link_that_turns_is_seen),
        cmocka_unit_test(sessions_end_with_their_token),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
