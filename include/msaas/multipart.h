/* multipart/form-data (RFC 7578): a whole body in memory, taken apart. Pure; any thread. */
#ifndef MSAAS_MULTIPART_H
#define MSAAS_MULTIPART_H

#include <stddef.h>

#include "msaas/err.h"

#define MS_MULTIPART_MAX_PARTS 64
#define MS_MULTIPART_MAX_NAME_BYTES 1024 /* of names, file names and media types */

struct ms_multipart_part {
    char *name;         /* UTF-8 without control characters */
    char *filename;     /* likewise, without folders; NULL: the part is no file */
    char *content_type; /* "" when it has none */
    const char *data;   /* in the body: no NUL behind it */
    size_t size;
};
struct ms_multipart {
    struct ms_multipart_part parts[MS_MULTIPART_MAX_PARTS];
    int count;
};
/* content_type: the request's. `out` points into the body. MS_EINPUT: it is not
 * multipart/form-data, or malformed; MS_ETOOLARGE: too many parts, too long names; MS_ENOMEM. */
MS_MUST_CHECK int ms_multipart_parse(const char *content_type, const void *body, size_t size,
                                     struct ms_multipart *out, struct ms_error *err);
void ms_multipart_free(struct ms_multipart *form);

#endif
