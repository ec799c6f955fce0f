/* The table of options as option.c reads it. */
#ifndef MSAAS_BASE_OPTION_TABLE_H
#define MSAAS_BASE_OPTION_TABLE_H

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
    unsigned commands;
    const char *value; /* how --help calls the value; of a CHOICE: what it may be, "a|b|c" */
    /* Environment variables, the first that is set counts: "A|B". One with braces is made of
     * variables, and set when those are that have no default:
     * "redis://{REDIS_HOST}:{REDIS_PORT=6379}". NULL: none. */
    const char *env;
    const char *fallback; /* the default, as it would be written; NULL: none */
    double min, max;      /* of INT and REAL, both included */
    const char *help;
};
extern const struct ms_option_row ms_option_table[MS_OPTION_COUNT];

/* In the order of the README's table. */
struct ms_option_command {
    unsigned bit;
    const char *name; /* NULL past the last */
};
extern const struct ms_option_command ms_option_commands[];

#endif
