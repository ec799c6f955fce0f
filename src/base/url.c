/* URLs of services: how operators name a queue, a store, a server. Owns nothing; any thread. */
#include "msaas/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- percent-encoding ----------------------------------------------------------------------------------------- */

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool ms_percent_decode(const char *text, size_t size, char *out, size_t capacity) {
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (c == '%') {
            const int high = i + 2 < size ? hex_value(text[i + 1]) : -1;
            const int low = i + 2 < size ? hex_value(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (c == '\0' || used + 1 >= capacity)
            return false;
        out[used++] = c;
    }
    if (capacity == 0)
        return false;
    out[used] = '\0';
    return true;
}

static bool is_unreserved(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

char *ms_percent_encode(const char *text, bool keep_slash) {
    static const char digits[] = "0123456789ABCDEF";
    const size_t size = strlen(text);
    char *out = malloc(3 * size + 1);
    char *to = out;
    if (out == NULL)
        return NULL;
    for (size_t i = 0; i < size; i++) {
        const unsigned char byte = (unsigned char)text[i];
        if (is_unreserved(text[i]) || (keep_slash && text[i] == '/')) {
            *to++ = text[i];
        } else {
            *to++ = '%';
            *to++ = digits[byte >> 4];
            *to++ = digits[byte & 15];
        }
    }
    *to = '\0';
    return out;
}

/* ---- parts ---------------------------------------------------------------------------------------------------- */

/* Length of the scheme with its ':' (RFC 3986, 3.1), 0: none. */
static size_t scheme_size(const char *text) {
    size_t size = 0;
    if (!((text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z')))
        return 0;
    while ((is_unreserved(text[size]) || text[size] == '+') && text[size] != '_' &&
           text[size] != '~')
        size++;
    return text[size] == ':' ? size + 1 : 0;
}

static bool is_local(const char *text) {
    return strncasecmp(text, "file:", 5) == 0 || strncasecmp(text, "sqlite:", 7) == 0;
}

void ms_url_public(const char *text, char *out, size_t capacity) {
    const char *scheme_end = strstr(text, "://");
    const char *host = scheme_end != NULL ? scheme_end + 3 : text;
    /* A password may hold a '/' or '@' that should have been escaped; only in http URLs is '@' usual further on. */
    const size_t size = strncasecmp(text, "http", 4) == 0 ? strcspn(host, "/?#") : strlen(host);
    const char *at = is_local(text) ? NULL : memrchr(host, '@', size);
    const char *rest = at != NULL ? at + 1 : host;
    (void)snprintf(out, capacity, "%.*s%.*s", (int)(host - text), text, (int)strcspn(rest, "?#"),
                   rest);
}

static int copy_part(const char *name, const char *from, size_t size, char *out, size_t capacity,
                     struct ms_error *err) {
    if (size >= capacity)
        return ms_error_set(err, MS_EUSAGE, "URL: its %s is over %zu characters", name,
                            capacity - 1);
    memcpy(out, from, size);
    out[size] = '\0';
    return 0;
}

static int decode_part(const char *name, const char *from, size_t size, char *out, size_t capacity,
                       struct ms_error *err) {
    if (ms_percent_decode(from, size, out, capacity))
        return 0;
    return ms_error_set(err, MS_EUSAGE, "URL: its %s has a bad escape or is over %zu characters",
                        name, capacity - 1);
}

static int parse_host(const char *from, size_t size, struct ms_url *out, struct ms_error *err) {
    const char *end = from + size;
    const char *host = from, *host_end, *port = NULL;
    if (size > 0 && from[0] == '[') { /* IPv6: without its brackets */
        host = from + 1;
        host_end = memchr(host, ']', (size_t)(end - host));
        if (host_end == NULL || (host_end + 1 < end && host_end[1] != ':'))
            return ms_error_set(err, MS_EUSAGE, "URL: its IPv6 address lacks the closing ']'");
        if (strspn(host, "0123456789abcdefABCDEF:.") < (size_t)(host_end - host))
            return ms_error_set(err, MS_EUSAGE, "URL: what is between '[' and ']' is no address");
        port = host_end + 1 < end ? host_end + 2 : NULL;
    } else {
        const char *colon = memchr(from, ':', size);
        host_end = colon != NULL ? colon : end;
        port = colon != NULL ? colon + 1 : NULL;
        for (const char *c = host; c < host_end; c++)
            if (!is_unreserved(*c))
                return ms_error_set(err, MS_EUSAGE,
                                    "URL: its host holds a character that none may");
    }
    int rc = copy_part("host", host, (size_t)(host_end - host), out->host, sizeof out->host, err);
    if (rc != 0 || port == NULL || port == end)
        return rc;
    const size_t digits = (size_t)(end - port);
    if (digits > 5 || strspn(port, "0123456789") < digits || atoi(port) < 1 || atoi(port) > 65535)
        return ms_error_set(err, MS_EUSAGE, "URL: its port is no number from 1 to 65535");
    return copy_part("port", port, digits, out->port, sizeof out->port, err);
}

/* [[user]:password@]host[:port] */
static int parse_authority(const char *from, size_t size, struct ms_url *out,
                           struct ms_error *err) {
    const char *at = memrchr(from, '@', size);
    int rc = 0;
    if (at != NULL) {
        const char *colon = memchr(from, ':', (size_t)(at - from));
        const char *user_end = colon != NULL ? colon : at;
        rc = decode_part("user", from, (size_t)(user_end - from), out->user, sizeof out->user, err);
        if (rc == 0 && colon != NULL)
            rc = decode_part("password", colon + 1, (size_t)(at - colon - 1), out->password,
                             sizeof out->password, err);
        if (rc != 0)
            return rc;
        size -= (size_t)(at + 1 - from);
        from = at + 1;
    }
    return parse_host(from, size, out, err);
}

int ms_url_parse(const char *text, struct ms_url *out, struct ms_error *err) {
    const size_t scheme = scheme_size(text);
    int rc;
    memset(out, 0, sizeof *out);
    if (scheme == 0)
        return ms_error_set(err, MS_EUSAGE,
                            "URL: it lacks a scheme, as in redis://HOST, sqlite:PATH, file:PATH");
    for (const char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return ms_error_set(err, MS_EUSAGE, "URL: it holds a control character");
    rc = copy_part("scheme", text, scheme - 1, out->scheme, sizeof out->scheme, err);
    if (rc != 0)
        return rc;
    for (char *c = out->scheme; *c != '\0'; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    const char *rest = text + scheme;
    if (is_local(text)) { /* a path as it stands; file:///DIR as file:/DIR */
        if (strncmp(rest, "//", 2) == 0) {
            if (rest[2] != '/')
                return ms_error_set(err, MS_EUSAGE,
                                    "URL: %s:PATH takes no host; a path has one '/' in front",
                                    out->scheme);
            rest += 2;
        }
        if (rest[0] == '\0')
            return ms_error_set(err, MS_EUSAGE, "URL: %s:PATH lacks the path", out->scheme);
        return copy_part("path", rest, strlen(rest), out->path, sizeof out->path, err);
    }
    if (strncmp(rest, "//", 2) != 0)
        return ms_error_set(err, MS_EUSAGE, "URL: \"//\" and a host must follow %s:", out->scheme);
    rest += 2;
    const size_t authority = strcspn(rest, "/?#");
    rc = parse_authority(rest, authority, out, err);
    if (rc != 0)
        return rc;
    if (out->host[0] == '\0' && strncmp(out->scheme, "http", 4) == 0)
        return ms_error_set(err, MS_EUSAGE, "URL: it lacks the host");
    rest += authority;
    const size_t path = strcspn(rest, "?#");
    rc = decode_part("path", rest, path, out->path, sizeof out->path, err);
    rest += path;
    if (rc == 0 && rest[0] == '?')
        rc = copy_part("query", rest + 1, strcspn(rest + 1, "#"), out->query, sizeof out->query,
                       err);
    return rc;
}
