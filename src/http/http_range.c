/* Which part of an object a client wants, and whether it has the object already. Pure; any
 * thread. */
#include "msaas/http_range.h"

#include <string.h>
#include <strings.h>

/* Reads digits into *out, INT64_MAX if there are too many. Returns their end, NULL if there is
 * none. */
static const char *read_number(const char *at, int64_t *out) {
    const char *begin = at;
    int64_t number = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        const int digit = *at - '0';
        number = number > (INT64_MAX - digit) / 10 ? INT64_MAX : number * 10 + digit;
    }
    *out = number;
    return at > begin ? at : NULL;
}

static const char *skip_blanks(const char *at) {
    return at + strspn(at, " \t");
}

enum ms_http_range ms_http_parse_range(const char *range, int64_t size, int64_t *first,
                                       int64_t *count) {
    int64_t from, to = INT64_MAX;
    *first = 0;
    *count = size;
    if (range == NULL || strncasecmp(range, "bytes=", 6) != 0)
        return MS_HTTP_RANGE_WHOLE;
    const char *at = skip_blanks(range + 6);
    if (*at == '-') {
        at = read_number(at + 1, &to);
        if (at == NULL || *skip_blanks(at) != '\0')
            return MS_HTTP_RANGE_WHOLE;
        from = to < size ? size - to : 0;
        if (to == 0)
            from = size; /* the last 0 bytes: not satisfiable */
        to = INT64_MAX;
    } else {
        at = read_number(at, &from);
        if (at == NULL || *at++ != '-')
            return MS_HTTP_RANGE_WHOLE;
        if (*at >= '0' && *at <= '9')
            at = read_number(at, &to);
        if (*skip_blanks(at) != '\0' || to < from)
            return MS_HTTP_RANGE_WHOLE;
    }
    if (from >= size) {
        *count = 0;
        return MS_HTTP_RANGE_NONE;
    }
    *first = from;
    *count = (to < size ? to + 1 : size) - from;
    return MS_HTTP_RANGE_PART;
}

bool ms_http_etag_matches(const char *if_none_match, const char *etag) {
    const size_t wanted = strlen(etag);
    const char *at = if_none_match;
    if (at == NULL || wanted == 0)
        return false;
    if (strcmp(at, "*") == 0)
        return true;
    if (strncmp(etag, "W/", 2) == 0)
        return ms_http_etag_matches(if_none_match, etag + 2);
    for (;;) {
        at += strspn(at, " \t,");
        if (strncmp(at, "W/", 2) == 0)
            at += 2;
        const char *end = *at == '"' ? strchr(at + 1, '"') : NULL;
        if (end == NULL)
            return false;
        if ((size_t)(end + 1 - at) == wanted && memcmp(at, etag, wanted) == 0)
            return true;
        at = end + 1;
    }
}

bool ms_http_if_range_holds(const char *if_range, const char *etag) {
    return if_range == NULL || (*if_range == '"' && strcmp(if_range, etag) == 0);
}

bool ms_http_is_media_type(const char *content_type, const char *type) {
    const size_t length = strlen(type);
    if (content_type == NULL || strncasecmp(content_type, type, length) != 0)
        return false;
    content_type = skip_blanks(content_type + length);
    return *content_type == '\0' || *content_type == ';';
}
