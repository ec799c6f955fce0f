/* Splits a form, as browsers, curl and Python's requests send it, into parts. Written here because
 * no library of Debian parses multipart/form-data in memory. Owns the names; the data stay in the
 * body. */
#include "msaas/multipart.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "msaas/http_range.h"
#include "msaas/http_server.h"
#include "msaas/text.h"
#include "parse.h"

#define MAX_BOUNDARY_BYTES 70
#define MAX_HEADERS_BYTES 8192                                    /* of one part */
#define MAX_VALUE_BYTES ((size_t)3 * MS_MULTIPART_MAX_NAME_BYTES) /* percent-encoded */

struct span {
    const char *at, *end;
};

/* ---- parameters: ; name=value; name="value" ---- */

static void skip_blanks(struct span *text) {
    while (text->at < text->end && (*text->at == ' ' || *text->at == '\t'))
        text->at++;
}

static bool take(struct span *text, char wanted) {
    if (text->at == text->end || *text->at != wanted)
        return false;
    text->at++;
    return true;
}

static struct span take_token(struct span *text) {
    struct span token = {text->at, text->at};
    while (token.end < text->end && (unsigned char)*token.end > 0x20 &&
           strchr(";=\"", *token.end) == NULL)
        token.end++;
    text->at = token.end;
    return token;
}

static bool is_named(struct span token, const char *name) {
    const size_t length = strlen(name);
    return (size_t)(token.end - token.at) == length && strncasecmp(token.at, name, length) == 0;
}

/* The text in quotes. Browsers write %22 for a quote, curl writes \". Any other backslash is a
 * plain character, as in C:\song.mp3. */
static bool take_quoted(struct span *text, char out[MAX_VALUE_BYTES + 1]) {
    size_t length = 0;
    while (text->at < text->end && *text->at != '"') {
        char c = *text->at++;
        if (c == '\\' && text->at < text->end && (*text->at == '"' || *text->at == '\\')) {
            c = *text->at++;
        } else if (c == '%' && text->end - text->at >= 2 && memcmp(text->at, "22", 2) == 0) {
            c = '"';
            text->at += 2;
        }
        if (length == MAX_VALUE_BYTES)
            return false;
        out[length++] = c;
    }
    out[length] = '\0';
    return take(text, '"');
}

/* The next "; name=value". 1: there is one; 0: the end; -1: malformed. */
static int take_parameter(struct span *text, struct span *name, char out[MAX_VALUE_BYTES + 1]) {
    skip_blanks(text);
    if (text->at == text->end)
        return 0;
    if (!take(text, ';'))
        return -1;
    skip_blanks(text);
    if (text->at == text->end)
        return 0; /* a ; at the end */
    *name = take_token(text);
    if (name->at == name->end || !take(text, '='))
        return -1;
    if (take(text, '"'))
        return take_quoted(text, out) ? 1 : -1;
    struct span value = take_token(text);
    if ((size_t)(value.end - value.at) > MAX_VALUE_BYTES)
        return -1;
    memcpy(out, value.at, (size_t)(value.end - value.at));
    out[value.end - value.at] = '\0';
    return 1;
}

/* ---- names ---- */

/* Replaces what JSON, logs and headers cannot hold by '_': an old file name is no reason to refuse
 * a song. */
static void clean(char *text) {
    const bool utf8 = ms_is_utf8(text);
    for (; *text != '\0'; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8))
            *text = '_';
    }
}

static const char *without_folders(const char *name) {
    const char *slash = strrchr(name, '/'), *backslash;
    if (slash != NULL)
        name = slash + 1;
    backslash = strrchr(name, '\\');
    return backslash != NULL ? backslash + 1 : name;
}

static int keep(char **out, const char *text, struct ms_error *err) {
    if (strlen(text) > MS_MULTIPART_MAX_NAME_BYTES)
        return ms_error_set(err, MS_ETOOLARGE, "a name in the form is longer than %d bytes",
                            MS_MULTIPART_MAX_NAME_BYTES);
    free(*out);
    *out = strdup(text);
    if (*out == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a form");
    clean(*out);
    return 0;
}

/* filename*=UTF-8''f%C3%BCr.mp3 (RFC 8187). False: malformed or in another charset; then filename=
 * counts. */
static bool decode_extended(const char *value, char *out) {
    if (strncasecmp(value, "UTF-8'", 6) != 0)
        return false;
    const char *text = strchr(value + 6, '\'');
    return text != NULL && ms_http_percent_decode(text + 1, strlen(text + 1), false, out);
}

static int read_disposition(struct span text, struct ms_multipart_part *part,
                            struct ms_error *err) {
    bool extended = false;
    int more, rc = 0;
    if (!is_named(take_token(&text), "form-data"))
        return ms_error_set(err, MS_EINPUT, "a part of the form is not form-data");
    char value[MAX_VALUE_BYTES + 1];
    char decoded[MAX_VALUE_BYTES + 1];
    struct span name;
    while ((more = take_parameter(&text, &name, value)) > 0 && rc == 0) {
        if (is_named(name, "name")) {
            if (part->name != NULL)
                return ms_error_set(err, MS_EINPUT, "a part of the form has two names");
            rc = keep(&part->name, value, err);
        } else if (is_named(name, "filename") && !extended) {
            rc = keep(&part->filename, without_folders(value), err);
        } else if (is_named(name, "filename*") && decode_extended(value, decoded)) {
            extended = true;
            rc = keep(&part->filename, without_folders(decoded), err);
        }
    }
    if (rc == 0 && more < 0)
        rc = ms_error_set(err, MS_EINPUT, "a Content-Disposition in the form is malformed");
    return rc;
}

/* ---- parts ---- */

static int read_header(struct span line, struct ms_multipart_part *part, bool *disposed,
                       struct ms_error *err) {
    const char *colon = memchr(line.at, ':', (size_t)(line.end - line.at));
    struct span name = {line.at, colon}, text;
    if (colon == NULL || memchr(line.at, '\0', (size_t)(line.end - line.at)) != NULL)
        return ms_error_set(err, MS_EINPUT, "a header of a part of the form is malformed");
    text = (struct span){colon + 1, line.end};
    skip_blanks(&text);
    if (is_named(name, "Content-Disposition")) {
        if (*disposed)
            return ms_error_set(err, MS_EINPUT, "a part of the form has two Content-Dispositions");
        *disposed = true;
        return read_disposition(text, part, err);
    }
    char value[MS_MULTIPART_MAX_NAME_BYTES + 1];
    if (is_named(name, "Content-Type")) {
        const size_t length = (size_t)(text.end - text.at);
        if (length > MS_MULTIPART_MAX_NAME_BYTES)
            return ms_error_set(err, MS_ETOOLARGE, "a media type in the form is too long");
        memcpy(value, text.at, length);
        value[length] = '\0';
        return keep(&part->content_type, value, err);
    }
    if (is_named(name, "Content-Transfer-Encoding") && !is_named(text, "binary") &&
        !is_named(text, "8bit") && !is_named(text, "7bit"))
        return ms_error_set(
            err, MS_EINPUT,
            "a part of the form has a Content-Transfer-Encoding; send it without one");
    return 0;
}

/* The part between two delimiters: headers, an empty line, data. */
static int read_part(struct span text, struct ms_multipart_part *part, struct ms_error *err) {
    bool disposed = false;
    const char *begin = text.at;
    for (;;) {
        const char *end = memmem(text.at, (size_t)(text.end - text.at), "\r\n", 2);
        if (end == NULL)
            return ms_error_set(err, MS_EINPUT, "the headers of a part of the form do not end");
        if (end - begin > MAX_HEADERS_BYTES)
            return ms_error_set(err, MS_ETOOLARGE,
                                "the headers of a part of the form are too large");
        if (end == text.at)
            break;
        int rc = read_header((struct span){text.at, end}, part, &disposed, err);
        if (rc != 0)
            return rc;
        text.at = end + 2;
    }
    if (part->name == NULL)
        return ms_error_set(err, MS_EINPUT, "a part of the form has no name");
    part->data = text.at + 2;
    part->size = (size_t)(text.end - part->data);
    return part->content_type != NULL ? 0 : keep(&part->content_type, "", err);
}

/* "\r\n--BOUNDARY", and its length. */
static size_t read_delimiter(const char *content_type, char out[MAX_BOUNDARY_BYTES + 5]) {
    struct span text = {content_type, content_type + strlen(content_type)}, name;
    text.at += strcspn(content_type, ";");
    char value[MAX_VALUE_BYTES + 1];
    while (take_parameter(&text, &name, value) > 0) {
        const size_t length = strlen(value);
        if (!is_named(name, "boundary"))
            continue;
        if (length == 0 || length > MAX_BOUNDARY_BYTES || value[length - 1] == ' ')
            return 0;
        memcpy(out, "\r\n--", 4);
        memcpy(out + 4, value, length + 1);
        return length + 4;
    }
    return 0;
}

/* Finds the next delimiter from text->at on. *begin: its beginning, where the part before it ends.
 * text->at moves behind it. 1: a part follows; 0: it was the last delimiter; -1: there is none. */
static int find_delimiter(struct span *text, const char *delimiter, size_t size,
                          const char **begin) {
    for (;;) {
        const char *found = memmem(text->at, (size_t)(text->end - text->at), delimiter, size);
        if (found == NULL)
            return -1;
        *begin = found;
        text->at = found + size;
        if (text->end - text->at >= 2 && memcmp(text->at, "--", 2) == 0)
            return 0;
        skip_blanks(text);
        if (text->end - text->at >= 2 && memcmp(text->at, "\r\n", 2) == 0) {
            text->at += 2;
            return 1;
        }
        text->at = found + size; /* only the beginning of a longer line */
    }
}

/* The first delimiter. At the beginning of the body there is no CR LF before it. */
static int find_first(struct span *text, const char *delimiter, size_t size) {
    const size_t bare = size - 2;
    if ((size_t)(text->end - text->at) >= bare && memcmp(text->at, delimiter + 2, bare) == 0) {
        const char *start = text->at;
        text->at += bare;
        if (text->end - text->at >= 2 && memcmp(text->at, "--", 2) == 0)
            return 0;
        skip_blanks(text);
        if (text->end - text->at >= 2 && memcmp(text->at, "\r\n", 2) == 0) {
            text->at += 2;
            return 1;
        }
        text->at = start;
    }
    const char *begin;
    return find_delimiter(text, delimiter, size, &begin);
}

int ms_multipart_parse(const char *content_type, const void *body, size_t size,
                       struct ms_multipart *out, struct ms_error *err) {
    struct span text = {body, (const char *)body + size};
    int more, rc = 0;
    memset(out, 0, sizeof *out);
    if (!ms_http_is_media_type(content_type, "multipart/form-data"))
        return ms_error_set(err, MS_EINPUT, "the body is not multipart/form-data");
    char delimiter[MAX_BOUNDARY_BYTES + 5];
    size_t delimiter_bytes = read_delimiter(content_type, delimiter);
    if (delimiter_bytes == 0)
        return ms_error_set(err, MS_EINPUT, "the form's Content-Type names no usable boundary");
    more = find_first(&text, delimiter, delimiter_bytes);
    while (more > 0 && rc == 0) {
        struct span part = {text.at, NULL};
        if (out->count == MS_MULTIPART_MAX_PARTS) {
            rc = ms_error_set(err, MS_ETOOLARGE, "the form has more than %d parts",
                              MS_MULTIPART_MAX_PARTS);
            break;
        }
        text.at -= 2; /* the delimiter after an empty part begins with the end of this line */
        more = find_delimiter(&text, delimiter, delimiter_bytes, &part.end);
        if (more >= 0 && part.end >= part.at)
            rc = read_part(part, &out->parts[out->count++], err);
        else if (more >= 0)
            rc = ms_error_set(err, MS_EINPUT, "a part of the form is empty");
    }
    if (rc == 0 && more < 0)
        rc = ms_error_set(err, MS_EINPUT, "the form ends before its last boundary");
    if (rc != 0)
        ms_multipart_free(out);
    return rc;
}

void ms_multipart_free(struct ms_multipart *form) {
    for (int i = 0; i < form->count; i++) {
        free(form->parts[i].name);
        free(form->parts[i].filename);
        free(form->parts[i].content_type);
    }
    memset(form, 0, sizeof *form);
}
