/* `msaas token`: makes, lists and revokes the tokens of a service, in its file. A running service
 * reads the file again by itself. Main thread. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "msaas/cmd.h"
#include "msaas/json.h"
#include "msaas/sys.h"
#include "msaas/tokens.h"

static const char usage[] =
    "Makes, lists and revokes the tokens that a service wants (msaas serve --tokens FILE).\n"
    "\n"
    "Usage: msaas token add NAME --tokens FILE    make a token for NAME and print it: it is\n"
    "                                             shown this once, the file holds its hash\n"
    "       msaas token list --tokens FILE        list the tokens: names, scopes, limits\n"
    "       msaas token revoke NAME --tokens FILE end a token; what it sent stays\n"
    "\n"
    "Examples:\n"
    "  msaas token add ann --tokens tokens.json --max-waiting 20 --expires 90\n"
    "  msaas token add boss --tokens tokens.json --scopes admin\n"
    "  MSAAS_TOKEN=msaas_... msaas submit song.mp3\n"
    "\n"
    "A running service reads a file that has changed within two seconds. NAME also names the\n"
    "owner of the jobs: a new token of the same name has those of the revoked one.\n";

struct run {
    struct ms_options *options;
    const char *path; /* of the file of tokens */
    const char *name; /* of the account; NULL: none is given */
};

/* ---- the file ---- */

/* Two of these commands at the same time change the file one after the other: the lock is on its
 * folder, because the file is replaced. Closing it unlocks. */
static int lock_folder(const char *path, int *fd, struct ms_error *err) {
    char *copy = strdup(path);
    if (copy == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a path");
    const char *folder = dirname(copy);
    int rc = 0;
    *fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0 || flock(*fd, LOCK_EX) != 0)
        rc = ms_error_about(err, MS_EIO, folder, "%s", strerror(errno));
    free(copy);
    return rc;
}

static int change(const struct run *run,
                  int (*edit)(const struct run *run, struct ms_tokens **tokens,
                              struct ms_error *err),
                  bool may_be_missing, struct ms_error *err) {
    struct ms_tokens *tokens = NULL;
    int fd = -1;
    int rc = lock_folder(run->path, &fd, err);
    if (rc == 0)
        rc = ms_tokens_read(run->path, &tokens, err);
    if (rc == MS_ENOTFOUND && may_be_missing)
        rc = 0;
    if (rc == 0)
        rc = edit(run, &tokens, err);
    ms_tokens_free(tokens);
    if (fd >= 0)
        (void)close(fd);
    return rc;
}

/* ---- add ---- */

static void put_account(struct ms_json_writer *w, const struct ms_account *account) {
    char scopes[MS_SCOPES_TEXT_BYTES];
    ms_scopes_text(account->scopes, scopes);
    ms_json_put_string(w, "name", account->name);
    ms_json_put_string(w, "scopes", scopes);
    ms_json_put_int(w, "max_waiting", account->max_waiting);
    ms_json_put_double(w, "max_minutes_a_day", account->max_minutes_a_day);
    ms_json_put_int(w, "max_bytes_a_day", account->max_bytes_a_day);
}

static void put_time(struct ms_json_writer *w, const char *name, int64_t unix_ms) {
    char text[MS_TOKEN_TIME_BYTES];
    ms_token_time(unix_ms, text);
    ms_json_put_string(w, name, unix_ms > 0 ? text : NULL);
}

static void put_line(struct ms_json_writer *w) {
    const char *text = ms_json_writer_text(w, NULL);
    if (text != NULL)
        (void)puts(text);
    ms_json_writer_free(w);
}

/* The only place where a token is ever printed. */
static void show(const struct run *run, const struct ms_token *token, const char *secret) {
    struct ms_json_writer *w =
        ms_options_flag(run->options, MS_OPTION_JSON) ? ms_json_writer_new() : NULL;
    if (w == NULL) {
        (void)puts(secret);
        if (!ms_options_flag(run->options, MS_OPTION_QUIET))
            (void)fprintf(
                stderr, "This is the token of %s. It is shown this once: %s holds its hash only.\n",
                token->account.name, run->path);
        return;
    }
    ms_json_begin_object(w, NULL);
    put_account(w, &token->account);
    put_time(w, "expires", token->expires_ms);
    ms_json_put_string(w, "token", secret);
    ms_json_end_object(w);
    put_line(w);
}

static int add_one(const struct run *run, struct ms_tokens **tokens, struct ms_error *err) {
    const struct ms_options *options = run->options;
    const double days = ms_options_double(options, MS_OPTION_EXPIRES);
    struct ms_account account = {
        .max_waiting = ms_options_int(options, MS_OPTION_TOKEN_WAITING),
        .max_minutes_a_day = ms_options_double(options, MS_OPTION_TOKEN_MINUTES),
        .max_bytes_a_day = ms_options_int(options, MS_OPTION_TOKEN_MB) * 1000000,
    };
    (void)snprintf(account.name, sizeof account.name, "%s", run->name);
    char secret[MS_TOKEN_CHARS + 1];
    int rc = ms_scopes_parse(ms_options_string(options, MS_OPTION_SCOPES), &account.scopes, err);
    if (rc != 0)
        return ms_error_prefix(err, "--scopes");
    rc = ms_tokens_add(tokens, &account,
                       days > 0 ? ms_unix_ms() + (int64_t)(days * 24 * 3600 * 1000) : 0, secret,
                       err);
    if (rc == 0)
        rc = ms_tokens_write(run->path, *tokens, err);
    if (rc == 0)
        show(run, ms_tokens_find(*tokens, run->name), secret);
    explicit_bzero(secret, sizeof secret);
    return rc;
}

static int add(const struct run *run, struct ms_error *err) {
    if (!ms_account_name_is_valid(run->name))
        return ms_error_set(err, MS_EUSAGE,
                            "token add: a name has 1 to %d of a-z, 0-9, - and _, not \"%s\"",
                            MS_ACCOUNT_NAME_BYTES - 1, run->name);
    return change(run, add_one, true, err);
}

/* ---- revoke ---- */

static int revoke_one(const struct run *run, struct ms_tokens **tokens, struct ms_error *err) {
    int rc = ms_tokens_revoke(*tokens, run->name, err);
    if (rc == 0)
        rc = ms_tokens_write(run->path, *tokens, err);
    return rc == MS_ENOTFOUND ? ms_error_prefix(err, "%s", run->path) : rc;
}

static int end_token(const struct run *run, struct ms_error *err) {
    return change(run, revoke_one, false, err);
}

/* ---- list ---- */

static void print_limits(const struct ms_account *account) {
    if (account->max_waiting > 0)
        (void)printf("  %lld waiting", (long long)account->max_waiting);
    if (account->max_minutes_a_day > 0)
        (void)printf("  %g min a day", account->max_minutes_a_day);
    if (account->max_bytes_a_day > 0)
        (void)printf("  %g MB a day", (double)account->max_bytes_a_day / 1e6);
}

static void print_token(const struct run *run, const struct ms_token *token) {
    struct ms_json_writer *w =
        ms_options_flag(run->options, MS_OPTION_JSON) ? ms_json_writer_new() : NULL;
    char scopes[MS_SCOPES_TEXT_BYTES], expires[MS_TOKEN_TIME_BYTES];
    if (w != NULL) {
        ms_json_begin_object(w, NULL);
        put_account(w, &token->account);
        put_time(w, "created", token->created_ms);
        put_time(w, "expires", token->expires_ms);
        ms_json_end_object(w);
        put_line(w);
        return;
    }
    ms_scopes_text(token->account.scopes, scopes);
    ms_token_time(token->expires_ms, expires);
    (void)printf("%-20s  %-17s  %s%s", token->account.name, scopes,
                 token->expires_ms == 0              ? "never expires"
                 : token->expires_ms <= ms_unix_ms() ? "expired "
                                                     : "expires ",
                 token->expires_ms == 0 ? "" : expires);
    print_limits(&token->account);
    (void)putchar('\n');
}

static int list(const struct run *run, struct ms_error *err) {
    struct ms_tokens *tokens = NULL;
    int rc = ms_tokens_read(run->path, &tokens, err);
    for (int i = 0; rc == 0 && i < tokens->count; i++)
        print_token(run, &tokens->all[i]);
    ms_tokens_free(tokens);
    return rc;
}

/* ---- all ---- */

static const struct {
    const char *name;
    int words; /* with the action */
    int (*act)(const struct run *run, struct ms_error *err);
} actions[] = {{"add", 2, add}, {"list", 1, list}, {"revoke", 2, end_token}};

static int act(struct run *run, struct ms_error *err) {
    const int words = ms_options_argument_count(run->options);
    const char *name = words > 0 ? ms_options_argument(run->options, 0) : "";
    char origin[MS_OPTION_ORIGIN_BYTES];
    size_t i = 0;
    while (i < sizeof actions / sizeof *actions && strcmp(actions[i].name, name) != 0)
        i++;
    if (i == sizeof actions / sizeof *actions)
        return ms_error_set(err, MS_EUSAGE, "token: name an action: add, list or revoke");
    if (words != actions[i].words)
        return ms_error_set(err, MS_EUSAGE, "token %s: %s", name,
                            actions[i].words == 1 ? "takes no name"
                                                  : "name one account, such as \"ann\"");
    run->path = ms_options_string(run->options, MS_OPTION_TOKENS);
    if (run->path == NULL)
        return ms_error_set(err, MS_EUSAGE, "%s: name the file of tokens",
                            ms_options_origin(run->options, MS_OPTION_TOKENS, origin));
    run->name = words > 1 ? ms_options_argument(run->options, 1) : NULL;
    return actions[i].act(run, err);
}

static int run_token(const struct ms_call *call) {
    struct ms_error err = {0};
    struct run run = {0};
    int exit_code;
    if (!ms_cmd_begin(call, &run.options, &exit_code))
        return exit_code;
    exit_code = act(&run, &err) != 0 ? ms_cmd_failed(call->argv[0], &err) : MS_EXIT_OK;
    ms_options_free(run.options);
    return exit_code;
}

static const enum ms_option_id option_ids[] = {
    MS_OPTION_TOKENS,        MS_OPTION_SCOPES,        MS_OPTION_EXPIRES,
    MS_OPTION_TOKEN_WAITING, MS_OPTION_TOKEN_MINUTES, MS_OPTION_TOKEN_MB,
    MS_OPTION_JSON,          MS_OPTION_QUIET,         MS_OPTION_COUNT};

const struct ms_command ms_cmd_token = {
    .name = "token",
    .summary = "make, list and revoke the tokens of a service",
    .usage = usage,
    .options = option_ids,
    .run = run_token,
};
