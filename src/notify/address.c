/* The guard between a callback's URL, which a client chose, and the networks that only we can
 * reach. Owns the parsed list.
 *
 * Judged is the address that a connection is about to go to, never its spelling. Everything is
 * compared as IPv6: an IPv4 address is its mapped form, ::ffff:a.b.c.d. What is not plainly public
 * is refused. */
#include "address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_NAMES 256
#define HOST_BYTES 256

struct network {
    uint8_t bytes[16];
    int bits;
};

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

static bool parse_network(const char *text, struct network *out);
static bool holds(const struct network *network, const uint8_t address[16]);

static bool is_in(const char *text, const uint8_t address[16]) {
    struct network network;
    return parse_network(text, &network) && holds(&network, address);
}

static bool is_in_any(const char *const *blocks, size_t count, const uint8_t address[16]) {
    for (size_t i = 0; i < count; i++)
        if (is_in(blocks[i], address))
            return true;
    return false;
}

static void map_v4(const uint8_t v4[4], uint8_t out[16]) {
    memset(out, 0, 10);
    out[10] = out[11] = 0xff;
    memcpy(out + 12, v4, 4);
}

/* As IPv6; NAT64 (RFC 6052) as the IPv4 address that it stands for. False: neither family. */
static bool read_address(const struct sockaddr *address, uint8_t out[16]) {
    if (address->sa_family == AF_INET) {
        map_v4((const uint8_t *)&((const struct sockaddr_in *)(const void *)address)->sin_addr,
               out);
        return true;
    }
    if (address->sa_family != AF_INET6)
        return false;
    memcpy(out, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
    if (is_in("64:ff9b::/96", out))
        map_v4((const uint8_t[4]){out[12], out[13], out[14], out[15]}, out);
    return true;
}

bool ms_address_is_public(const struct sockaddr *address) {
    uint8_t bytes[16];
    if (!read_address(address, bytes))
        return false;
    if (is_in("::ffff:0:0/96", bytes))
        return !is_in_any(special_v4, sizeof special_v4 / sizeof *special_v4, bytes);
    return is_in("2000::/3", bytes) &&
           !is_in_any(special_v6, sizeof special_v6 / sizeof *special_v6, bytes);
}

/* ---- networks ---- */

static bool holds(const struct network *network, const uint8_t address[16]) {
    const int whole = network->bits / 8, rest = network->bits % 8;
    if (memcmp(network->bytes, address, (size_t)whole) != 0)
        return false;
    return rest == 0 || (network->bytes[whole] ^ address[whole]) >> (8 - rest) == 0;
}

/* "ADDRESS" or "ADDRESS/BITS". */
static bool parse_network(const char *text, struct network *out) {
    const char *slash = strchr(text, '/');
    const size_t length = slash != NULL ? (size_t)(slash - text) : strlen(text);
    char address[INET6_ADDRSTRLEN];
    if (length >= sizeof address)
        return false;
    memcpy(address, text, length);
    address[length] = '\0';
    uint8_t v4[4];
    const bool is_v4 = inet_pton(AF_INET, address, v4) == 1;
    if (is_v4)
        map_v4(v4, out->bytes);
    else if (inet_pton(AF_INET6, address, out->bytes) != 1)
        return false;
    long bits;
    out->bits = 128;
    if (slash == NULL)
        return true;
    if (slash[1] < '0' || slash[1] > '9')
        return false;
    char *end;
    bits = strtol(slash + 1, &end, 10);
    if (*end != '\0' || bits > (is_v4 ? 32 : 128))
        return false;
    out->bits = (int)bits + (is_v4 ? 96 : 0);
    return true;
}

/* ---- what is allowed besides ---- */

struct allowance {
    char host[HOST_BYTES]; /* "": a network */
    struct network network;
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
    if (parse_network(word, &out->network))
        return true;
    (void)snprintf(out->host, sizeof out->host, "%s", word);
    return is_host(word);
}

int ms_allowed_parse(const char *text, struct ms_allowed **out, struct ms_error *err) {
    struct ms_allowed *allowed = calloc(1, sizeof *allowed + MAX_NAMES * sizeof(struct allowance));
    *out = NULL;
    if (allowed == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a list of networks");
    for (const char *at = text != NULL ? text : ""; *(at += strspn(at, ", \t")) != '\0';) {
        const size_t length = strcspn(at, ", \t");
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
        at += length;
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
                                  : known && holds(&item->network, bytes))
            return true;
    }
    return false;
}
