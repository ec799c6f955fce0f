/* The table of options, and what comes from it: parsing, --help, the README's table. Owns the values of one command
 * line, which point into argv and the environment. */
#include "msaas/option.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum type { FLAG, STRING, CHOICE, INT, REAL };

struct row {
    const char *name;
    char letter; /* 0: none */
    enum type type;
    unsigned commands;
    const char *value;    /* how --help calls the value; of a CHOICE: what it may be, "a|b|c" */
    const char *env;      /* NULL: none */
    const char *fallback; /* the default, as it would be written; NULL: none */
    double min, max;      /* of INT and REAL, both included */
    const char *help;
};

#define SEPARATE MS_CMD_SEPARATE
#define MODEL MS_CMD_MODEL
#define BENCH MS_CMD_BENCH

/* clang-format off: one row, one or two lines */
static const struct row table[MS_OPTION_COUNT] = {
    [MS_OPTION_MODEL] =
        {"model", 'n', STRING, SEPARATE | BENCH, "NAME", "MSAAS_MODEL", "htdemucs", 0, 0,
         "Model to use: a name under the models' folder, or the path of its JSON file or folder."},
    [MS_OPTION_MODELS_DIR] =
        {"models-dir", 0, STRING, SEPARATE | MODEL | BENCH, "DIR", "MSAAS_MODELS_DIR", NULL, 0, 0,
         "Folder of the models; by default msaas/models in $XDG_DATA_HOME or ~/.local/share."},
    [MS_OPTION_OUT] = {"out", 'o', STRING, SEPARATE, "DIR", NULL, "separated", 0, 0,
                       "Folder of the results: each goes to DIR/MODEL/FILENAME."},
    [MS_OPTION_FILENAME] =
        {"filename", 0, STRING, SEPARATE, "TEMPLATE", NULL, "{track}/{stem}.{ext}", 0, 0,
         "Name of each result; knows {model}, {track}, {trackext}, {stem} and {ext}."},
    [MS_OPTION_RECURSIVE] = {"recursive", 'r', FLAG, SEPARATE, NULL, NULL, NULL, 0, 0,
                             "Go through folders, and take the audio and video files in them."},
    [MS_OPTION_TWO_STEMS] = {"two-stems", 0, STRING, SEPARATE, "STEM", NULL, NULL, 0, 0,
                             "Only this stem and the rest (karaoke: vocals)."},
    [MS_OPTION_OTHER_METHOD] =
        {"other-method", 0, CHOICE, SEPARATE, "add|minus|none", NULL, "add", 0, 0,
         "The rest of --two-stems: the other stems added (\"no_STEM\"), the mix minus the stem "
         "(\"minus_STEM\"), or not written."},
    [MS_OPTION_STEMS] = {"stems", 0, STRING, SEPARATE, "A,B,...", NULL, NULL, 0, 0,
                         "Only these stems; by default all that the model has."},
    [MS_OPTION_SHIFTS] = {"shifts", 0, INT, SEPARATE, "N", NULL, "0", 0, 100,
                          "Average N runs, each moved by a random part of half a second: a little "
                          "better, N times slower."},
    [MS_OPTION_SEED] = {"seed", 0, INT, SEPARATE, "S", NULL, "0", 0, 0x1p53,
                        "Seed of --shifts; the same seed gives the same bytes."},
    [MS_OPTION_OVERLAP] = {"overlap", 0, REAL, SEPARATE, "PART", NULL, "0.25", 0, 0.99,
                           "Part of a segment that it shares with the next."},
    [MS_OPTION_SEGMENT] = {"segment", 0, REAL, SEPARATE, "SECONDS", NULL, NULL, 0.1, 3600,
                           "Length of a segment; by default, and at most, the model's own."},
    [MS_OPTION_WAV] = {"wav", 0, FLAG, SEPARATE, NULL, NULL, NULL, 0, 0,
                       "Write WAV, 16 bit (the default)."},
    [MS_OPTION_MP3] = {"mp3", 0, FLAG, SEPARATE, NULL, NULL, NULL, 0, 0, "Write MP3."},
    [MS_OPTION_FLAC] = {"flac", 0, FLAG, SEPARATE, NULL, NULL, NULL, 0, 0, "Write FLAC, 16 bit."},
    [MS_OPTION_OPUS] = {"opus", 0, FLAG, SEPARATE, NULL, NULL, NULL, 0, 0, "Write Opus."},
    [MS_OPTION_M4A] = {"m4a", 0, FLAG, SEPARATE, NULL, NULL, NULL, 0, 0,
                       "Write AAC in an M4A file."},
    [MS_OPTION_INT24] = {"int24", 0, FLAG, SEPARATE, NULL, NULL, NULL, 0, 0,
                         "24 bit samples, for WAV and FLAC."},
    [MS_OPTION_FLOAT32] = {"float32", 0, FLAG, SEPARATE, NULL, NULL, NULL, 0, 0,
                           "32 bit floating point samples, for WAV."},
    [MS_OPTION_MP3_BITRATE] = {"mp3-bitrate", 0, INT, SEPARATE, "KBPS", NULL, "320", 32, 320,
                               "Bit rate of MP3."},
    [MS_OPTION_MP3_PRESET] = {"mp3-preset", 0, INT, SEPARATE, "N", NULL, "2", 2, 7,
                              "Effort of the MP3 encoder, from 2 (best) to 7 (fastest)."},
    [MS_OPTION_BITRATE] = {"bitrate", 0, INT, SEPARATE, "KBPS", NULL, NULL, 16, 510,
                           "Bit rate of Opus (by default 160) or M4A (256)."},
    [MS_OPTION_CLIP_MODE] =
        {"clip-mode", 0, CHOICE, SEPARATE, "rescale|clamp|none", NULL, "rescale", 0, 0,
         "Against overload: make a stem that is too loud quieter, cut its peaks, or leave it be."},
    [MS_OPTION_MODEL_OUT] = {"out", 'o', STRING, MODEL, "DIR", NULL, NULL, 0, 0,
                             "Folder that the model is written to; by default the models' folder."},
    [MS_OPTION_MODEL_NAME] =
        {"name", 0, STRING, MODEL, "NAME", NULL, NULL, 0, 0,
         "Name of the imported model; by default the published one or the file's."},
    [MS_OPTION_URL] =
        {"url", 0, STRING, MODEL, "URL", NULL, NULL, 0, 0,
         "Fetch the weights from here, a mirror of your own; a folder, when it ends in /."},
    [MS_OPTION_SEGMENTS] = {"segments", 0, INT, BENCH, "N", NULL, "8", 1, 10000,
                            "Segments to measure."},
    [MS_OPTION_LANES] =
        {"lanes", 0, INT, SEPARATE | BENCH, "N", "MSAAS_LANES", "0", 0, 256,
         "Segments at work at the same time; 0: as many as processors and memory allow."},
    [MS_OPTION_DEVICE] = {"device", 'd', STRING, SEPARATE | BENCH, "cpu|cuda[:N]", "MSAAS_DEVICE",
                          "cpu", 0, 0, "Where the network runs."},
    [MS_OPTION_JSON] = {"json", 0, FLAG, SEPARATE | MODEL | BENCH, NULL, NULL, NULL, 0, 0,
                        "Report on standard output as JSON, one object a line."},
    [MS_OPTION_QUIET] = {"quiet", 'q', FLAG, SEPARATE | MODEL, NULL, NULL, NULL, 0, 0,
                         "Report errors only."},
    [MS_OPTION_VERBOSE] = {"verbose", 'v', FLAG, SEPARATE, NULL, NULL, NULL, 0, 0,
                           "Report details too."},
    [MS_OPTION_HELP] = {"help", 'h', FLAG, SEPARATE | MODEL | BENCH, NULL, NULL, NULL, 0, 0,
                        "Show this help."},
};
/* clang-format on */

static const struct {
    unsigned bit;
    const char *name;
} commands[] = {{SEPARATE, "separate"}, {MODEL, "model"}, {BENCH, "bench"}};
#define COMMANDS (sizeof commands / sizeof *commands)

struct value {
    const char *text;
    int64_t integer;
    double real;
    bool flag;
    bool set;
};

struct ms_options {
    enum ms_command command;
    struct value values[MS_OPTION_COUNT];
    int argument_count;
    const char *arguments[]; /* at most argc */
};

static const char *command_name(unsigned command) {
    for (size_t i = 0; i < COMMANDS; i++)
        if (commands[i].bit & command)
            return commands[i].name;
    abort();
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static bool is_choice(const char *choices, const char *text) {
    size_t length = strlen(text);
    for (const char *at = choices; *at != '\0';) {
        size_t size = strcspn(at, "|");
        if (size == length && strncmp(at, text, size) == 0)
            return true;
        at += size + (at[size] == '|');
    }
    return false;
}

/* `origin` names where the text came from: "--lanes" or "MSAAS_LANES (--lanes)". */
static int set_value(struct value *value, const struct row *row, const char *origin,
                     const char *text, struct ms_error *err) {
    char *end = NULL;
    errno = 0;
    value->text = text;
    switch (row->type) {
    case FLAG: value->flag = true; return 0;
    case STRING:
        if (text[0] != '\0')
            return 0;
        return ms_error_set(err, MS_EUSAGE, "%s: must not be empty", origin);
    case CHOICE:
        if (is_choice(row->value, text))
            return 0;
        return ms_error_set(err, MS_EUSAGE, "%s: must be one of %s, not \"%s\"", origin, row->value,
                            text);
    case INT: value->integer = strtoll(text, &end, 10); break;
    case REAL: value->real = strtod(text, &end); break;
    }
    double number = row->type == INT ? (double)value->integer : value->real;
    bool plain =
        text[strspn(text, "+-.0123456789eE")] == '\0'; /* neither spaces, hexadecimal nor "nan" */
    if (end == text || *end != '\0' || !plain)
        return ms_error_set(err, MS_EUSAGE, "%s: must be %s, not \"%s\"", origin,
                            row->type == INT ? "a whole number" : "a number", text);
    if (errno == ERANGE || number < row->min || number > row->max)
        return ms_error_set(err, MS_EUSAGE, "%s: must be from %.16g to %.16g, not %s", origin,
                            row->min, row->max, text);
    return 0;
}

static int set_defaults(struct ms_options *options, struct ms_error *err) {
    for (int id = 0; id < MS_OPTION_COUNT; id++) {
        const struct row *row = &table[id];
        struct value *value = &options->values[id];
        if (row->fallback != NULL && set_value(value, row, row->name, row->fallback, NULL) != 0)
            abort();
        const char *text = row->env == NULL ? NULL : getenv(row->env);
        if ((row->commands & options->command) == 0 || text == NULL || text[0] == '\0')
            continue;
        char origin[100];
        (void)snprintf(origin, sizeof origin, "%s (--%s)", row->env, row->name);
        int rc = set_value(value, row, origin, text, err);
        if (rc != 0)
            return rc;
        value->set = true;
    }
    return 0;
}

/* ---- parsing ----------------------------------------------------------------------------------------------------- */

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

static int find_name(unsigned command, const char *name, size_t length) {
    for (int id = 0; id < MS_OPTION_COUNT; id++)
        if ((table[id].commands & command) && strncmp(table[id].name, name, length) == 0 &&
            table[id].name[length] == '\0')
            return id;
    return -1;
}

static int find_letter(unsigned command, char letter) {
    for (int id = 0; id < MS_OPTION_COUNT; id++)
        if ((table[id].commands & command) && table[id].letter == letter)
            return id;
    return -1;
}

static int unknown_name(unsigned command, const char *name, size_t length, struct ms_error *err) {
    char word[32];
    (void)snprintf(word, sizeof word, "%.*s",
                   (int)(length < sizeof word ? length : sizeof word - 1), name);
    for (int id = 0; id < MS_OPTION_COUNT; id++)
        if ((table[id].commands & command) && ms_option_resembles(word, table[id].name))
            return ms_error_set(err, MS_EUSAGE, "unknown option --%s; did you mean --%s?", word,
                                table[id].name);
    int id = find_name(~0U, name, length);
    if (id >= 0)
        return ms_error_set(
            err, MS_EUSAGE, "--%s is an option of \"msaas %s\", not of \"msaas %s\"",
            table[id].name, command_name(table[id].commands), command_name(command));
    return ms_error_set(err, MS_EUSAGE, "unknown option --%s", word);
}

/* One option; `text` is the value joined to it (NULL: none), else the next word is. */
static int take_option(struct ms_options *options, int id, const char *origin, const char *text,
                       char *const **next, struct ms_error *err) {
    const struct row *row = &table[id];
    if (row->type == FLAG && text != NULL)
        return ms_error_set(err, MS_EUSAGE, "%s takes no value", origin);
    if (row->type != FLAG && text == NULL) {
        text = **next;
        if (text == NULL)
            return ms_error_set(err, MS_EUSAGE, "%s needs a value: %s", origin, row->value);
        ++*next;
    }
    options->values[id].set = true;
    return set_value(&options->values[id], row, origin, text, err);
}

static int take_word(struct ms_options *options, const char *word, char *const **next,
                     struct ms_error *err) {
    if (word[0] != '-' || word[1] == '\0') {
        options->arguments[options->argument_count++] = word;
        return 0;
    }
    if (word[1] == '-') {
        const char *name = word + 2;
        size_t length = strcspn(name, "=");
        int id = find_name(options->command, name, length);
        if (id < 0)
            return unknown_name(options->command, name, length, err);
        char origin[40];
        (void)snprintf(origin, sizeof origin, "--%s", table[id].name);
        return take_option(options, id, origin, name[length] == '=' ? name + length + 1 : NULL,
                           next, err);
    }
    for (const char *at = word + 1; *at != '\0'; at++) {
        const char origin[] = {'-', *at, '\0'};
        int id = find_letter(options->command, *at);
        if (id < 0)
            return ms_error_set(err, MS_EUSAGE, "unknown option %s in \"%s\"", origin, word);
        bool joined = table[id].type != FLAG && at[1] != '\0';
        int rc = take_option(options, id, origin, joined ? at + 1 : NULL, next, err);
        if (rc != 0 || joined)
            return rc;
    }
    return 0;
}

int ms_options_parse(enum ms_command command, int argc, char *const *argv, struct ms_options **out,
                     struct ms_error *err) {
    struct ms_options *options =
        calloc(1, sizeof *options + (size_t)argc * sizeof options->arguments[0]);
    if (options == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the command line");
    options->command = command;
    int rc = set_defaults(options, err);
    bool only_arguments = false;
    for (char *const *next = argv + 1; rc == 0 && *next != NULL;) {
        const char *word = *next++;
        if (only_arguments)
            options->arguments[options->argument_count++] = word;
        else if (strcmp(word, "--") == 0)
            only_arguments = true;
        else
            rc = take_word(options, word, &next, err);
    }
    if (rc != 0) {
        ms_options_free(options);
        return rc;
    }
    *out = options;
    return 0;
}

void ms_options_free(struct ms_options *options) {
    free(options);
}

/* ---- getters ----------------------------------------------------------------------------------------------------- */

static const struct value *value_of(const struct ms_options *options, enum ms_option_id id,
                                    enum type type) {
    bool right_type = table[id].type == type || (type == STRING && table[id].type == CHOICE);
    if (!right_type || (table[id].commands & options->command) == 0)
        abort();
    return &options->values[id];
}

const char *ms_options_string(const struct ms_options *options, enum ms_option_id id) {
    return value_of(options, id, STRING)->text;
}

int64_t ms_options_int(const struct ms_options *options, enum ms_option_id id) {
    return value_of(options, id, INT)->integer;
}

double ms_options_double(const struct ms_options *options, enum ms_option_id id) {
    return value_of(options, id, REAL)->real;
}

bool ms_options_flag(const struct ms_options *options, enum ms_option_id id) {
    return value_of(options, id, FLAG)->flag;
}

bool ms_options_is_set(const struct ms_options *options, enum ms_option_id id) {
    return value_of(options, id, table[id].type)->set;
}

int ms_options_argument_count(const struct ms_options *options) {
    return options->argument_count;
}

const char *ms_options_argument(const struct ms_options *options, int index) {
    return options->arguments[index];
}

/* ---- help -------------------------------------------------------------------------------------------------------- */

#define HELP_COLUMN 28
#define HELP_WIDTH 80

static const char *signature(const struct row *row, char *text, size_t size) {
    char letter[] = {'-', row->letter, ',', ' ', '\0'};
    (void)snprintf(text, size, "%s--%s%s%s", row->letter != 0 ? letter : "", row->name,
                   row->value != NULL ? " " : "", row->value != NULL ? row->value : "");
    return text;
}

/* What must not be broken, on a new line, indented to HELP_COLUMN, when it would pass HELP_WIDTH. */
static void print_unit(const char *text, int length, int *column, FILE *to) {
    if (*column > HELP_COLUMN && *column + 1 + length > HELP_WIDTH) {
        (void)fprintf(to, "\n%*s", HELP_COLUMN, "");
        *column = HELP_COLUMN;
    } else if (*column > HELP_COLUMN) {
        (void)fputc(' ', to);
        ++*column;
    }
    (void)fprintf(to, "%.*s", length, text);
    *column += length;
}

static void print_note(const char *label, const char *text, int *column, FILE *to) {
    char note[80];
    if (text != NULL)
        print_unit(note, snprintf(note, sizeof note, "[%s: %s]", label, text), column, to);
}

void ms_options_print_help(enum ms_command command, FILE *to) {
    (void)fputs("Options:\n", to);
    for (int id = 0; id < MS_OPTION_COUNT; id++) {
        const struct row *row = &table[id];
        if ((row->commands & command) == 0)
            continue;
        char text[80];
        int column = fprintf(to, "  %s%s", row->letter == 0 ? "    " : "",
                             signature(row, text, sizeof text));
        if (column > HELP_COLUMN - 2) {
            (void)fputc('\n', to);
            column = 0;
        }
        (void)fprintf(to, "%*s", HELP_COLUMN - column, "");
        column = HELP_COLUMN;
        for (const char *word = row->help; *word != '\0'; word += strspn(word, " ")) {
            int length = (int)strcspn(word, " ");
            print_unit(word, length, &column, to);
            word += length;
        }
        print_note("default", row->fallback, &column, to);
        print_note("env", row->env, &column, to);
        (void)fputc('\n', to);
    }
}

/* A cell of a Markdown table: "|" would end it. */
static void print_code(const char *text, FILE *to) {
    if (text == NULL)
        return;
    (void)fputc('`', to);
    for (; *text != '\0'; text++)
        (void)fputs(*text == '|' ? "\\|" : (const char[]){*text, '\0'}, to);
    (void)fputc('`', to);
}

void ms_options_print_markdown(FILE *to) {
    (void)fputs("| Option | Of | Default | Environment | What it does |\n"
                "|---|---|---|---|---|\n",
                to);
    for (int id = 0; id < MS_OPTION_COUNT; id++) {
        const struct row *row = &table[id];
        char text[80];
        (void)fputs("| ", to);
        print_code(signature(row, text, sizeof text), to);
        const char *before = " | ";
        for (size_t i = 0; i < COMMANDS; i++) {
            if ((row->commands & commands[i].bit) == 0)
                continue;
            (void)fprintf(to, "%s%s", before, commands[i].name);
            before = ", ";
        }
        (void)fputs(" | ", to);
        print_code(row->fallback, to);
        (void)fputs(" | ", to);
        print_code(row->env, to);
        (void)fprintf(to, " | %s |\n", row->help);
    }
}
