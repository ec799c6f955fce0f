/* See origin.h. The one place where Host and Origin are judged. Owns nothing. */
#include "origin.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "msaas/http_server.h"
#include "msaas/networks.h"
#include "msaas/text.h"

/* The parts of "host:port" and "[address]:port". */
struct authority {
    const char *host;
    size_t host_size; /* brackets included */
    const char *port; /* "": none */
};

/* False: the text is none. */
static bool split(const char *text, struct authority *out) {
    const size_t size = strlen(text);
    const char *close = *text == '[' ? strchr(text, ']') : NULL;
    const size_t host = close != NULL ? (size_t)(close - text) + 1 : strcspn(text, ":");
    *out = (struct authority){.host = text, .host_size = host, .port = ""};
    if (host == 0 || (*text == '[' && close == NULL))
        return false;
    if (host == size)
        return true;
    out->port = text + host + 1;
    return text[host] == ':' && out->port[strspn(out->port, "0123456789")] == '\0';
}

static bool read_address(const struct authority *authority, uint8_t ip[16]) {
    char text[MS_IP_TEXT_BYTES];
    const bool brackets = *authority->host == '[';
    const size_t size = authority->host_size - (brackets ? 2 : 0);
    if (size >= sizeof text)
        return false;
    memcpy(text, authority->host + (brackets ? 1 : 0), size);
    text[size] = '\0';
    return ms_ip_parse(text, ip);
}

/* Nobody can point an address, or localhost, at this server. */
static bool is_fixed(const struct authority *authority, bool loopback) {
    uint8_t ip[16];
    if (authority->host_size == 9 && strncasecmp(authority->host, "localhost", 9) == 0)
        return true;
    return read_address(authority, ip) && (!loopback || ms_ip_is_loopback(ip));
}

/* Whether the list has the text, whatever its case. */
static bool list_has(const char *list, const char *text, size_t text_size) {
    size_t size;
    for (const char *at = list; (at = ms_text_word(at, &size)) != NULL; at += size)
        if (size == text_size && strncasecmp(at, text, size) == 0)
            return true;
    return false;
}

static bool is_allowed(const struct authority *authority, const char *names) {
    return list_has(names, "*", 1) || list_has(names, authority->host, authority->host_size);
}

/* A port that is not named is the one of Origin's scheme. */
static bool is_same(const struct authority *origin, const char *host, const char *port) {
    struct authority own;
    return host != NULL && split(host, &own) && own.host_size == origin->host_size &&
           strncasecmp(own.host, origin->host, own.host_size) == 0 &&
           strcmp(*own.port != '\0' ? own.port : port,
                  *origin->port != '\0' ? origin->port : port) == 0;
}

/* What the last proxy wrote; a browser's page cannot set it without being refused before. */
static const char *forwarded_host(const struct ms_http_head *head) {
    const char *hosts = ms_http_head_field(head, "X-Forwarded-Host");
    const char *comma = hosts != NULL ? strrchr(hosts, ',') : NULL;
    return comma == NULL ? hosts : comma + 1 + strspn(comma + 1, " \t");
}

/* False: it is none, or "null", as sandboxed pages and files have. */
static bool split_origin(const char *origin, struct authority *out, bool *https) {
    *https = strncasecmp(origin, "https://", 8) == 0;
    return (*https || strncasecmp(origin, "http://", 7) == 0) &&
           split(origin + (*https ? 8 : 7), out);
}

static bool is_own(const struct ms_http_head *head, const char *origin, bool proxied) {
    bool https;
    struct authority authority;
    if (!split_origin(origin, &authority, &https))
        return false;
    const char *port = https ? "443" : "80";
    return is_same(&authority, ms_http_head_field(head, "Host"), port) ||
           (proxied && is_same(&authority, forwarded_host(head), port));
}

bool ms_origin_is_named(const char *cors_origins, const char *origin) {
    return list_has(cors_origins, origin, strlen(origin)) && strcmp(origin, "*") != 0;
}

const char *ms_origin_foreign(const struct ms_http_head *head, bool proxied) {
    for (int i = 0; i < head->field_count; i++)
        if (strcasecmp(head->fields[i].name, "Origin") == 0 &&
            !is_own(head, head->fields[i].value, proxied))
            return head->fields[i].value;
    return NULL;
}

int ms_http_cors_check(const char *cors_origins, struct ms_error *err) {
    size_t size;
    for (const char *at = cors_origins; (at = ms_text_word(at, &size)) != NULL; at += size) {
        char word[300];
        struct authority authority;
        bool https;
        if (size == 1 && *at == '*')
            continue;
        (void)snprintf(word, sizeof word, "%.*s", (int)size, at);
        if (size >= sizeof word || !split_origin(word, &authority, &https) ||
            strcspn(word + (https ? 8 : 7), "/?#@\\") != strlen(word + (https ? 8 : 7)))
            return ms_error_set(err, MS_EUSAGE,
                                "\"%.100s\" is not an origin: write https://HOST, "
                                "http://HOST:PORT or *",
                                word);
    }
    return 0;
}

int ms_origin_judge(const struct ms_http_head *head, const struct ms_origin_rules *rules,
                    bool proxied, const char **reason) {
    const char *host = ms_http_head_field(head, "Host");
    struct authority authority;
    const bool has_names = rules->allowed_hosts != NULL && *rules->allowed_hosts != '\0';
    if ((rules->loopback || has_names) && host != NULL &&
        (!split(host, &authority) || !(is_fixed(&authority, rules->loopback) ||
                                       is_allowed(&authority, rules->allowed_hosts)))) {
        *reason = "this server does not go by the name in Host; --allowed-hosts "
                  "(MSAAS_ALLOWED_HOSTS) adds names";
        return 421;
    }
    for (int i = 0; i < head->field_count; i++) {
        if (strcasecmp(head->fields[i].name, "Origin") != 0 ||
            is_own(head, head->fields[i].value, proxied) || list_has(rules->cors_origins, "*", 1) ||
            ms_origin_is_named(rules->cors_origins, head->fields[i].value))
            continue;
        *reason = "the request comes from a web page of another origin";
        return 403;
    }
    return 0;
}
