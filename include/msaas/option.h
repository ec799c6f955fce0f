/* The one table of options: command line, environment, --help and the README's table all come from it.
 *
 * Every option of every subcommand stands once in the table in src/base/option.c. Precedence: command line, then
 * environment, then default. Unknown options and values out of range are MS_EUSAGE with a text that names the option
 * (and its environment variable where the value came from there) and what would be right. */
#ifndef MSAAS_OPTION_H
#define MSAAS_OPTION_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "msaas/err.h"

enum ms_command { /* bit set: an option may belong to several */
    MS_CMD_SEPARATE = 1u << 0,
    MS_CMD_MODEL = 1u << 1,
    MS_CMD_BENCH = 1u << 2,
};

enum ms_option_id {
    MS_OPTION_MODEL,
    MS_OPTION_MODELS_DIR,
    MS_OPTION_OUT,
    /* ... one for each row of the table; the owner of option.c completes this list */
    MS_OPTION_COUNT
};

struct ms_options; /* the parsed values of one command line */

/* argv[0] is the subcommand's name. Knows --name VALUE, --name=VALUE, -x VALUE, -xVALUE, flags, "--", and keeps the
 * order of the remaining arguments. */
MS_MUST_CHECK int ms_options_parse(enum ms_command command, int argc, char *const *argv, struct ms_options **out,
                                   struct ms_error *err);
void ms_options_free(struct ms_options *options);

/* Getters: the option must be of that type and of that command (else abort: a fault of the program). */
const char *ms_options_string(const struct ms_options *options, enum ms_option_id id); /* NULL: not set, no default */
int64_t ms_options_int(const struct ms_options *options, enum ms_option_id id);
double ms_options_double(const struct ms_options *options, enum ms_option_id id);
bool ms_options_flag(const struct ms_options *options, enum ms_option_id id);
bool ms_options_is_set(const struct ms_options *options, enum ms_option_id id); /* not the default */
int ms_options_argument_count(const struct ms_options *options);
const char *ms_options_argument(const struct ms_options *options, int index);

/* The "Options:" part of --help for one command, 80 columns wide; and the README's Markdown table. */
void ms_options_print_help(enum ms_command command, FILE *to);
void ms_options_print_markdown(FILE *to);

#endif
