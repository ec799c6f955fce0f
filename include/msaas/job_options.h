/* The options of a job, each once: name, type, range, default and text. Everything that reads or
 * shows options uses this table: the command line (msaas submit, and separate for the same
 * options), the query, the form and the JSON of POST /apiv2/jobs, /apiv1, the JSON and the id of a
 * job, and the docs. Plain data; any thread. */
#ifndef MSAAS_JOB_OPTIONS_H
#define MSAAS_JOB_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "msaas/err.h"
#include "msaas/precision.h"
#include "msaas/stem.h"

#define MS_JOB_MAX_STEMS 17
#define MS_JOB_MODEL_BYTES 64
#define MS_JOB_MAX_SHIFTS 20

/* Everything that changes the result. */
struct ms_job_options {
    char model[MS_JOB_MODEL_BYTES]; /* name; "": the default of the server */
    char stems[MS_JOB_MAX_STEMS][MS_STEM_NAME_BYTES];
    int stem_count;                     /* 0: all of the model */
    char two_stems[MS_STEM_NAME_BYTES]; /* "": all stems; else this stem and "no_" + stem */
    char format[8];                     /* "mp3", "wav", "flac", "opus", "m4a" */
    int64_t bitrate_kbps;               /* 0: the format's own */
    int64_t shifts;
    int64_t seed;
    double overlap;              /* six digits count */
    char clip[8];                /* "rescale", "clamp", "none" */
    enum ms_precision precision; /* AUTO: what the worker is set to */
};

enum ms_job_option_id {
    MS_JOB_OPTION_MODEL,
    MS_JOB_OPTION_STEMS,
    MS_JOB_OPTION_TWO_STEMS,
    MS_JOB_OPTION_FORMAT,
    MS_JOB_OPTION_BITRATE,
    MS_JOB_OPTION_SHIFTS,
    MS_JOB_OPTION_SEED,
    MS_JOB_OPTION_OVERLAP,
    MS_JOB_OPTION_CLIP,
    MS_JOB_OPTION_PRECISION,
    MS_JOB_OPTION_COUNT
};

enum ms_job_option_type {
    MS_JOB_TYPE_NAME, /* letters, digits, '_', '-'; of a model also '.', not at its beginning */
    /* several names, "a,b"; those given again are added */
    MS_JOB_TYPE_NAMES,
    MS_JOB_TYPE_CHOICE,  /* one of the words of `value`, kept as text */
    MS_JOB_TYPE_ENUM,    /* one of the words of `value`, kept as their number (an enum) */
    MS_JOB_TYPE_INTEGER, /* kept as int64_t */
    MS_JOB_TYPE_REAL,    /* kept as double */
};

struct ms_job_option {
    const char *name; /* in queries, forms and JSON */
    /* on the command line, without its dashes; NULL: it has several flags there (--mp3) */
    const char *flag;
    enum ms_job_option_type type;
    /* the name of the value in texts, "KBPS"; of a CHOICE its values, "a|b" */
    const char *value;
    const char *standard; /* the default as it would be written; NULL: none */
    double least, most;   /* of numbers, both included */
    const char *text;     /* what it does, in one sentence */
    size_t offset, bytes; /* where it lies in struct ms_job_options */
};
extern const struct ms_job_option ms_job_option_table[MS_JOB_OPTION_COUNT];

const struct ms_job_option *ms_job_option_find(const char *name); /* NULL: there is none */

/* The defaults, which are the course's: four MP3 stems. */
void ms_job_options_default(const char *model, struct ms_job_options *out);

/* Checks that `text` is a value of the option. MS_EUSAGE without the name of the option, for
 * callers that use another name. */
MS_MUST_CHECK int ms_job_option_check(const struct ms_job_option *option, const char *text,
                                      struct ms_error *err);

/* Sets one option from text. "" leaves it unchanged, because forms send empty fields. MS_EUSAGE
 * about the name of the option. */
MS_MUST_CHECK int ms_job_option_set(struct ms_job_options *options,
                                    const struct ms_job_option *option, const char *text,
                                    struct ms_error *err);

/* Whether the format takes this bit rate; 0, its own, it always does. MS_EUSAGE says which it
 * takes. */
MS_MUST_CHECK int ms_job_bitrate_check(const char *format, int64_t kbps, struct ms_error *err);
/* Checks all options together: bit rates of the format, options that exclude each other, and
 * everything that ms_job_option_set checks. MS_EUSAGE names the option and what would be right.
 * Which models exist is not checked. */
MS_MUST_CHECK int ms_job_options_check(const struct ms_job_options *options, struct ms_error *err);

const char *ms_job_mime(const char *format); /* "audio/mpeg", ... */

/* As the members of a JSON object: each option by its name, null where it has no value. */
struct ms_json;
struct ms_json_writer;
void ms_job_options_to_json(const struct ms_job_options *options, struct ms_json_writer *writer);
/* Members that are missing or null leave their options unchanged; other members are ignored.
 * MS_EUSAGE as above. */
MS_MUST_CHECK int ms_job_options_from_json(const struct ms_json *object,
                                           struct ms_job_options *options, struct ms_error *err);

#endif
