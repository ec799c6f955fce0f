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
    MS_OPTION_FILENAME,
    MS_OPTION_RECURSIVE,
    MS_OPTION_TWO_STEMS,
    MS_OPTION_OTHER_METHOD,
    MS_OPTION_STEMS,
    MS_OPTION_SHIFTS,
    MS_OPTION_SEED,
    MS_OPTION_OVERLAP,
    MS_OPTION_SEGMENT,
    MS_OPTION_WAV,
    MS_OPTION_MP3,
    MS_OPTION_FLAC,
    MS_OPTION_OPUS,
    MS_OPTION_M4A,
    MS_OPTION_INT24,
    MS_OPTION_FLOAT32,
    MS_OPTION_MP3_BITRATE,
    MS_OPTION_MP3_PRESET,
    MS_OPTION_BITRATE,
    MS_OPTION_CLIP_MODE,
    MS_OPTION_MODEL_OUT,
    MS_OPTION_MODEL_NAME,
    MS_OPTION_URL,
    MS_OPTION_SEGMENTS,
    MS_OPTION_LANES,
    MS_OPTION_DEVICE,
    MS_OPTION_JSON,
    MS_OPTION_QUIET,
    MS_OPTION_VERBOSE,
    MS_OPTION_HELP,
    MS_OPTION_COUNT
};

struct ms_options; /* the parsed values of one command line */

/* argv[0] is the subcommand's name. Knows --name VALUE, --name=VALUE, -x VALUE, -xVALUE, flags (-qr is -q -r), "--",
 * and keeps the order of the remaining arguments. The last of several counts. argv must outlive the options. */
MS_MUST_CHECK int ms_options_parse(enum ms_command command, int argc, char *const *argv,
                                   struct ms_options **out, struct ms_error *err);
void ms_options_free(struct ms_options *options);

/* Getters: the option must be of that type and of that command (else abort: a fault of the program). Without a value
 * and a default a string is NULL, a number 0. A choice is a string, one of those in the table. */
const char *ms_options_string(const struct ms_options *options, enum ms_option_id id);
int64_t ms_options_int(const struct ms_options *options, enum ms_option_id id);
double ms_options_double(const struct ms_options *options, enum ms_option_id id);
bool ms_options_flag(const struct ms_options *options, enum ms_option_id id);
bool ms_options_is_set(const struct ms_options *options,
                       enum ms_option_id id); /* not the default */
int ms_options_argument_count(const struct ms_options *options);
const char *ms_options_argument(const struct ms_options *options, int index);

/* The "Options:" part of --help for one command, 80 columns wide; and the README's Markdown table. */
void ms_options_print_help(enum ms_command command, FILE *to);
void ms_options_print_markdown(FILE *to);

/* Whether `word` may be a slip of the keyboard for `meant`: few letters differ, or it is its beginning. */
bool ms_option_resembles(const char *word, const char *meant);

#endif
