/* Header fields that handlers decide by: ranges, entity tags, media types. RFC 9110. Pure; any
 * thread. Values: as ms_http_header gives them, NULL for none. */
#ifndef MSAAS_HTTP_RANGE_H
#define MSAAS_HTTP_RANGE_H

#include <stdbool.h>
#include <stdint.h>

enum ms_http_range {
    /* none asked for, or in a way that may be ignored (malformed, several, other units): 200 */
    MS_HTTP_RANGE_WHOLE,
    MS_HTTP_RANGE_PART, /* 206, Content-Range: bytes FIRST-(FIRST+COUNT-1)/SIZE */
    MS_HTTP_RANGE_NONE, /* 416, Content-Range: bytes (star)/SIZE */
};
/* *first and *count are always set: to the whole for WHOLE, to 0 for NONE. */
enum ms_http_range ms_http_parse_range(const char *range, int64_t size, int64_t *first,
                                       int64_t *count);
/* etag: ours, with its quotes. For If-None-Match, by weak comparison; a list, or "*". */
bool ms_http_etag_matches(const char *if_none_match, const char *etag);
/* Whether Range counts: no If-Range, or exactly this strong tag. A date never holds, since we
 * promise none. */
bool ms_http_if_range_holds(const char *if_range, const char *etag);
/* "Application/JSON; charset=utf-8" is "application/json". */
bool ms_http_is_media_type(const char *content_type, const char *type);

#endif
