/* URLs of services, and percent-encoding (RFC 3986). Pure functions. */
#include "msaas/url.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int hex_value(char digit) {
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

bool ms_percent_decode(const char *text, size_t size, char *out, size_t capacity) {
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        char byte = text[i];
        if (byte == '%') {
            const int high = i + 2 < size ? hex_value(text[i + 1]) : -1;
            const int low = i + 2 < size ? hex_value(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            byte = (char)(high << 4 | low);
            i += 2;
        }
        if (byte == '\0' || used + 1 >= capacity)
            return false;
        out[used++] = byte;
    }
    if (used >= capacity)
        return false;
    out[used] = '\0';
    return true;
}

char *ms_percent_encode(const char *text, bool keep_slash) {
    static const char digits[] = "0123456789ABCDEF";
    const size_t size = strlen(text);
    char *out = size < (size_t)1 << 30 ? malloc(3 * size + 1) : NULL, *to = out;
    if (out == NULL)
        return NULL;
    for (size_t i = 0; i < size; i++) {
        const unsigned char byte = (unsigned char)text[i];
        if (byte < 128 &&
            (isalnum(byte) || strchr("-._~", byte) != NULL || (keep_slash && byte == '/'))) {
            *to++ = (char)byte;
        } else {
            *to++ = '%';
            *to++ = digits[byte >> 4];
            *to++ = digits[byte & 15];
        }
    }
    *to = '\0';
    return out;
}

static bool copy(const char *from, size_t size, char *out, size_t capacity) {
    if (size >= capacity || memchr(from, '\0', size) != NULL)
        return false;
    memcpy(out, from, size);
    out[size] = '\0';
    return true;
}

/* [user[:password]@]host[:port]; the host in brackets when it is an IPv6 address. */
static bool parse_authority(const char *from, size_t size, struct ms_url *out) {
    const char *end = from + size, *at = NULL;
    for (const char *c = from; c < end; c++)
        if (*c == '@')
            at = c;
    if (at != NULL) {
        const char *colon = memchr(from, ':', (size_t)(at - from));
        const char *user_end = colon != NULL ? colon : at;
        if (!ms_percent_decode(from, (size_t)(user_end - from), out->user, sizeof out->user))
            return false;
        if (colon != NULL && !ms_percent_decode(colon + 1, (size_t)(at - colon - 1), out->password,
                                                sizeof out->password))
            return false;
        from = at + 1;
    }
    const char *host_end;
    if (from < end && *from == '[') {
        const char *bracket = memchr(from, ']', (size_t)(end - from));
        if (bracket == NULL ||
            !copy(from + 1, (size_t)(bracket - from - 1), out->host, sizeof out->host))
            return false;
        host_end = bracket + 1;
    } else {
        const char *colon = memchr(from, ':', (size_t)(end - from));
        host_end = colon != NULL ? colon : end;
        if (!ms_percent_decode(from, (size_t)(host_end - from), out->host, sizeof out->host))
            return false;
    }
    for (const char *c = out->host; *c != '\0'; c++)
        if ((unsigned char)*c <= ' ' || *c == 127 || strchr("/?#@\\", *c) != NULL)
            return false;
    if (host_end == end)
        return true;
    const size_t digits = (size_t)(end - host_end - 1);
    if (*host_end != ':' || digits == 0 || digits > 5 ||
        strspn(host_end + 1, "0123456789") < digits)
        return false;
    const long port = strtol(host_end + 1, NULL, 10);
    return port > 0 && port < 65536 && copy(host_end + 1, digits, out->port, sizeof out->port);
}

int ms_url_parse(const char *text, struct ms_url *out, struct ms_error *err) {
    memset(out, 0, sizeof *out);
    const size_t scheme = strcspn(text, ":");
    size_t i = 0;
    while (i < scheme && (isalnum((unsigned char)text[i]) || strchr("+-.", text[i]) != NULL))
        i++;
    if (text[scheme] == '\0' || scheme == 0 || i < scheme || !isalpha((unsigned char)text[0]) ||
        !copy(text, scheme, out->scheme, sizeof out->scheme))
        return ms_error_set(err, MS_EUSAGE,
                            "not a URL: it must begin with a scheme, as in redis://host");
    for (char *c = out->scheme; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    const char *rest = text + scheme + 1;
    if (strncmp(rest, "//", 2) == 0) {
        const size_t size = strcspn(rest + 2, "/?#");
        if (!parse_authority(rest + 2, size, out))
            return ms_error_set(err, MS_EUSAGE, "%s URL: user, host or port is malformed",
                                out->scheme);
        rest += 2 + size;
        const size_t path = strcspn(rest, "?#");
        if (!ms_percent_decode(rest, path, out->path, sizeof out->path))
            return ms_error_set(err, MS_EUSAGE, "%s URL: the path is too long or badly encoded",
                                out->scheme);
        rest += path;
        if (*rest == '?' && !copy(rest + 1, strcspn(rest + 1, "#"), out->query, sizeof out->query))
            return ms_error_set(err, MS_EUSAGE, "%s URL: the query is too long", out->scheme);
    } else if (!copy(rest, strlen(rest), out->path,
                     sizeof out->path)) { /* the name of a file is not decoded */
        return ms_error_set(err, MS_EUSAGE, "%s URL: the path is too long", out->scheme);
    }
    return 0;
}

static void show(const char *text, bool with_path, char *out, size_t capacity) {
    struct ms_url url;
    if (ms_url_parse(text, &url, NULL) != 0) {
        (void)snprintf(out, capacity, "(no URL)");
        return;
    }
    const char *rest = text + strlen(url.scheme) + 1;
    if (strncmp(rest, "//", 2) != 0) {
        (void)snprintf(out, capacity, "%s%s", with_path ? text : url.scheme, with_path ? "" : ":");
        return;
    }
    const bool bracket = strchr(url.host, ':') != NULL;
    (void)snprintf(out, capacity, "%s://%s%s%s%s%s%s", url.scheme, bracket ? "[" : "", url.host,
                   bracket ? "]" : "", url.port[0] != '\0' ? ":" : "", url.port,
                   with_path ? url.path : "");
}

void ms_url_public(const char *text, char *out, size_t capacity) {
    show(text, true, out, capacity);
}

void ms_url_origin(const char *text, char *out, size_t capacity) {
    show(text, false, out, capacity);
}

void ms_url_host(const char *text, char out[MS_URL_HOST_BYTES]) {
    struct ms_url url;
    out[0] = '\0';
    if (ms_url_parse(text, &url, NULL) != 0)
        return;
    size_t size = strlen(url.host);
    if (size > 0 && url.host[size - 1] == '.')
        size--;
    for (size_t i = 0; i < size; i++)
        out[i] = (char)tolower((unsigned char)url.host[i]);
    out[size] = '\0';
}
