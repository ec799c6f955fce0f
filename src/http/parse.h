/* HTTP/1.1 as bytes: the head of a request (RFC 9112) and the chunked coding. Pure functions, no
 * state but the caller's. Strict: what two parties could read in two ways is refused, because a
 * proxy in front of us may be the other party. */
#ifndef MSAAS_HTTP_PARSE_H
#define MSAAS_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "msaas/err.h"

#define MS_HTTP_MAX_FIELDS 100
#define MS_HTTP_MAX_LINE_BYTES 8192 /* of the request line: beyond, 414 */

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
    bool close;         /* the connection ends after the answer */
    const char *reason; /* when refused: why, a constant */
};

/* Looks for the end of a head in bytes that come piece by piece. *scanned: 0 at first, kept between
 * calls. Returns 0 when all is well, with *head_bytes > 0 once the head is whole; else a status
 * (400, 414), with *reason. */
MS_MUST_CHECK int ms_http_scan_head(const char *bytes, size_t size, size_t *scanned,
                                    size_t *head_bytes, const char **reason);
/* bytes[0..size) is a whole head, its empty line included. It is cut into strings in place: `out`
 * points into it. Returns 0, or the status to answer with (400, 417, 431, 505), with out->reason;
 * out->method and path are then "" or good. */
MS_MUST_CHECK int ms_http_parse_head(char *bytes, size_t size, struct ms_http_head *out);
const char *ms_http_head_field(const struct ms_http_head *head, const char *name); /* NULL: none */

/* A whole path, decoded segment by segment: refuses also "." and ".." segments, and '/' or '\' that
 * were escaped or not segments' ends. */
MS_MUST_CHECK bool ms_http_decode_path(const char *raw, char *out);

/* The chunked coding, as bytes come. Zeroed at first. */
struct ms_http_chunked {
    int state;
    int digits;
    int64_t left;      /* of this chunk */
    size_t line_bytes; /* of extensions and trailers so far */
    bool colon;        /* seen in this trailer line */
};
/* Takes *used bytes of `bytes`; *data, *data_size: a run of the body among them, perhaps empty. 0:
 * go on with the rest; 1: that was the end; -1: not chunked coding. */
MS_MUST_CHECK int ms_http_chunked_feed(struct ms_http_chunked *chunked, const char *bytes,
                                       size_t size, size_t *used, const char **data,
                                       size_t *data_size);

#endif
