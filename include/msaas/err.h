/* Errors: a negative code that says what to do about it, and a text that says what went wrong.
 *
 * Every function that can fail returns 0 or one of these codes and takes `struct ms_error *err`
 * last. The text names the thing, the cause and, where there is one, the remedy. Programs compare
 * code and subject and never search the text. Only cmd, api and worker print it. `err` may be NULL
 * where the caller does not need the text. */
#ifndef MSAAS_ERR_H
#define MSAAS_ERR_H

#include <stdbool.h>
#include <stddef.h>

#define MS_MUST_CHECK __attribute__((warn_unused_result))
#define MS_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

enum ms_code {
    MS_OK = 0,
    MS_EUSAGE = -1,       /* an option or argument is wrong: exit code 2 */
    MS_EINPUT = -2,       /* the song itself cannot be used, now or ever */
    MS_EMODEL = -3,       /* the model is unknown, damaged or of a kind not supported */
    MS_ENOTFOUND = -4,    /* the named thing does not exist */
    MS_EIO = -5,          /* the local disk failed: full, read-only, unreadable */
    MS_ENET = -6,         /* a network peer could not be reached or broke off */
    MS_ENOMEM = -7,       /* memory ran out, or a limit on it was reached */
    MS_ECANCELED = -8,    /* somebody asked to stop */
    MS_EUNSUPPORTED = -9, /* this build or this machine cannot do it */
    MS_EINTERNAL = -10,   /* a fault of msaas itself */
    MS_ECORRUPT = -11,    /* bytes do not match their digest or format */
    MS_ECONFLICT = -12,   /* the state or the token has changed meanwhile */
    MS_EDENIED = -13,     /* a peer or policy refused: credentials, permissions, address guard */
    MS_ETOOLARGE = -14,   /* a stated limit is exceeded */
    MS_EQUOTA = -15,      /* an account's limit is reached, for now */
};

#define MS_ERROR_SUBJECT_BYTES 500
#define MS_ERROR_TEXT_BYTES 1500

struct ms_error {
    int code;
    /* What the error is about: a path, an option, a URL. Empty where it is about nothing named. */
    char subject[MS_ERROR_SUBJECT_BYTES];
    /* For people. It begins with "SUBJECT: " if there is a subject. */
    char text[MS_ERROR_TEXT_BYTES];
};

/* Records an error without a subject in err (if not NULL) and returns code. What does not fit is
 * cut off. */
int ms_error_set(struct ms_error *err, int code, const char *fmt, ...) MS_PRINTF(3, 4);

/* Records an error about `subject`, which NULL or "" leaves out. */
int ms_error_about(struct ms_error *err, int code, const char *subject, const char *fmt, ...)
    MS_PRINTF(4, 5);

/* The analyzer sees one file at a time: this tells it that the result is the code. */
#ifdef __clang_analyzer__
#define ms_error_set(err, code, ...) ((void)(ms_error_set)(err, code, __VA_ARGS__), (code))
#define ms_error_about(err, code, ...) ((void)(ms_error_about)(err, code, __VA_ARGS__), (code))
#endif

/* Records what `from` holds, such as the error of another thread. Returns its code. */
int ms_error_copy(struct ms_error *err, const struct ms_error *from);

/* Makes `prefix` the subject of the error and puts "prefix: " before its text. Returns err->code,
 * or MS_EINTERNAL if err is NULL. */
int ms_error_prefix(struct ms_error *err, const char *fmt, ...) MS_PRINTF(2, 3);

/* Puts more at the end of the text. */
void ms_error_append(struct ms_error *err, const char *fmt, ...) MS_PRINTF(2, 3);

/* Puts another subject, or none ("" or NULL), in the place of the one that err holds. */
void ms_error_rename(struct ms_error *err, const char *subject);

bool ms_error_is_about(const struct ms_error *err, const char *subject);

/* "input", "model", ...: stable, machine-readable name of a code. */
const char *ms_code_name(int code);

/* Whether the same attempt may succeed later although nobody changes anything. Only this function
 * decides it. */
bool ms_code_is_transient(int code);

#endif
