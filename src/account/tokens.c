/* The file of tokens: read, changed in memory, replaced in one step. Owns nothing. */
#include "msaas/tokens.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "msaas/json.h"
#include "msaas/sys.h"
#include "token_hash.h"

#define MAX_FILE_BYTES (1 << 20)

void ms_tokens_free(struct ms_tokens *tokens) {
    free(tokens);
}

static struct ms_tokens *grow(struct ms_tokens *tokens, int capacity) {
    return realloc(tokens, sizeof *tokens + (size_t)capacity * sizeof *tokens->all);
}

const struct ms_token *ms_tokens_find(const struct ms_tokens *tokens, const char *name) {
    for (int i = 0; i < tokens->count; i++)
        if (strcmp(tokens->all[i].account.name, name) == 0)
            return &tokens->all[i];
    return NULL;
}

/* ---- values ---- */

static bool from_hex(const char *text, unsigned char *out, size_t size) {
    if (text == NULL || strlen(text) != 2 * size || text[strspn(text, "0123456789abcdef")] != '\0')
        return false;
    for (size_t i = 0; i < 2 * size; i++) {
        const int digit = text[i] <= '9' ? text[i] - '0' : text[i] - 'a' + 10;
        out[i / 2] = (unsigned char)(i % 2 == 0 ? digit << 4 : out[i / 2] | digit);
    }
    return true;
}

void ms_token_time(int64_t unix_ms, char text[MS_TOKEN_TIME_BYTES]) {
    const time_t seconds = (time_t)(unix_ms / 1000);
    struct tm utc;
    text[0] = '\0';
    if (gmtime_r(&seconds, &utc) != NULL)
        (void)strftime(text, MS_TOKEN_TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

/* NULL: none, 0. */
static bool read_time(const char *text, int64_t *unix_ms) {
    struct tm utc = {0};
    *unix_ms = 0;
    if (text == NULL)
        return true;
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    *unix_ms = (int64_t)timegm(&utc) * 1000;
    return end != NULL && *end == '\0' && *unix_ms > 0;
}

/* Absent or null: 0. */
static bool read_count(const struct ms_json *object, const char *name, int64_t *out) {
    const struct ms_json *node = ms_json_get(object, name);
    *out = 0;
    return node == NULL || ms_json_is_null(node) || (ms_json_int(node, out) && *out >= 0);
}

static bool read_number(const struct ms_json *object, const char *name, double *out) {
    const struct ms_json *node = ms_json_get(object, name);
    *out = 0;
    return node == NULL || ms_json_is_null(node) || (ms_json_double(node, out) && *out >= 0);
}

/* A member that is absent or null is none; one of another type is no string and no time. */
static bool is_absent(const struct ms_json *object, const char *name) {
    const struct ms_json *node = ms_json_get(object, name);
    return node == NULL || ms_json_is_null(node);
}

/* ---- reading ---- */

/* NULL: all is well; else the member that is not. */
static const char *read_token(const struct ms_json *object, struct ms_token *token) {
    const char *name = ms_json_string(ms_json_get(object, "name"));
    const char *scopes = ms_json_string(ms_json_get(object, "scopes"));
    const char *hash = ms_json_string(ms_json_get(object, "hash"));
    const char *created = ms_json_string(ms_json_get(object, "created"));
    const char *expires = ms_json_string(ms_json_get(object, "expires"));
    struct ms_account *account = &token->account;
    *token = (struct ms_token){0};
    if (name == NULL || !ms_account_name_is_valid(name))
        return "name";
    (void)snprintf(account->name, sizeof account->name, "%s", name);
    if (scopes == NULL || ms_scopes_parse(scopes, &account->scopes, NULL) != 0)
        return "scopes";
    if (!from_hex(ms_json_string(ms_json_get(object, "lookup")), token->lookup,
                  MS_TOKEN_LOOKUP_BYTES))
        return "lookup";
    if (hash == NULL || strlen(hash) >= sizeof token->hash || !ms_token_hash_is_formed(hash))
        return "hash";
    (void)snprintf(token->hash, sizeof token->hash, "%s", hash);
    if (!read_time(created, &token->created_ms))
        return "created";
    if ((expires == NULL && !is_absent(object, "expires")) ||
        !read_time(expires, &token->expires_ms))
        return "expires";
    if (!read_count(object, "max_waiting", &account->max_waiting))
        return "max_waiting";
    if (!read_number(object, "max_minutes_a_day", &account->max_minutes_a_day))
        return "max_minutes_a_day";
    if (!read_count(object, "max_bytes_a_day", &account->max_bytes_a_day))
        return "max_bytes_a_day";
    return NULL;
}

static bool is_double(const struct ms_tokens *tokens, const struct ms_token *token) {
    for (int i = 0; i < tokens->count; i++)
        if (strcmp(tokens->all[i].account.name, token->account.name) == 0 ||
            memcmp(tokens->all[i].lookup, token->lookup, MS_TOKEN_LOOKUP_BYTES) == 0)
            return true;
    return false;
}

/* The path stands before the text. */
static int read_document(const struct ms_json *document, struct ms_tokens **out,
                         struct ms_error *err) {
    const struct ms_json *list = ms_json_get(document, "tokens");
    const size_t count = ms_json_count(list);
    if (!ms_json_is_array(list) || count > MS_TOKENS_MAX)
        return ms_error_set(err, MS_ECORRUPT, "\"tokens\" must be a list of at most %d tokens",
                            MS_TOKENS_MAX);
    struct ms_tokens *tokens = grow(NULL, (int)count);
    if (tokens == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the tokens");
    int rc = 0;
    tokens->count = 0;
    if (!from_hex(ms_json_string(ms_json_get(document, "key")), tokens->key, MS_TOKEN_KEY_BYTES))
        rc = ms_error_set(err, MS_ECORRUPT, "\"key\" must have %d hexadecimal digits",
                          2 * MS_TOKEN_KEY_BYTES);
    for (const struct ms_json *one = ms_json_first(list); rc == 0 && one != NULL;
         one = ms_json_next(one)) {
        struct ms_token *token = &tokens->all[tokens->count];
        const char *wrong = read_token(one, token);
        if (wrong != NULL)
            rc = ms_error_set(err, MS_ECORRUPT, "token %d: \"%s\" is missing or wrong",
                              tokens->count + 1, wrong);
        else if (is_double(tokens, token))
            rc = ms_error_set(err, MS_ECORRUPT, "token %d: an earlier one has the same name",
                              tokens->count + 1);
        else
            tokens->count++;
    }
    if (rc == 0)
        *out = tokens;
    else
        ms_tokens_free(tokens);
    return rc;
}

static int read_text(const char *path, char *text, size_t *size, struct ms_error *err) {
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return ms_error_set(err, errno == ENOENT ? MS_ENOTFOUND : MS_EIO, "%s", strerror(errno));
    *size = fread(text, 1, MAX_FILE_BYTES + 1, file);
    const int failed = ferror(file) != 0 ? errno : 0;
    (void)fclose(file);
    if (failed != 0)
        return ms_error_set(err, MS_EIO, "%s", strerror(failed));
    return *size <= MAX_FILE_BYTES
               ? 0
               : ms_error_set(err, MS_ECORRUPT, "larger than %d bytes", MAX_FILE_BYTES);
}

int ms_tokens_read(const char *path, struct ms_tokens **out, struct ms_error *err) {
    struct ms_json *document = NULL;
    char *text = malloc(MAX_FILE_BYTES + 1);
    size_t size = 0;
    *out = NULL;
    int rc = text != NULL ? read_text(path, text, &size, err)
                          : ms_error_set(err, MS_ENOMEM, "no memory for the tokens");
    if (rc == 0 && ms_json_parse(text, size, &document, NULL) != 0)
        rc = ms_error_set(err, MS_ECORRUPT, "not JSON, or not all of it");
    if (rc == 0)
        rc = read_document(document, out, err);
    ms_json_free(document);
    free(text);
    if (rc != 0 && err != NULL)
        (void)ms_error_prefix(err, "%s", path);
    return rc;
}

/* ---- writing ---- */

static void put_time(struct ms_json_writer *w, const char *name, int64_t unix_ms) {
    char text[MS_TOKEN_TIME_BYTES];
    ms_token_time(unix_ms, text);
    if (unix_ms > 0)
        ms_json_put_string(w, name, text);
}

/* One token on a line of its own, so that a person can read what changed. */
static bool print_token(FILE *file, const struct ms_token *token) {
    struct ms_json_writer *w = ms_json_writer_new();
    const struct ms_account *account = &token->account;
    char scopes[MS_SCOPES_TEXT_BYTES], lookup[2 * MS_TOKEN_LOOKUP_BYTES + 1];
    if (w == NULL)
        return false;
    ms_scopes_text(account->scopes, scopes);
    ms_hex(token->lookup, MS_TOKEN_LOOKUP_BYTES, lookup);
    ms_json_begin_object(w, NULL);
    ms_json_put_string(w, "name", account->name);
    ms_json_put_string(w, "scopes", scopes);
    ms_json_put_string(w, "lookup", lookup);
    ms_json_put_string(w, "hash", token->hash);
    put_time(w, "created", token->created_ms);
    put_time(w, "expires", token->expires_ms);
    if (account->max_waiting > 0)
        ms_json_put_int(w, "max_waiting", account->max_waiting);
    if (account->max_minutes_a_day > 0)
        ms_json_put_double(w, "max_minutes_a_day", account->max_minutes_a_day);
    if (account->max_bytes_a_day > 0)
        ms_json_put_int(w, "max_bytes_a_day", account->max_bytes_a_day);
    ms_json_end_object(w);
    const char *text = ms_json_writer_text(w, NULL);
    const bool ok = text != NULL && fputs(text, file) >= 0;
    ms_json_writer_free(w);
    return ok;
}

static bool print_all(FILE *file, const struct ms_tokens *tokens) {
    char key[2 * MS_TOKEN_KEY_BYTES + 1];
    ms_hex(tokens->key, MS_TOKEN_KEY_BYTES, key);
    bool ok = fprintf(file, "{\"key\":\"%s\",\"tokens\":[", key) > 0;
    for (int i = 0; ok && i < tokens->count; i++)
        ok = fputs(i > 0 ? ",\n" : "\n", file) >= 0 && print_token(file, &tokens->all[i]);
    return ok && fputs("]}\n", file) >= 0 && fflush(file) == 0 && fsync(fileno(file)) == 0;
}

static void sync_folder(const char *folder) {
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd);
    (void)close(fd);
}

/* path: of the file itself, no link. */
static int replace(const char *path, const struct ms_tokens *tokens, struct ms_error *err) {
    char *copy = strdup(path);
    char *made = copy != NULL ? ms_strdupf("%s/.tokens-XXXXXX", dirname(copy)) : NULL;
    const int fd = made != NULL ? mkostemp(made, O_CLOEXEC) : -1; /* of mode 0600 */
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    struct stat old;
    int rc = 0;
    if (file != NULL && stat(path, &old) == 0)
        (void)!fchown(fd, old.st_uid, old.st_gid); /* root writes for the user of the service */
    bool ok = file != NULL && print_all(file, tokens);
    if (file != NULL && fclose(file) != 0)
        ok = false;
    else if (file == NULL && fd >= 0)
        (void)close(fd);
    if (!ok || rename(made, path) != 0) {
        rc = ms_error_about(err, MS_EIO, path, "%s", strerror(errno));
        if (fd >= 0)
            (void)unlink(made);
    } else {
        sync_folder(dirname(made));
    }
    free(made);
    free(copy);
    return rc;
}

int ms_tokens_write(const char *path, const struct ms_tokens *tokens, struct ms_error *err) {
    char *target = realpath(path, NULL); /* NULL: there is none yet */
    const int rc = replace(target != NULL ? target : path, tokens, err);
    free(target);
    return rc;
}

/* ---- changes ---- */

int ms_tokens_add(struct ms_tokens **tokens, const struct ms_account *account, int64_t expires_ms,
                  char secret[MS_TOKEN_CHARS + 1], struct ms_error *err) {
    struct ms_tokens *all = *tokens;
    struct ms_token token = {.account = *account,
                             .created_ms = ms_unix_ms() / 1000 * 1000,
                             .expires_ms = expires_ms / 1000 * 1000};
    unsigned char digest[MS_SHA256_BYTES];
    const int count = all != NULL ? all->count : 0;
    int rc = 0;
    if (count > 0 && ms_tokens_find(all, account->name) != NULL)
        return ms_error_set(err, MS_ECONFLICT,
                            "there is a token \"%s\" already; revoke it first, or take another "
                            "name",
                            account->name);
    if (count >= MS_TOKENS_MAX)
        return ms_error_set(err, MS_ETOOLARGE, "there are %d tokens, the most that there may be",
                            count);
    all = grow(all, count + 1);
    if (all == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the tokens");
    if (*tokens == NULL) {
        all->count = 0;
        rc = ms_random_bytes(all->key, sizeof all->key, err);
    }
    *tokens = all;
    if (rc == 0)
        rc = ms_token_make(secret, token.hash, err);
    if (rc == 0)
        rc = ms_token_digest(all->key, secret, digest, err);
    if (rc != 0)
        return rc;
    memcpy(token.lookup, digest, MS_TOKEN_LOOKUP_BYTES);
    all->all[all->count++] = token;
    return 0;
}

int ms_tokens_revoke(struct ms_tokens *tokens, const char *name, struct ms_error *err) {
    const struct ms_token *token = ms_tokens_find(tokens, name);
    if (token == NULL)
        return ms_error_set(err, MS_ENOTFOUND, "there is no token \"%s\"", name);
    const int at = (int)(token - tokens->all);
    memmove(&tokens->all[at], &tokens->all[at + 1],
            (size_t)(tokens->count - at - 1) * sizeof *tokens->all);
    tokens->count--;
    return 0;
}
