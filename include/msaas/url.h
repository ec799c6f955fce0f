/* URLs of services and percent-encoding (RFC 3986). No I/O; any thread. */
#ifndef MSAAS_URL_H
#define MSAAS_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "msaas/err.h"

#define MS_URL_HOST_BYTES 256
struct ms_url { /* absent parts are ""; parts that may be percent-encoded are decoded */
    char scheme[16], user[128], password[256], host[MS_URL_HOST_BYTES], port[8], path[1024],
        query[1024];
};
/* MS_EUSAGE; the error never shows user or password. */
MS_MUST_CHECK int ms_url_parse(const char *text, struct ms_url *out, struct ms_error *err);
/* The URL without password, query and fragment: for logs. */
void ms_url_public(const char *text, char *out, size_t capacity);
/* Scheme, host and port only: for logs of URLs whose path may be a secret, such as the webhooks of
 * chat services. */
void ms_url_origin(const char *text, char *out, size_t capacity);
/* The host alone, in lower case and without a final dot: to tell hosts apart. "": no URL. */
void ms_url_host(const char *text, char out[MS_URL_HOST_BYTES]);
/* Decodes into out, which may be text itself. False: a malformed escape, a NUL, or no room. */
bool ms_percent_decode(const char *text, size_t size, char *out, size_t capacity);
/* Encodes all but unreserved characters (and '/' if keep_slash). The caller frees it. NULL: no
 * memory. */
char *ms_percent_encode(const char *text, bool keep_slash);

#endif
