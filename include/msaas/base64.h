/* Base64 (RFC 4648, section 4). Any thread. */
#ifndef MSAAS_BASE64_H
#define MSAAS_BASE64_H

#include <stddef.h>

#include "msaas/err.h"

/* With padding, without line breaks; the caller frees. NULL: memory. */
char *ms_base64_encode(const void *bytes, size_t size);

/* Strict: padding must be there and unused bits 0; only CR and LF may stand between. *out is the caller's to free (never
 * NULL on success, a NUL follows the bytes). MS_EINPUT with the place of the fault; MS_ETOOLARGE: over max_bytes. */
MS_MUST_CHECK int ms_base64_decode(const char *text, size_t size, size_t max_bytes,
                                   unsigned char **out, size_t *out_size, struct ms_error *err);

#endif
