/* Parses the bytes of clients into a request, or into the status of a refusal. Owns nothing; any
 * thread. */
#include "parse.h"

#include <string.h>
#include <strings.h>

#include "msaas/text.h"
#include "msaas/url.h"

#define MAX_METHOD_BYTES 32
#define MAX_CHUNK_DIGITS 15         /* 2^60 bytes: above every limit, and far from an overflow */
#define MAX_CHUNK_LINES_BYTES 16384 /* extensions and trailers of one body together */
#define MAX_CONTENT_LENGTH_DIGITS 18

/* ---- characters ---- */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_token_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static int hex_value(char c) {
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool is_control(char c) {
    return (unsigned char)c < 0x20 || c == 0x7f;
}

/* ---- the end of the head ---- */

int ms_http_scan_head(const char *bytes, size_t size, size_t *scanned, size_t *head_bytes,
                      const char **reason) {
    size_t at = *scanned;
    *head_bytes = 0;
    if (size > MS_HTTP_MAX_LINE_BYTES && memchr(bytes, '\n', MS_HTTP_MAX_LINE_BYTES) == NULL) {
        *reason = "the URL is too long"; /* whether the rest of the head is there or not */
        return 414;
    }
    for (; at < size; at++) {
        const char c = bytes[at];
        if (c == '\0') {
            *reason = "a NUL in the headers";
            return 400;
        }
        if ((c == '\n') != (at > 0 && bytes[at - 1] == '\r')) {
            *reason = "lines must end with CR LF";
            return 400;
        }
        if (c == '\n' && at >= 3 && bytes[at - 2] == '\n') {
            *head_bytes = at + 1;
            *scanned = at + 1;
            return 0;
        }
    }
    *scanned = at;
    return 0;
}

/* ---- the request line ---- */

static int refuse(struct ms_http_head *out, int status, const char *reason) {
    out->reason = reason;
    return status;
}

/* Cuts scheme and authority off an absolute URL, which proxies may send (RFC 9112, 3.2.2). NULL: it
 * is not an HTTP URL. */
static char *cut_authority(char *target) {
    size_t scheme = strncasecmp(target, "http://", 7) == 0    ? 7
                    : strncasecmp(target, "https://", 8) == 0 ? 8
                                                              : 0;
    char *path = target + scheme + strcspn(target + scheme, "/?");
    if (scheme == 0 || path == target + scheme)
        return NULL;
    /* "http://host?query" means the path "/": it is refused, because it is rare and would need a
     * copy. */
    return *path == '/' ? path : NULL;
}

static int parse_request_line(char *line, struct ms_http_head *out) {
    size_t length = 0;
    while (is_token_char(line[length]))
        length++;
    if (length == 0 || length > MAX_METHOD_BYTES || line[length] != ' ')
        return refuse(out, 400, "no HTTP method");
    line[length] = '\0';
    out->method = line; /* known from here on, because HEAD is refused without a body */
    char *target = line + length + 1;
    char *version;
    for (version = target; *version > 0x20 && *version < 0x7f; version++)
        if (*version == '#')
            return refuse(out, 400, "a fragment in the URL");
    if (version == target || *version != ' ')
        return refuse(out, 400, "the URL is missing or contains characters that must be escaped");
    *version++ = '\0';
    if (strncmp(version, "HTTP/", 5) != 0 || !is_digit(version[5]) || version[6] != '.' ||
        !is_digit(version[7]) || version[8] != '\0')
        return refuse(out, 400, "no HTTP version");
    if (version[5] != '1')
        return refuse(out, 505, "this server speaks HTTP/1.1");
    out->minor = version[7] == '0' ? 0 : 1;
    if (strcmp(target, "*") == 0) {
        if (strcmp(line, "OPTIONS") != 0)
            return refuse(out, 400, "* is for OPTIONS only");
    } else if (*target != '/') {
        target = cut_authority(target);
        if (target == NULL)
            return refuse(out, 400, "the URL is neither a path nor http://...");
    }
    char *query = strchr(target, '?');
    if (query != NULL) {
        *query = '\0';
        out->query = query + 1;
    }
    out->path = target;
    return 0;
}

void ms_http_guess_line(char *text, struct ms_http_head *out) {
    size_t length = 0;
    while (is_token_char(text[length]))
        length++;
    if (length == 0 || length > MAX_METHOD_BYTES || text[length] != ' ')
        return;
    text[length] = '\0';
    out->method = text;
    char *path = text + length + 1, *end = path;
    while (*end > 0x20 && *end < 0x7f && *end != '?')
        end++;
    *end = '\0';
    if (*path == '/')
        out->path = path;
}

/* ---- the fields ---- */

const char *ms_http_head_field(const struct ms_http_head *head, const char *name) {
    for (int i = 0; i < head->field_count; i++)
        if (strcasecmp(head->fields[i].name, name) == 0)
            return head->fields[i].value;
    return NULL;
}

static int parse_field(char *line, struct ms_http_head *out) {
    size_t name = 0, end;
    if (*line == ' ' || *line == '\t')
        return refuse(out, 400, "a header that continues on the next line");
    while (is_token_char(line[name]))
        name++;
    if (name == 0 || line[name] != ':')
        return refuse(out, 400, "a header whose name is missing or contains a blank");
    if (out->field_count == MS_HTTP_MAX_FIELDS)
        return refuse(out, 431, "too many headers");
    char *value = line + name + 1;
    value += strspn(value, " \t");
    for (const char *at = value; *at != '\0'; at++)
        if (is_control(*at) && *at != '\t')
            return refuse(out, 400, "a control character in a header");
    for (end = strlen(value); end > 0 && (value[end - 1] == ' ' || value[end - 1] == '\t'); end--)
        value[end - 1] = '\0';
    line[name] = '\0';
    out->fields[out->field_count].name = line;
    out->fields[out->field_count].value = value;
    out->field_count++;
    return 0;
}

static bool has_token(const char *list, const char *token) {
    const size_t length = strlen(token);
    while (*list != '\0') {
        list += strspn(list, " \t,");
        size_t some = strcspn(list, " \t,");
        if (some == length && strncasecmp(list, token, length) == 0)
            return true;
        list += some;
    }
    return false;
}

static bool parse_content_length(const char *value, int64_t *out) {
    size_t digits = 0;
    int64_t length = 0;
    for (; is_digit(value[digits]); digits++) {
        if (digits == MAX_CONTENT_LENGTH_DIGITS)
            return false;
        length = length * 10 + (value[digits] - '0');
    }
    *out = length;
    return digits > 0 && value[digits] == '\0'; /* "5, 5" is refused as well */
}

/* The fields that decide where the message ends and whether the connection is kept. */
static int read_framing(struct ms_http_head *out) {
    int hosts = 0, lengths = 0, codings = 0;
    out->close = out->minor == 0;
    for (int i = 0; i < out->field_count; i++) {
        const char *name = out->fields[i].name, *value = out->fields[i].value;
        if (strcasecmp(name, "Host") == 0) {
            hosts++;
            if (strpbrk(value, " \t,/@") != NULL)
                return refuse(out, 400, "Host is not a host name");
        } else if (strcasecmp(name, "Content-Length") == 0) {
            lengths++;
            if (!parse_content_length(value, &out->content_length))
                return refuse(out, 400, "Content-Length is not a number");
        } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
            codings++;
            out->chunked = strcasecmp(value, "chunked") == 0;
            if (!out->chunked)
                return refuse(out, 400, "a Transfer-Encoding other than chunked");
        } else if (strcasecmp(name, "Connection") == 0) {
            out->close = out->close || has_token(value, "close");
        } else if (strcasecmp(name, "Expect") == 0) {
            if (strcasecmp(value, "100-continue") != 0)
                return refuse(out, 417, "an Expect other than 100-continue");
            out->expect_continue = out->minor >= 1;
        }
    }
    if (hosts > 1 || (hosts == 0 && out->minor >= 1))
        return refuse(out, 400, "there must be exactly one Host header");
    if (lengths > 1 || codings > 1 || (lengths > 0 && codings > 0))
        return refuse(out, 400, "the length of the body is given more than once");
    if (codings > 0 && out->minor == 0)
        return refuse(out, 400, "HTTP/1.0 has no Transfer-Encoding");
    return 0;
}

int ms_http_parse_head(char *bytes, size_t size, struct ms_http_head *out) {
    char *line = bytes;
    int status = 0;
    memset(out, 0, sizeof *out);
    out->method = out->path = out->query = "";
    out->content_length = -1;
    if (size < 4 || memcmp(bytes + size - 4, "\r\n\r\n", 4) != 0 ||
        memchr(bytes, '\0', size) != NULL)
        return refuse(out, 400, "not a whole head");
    bytes[size - 2] = '\0'; /* the empty line: ends the loop */
    while (status == 0 && *line != '\0') {
        char *end = strchr(line, '\r');
        if (end == NULL || end[1] != '\n' || memchr(line, '\n', (size_t)(end - line)) != NULL)
            return refuse(out, 400, "lines must end with CR LF");
        *end = '\0';
        status = line == bytes ? parse_request_line(line, out) : parse_field(line, out);
        line = end + 2;
    }
    if (status == 0 && *out->method == '\0')
        return refuse(out, 400, "no request line");
    return status != 0 ? status : read_framing(out);
}

/* ---- paths ---- */

bool ms_http_percent_decode(const char *text, size_t size, bool plus_is_blank, char *out) {
    memcpy(out, text, size);
    for (size_t i = 0; plus_is_blank && i < size; i++)
        if (out[i] == '+')
            out[i] = ' ';
    if (!ms_percent_decode(out, size, out, size + 1))
        return false;
    for (const char *at = out; *at != '\0'; at++)
        if (is_control(*at))
            return false;
    return ms_is_utf8(out);
}

bool ms_http_decode_path(const char *raw, char *out) {
    while (*raw == '/') {
        const size_t size = strcspn(raw + 1, "/");
        *out++ = *raw++;
        if (!ms_http_percent_decode(raw, size, false, out) || strpbrk(out, "/\\") != NULL ||
            strcmp(out, ".") == 0 || strcmp(out, "..") == 0)
            return false;
        out += strlen(out);
        raw += size;
    }
    *out = '\0';
    return *raw == '\0';
}

/* ---- the chunked coding ---- */

enum {
    SIZE,      /* hex digits */
    EXTENSION, /* behind ';' */
    SIZE_LF,   /* CR seen */
    DATA,      /* left > 0 */
    DATA_CR,   /* behind the data */
    DATA_LF,
    LINE,       /* at the begin of a trailer line */
    TRAILER,    /* in one */
    TRAILER_LF, /* CR seen */
    END_LF,     /* CR of the empty line seen */
    ENDED,
};

/* Takes one byte that is not data. Returns the next state, or -1. */
static int step(struct ms_http_chunked *chunked, char c) {
    switch (chunked->state) {
    case SIZE:
        if (hex_value(c) >= 0) {
            if (++chunked->digits > MAX_CHUNK_DIGITS)
                return -1;
            chunked->left = chunked->left * 16 + hex_value(c);
            return SIZE;
        }
        if (chunked->digits == 0)
            return -1;
        return c == ';' ? EXTENSION : c == '\r' ? SIZE_LF : -1;
    case EXTENSION:
        if (c == '\r')
            return SIZE_LF;
        if ((is_control(c) && c != '\t') || ++chunked->line_bytes > MAX_CHUNK_LINES_BYTES)
            return -1;
        return EXTENSION;
    case SIZE_LF: chunked->digits = 0; return c != '\n' ? -1 : chunked->left > 0 ? DATA : LINE;
    case DATA_CR: return c == '\r' ? DATA_LF : -1;
    case DATA_LF: return c == '\n' ? SIZE : -1;
    case LINE:
        chunked->colon = false;
        if (c == '\r')
            return END_LF;
        chunked->line_bytes += 3; /* the end of the line counts, too */
        return is_token_char(c) && chunked->line_bytes <= MAX_CHUNK_LINES_BYTES ? TRAILER : -1;
    case TRAILER:
        if (c == '\r')
            return chunked->colon ? TRAILER_LF : -1;
        if ((is_control(c) && c != '\t') || ++chunked->line_bytes > MAX_CHUNK_LINES_BYTES)
            return -1;
        if (!chunked->colon && c != ':' && !is_token_char(c))
            return -1;
        chunked->colon = chunked->colon || c == ':';
        return TRAILER;
    case TRAILER_LF: return c == '\n' ? LINE : -1;
    case END_LF: return c == '\n' ? ENDED : -1;
    default: return -1;
    }
}

int ms_http_chunked_feed(struct ms_http_chunked *chunked, const char *bytes, size_t size,
                         size_t *used, const char **data, size_t *data_size) {
    size_t at = 0;
    int rc = 0;
    *data = bytes;
    *data_size = 0;
    while (at < size && chunked->state != DATA && chunked->state != ENDED) {
        chunked->state = step(chunked, bytes[at++]);
        if (chunked->state < 0) {
            chunked->state = ENDED + 1; /* fails from now on */
            rc = -1;
            goto out;
        }
    }
    if (chunked->state == DATA && at < size) {
        const size_t some =
            (int64_t)(size - at) < chunked->left ? size - at : (size_t)chunked->left;
        *data = bytes + at;
        *data_size = some;
        at += some;
        chunked->left -= (int64_t)some;
        if (chunked->left == 0)
            chunked->state = DATA_CR;
    }
    rc = chunked->state == ENDED;
out:
    *used = at;
    return rc;
}
