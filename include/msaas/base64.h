/* Base64 (RFC 4648, section 4). Any thread. */
#ifndef MSAAS_BASE64_H
#define MSAAS_BASE64_H

#include <stddef.h>

#include "msaas/err.h"

/* With padding, without line breaks; the caller frees. NULL: memory. */
char *ms_base64_encode(const void *bytes, size_t size);

/* In place: the bytes take the text's memory, from its start. Strict: padding must be there and
 * unused bits 0; only CR and LF may stand between. MS_EINPUT with the place of the fault;
 * MS_ETOOLARGE: over max_bytes; the text is then spoilt. */
MS_MUST_CHECK int ms_base64_decode(char *text, size_t size, size_t max_bytes, size_t *out_size,
                                   struct ms_error *err);

#endif
