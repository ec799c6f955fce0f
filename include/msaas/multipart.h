/* multipart/form-data (RFC 7578): splits a whole body in memory into its parts. Pure; any
 * thread. */
#ifndef MSAAS_MULTIPART_H
#define MSAAS_MULTIPART_H

#include <stddef.h>

#include "msaas/err.h"

#define MS_MULTIPART_MAX_PARTS 64
#define MS_MULTIPART_MAX_NAME_BYTES 1024 /* of names, file names and media types */

struct ms_multipart_part {
    char *name; /* UTF-8 without control characters */
    /* likewise, without folders; NULL: the part is not a file */
    char *filename;
    char *content_type; /* "" when it has none */
    /* in the body; no NUL follows it */
    const char *data;
    size_t size;
};
struct ms_multipart {
    struct ms_multipart_part parts[MS_MULTIPART_MAX_PARTS];
    int count;
};
/* content_type: of the request. `out` points into the body. MS_EINPUT: it is malformed, or not
 * multipart/form-data; MS_ETOOLARGE: too many parts or too long names; MS_ENOMEM. */
MS_MUST_CHECK int ms_multipart_parse(const char *content_type, const void *body, size_t size,
                                     struct ms_multipart *out, struct ms_error *err);
void ms_multipart_free(struct ms_multipart *form);

#endif
