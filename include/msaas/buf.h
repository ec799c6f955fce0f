/* Bytes that grow up to a maximum. The first failure latches: appending goes on in vain, the end tells. */
#ifndef MSAAS_BUF_H
#define MSAAS_BUF_H

#include <stddef.h>

#include "msaas/err.h"

struct ms_buf {  /* {.max = N} is an empty one */
    char *bytes; /* NULL while empty; else a NUL follows the last byte */
    size_t size, capacity;
    size_t max; /* bytes without the NUL */
    int failed; /* 0, MS_ENOMEM, MS_ETOOLARGE */
};
void ms_buf_fini(struct ms_buf *buf); /* empty again, max stays */
void ms_buf_append(struct ms_buf *buf, const void *bytes, size_t size);
void ms_buf_puts(struct ms_buf *buf, const char *text);
void ms_buf_printf(struct ms_buf *buf, const char *fmt, ...) MS_PRINTF(2, 3);
/* The text ("" when nothing was appended), the caller's to free; buf is empty again. NULL: it had failed. */
char *ms_buf_take(struct ms_buf *buf);

#endif
