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

/* weakly: a tag that is marked as weak counts, too. */
static bool list_holds(const char *list, const char *etag, bool weakly) {
    const size_t wanted = strlen(etag);
    for (const char *at = list; wanted > 0;) {
        at += strspn(at, " \t,");
        const bool is_weak = strncmp(at, "W/", 2) == 0;
        if (is_weak)
            at += 2;
        const char *end = *at == '"' ? strchr(at + 1, '"') : NULL;
        if (end == NULL)
            return false;
        if ((weakly || !is_weak) && (size_t)(end + 1 - at) == wanted &&
            memcmp(at, etag, wanted) == 0)
            return true;
        at = end + 1;
    }
    return false;
}

bool ms_http_etag_matches(const char *if_none_match, const char *etag) {
    if (if_none_match == NULL || *etag == '\0')
        return false;
    return strcmp(if_none_match, "*") == 0 ||
           list_holds(if_none_match, strncmp(etag, "W/", 2) == 0 ? etag + 2 : etag, true);
}

bool ms_http_if_match_holds(const char *if_match, const char *etag) {
    return if_match == NULL || strcmp(if_match, "*") == 0 || list_holds(if_match, etag, false);
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
