/* The guard between a callback's URL, which a client chose, and the networks that only we can
 * reach. Owns the parsed list.
 *
 * Judged is the address that a connection is about to go to, never its spelling. Everything is
 * compared as IPv6: an IPv4 address is its mapped form, ::ffff:a.b.c.d. What is not plainly public
 * is refused. */
#include "address.h"

#include <ctype.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "msaas/networks.h"
#include "msaas/text.h"

#define MAX_NAMES 256
#define HOST_BYTES 256

/* ---- the public ones ---- */

/* The blocks of IANA's registries of special-purpose addresses (RFC 6890, RFC 8190) that are not
 * globally reachable, and more that nobody is called at. The metadata services of clouds lie in
 * these blocks (169.254.169.254, 100.100.100.200, 192.0.0.192, fd00:ec2::254). */
static const char *const special_v4[] = {
    "0.0.0.0/8",       /* this network, RFC 791 */
    "10.0.0.0/8",      /* private, RFC 1918 */
    "100.64.0.0/10",   /* shared by a carrier's customers, RFC 6598 */
    "127.0.0.0/8",     /* loopback, RFC 1122 */
    "168.63.129.16",   /* not in the registry: Azure's own services */
    "169.254.0.0/16",  /* link-local, RFC 3927 */
    "172.16.0.0/12",   /* private */
    "192.0.0.0/24",    /* protocols, RFC 6890 */
    "192.0.2.0/24",    /* documentation, RFC 5737 */
    "192.88.99.0/24",  /* relays of 6to4, RFC 7526 */
    "192.168.0.0/16",  /* private */
    "198.18.0.0/15",   /* benchmarks, RFC 2544 */
    "198.51.100.0/24", /* documentation */
    "203.0.113.0/24",  /* documentation */
    "224.0.0.0/4",     /* multicast, RFC 5771 */
    "240.0.0.0/4",     /* reserved, RFC 1112, and broadcast */
};
/* Outside of 2000::/3 nothing is public: loopback, ::a.b.c.d, 100::/64, 5f00::/16, fc00::/7,
 * fe80::/10, ff00::/8, and NAT64 with a prefix of one's own (64:ff9b:1::/48, RFC 8215). */
static const char *const special_v6[] = {
    "2001::/23",     /* protocols, RFC 2928: Teredo, benchmarks, ORCHID among them */
    "2001:db8::/32", /* documentation, RFC 3849 */
    "2002::/16",     /* 6to4, RFC 7526: stands for any IPv4 address */
    "3fff::/20",     /* documentation, RFC 9637 */
};

static bool is_in_any(const char *const *blocks, size_t count, const uint8_t address[16]) {
    for (size_t i = 0; i < count; i++)
        if (ms_ip_is_in(blocks[i], address))
            return true;
    return false;
}

/* NAT64 (RFC 6052) as the IPv4 address that it stands for. False: of neither family. */
static bool read_address(const struct sockaddr *address, uint8_t out[16]) {
    if (!ms_ip_of(address, out))
        return false;
    if (ms_ip_is_in("64:ff9b::/96", out))
        ms_ip_map_v4((const uint8_t[4]){out[12], out[13], out[14], out[15]}, out);
    return true;
}

bool ms_address_is_public(const struct sockaddr *address) {
    uint8_t bytes[16];
    if (!read_address(address, bytes))
        return false;
    if (ms_ip_is_v4(bytes))
        return !is_in_any(special_v4, sizeof special_v4 / sizeof *special_v4, bytes);
    return ms_ip_is_in("2000::/3", bytes) &&
           !is_in_any(special_v6, sizeof special_v6 / sizeof *special_v6, bytes);
}

/* ---- what is allowed besides ---- */

struct allowance {
    char host[HOST_BYTES]; /* "": a network */
    struct ms_subnet network;
};

struct ms_allowed {
    int count;
    struct allowance items[];
};

/* Labels of letters, digits, '-' and '_'. A last one that begins with a digit would be a misspelt
 * address. */
static bool is_host(const char *text) {
    size_t label = 0;
    for (const char *c = text;; c++) {
        if (isalnum((unsigned char)*c) || *c == '-' || *c == '_') {
            label++;
            continue;
        }
        if (label == 0 || (*c != '.' && *c != '\0'))
            return false;
        if (*c == '\0')
            return !isdigit((unsigned char)c[-(ptrdiff_t)label]);
        label = 0;
    }
}

static bool parse_allowance(const char *word, struct allowance *out) {
    if (ms_subnet_parse(word, &out->network))
        return true;
    (void)snprintf(out->host, sizeof out->host, "%s", word);
    return is_host(word);
}

int ms_allowed_parse(const char *text, struct ms_allowed **out, struct ms_error *err) {
    struct ms_allowed *allowed = calloc(1, sizeof *allowed + MAX_NAMES * sizeof(struct allowance));
    *out = NULL;
    if (allowed == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a list of networks");
    size_t length;
    for (const char *at = text; (at = ms_text_word(at, &length)) != NULL; at += length) {
        char word[HOST_BYTES];
        (void)snprintf(word, sizeof word, "%.*s",
                       (int)(length < sizeof word ? length : sizeof word), at);
        if (length >= sizeof word || allowed->count == MAX_NAMES ||
            !parse_allowance(word, &allowed->items[allowed->count])) {
            free(allowed);
            return ms_error_set(err, MS_EUSAGE,
                                "the hosts and networks that callbacks may reach: \"%.60s\" is "
                                "neither a host such as localhost, nor an address, nor a block "
                                "such as 10.1.0.0/16 or fd00::/8; or there are more than %d",
                                word, MAX_NAMES);
        }
        allowed->count++;
    }
    *out = allowed;
    return 0;
}

void ms_allowed_free(struct ms_allowed *allowed) {
    free(allowed);
}

bool ms_allowed_holds(const struct ms_allowed *allowed, const char *host,
                      const struct sockaddr *address) {
    uint8_t bytes[16];
    const bool known = read_address(address, bytes);
    for (int i = 0; i < allowed->count; i++) {
        const struct allowance *item = &allowed->items[i];
        if (item->host[0] != '\0' ? strcasecmp(item->host, host) == 0
                                  : known && ms_subnet_has(&item->network, bytes))
            return true;
    }
    return false;
}
