/* Error codes and texts. Owns nothing; any thread. */
#include "msaas/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The text without the subject that it begins with. */
static const char *rest_of(const struct ms_error *err) {
    return err->subject[0] != '\0' ? err->text + strlen(err->subject) + strlen(": ") : err->text;
}

/* `rest` and `subject` may be parts of err itself. */
static int record(struct ms_error *err, int code, const char *subject, const char *rest) {
    struct ms_error made = {.code = code};
    if (subject != NULL)
        (void)snprintf(made.subject, sizeof made.subject, "%s", subject);
    (void)snprintf(made.text, sizeof made.text, "%s%s%s", made.subject,
                   made.subject[0] != '\0' ? ": " : "", rest);
    *err = made;
    return code;
}

static MS_PRINTF(4, 0) int record_formatted(struct ms_error *err, int code, const char *subject,
                                            const char *fmt, va_list args) {
    char rest[MS_ERROR_TEXT_BYTES];
    (void)vsnprintf(rest, sizeof rest, fmt, args);
    return record(err, code, subject, rest);
}

int(ms_error_set)(struct ms_error *err, int code, const char *fmt, ...) {
    if (err == NULL)
        return code;
    va_list args;
    va_start(args, fmt);
    (void)record_formatted(err, code, NULL, fmt, args);
    va_end(args);
    return code;
}

int(ms_error_about)(struct ms_error *err, int code, const char *subject, const char *fmt, ...) {
    if (err == NULL)
        return code;
    va_list args;
    va_start(args, fmt);
    (void)record_formatted(err, code, subject, fmt, args);
    va_end(args);
    return code;
}

int ms_error_copy(struct ms_error *err, const struct ms_error *from) {
    if (err != NULL)
        *err = *from;
    return from->code;
}

int ms_error_prefix(struct ms_error *err, const char *fmt, ...) {
    if (err == NULL)
        return MS_EINTERNAL;
    va_list args;
    va_start(args, fmt);
    char prefix[MS_ERROR_SUBJECT_BYTES];
    (void)vsnprintf(prefix, sizeof prefix, fmt, args);
    va_end(args);
    return record(err, err->code, prefix, err->text);
}

void ms_error_append(struct ms_error *err, const char *fmt, ...) {
    if (err == NULL)
        return;
    const size_t used = strlen(err->text);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(err->text + used, sizeof err->text - used, fmt, args);
    va_end(args);
}

void ms_error_rename(struct ms_error *err, const char *subject) {
    if (err != NULL)
        (void)record(err, err->code, subject, rest_of(err));
}

bool ms_error_is_about(const struct ms_error *err, const char *subject) {
    return strncmp(err->subject, subject, sizeof err->subject - 1) == 0;
}

const char *ms_code_name(int code) {
    switch ((enum ms_code)code) {
    case MS_OK: return "ok";
    case MS_EUSAGE: return "usage";
    case MS_EINPUT: return "input";
    case MS_EMODEL: return "model";
    case MS_ENOTFOUND: return "not_found";
    case MS_EIO: return "io";
    case MS_ENET: return "network";
    case MS_ENOMEM: return "memory";
    case MS_ECANCELED: return "canceled";
    case MS_EUNSUPPORTED: return "unsupported";
    case MS_EINTERNAL: return "internal";
    case MS_ECORRUPT: return "corrupt";
    case MS_ECONFLICT: return "conflict";
    case MS_EDENIED: return "denied";
    case MS_ETOOLARGE: return "too_large";
    case MS_EQUOTA: return "quota";
    }
    return "unknown";
}

bool ms_code_is_transient(int code) {
    return code == MS_ENET || code == MS_EIO || code == MS_ENOMEM;
}
