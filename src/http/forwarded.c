/* See forwarded.h. Owns nothing. */
#include "forwarded.h"

#include <string.h>
#include <strings.h>

#include "msaas/text.h"

#define MAX_PORT_DIGITS 5

/* What is known of the client after the addresses from the left up to here. */
struct chain {
    const struct ms_networks *trusted;
    bool seen;  /* the header is there */
    bool known; /* ip is the client's */
    bool https; /* somebody was asked by TLS */
    uint8_t ip[16];
};

/* The next address to the right; NULL: it cannot be read. */
static void step(struct chain *chain, const uint8_t ip[16]) {
    if (ip == NULL) {
        chain->known = false;
    } else if (!chain->known || !ms_networks_hold(chain->trusted, ip)) {
        memcpy(chain->ip, ip, sizeof chain->ip);
        chain->known = true;
    }
}

/* ---- an address ---- */

static bool is_port(const char *text) {
    const size_t digits = strspn(text, "0123456789");
    return digits > 0 && digits <= MAX_PORT_DIGITS && text[digits] == '\0';
}

/* "1.2.3.4", "1.2.3.4:80", "[::1]", "[::1]:80", and "::1" as some proxies write it. */
static bool parse_node(const char *text, size_t size, uint8_t out[16]) {
    char copy[MS_IP_TEXT_BYTES + 8];
    if (size >= sizeof copy)
        return false;
    memcpy(copy, text, size);
    copy[size] = '\0';
    char *address = copy, *end = strchr(copy, ':');
    if (*copy == '[') {
        address = copy + 1;
        end = strchr(copy, ']');
        if (end == NULL)
            return false;
        *end++ = '\0';
        if (strchr(address, ':') == NULL)
            return false;
    } else if (end != NULL && strchr(end + 1, ':') != NULL) {
        end = NULL; /* IPv6 without brackets has no port */
    }
    if (end != NULL && *end != '\0') {
        if (*end != ':' || !is_port(end + 1))
            return false;
        *end = '\0';
    }
    return ms_ip_parse(address, out);
}

/* ---- X-Forwarded-For ---- */

static void read_list(const char *value, struct chain *chain) {
    for (;;) {
        value += strspn(value, " \t");
        const char *comma = value + strcspn(value, ",");
        size_t size = (size_t)(comma - value);
        while (size > 0 && (value[size - 1] == ' ' || value[size - 1] == '\t'))
            size--;
        uint8_t ip[16];
        if (size > 0)
            step(chain, parse_node(value, size, ip) ? ip : NULL);
        if (*comma == '\0')
            return;
        value = comma + 1;
    }
}

/* ---- Forwarded ---- */

enum parameter { FOR, PROTO, OTHER };

/* Reads one "name=value"; a quoted value is unquoted into `space`. Returns what follows it; NULL:
 * it is malformed. */
static const char *read_pair(const char *at, enum parameter *which, char *space, size_t capacity) {
    const size_t name = strcspn(at, "=;,\" \t");
    size_t size = 0;
    if (name == 0 || at[name] != '=')
        return NULL;
    *which = name == 3 && strncasecmp(at, "for", 3) == 0     ? FOR
             : name == 5 && strncasecmp(at, "proto", 5) == 0 ? PROTO
                                                             : OTHER;
    at += name + 1;
    if (*at != '"') {
        size = strcspn(at, ";,\" \t=");
        if (size == 0 || size >= capacity)
            return NULL;
        memcpy(space, at, size);
        at += size;
    } else {
        for (at++; *at != '"'; at++) {
            if (*at == '\\')
                at++;
            if (*at == '\0' || size + 1 >= capacity)
                return NULL;
            space[size++] = *at;
        }
        at++;
    }
    space[size] = '\0';
    return at;
}

/* Reads the pairs of one proxy. Returns what follows them; NULL: they are malformed. */
static const char *read_element(const char *at, struct chain *chain) {
    char value[MS_HTTP_MAX_LINE_BYTES];
    uint8_t ip[16];
    bool any = false, named = false, readable = false;
    for (;; at++) {
        enum parameter which;
        at += strspn(at, " \t");
        if (*at != ';' && *at != ',' && *at != '\0') {
            at = read_pair(at, &which, value, sizeof value);
            if (at == NULL || (which == FOR && named))
                return NULL;
            any = true;
            named = named || which == FOR;
            if (which == PROTO && strcasecmp(value, "https") == 0)
                chain->https = true;
            if (which == FOR)
                readable = parse_node(value, strlen(value), ip);
        }
        at += strspn(at, " \t");
        if (*at != ';')
            break;
    }
    if (*at != ',' && *at != '\0')
        return NULL;
    if (any)
        step(chain, readable ? ip : NULL);
    return at;
}

static void read_forwarded(const char *value, struct chain *chain) {
    while ((value = read_element(value, chain)) != NULL && *value == ',')
        value++;
    if (value == NULL) /* a quote that a client opened may have swallowed what proxies wrote */
        step(chain, NULL);
}

/* ---- both ---- */

static void read_all(const struct ms_http_head *head, const char *name,
                     void (*read)(const char *value, struct chain *chain), struct chain *chain) {
    for (int i = 0; i < head->field_count; i++) {
        if (strcasecmp(head->fields[i].name, name) != 0)
            continue;
        chain->seen = true;
        read(head->fields[i].value, chain);
    }
}

void ms_forwarded_client(const struct ms_http_head *head, const struct ms_networks *trusted,
                         const uint8_t peer[16], uint8_t out[16]) {
    struct chain standard = {.trusted = trusted}, older = standard;
    memcpy(out, peer, 16);
    if (!ms_networks_hold(trusted, peer))
        return;
    read_all(head, "Forwarded", read_forwarded, &standard);
    read_all(head, "X-Forwarded-For", read_list, &older);
    const struct chain *chain = standard.seen ? &standard : &older;
    const bool agree = !standard.seen || !older.seen ||
                       (standard.known && older.known && memcmp(standard.ip, older.ip, 16) == 0);
    if (chain->known && agree)
        memcpy(out, chain->ip, 16);
}

/* ---- TLS ---- */

static void read_protocols(const char *value, struct chain *chain) {
    size_t size;
    for (const char *at = value; (at = ms_text_word(at, &size)) != NULL; at += size)
        if (size == 5 && strncasecmp(at, "https", 5) == 0)
            chain->https = true;
}

bool ms_forwarded_https(const struct ms_http_head *head) {
    struct chain chain = {0};
    read_all(head, "Forwarded", read_forwarded, &chain);
    read_all(head, "X-Forwarded-Proto", read_protocols, &chain);
    return chain.https;
}
