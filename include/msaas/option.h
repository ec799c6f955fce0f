/* The one table of options: command line, environment, --help and the tables of the docs come from
 * it.
 *
 * Every option of every subcommand stands once in src/cmd/option_table.c. The command line comes
 * before the environment (the first of several variables that is set), and the environment before
 * the default. ps shows the command line to everybody, so secrets are taken from the environment,
 * or from a file that the command line names, and a URL with a password is refused there. Unknown
 * options and values out of range are MS_EUSAGE; the error names the option, the environment
 * variable if the value came from there, and what would be right. */
#ifndef MSAAS_OPTION_H
#define MSAAS_OPTION_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "msaas/err.h"

enum ms_option_id {
    MS_OPTION_MODEL,
    MS_OPTION_MODELS_DIR,
    MS_OPTION_OUT,
    MS_OPTION_FILENAME,
    MS_OPTION_ZIP,
    MS_OPTION_RECURSIVE,
    MS_OPTION_TWO_STEMS,
    MS_OPTION_OTHER_METHOD,
    MS_OPTION_STEMS,
    MS_OPTION_SHIFTS,
    MS_OPTION_SEED,
    MS_OPTION_OVERLAP,
    MS_OPTION_SEGMENT,
    MS_OPTION_NO_SPLIT,
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
    MS_OPTION_VIA_STORE,
    MS_OPTION_SEGMENTS,
    MS_OPTION_DATA,
    MS_OPTION_WORKERS,
    MS_OPTION_QUEUE,
    MS_OPTION_STORE,
    MS_OPTION_S3_ENDPOINT,
    MS_OPTION_S3_REGION,
    MS_OPTION_S3_ACCESS_KEY,
    MS_OPTION_S3_SECRET_KEY,
    MS_OPTION_S3_SESSION_TOKEN,
    MS_OPTION_S3_VIRTUAL_HOST,
    MS_OPTION_S3_CA_FILE,
    MS_OPTION_NO_CREATE_BUCKETS,
    MS_OPTION_HOST,
    MS_OPTION_PORT,
    MS_OPTION_WORKER_PORT,
    MS_OPTION_ADMIN_PORT,
    MS_OPTION_ALLOWED_HOSTS,
    MS_OPTION_CORS_ORIGINS,
    MS_OPTION_TRUSTED_PROXIES,
    MS_OPTION_TOKENS,
    MS_OPTION_APIV1,
    MS_OPTION_MAX_CONNECTIONS,
    MS_OPTION_MAX_CLIENT_CONNECTIONS,
    MS_OPTION_MIN_RATE,
    MS_OPTION_OFFER,
    MS_OPTION_MAX_SONG_MB,
    MS_OPTION_MAX_SONG_MINUTES,
    MS_OPTION_PREVIEW,
    MS_OPTION_MAX_COST,
    MS_OPTION_MAX_WAITING,
    MS_OPTION_MAX_RENDERS,
    MS_OPTION_MIN_FREE_MB,
    MS_OPTION_COURSE_ITEMS,
    MS_OPTION_UPLOAD_KEEP,
    MS_OPTION_PRESIGN,
    MS_OPTION_LINGER,
    MS_OPTION_LEASE,
    MS_OPTION_STALL,
    MS_OPTION_MODEL_WAIT,
    MS_OPTION_GIVE_UP,
    MS_OPTION_KEEP,
    MS_OPTION_GRACE,
    MS_OPTION_SCRATCH,
    MS_OPTION_CACHE,
    MS_OPTION_WEBHOOK_SECRET,
    MS_OPTION_CALLBACK_ALLOW,
    MS_OPTION_LOG_FORMAT,
    MS_OPTION_LOG_LEVEL,
    MS_OPTION_SERVER,
    MS_OPTION_TOKEN,
    MS_OPTION_SCOPES,
    MS_OPTION_EXPIRES,
    MS_OPTION_TOKEN_WAITING,
    MS_OPTION_TOKEN_MINUTES,
    MS_OPTION_TOKEN_MB,
    MS_OPTION_WAIT,
    MS_OPTION_JOB_MODEL,
    MS_OPTION_JOB_PRECISION,
    MS_OPTION_FETCH_OUT,
    MS_OPTION_MIX_FORMAT,
    MS_OPTION_FETCH_ZIP,
    MS_OPTION_STEM_MP4,
    MS_OPTION_MIX_OUT,
    MS_OPTION_GAINS,
    MS_OPTION_PAN,
    MS_OPTION_LANES,
    MS_OPTION_BATCH,
    MS_OPTION_DEVICE,
    MS_OPTION_PRECISION,
    MS_OPTION_WORK_PRECISION,
    MS_OPTION_LIST_MODELS,
    MS_OPTION_JSON,
    MS_OPTION_QUIET,
    MS_OPTION_VERBOSE,
    MS_OPTION_HELP,
    MS_OPTION_COUNT /* the number of options, and the end of a list */
};

struct ms_call;

/* A subcommand, as it stands in its own file. */
struct ms_command {
    const char *name;
    const char *summary;              /* a few words, for the overview */
    const char *usage;                /* the beginning of its --help */
    const enum ms_option_id *options; /* ended by MS_OPTION_COUNT; each has --help, too */
    bool runs_networks;
    int (*run)(const struct ms_call *call); /* returns the program's exit code */
};

/* One run of a command. argv[0] is its name. */
struct ms_call {
    const struct ms_command *command;
    const struct ms_command *const *commands; /* all of them, ended by NULL */
    int argc;
    char **argv;
};

bool ms_command_has(const struct ms_command *command, enum ms_option_id id);
const struct ms_command *ms_command_find(const struct ms_command *const *commands,
                                         const char *name); /* NULL: there is none */

struct ms_options; /* the parsed values of one command line */

/* argv[0]: the name of the subcommand. Reads --name VALUE, --name=VALUE, -x VALUE, -xVALUE, flags
 * (-qr is -q -r) and "--", and keeps the order of the other arguments. If an option is given twice,
 * the last one counts. argv must outlive the options. */
MS_MUST_CHECK int ms_options_parse(const struct ms_call *call, struct ms_options **out,
                                   struct ms_error *err);
void ms_options_free(struct ms_options *options);

/* Getters. The option must have this type and belong to this command; anything else is a bug and
 * aborts. Without value and default a string is NULL and a number is 0. A choice is a string, one
 * of those in the table. */
const char *ms_options_string(const struct ms_options *options, enum ms_option_id id);
int64_t ms_options_int(const struct ms_options *options, enum ms_option_id id);
double ms_options_double(const struct ms_options *options, enum ms_option_id id);
double ms_options_time_s(const struct ms_options *options, enum ms_option_id id);
bool ms_options_flag(const struct ms_options *options, enum ms_option_id id);
bool ms_options_has(const struct ms_options *options, enum ms_option_id id); /* of its command */
bool ms_options_is_set(const struct ms_options *options,
                       /* Whether it has a value that is not the default. */
                       enum ms_option_id id);

/* Where a value came from, as errors name it: "MSAAS_QUEUE (--queue)" or "REDIS_HOST, REDIS_PORT
 * (--queue)" from the environment, else "--queue (MSAAS_QUEUE)". Returns out. */
#define MS_OPTION_ORIGIN_BYTES 160
const char *ms_options_origin(const struct ms_options *options, enum ms_option_id id,
                              char out[MS_OPTION_ORIGIN_BYTES]);
/* Checks the variables of a value that is made of several (REDIS_HOST, REDIS_PORT): each must be a
 * host or a port. MS_EUSAGE names the variable, but not its value. Other values are fine. */
MS_MUST_CHECK int ms_options_check_parts(const struct ms_options *options, enum ms_option_id id,
                                         struct ms_error *err);

int ms_options_argument_count(const struct ms_options *options);
const char *ms_options_argument(const struct ms_options *options, int index);

/* One option with its value, for `msaas config` and for passing options to another command. id:
 * below MS_OPTION_COUNT. False: the command does not have it. Strings are borrowed from the
 * options. */
struct ms_option_view {
    const char *name;
    const char *text;  /* the value, also of secrets; NULL: none */
    const char *given; /* as it was on the command line; NULL: it was not there */
    char env[128];     /* the environment variables that it came from; "": it did not */
    bool is_flag, is_secret, is_url;
    const char *job_name; /* the name in requests, if it is an option of a job; else NULL */
};
bool ms_options_view(const struct ms_options *options, int id, struct ms_option_view *out);

/* The "Options:" part of --help for one command, 80 columns wide; and the Markdown table for the
 * docs. */
void ms_options_print_help(const struct ms_command *command, FILE *to);
/* The options of a job, for docs/api.md. */
void ms_job_options_print_markdown(FILE *to);
void ms_options_print_markdown(const struct ms_command *const *commands, FILE *to);

/* Whether `word` may be a typing error for `meant`: few letters differ, or it is the beginning of
 * it. */
bool ms_option_resembles(const char *word, const char *meant);

#endif
