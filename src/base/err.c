/* Error codes and texts. Owns nothing; any thread. */
#include "msaas/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int(ms_error_set)(struct ms_error *err, int code, const char *fmt, ...) {
    if (err == NULL)
        return code;
    /* Formatted aside first: an argument may be err->text itself. */
    char text[sizeof err->text];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    err->code = code;
    memcpy(err->text, text, sizeof text);
    return code;
}

int ms_error_prefix(struct ms_error *err, const char *fmt, ...) {
    if (err == NULL)
        return MS_EINTERNAL;
    char prefix[300];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(prefix, sizeof prefix, fmt, args);
    va_end(args);
    return ms_error_set(err, err->code, "%s: %s", prefix, err->text);
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
    }
    return "unknown";
}

bool ms_code_is_transient(int code) {
    return code == MS_ENET || code == MS_EIO || code == MS_ENOMEM;
}
