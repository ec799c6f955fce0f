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
    MS_TYPE_SECRET /* the environment holds it; the command line names a file that does */
};

struct ms_option_row {
    const char *name;
    char letter; /* 0: none */
    enum ms_option_type type;
    const char *value; /* how --help calls the value; of a CHOICE: what it may be, "a|b|c" */
    /* Environment variables, the first that is set counts: "A|B". One with braces is made of
     * variables, and set when those are that have no default:
     * "redis://{REDIS_HOST}:{REDIS_PORT=6379}". NULL: none. */
    const char *env;
    const char *fallback; /* the default, as it would be written; NULL: none */
    double min, max;      /* of INT and REAL, both included */
    const char *help;
    /* NULL, or the job's option that all but letter and env comes from. */
    const struct ms_job_option *job;
};
const struct ms_option_row *ms_option_row(int id); /* any thread */

#endif
