/* URLs of services and percent-encoding (RFC 3986). No I/O; any thread. */
#ifndef MSAAS_URL_H
#define MSAAS_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "msaas/err.h"

/* sqlite:PATH and file:PATH (or file:///PATH) have a path as it stands, relative or absolute; all others are
 * SCHEME://[[USER]:PASSWORD@]HOST[:PORT][/PATH][?QUERY], http and https with a host. Strings are "" when absent, decoded but for
 * the query; scheme in lower case, an IPv6 host without brackets, path with its '/' in front. */
struct ms_url {
    char scheme[16], user[128], password[256], host[256], port[8], path[1024], query[1024];
};
/* MS_EUSAGE; the text never holds user or password. */
MS_MUST_CHECK int ms_url_parse(const char *text, struct ms_url *out, struct ms_error *err);
/* The URL without user, password, query and fragment: for logs. Takes any text, errs on the side of showing less. */
void ms_url_public(const char *text, char *out, size_t capacity);
/* Into out, which may be text itself; false: bad escape, NUL, or no room. */
bool ms_percent_decode(const char *text, size_t size, char *out, size_t capacity);
/* Encodes all but unreserved characters (and '/' when keep_slash); the caller frees; NULL: memory. */
char *ms_percent_encode(const char *text, bool keep_slash);

#endif
