/* Any bytes as a form: the first line is the request's Content-Type, the rest its body. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/multipart.h"
#include "msaas/text.h"
#include "parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check(int holds) {
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    const uint8_t *line = size > 0 ? memchr(bytes, '\n', size) : NULL;
    const char *body = line != NULL ? (const char *)line + 1 : "";
    const size_t type_bytes = line != NULL ? (size_t)(line - bytes) : 0;
    const size_t body_bytes = line != NULL ? size - type_bytes - 1 : 0;
    char *type = calloc(1, type_bytes + 1);
    if (type == NULL)
        abort();
    if (type_bytes > 0)
        memcpy(type, bytes, type_bytes);
    struct ms_multipart form;
    struct ms_error err = {0};
    if (ms_multipart_parse(type, body, body_bytes, &form, &err) != 0)
        check(err.text[0] != '\0' && form.count == 0);
    for (int i = 0; i < form.count; i++) {
        const struct ms_multipart_part *part = &form.parts[i];
        check(part->data >= body && part->size <= (size_t)(body + body_bytes - part->data));
        check(ms_is_utf8(part->name) && ms_is_utf8(part->content_type));
        if (part->filename != NULL)
            check(ms_is_utf8(part->filename) && strpbrk(part->filename, "/\\\r\n") == NULL);
    }
    ms_multipart_free(&form);
    free(type);
    return 0;
}
