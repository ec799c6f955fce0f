/* HTTP/1.1 as bytes: the head of a request (RFC 9112) and the chunked coding. Pure functions.
 * Strict: a message that could be read in two ways is refused, because a proxy in front of the
 * server may read it in the other way. */
#ifndef MSAAS_HTTP_PARSE_H
#define MSAAS_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "msaas/err.h"

#define MS_HTTP_MAX_FIELDS 100
/* of the request line; a longer one is answered 414 */
#define MS_HTTP_MAX_LINE_BYTES 8192

struct ms_http_field {
    const char *name, *value;
};
struct ms_http_head {
    const char *method;
    const char *path;  /* raw, as sent: begins with '/', or is "*" */
    const char *query; /* raw; "" when none */
    int minor;         /* HTTP/1.minor: 0 or 1 */
    struct ms_http_field fields[MS_HTTP_MAX_FIELDS];
    int field_count;
    int64_t content_length; /* -1: no such field */
    bool chunked;
    bool expect_continue;
    bool close; /* the connection ends after the answer */
    /* why the head was refused, a constant */
    const char *reason;
};

/* Looks for the end of a head whose bytes come piece by piece. *scanned: 0 at first, and kept
 * between calls. *head_bytes: its length, 0 as long as it is incomplete. Returns 0, or the status
 * to answer with (400, 414) and *reason. */
MS_MUST_CHECK int ms_http_scan_head(const char *bytes, size_t size, size_t *scanned,
                                    size_t *head_bytes, const char **reason);
/* bytes: a whole head with its empty line. It is cut into strings in place, and `out` points into
 * it. Returns 0, or the status to answer with (400, 417, 431, 505) and out->reason; then
 * out->method and path are valid or "". */
MS_MUST_CHECK int ms_http_parse_head(char *bytes, size_t size, struct ms_http_head *out);
/* text: the beginning of a head that ms_http_scan_head refused. It is cut into strings in place:
 * method and path as far as they can be told, else "". */
void ms_http_guess_line(char *text, struct ms_http_head *out);
const char *ms_http_head_field(const struct ms_http_head *head, const char *name); /* NULL: none */

/* Decodes a whole path, segment by segment. False: malformed, or a segment is ".", "..", or
 * contains "/" or "\" when decoded. */
MS_MUST_CHECK bool ms_http_decode_path(const char *raw, char *out);

/* The state of reading the chunked coding. Zero at first. */
struct ms_http_chunked {
    int state;
    int digits;
    int64_t left;      /* of this chunk */
    size_t line_bytes; /* of extensions and trailers so far */
    bool colon;        /* seen in this trailer line */
};
/* Takes *used bytes of `bytes`. *data, *data_size: the piece of the body among them, perhaps empty.
 * 0: go on with the rest; 1: the body is complete; -1: it is malformed. */
MS_MUST_CHECK int ms_http_chunked_feed(struct ms_http_chunked *chunked, const char *bytes,
                                       size_t size, size_t *used, const char **data,
                                       size_t *data_size);

#endif
