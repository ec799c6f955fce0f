/* Bytes that grow up to a maximum. One thread at a time. */
#include "msaas/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ms_buf_fini(struct ms_buf *buf) {
    const size_t max = buf->max;
    free(buf->bytes);
    *buf = (struct ms_buf){.max = max};
}

/* Room for `size` more and the NUL. */
static bool reserve(struct ms_buf *buf, size_t size) {
    if (buf->failed != 0)
        return false;
    if (size > buf->max - buf->size) {
        buf->failed = MS_ETOOLARGE;
        return false;
    }
    const size_t needed = buf->size + size + 1;
    if (needed <= buf->capacity)
        return true;
    size_t capacity = needed + needed / 2 > 64 ? needed + needed / 2 : 64;
    if (capacity > buf->max + 1)
        capacity = buf->max + 1;
    char *grown = realloc(buf->bytes, capacity);
    if (grown == NULL) {
        buf->failed = MS_ENOMEM;
        return false;
    }
    buf->bytes = grown;
    buf->capacity = capacity;
    return true;
}

void ms_buf_append(struct ms_buf *buf, const void *bytes, size_t size) {
    if (!reserve(buf, size))
        return;
    if (size > 0)
        memcpy(buf->bytes + buf->size, bytes, size);
    buf->size += size;
    buf->bytes[buf->size] = '\0';
}

void ms_buf_puts(struct ms_buf *buf, const char *text) {
    ms_buf_append(buf, text, strlen(text));
}

void ms_buf_printf(struct ms_buf *buf, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    const int size = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (size < 0 || !reserve(buf, (size_t)size))
        return;
    va_start(args, fmt);
    (void)vsnprintf(buf->bytes + buf->size, (size_t)size + 1, fmt, args);
    va_end(args);
    buf->size += (size_t)size;
}

char *ms_buf_take(struct ms_buf *buf) {
    char *text = NULL;
    ms_buf_append(buf, "", 0);
    if (buf->failed == 0) {
        text = buf->bytes;
        buf->bytes = NULL;
    }
    ms_buf_fini(buf);
    return text;
}
