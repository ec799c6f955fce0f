/* The guard between a callback's URL, which a client chose, and the networks that only we can
 * reach. Owns the parsed list.
 *
 * Everything is compared as IPv6: an IPv4 address is its mapped form, ::ffff:a.b.c.d. What is not
 * plainly public is refused. */
#include "address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NETWORKS 256

struct network {
    uint8_t bytes[16];
    int bits;
};

struct ms_networks {
    int count;
    struct network items[];
};

/* ---- the public ones ---- */

/* IANA's registries of special-purpose addresses, and 168.63.129.16, at which Azure's own services
 * answer. The metadata services of other clouds lie in these blocks (169.254.169.254,
 * 100.100.100.200, 192.0.0.192, fd00:ec2::254). */
static const char *const special_v4[] = {
    "0.0.0.0/8",       "10.0.0.0/8",     "100.64.0.0/10",  "127.0.0.0/8",
    "168.63.129.16",   "169.254.0.0/16", "172.16.0.0/12",  "192.0.0.0/24",
    "192.0.2.0/24",    "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
    "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",    "240.0.0.0/4",
};
/* Blocks of 2000::/3 that are not public: for protocols (Teredo among them) and documentation.
 * Outside of 2000::/3 nothing is public. */
static const char *const special_v6[] = {"2001::/23", "2001:db8::/32", "3fff::/20"};

static bool parse_network(const char *text, struct network *out);
static bool holds(const struct network *network, const uint8_t address[16]);

static bool is_in(const char *text, const uint8_t address[16]) {
    struct network network;
    return parse_network(text, &network) && holds(&network, address);
}

static void map_v4(const uint8_t v4[4], uint8_t out[16]) {
    memset(out, 0, 10);
    out[10] = out[11] = 0xff;
    memcpy(out + 12, v4, 4);
}

/* The IPv4 address that an IPv6 address stands for, as its mapped form. False: it stands for
 * none. */
static bool embedded_v4(const uint8_t address[16], uint8_t out[16]) {
    if (is_in("::ffff:0:0/96", address) || is_in("64:ff9b::/96", address))
        map_v4(address + 12, out);
    else if (is_in("2002::/16", address))
        map_v4(address + 2, out);
    else
        return false;
    return true;
}

static bool is_public(const uint8_t address[16]) {
    uint8_t v4[16];
    if (embedded_v4(address, v4)) {
        for (size_t i = 0; i < sizeof special_v4 / sizeof *special_v4; i++)
            if (is_in(special_v4[i], v4))
                return false;
        return true;
    }
    for (size_t i = 0; i < sizeof special_v6 / sizeof *special_v6; i++)
        if (is_in(special_v6[i], address))
            return false;
    return is_in("2000::/3", address);
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

int ms_networks_parse(const char *text, struct ms_networks **out, struct ms_error *err) {
    struct ms_networks *networks =
        calloc(1, sizeof *networks + MAX_NETWORKS * sizeof(struct network));
    *out = NULL;
    if (networks == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a list of networks");
    for (const char *at = text != NULL ? text : ""; *(at += strspn(at, ", \t")) != '\0';) {
        const size_t length = strcspn(at, ", \t");
        char word[64];
        (void)snprintf(word, sizeof word, "%.*s",
                       (int)(length < sizeof word ? length : sizeof word), at);
        if (length >= sizeof word || networks->count == MAX_NETWORKS ||
            !parse_network(word, &networks->items[networks->count])) {
            free(networks);
            return ms_error_set(
                err, MS_EUSAGE,
                "the networks that callbacks may reach: \"%s\" is not an address or a block such "
                "as 10.1.0.0/16 or fd00::/8, or there are more than %d",
                word, MAX_NETWORKS);
        }
        networks->count++;
        at += length;
    }
    *out = networks;
    return 0;
}

void ms_networks_free(struct ms_networks *networks) {
    free(networks);
}

static bool list_holds(const struct ms_networks *networks, const uint8_t address[16]) {
    for (int i = 0; networks != NULL && i < networks->count; i++)
        if (holds(&networks->items[i], address))
            return true;
    return false;
}

bool ms_address_may_be_called(const struct sockaddr *address, const struct ms_networks *allowed) {
    uint8_t bytes[16];
    if (address->sa_family == AF_INET)
        map_v4((const uint8_t *)&((const struct sockaddr_in *)(const void *)address)->sin_addr,
               bytes);
    else if (address->sa_family == AF_INET6)
        memcpy(bytes, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
    else
        return false;
    uint8_t v4[16];
    return is_public(bytes) || list_holds(allowed, bytes) ||
           (embedded_v4(bytes, v4) && list_holds(allowed, v4));
}
