/* Base64 (RFC 4648, section 4). Any thread. */
#ifndef MSAAS_BASE64_H
#define MSAAS_BASE64_H

#include <stddef.h>

#include "msaas/err.h"

/* With padding, without line breaks. The caller frees it. NULL: no memory. */
char *ms_base64_encode(const void *bytes, size_t size);

/* Decodes in place: the bytes are written over the text, from its start. Strict: the text must be
 * padded, unused bits must be 0, and only CR and LF may stand between digits. MS_EINPUT with the
 * place of the fault; MS_ETOOLARGE: more than max_bytes. After an error the text is unusable. */
MS_MUST_CHECK int ms_base64_decode(char *text, size_t size, size_t max_bytes, size_t *out_size,
                                   struct ms_error *err);

#endif
