/* The table of options, a command line and the environment -> the values of the options of a
 * command. Values point into argv and the environment; those made of several variables or read from
 * a file are owned. */
#include "msaas/option.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/url.h"
#include "msaas/value.h"
#include "option_table.h"

#define MAX_SECRET_BYTES 4096
#define FILE_SUFFIX "-file" /* of the names of secrets */

struct value {
    const char *text;
    /* as it was on the command line */
    const char *given;
    /* the environment variables that it is made of, as in the table, "A" or "{A}" */
    const char *origin;
    char *owned; /* NULL, or what text points to */
    int64_t integer;
    double real;
    bool flag;
    bool set;
};

struct ms_options {
    const struct ms_command *command;
    struct value values[MS_OPTION_COUNT];
    int argument_count;
    const char *arguments[]; /* at most argc */
};

bool ms_command_has(const struct ms_command *command, enum ms_option_id id) {
    if (id == MS_OPTION_HELP)
        return true;
    for (const enum ms_option_id *its = command->options; *its != MS_OPTION_COUNT; its++)
        if (*its == id)
            return true;
    return false;
}

const struct ms_command *ms_command_find(const struct ms_command *const *commands,
                                         const char *name) {
    for (; *commands != NULL; commands++)
        if (strcmp((*commands)->name, name) == 0)
            return *commands;
    return NULL;
}

/* ---- values ---- */

/* `origin` names where the text came from: "--lanes" or "MSAAS_LANES (--lanes)". */
static int set_value(struct value *value, const struct ms_option_row *row, const char *origin,
                     const char *text, struct ms_error *err) {
    int choice = 0;
    int rc = 0;
    value->text = text;
    switch (row->type) {
    case MS_TYPE_FLAG: value->flag = true; break;
    case MS_TYPE_SECRET:
    case MS_TYPE_STRING:
        if (text[0] == '\0')
            rc = ms_error_set(err, MS_EUSAGE, "must not be empty");
        else if (row->job != NULL)
            rc = ms_job_option_check(row->job, text, err);
        break;
    case MS_TYPE_CHOICE: rc = ms_value_choice(text, row->value, &choice, err); break;
    case MS_TYPE_INT:
        rc = ms_value_int(text, (int64_t)row->min, (int64_t)row->max, &value->integer, err);
        break;
    case MS_TYPE_REAL: rc = ms_value_real(text, row->min, row->max, &value->real, err); break;
    case MS_TYPE_TIME: rc = ms_value_time(text, row->min, row->max, &value->real, err); break;
    }
    if (rc != 0 && err != NULL)
        (void)ms_error_prefix(err, "%s", origin);
    return rc;
}

/* ---- the environment ---- */

/* NULL: not set. Kubernetes sets NAME_PORT=tcp://... for every service NAME; the user did not set
 * it, so it does not count. */
static const char *variable(const char *name, size_t length) {
    char copy[64];
    if (length >= sizeof copy)
        abort();
    (void)snprintf(copy, sizeof copy, "%.*s", (int)length, name);
    const char *text = getenv(copy);
    bool of_kubernetes = text != NULL && length > 5 && strcmp(copy + length - 5, "_PORT") == 0 &&
                         strncmp(text, "tcp://", 6) == 0;
    return text == NULL || text[0] == '\0' || of_kubernetes ? NULL : text;
}

/* "redis://{REDIS_HOST}:{REDIS_PORT=6379}" -> *made, which the caller frees. It stays NULL if a
 * variable without a default is not set. */
static int compose(const char *pattern, size_t length, char **made, struct ms_error *err) {
    char text[1024];
    size_t used = 0;
    for (const char *at = pattern; at < pattern + length;) {
        const char *part = at;
        size_t size = strcspn(at, "{");
        if (size > (size_t)(pattern + length - at))
            size = (size_t)(pattern + length - at);
        at += size;
        if (size == 0) {
            size_t name = strcspn(at + 1, "=}");
            size_t end = strcspn(at, "}");
            part = variable(at + 1, name);
            size = part != NULL ? strlen(part) : 0;
            if (part == NULL && at[1 + name] == '=') {
                part = at + 2 + name;
                size = end - name - 2;
            }
            at += end + 1;
        }
        if (part == NULL)
            return 0;
        if (size >= sizeof text - used)
            return ms_error_set(err, MS_EUSAGE, "%.*s: longer than %zu bytes", (int)length, pattern,
                                sizeof text - 1);
        memcpy(text + used, part, size);
        used += size;
    }
    *made = strndup(text, used);
    return *made != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "no memory for an option");
}

/* The next variable in braces, "{NAME}" or "{NAME=DEFAULT}", from `at` on; NULL: there are no
 * more. */
static const char *next_variable(const char *at, const char *end, size_t *length) {
    at = memchr(at, '{', (size_t)(end - at));
    if (at == NULL)
        return NULL;
    *length = strcspn(++at, "=}");
    return at;
}

/* The origin of a value from the environment, "A (--name)"; of a value made of several variables,
 * those that are set: "A, B (--name)". */
static const char *name_origin(const struct ms_option_row *row, const char *env,
                               char out[MS_OPTION_ORIGIN_BYTES]) {
    const char *end = env + strcspn(env, "|");
    size_t used = 0;
    size_t length = (size_t)(end - env);
    const char *name = env;
    if (memchr(env, '{', length) != NULL)
        name = next_variable(env, end, &length);
    for (; name != NULL && used < MS_OPTION_ORIGIN_BYTES; name = next_variable(name, end, &length))
        if (variable(name, length) != NULL)
            used += (size_t)snprintf(out + used, MS_OPTION_ORIGIN_BYTES - used, "%s%.*s",
                                     used > 0 ? ", " : "", (int)length, name);
    if (used < MS_OPTION_ORIGIN_BYTES)
        (void)snprintf(out + used, MS_OPTION_ORIGIN_BYTES - used, " (--%s)", row->name);
    return out;
}

static int set_flag(struct value *value, const char *origin, const char *text,
                    struct ms_error *err) {
    int which = 0;
    if (ms_value_choice(text, "1|yes|true|on|0|no|false|off", &which, NULL) == 0) {
        value->flag = which < 4;
        return 0;
    }
    return ms_error_about(err, MS_EUSAGE, origin, "must be yes or no, not \"%s\"", text);
}

/* Takes the value from the first variable of the row that is set, if any. */
static int set_from_environment(struct value *value, const struct ms_option_row *row,
                                struct ms_error *err) {
    const char *text = NULL;
    size_t length = 0;
    const char *at = row->env;
    for (; *at != '\0'; at += length + (at[length] == '|')) {
        length = strcspn(at, "|");
        int rc = 0;
        if (memchr(at, '{', length) == NULL)
            text = variable(at, length);
        else
            rc = compose(at, length, &value->owned, err);
        if (rc != 0)
            return rc;
        text = value->owned != NULL ? value->owned : text;
        if (text != NULL)
            break;
    }
    if (text == NULL)
        return 0;
    value->set = true;
    value->origin = at;
    char origin[MS_OPTION_ORIGIN_BYTES];
    (void)name_origin(row, at, origin);
    return row->type == MS_TYPE_FLAG ? set_flag(value, origin, text, err)
                                     : set_value(value, row, origin, text, err);
}

static int set_defaults(struct ms_options *options, struct ms_error *err) {
    int rc = 0;
    for (int id = 0; rc == 0 && id < MS_OPTION_COUNT; id++) {
        const struct ms_option_row *row = ms_option_row(id);
        struct value *value = &options->values[id];
        if (row->fallback != NULL && set_value(value, row, row->name, row->fallback, NULL) != 0)
            abort();
        if (row->env != NULL && ms_command_has(options->command, (enum ms_option_id)id))
            rc = set_from_environment(value, row, err);
    }
    return rc;
}

/* ---- parsing ---- */

static size_t smallest(size_t a, size_t b, size_t c) {
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

bool ms_option_resembles(const char *word, const char *meant) {
    enum { MAX = 32 };
    size_t rows = strlen(word);
    size_t columns = strlen(meant);
    if (rows >= 2 && strncmp(word, meant, rows) == 0)
        return true;
    if (rows >= MAX || columns >= MAX)
        return false;
    /* Levenshtein's distance, row by row. */
    size_t distance[MAX];
    for (size_t j = 0; j <= columns; j++)
        distance[j] = j;
    for (size_t i = 1; i <= rows; i++) {
        size_t diagonal = distance[0];
        distance[0] = i;
        for (size_t j = 1; j <= columns; j++) {
            size_t above = distance[j];
            distance[j] =
                smallest(above + 1, distance[j - 1] + 1, diagonal + (word[i - 1] != meant[j - 1]));
            diagonal = above;
        }
    }
    return distance[columns] <= (columns < 5 ? 1U : 2U);
}

static bool has_name(int id, const char *name, size_t length) {
    return strncmp(ms_option_row(id)->name, name, length) == 0 &&
           ms_option_row(id)->name[length] == '\0';
}

/* MS_OPTION_COUNT: the command has none. */
static int find_name(const struct ms_command *command, const char *name, size_t length) {
    int id = 0;
    while (id < MS_OPTION_COUNT &&
           !(has_name(id, name, length) && ms_command_has(command, (enum ms_option_id)id)))
        id++;
    return id;
}

static int find_letter(const struct ms_command *command, char letter) {
    int id = 0;
    while (id < MS_OPTION_COUNT &&
           !(ms_option_row(id)->letter == letter && ms_command_has(command, (enum ms_option_id)id)))
        id++;
    return id;
}

/* "--webhook-secret x", where there is a --webhook-secret-file. */
static const struct ms_option_row *find_secret(const struct ms_command *command, const char *name,
                                               size_t length) {
    for (int id = 0; id < MS_OPTION_COUNT; id++) {
        const struct ms_option_row *row = ms_option_row(id);
        if (row->type == MS_TYPE_SECRET && ms_command_has(command, (enum ms_option_id)id) &&
            strlen(row->name) == length + strlen(FILE_SUFFIX) &&
            strncmp(row->name, name, length) == 0)
            return row;
    }
    return NULL;
}

/* Adds which other commands have this option. */
static int unknown_name(const struct ms_call *call, const char *name, size_t length,
                        struct ms_error *err) {
    const struct ms_option_row *secret = find_secret(call->command, name, length);
    if (secret != NULL)
        return ms_error_set(err, MS_EUSAGE,
                            "--%.*s: a secret on the command line is visible in the process list; "
                            "put it into %.*s, or into a file for --%s",
                            (int)length, name, (int)strcspn(secret->env, "|"), secret->env,
                            secret->name);
    char word[32];
    (void)snprintf(word, sizeof word, "%.*s",
                   (int)(length < sizeof word ? length : sizeof word - 1), name);
    for (int id = 0; id < MS_OPTION_COUNT; id++)
        if (ms_command_has(call->command, (enum ms_option_id)id) &&
            ms_option_resembles(word, ms_option_row(id)->name))
            return ms_error_set(err, MS_EUSAGE, "unknown option --%s; did you mean --%s?", word,
                                ms_option_row(id)->name);
    const char *owner = NULL;
    int owners = 0;
    for (const struct ms_command *const *other = call->commands; *other != NULL; other++) {
        if (find_name(*other, name, length) == MS_OPTION_COUNT)
            continue;
        owner = (*other)->name;
        owners++;
    }
    if (owners == 1)
        return ms_error_set(err, MS_EUSAGE,
                            "--%s is an option of \"msaas %s\", not of \"msaas %s\"", word, owner,
                            call->command->name);
    if (owners > 1)
        return ms_error_set(err, MS_EUSAGE,
                            "--%s is an option of other commands, not of \"msaas %s\"", word,
                            call->command->name);
    return ms_error_set(err, MS_EUSAGE, "unknown option --%s", word);
}

/* The secret that a file holds, without the newline at its end. */
static int read_secret(struct value *value, const char *origin, const char *path,
                       struct ms_error *err) {
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return ms_error_about(err, MS_EUSAGE, origin, "%s: %s", path, strerror(errno));
    char text[MAX_SECRET_BYTES + 1];
    size_t size = fread(text, 1, sizeof text, file);
    bool failed = ferror(file) != 0;
    (void)fclose(file);
    if (failed || size > MAX_SECRET_BYTES || memchr(text, '\0', size) != NULL)
        return ms_error_about(err, MS_EUSAGE, origin, "%s: %s", path,
                              failed ? "cannot be read" : "holds no secret");
    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r'))
        size--;
    free(value->owned);
    value->owned = strndup(text, size);
    explicit_bzero(text, sizeof text);
    return value->owned != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "no memory for a secret");
}

static bool is_url(const struct ms_option_row *row) {
    return row->value != NULL && strcmp(row->value, "URL") == 0;
}

/* "redis://USER:PASSWORD@HOST", "redis://:PASSWORD@HOST" */
static bool holds_password(const char *url) {
    const char *authority = strstr(url, "://");
    if (authority == NULL)
        return false;
    authority += 3;
    const char *at = memrchr(authority, '@', strcspn(authority, "/?#"));
    const char *colon = at != NULL ? memchr(authority, ':', (size_t)(at - authority)) : NULL;
    return colon != NULL && colon + 1 < at;
}

/* Reads one option. text: the value in the same word (NULL: none); otherwise it is the next
 * word. */
static int take_option(struct ms_options *options, int id, const char *origin, const char *text,
                       char *const **next, struct ms_error *err) {
    const struct ms_option_row *row = ms_option_row(id);
    if (row->type == MS_TYPE_FLAG && text != NULL)
        return ms_error_set(err, MS_EUSAGE, "%s takes no value", origin);
    if (row->type != MS_TYPE_FLAG && text == NULL) {
        text = **next;
        if (text == NULL)
            return ms_error_set(err, MS_EUSAGE, "%s needs a value: %s", origin, row->value);
        ++*next;
    }
    if (text != NULL && is_url(row) && row->env != NULL && holds_password(text))
        return ms_error_about(err, MS_EUSAGE, origin,
                              "a password does not go on the command line, where ps shows it: "
                              "put the URL into %.*s",
                              (int)strcspn(row->env, "|"), row->env);
    struct value *value = &options->values[id];
    value->set = true;
    value->given = text != NULL ? text : "yes";
    value->origin = NULL;
    if (row->type == MS_TYPE_SECRET) {
        int rc = read_secret(value, origin, text, err);
        if (rc != 0)
            return rc;
        text = value->owned;
    }
    return set_value(value, row, origin, text, err);
}

static int take_word(struct ms_options *options, const struct ms_call *call, const char *word,
                     char *const **next, struct ms_error *err) {
    if (word[0] != '-' || word[1] == '\0') {
        options->arguments[options->argument_count++] = word;
        return 0;
    }
    if (word[1] == '-') {
        const char *name = word + 2;
        size_t length = strcspn(name, "=");
        int id = find_name(options->command, name, length);
        if (id == MS_OPTION_COUNT)
            return unknown_name(call, name, length, err);
        char origin[40];
        (void)snprintf(origin, sizeof origin, "--%s", ms_option_row(id)->name);
        return take_option(options, id, origin, name[length] == '=' ? name + length + 1 : NULL,
                           next, err);
    }
    for (const char *at = word + 1; *at != '\0'; at++) {
        const char origin[] = {'-', *at, '\0'};
        int id = find_letter(options->command, *at);
        if (id == MS_OPTION_COUNT)
            return ms_error_set(err, MS_EUSAGE, "unknown option %s in \"%s\"", origin, word);
        bool joined = ms_option_row(id)->type != MS_TYPE_FLAG && at[1] != '\0';
        int rc = take_option(options, id, origin, joined ? at + 1 : NULL, next, err);
        if (rc != 0 || joined)
            return rc;
    }
    return 0;
}

int ms_options_parse(const struct ms_call *call, struct ms_options **out, struct ms_error *err) {
    struct ms_options *options =
        calloc(1, sizeof *options + (size_t)call->argc * sizeof options->arguments[0]);
    if (options == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the command line");
    options->command = call->command;
    int rc = set_defaults(options, err);
    bool only_arguments = false;
    for (char *const *next = call->argv + 1; rc == 0 && *next != NULL;) {
        const char *word = *next++;
        if (only_arguments)
            options->arguments[options->argument_count++] = word;
        else if (strcmp(word, "--") == 0)
            only_arguments = true;
        else
            rc = take_word(options, call, word, &next, err);
    }
    if (rc != 0) {
        ms_options_free(options);
        return rc;
    }
    *out = options;
    return 0;
}

void ms_options_free(struct ms_options *options) {
    if (options == NULL)
        return;
    for (int id = 0; id < MS_OPTION_COUNT; id++) {
        struct value *value = &options->values[id];
        if (ms_option_row(id)->type == MS_TYPE_SECRET && value->owned != NULL)
            explicit_bzero(value->owned, strlen(value->owned));
        free(value->owned);
    }
    free(options);
}

/* ---- getters ---- */

bool ms_options_has(const struct ms_options *options, enum ms_option_id id) {
    return ms_command_has(options->command, id);
}

static const struct value *value_of(const struct ms_options *options, enum ms_option_id id,
                                    enum ms_option_type type) {
    enum ms_option_type its = ms_option_row((int)id)->type;
    bool right_type =
        its == type || (type == MS_TYPE_STRING && (its == MS_TYPE_CHOICE || its == MS_TYPE_SECRET));
    if (!right_type || !ms_options_has(options, id))
        abort();
    return &options->values[id];
}

const char *ms_options_string(const struct ms_options *options, enum ms_option_id id) {
    return value_of(options, id, MS_TYPE_STRING)->text;
}

int64_t ms_options_int(const struct ms_options *options, enum ms_option_id id) {
    return value_of(options, id, MS_TYPE_INT)->integer;
}

double ms_options_double(const struct ms_options *options, enum ms_option_id id) {
    return value_of(options, id, MS_TYPE_REAL)->real;
}

double ms_options_time_s(const struct ms_options *options, enum ms_option_id id) {
    return value_of(options, id, MS_TYPE_TIME)->real;
}

bool ms_options_flag(const struct ms_options *options, enum ms_option_id id) {
    return value_of(options, id, MS_TYPE_FLAG)->flag;
}

bool ms_options_is_set(const struct ms_options *options, enum ms_option_id id) {
    return value_of(options, id, ms_option_row((int)id)->type)->set;
}

bool ms_options_view(const struct ms_options *options, int id, struct ms_option_view *out) {
    const struct ms_option_row *row = ms_option_row(id);
    const struct value *value = &options->values[id];
    if (!ms_options_has(options, (enum ms_option_id)id))
        return false;
    *out = (struct ms_option_view){
        .name = row->name,
        .text = row->type != MS_TYPE_FLAG ? value->text
                : value->flag             ? "yes"
                                          : NULL,
        .given = value->given,
        .is_flag = row->type == MS_TYPE_FLAG,
        .is_secret = row->type == MS_TYPE_SECRET,
        .is_url = is_url(row),
        .job_name = row->job != NULL ? row->job->name : NULL,
    };
    if (value->origin != NULL)
        (void)snprintf(out->env, sizeof out->env, "%.*s", (int)strcspn(value->origin, "|"),
                       value->origin);
    return true;
}

const char *ms_options_origin(const struct ms_options *options, enum ms_option_id id,
                              char out[MS_OPTION_ORIGIN_BYTES]) {
    const struct ms_option_row *row = ms_option_row((int)id);
    const char *env = options->values[id].origin;
    if (env != NULL)
        return name_origin(row, env, out);
    bool named = row->env != NULL && row->env[strcspn(row->env, "{|")] != '{';
    (void)snprintf(out, MS_OPTION_ORIGIN_BYTES, "--%s%s%.*s%s", row->name, named ? " (" : "",
                   named ? (int)strcspn(row->env, "|") : 0, named ? row->env : "",
                   named ? ")" : "");
    return out;
}

static bool ends_in(const char *name, size_t length, const char *end) {
    size_t size = strlen(end);
    return length >= size && strncmp(name + length - size, end, size) == 0;
}

int ms_options_check_parts(const struct ms_options *options, enum ms_option_id id,
                           struct ms_error *err) {
    const char *pattern = options->values[id].origin;
    if (pattern == NULL)
        return 0;
    const char *end = pattern + strcspn(pattern, "|");
    size_t length = 0;
    for (const char *name = pattern; (name = next_variable(name, end, &length)) != NULL;) {
        const char *text = variable(name, length);
        bool is_port = ends_in(name, length, "_PORT");
        bool may_have_port = !is_port && name[length + 1] != ':';
        char whole[1100];
        (void)snprintf(whole, sizeof whole, "x://%s%s", is_port ? "h:" : "",
                       text != NULL ? text : "");
        struct ms_url url;
        if (text == NULL ||
            (strpbrk(text, "@/?#\\ ") == NULL && ms_url_parse(whole, &url, NULL) == 0 &&
             url.host[0] != '\0' && (url.port[0] == '\0' || is_port || may_have_port)))
            continue;
        return ms_error_set(err, MS_EUSAGE, "%.*s (--%s): must be %s", (int)length, name,
                            ms_option_row((int)id)->name,
                            is_port ? "a port's number, from 1 to 65535"
                            : may_have_port
                                ? "HOST or HOST:PORT, and no URL"
                                : "a host's name or address, without a port, and no URL");
    }
    return 0;
}

int ms_options_argument_count(const struct ms_options *options) {
    return options->argument_count;
}

const char *ms_options_argument(const struct ms_options *options, int index) {
    return options->arguments[index];
}
