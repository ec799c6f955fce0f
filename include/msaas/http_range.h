/* Header fields that handlers read: ranges, entity tags, media types (RFC 9110). Values are as
 * ms_http_header returns them, NULL for none. Pure; any thread. */
#ifndef MSAAS_HTTP_RANGE_H
#define MSAAS_HTTP_RANGE_H

#include <stdbool.h>
#include <stdint.h>

enum ms_http_range {
    /* no range, or one to be ignored (malformed, several, other units): 200 */
    MS_HTTP_RANGE_WHOLE,
    MS_HTTP_RANGE_PART, /* 206, Content-Range: bytes FIRST-(FIRST+COUNT-1)/SIZE */
    MS_HTTP_RANGE_NONE, /* 416, Content-Range: bytes (star)/SIZE */
};
/* *first and *count are always set: for WHOLE to the whole, for NONE to 0. */
enum ms_http_range ms_http_parse_range(const char *range, int64_t size, int64_t *first,
                                       int64_t *count);
/* Whether If-None-Match, a list of tags or "*", contains our etag (with its quotes), by weak
 * comparison. */
bool ms_http_etag_matches(const char *if_none_match, const char *etag);
/* Whether If-Match, a list of tags or "*", is absent or contains our etag, by strong comparison. */
bool ms_http_if_match_holds(const char *if_match, const char *etag);
/* Whether Range counts: If-Range is absent or exactly this strong tag. A date never counts, because
 * the server sends none. */
bool ms_http_if_range_holds(const char *if_range, const char *etag);
/* Without case and parameters: "Application/JSON; charset=utf-8" is "application/json". */
bool ms_http_is_media_type(const char *content_type, const char *type);

#endif
