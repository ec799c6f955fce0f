/* The table of options as option.c reads it. */
#ifndef MSAAS_CMD_OPTION_TABLE_H
#define MSAAS_CMD_OPTION_TABLE_H

#include "msaas/job_options.h"
#include "msaas/option.h"

enum ms_option_type {
    MS_TYPE_FLAG,
    MS_TYPE_STRING,
    MS_TYPE_CHOICE,
    MS_TYPE_INT,
    MS_TYPE_REAL,
    MS_TYPE_TIME,  /* in seconds; the value has its unit: "72h" */
    MS_TYPE_SECRET /* in the environment, or in a file that the command line names */
};

struct ms_option_row {
    const char *name;
    char letter; /* 0: none */
    enum ms_option_type type;
    const char *value; /* the name of the value in --help; of a CHOICE: its values, "a|b|c" */
    /* Environment variables, "A|B": the first that is set counts. One with braces is made of
     * several variables, and is set if all of them without a default are:
     * "redis://{REDIS_HOST}:{REDIS_PORT=6379}". NULL: none. */
    const char *env;
    const char *fallback; /* the default, as it would be written; NULL: none */
    double min, max;      /* of INT, REAL and TIME (in seconds), both included */
    const char *help;
    /* NULL, or the option of a job from which everything but letter and env is taken. */
    const struct ms_job_option *job;
};
const struct ms_option_row *ms_option_row(int id); /* any thread */

#endif
