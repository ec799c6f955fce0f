/* The guard between a callback's URL, which a client chose, and the networks that only we can
 * reach. What is not plainly public is refused. Owns nothing. */
#include "address.h"

#include <string.h>

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

/* The IPv4 address that an IPv6 address stands for, as its mapped form. False: it stands for
 * none. */
static bool embedded_v4(const uint8_t address[16], uint8_t out[16]) {
    if (ms_network_holds("::ffff:0:0/96", address) || ms_network_holds("64:ff9b::/96", address))
        ms_ip_map_v4(address + 12, out);
    else if (ms_network_holds("2002::/16", address))
        ms_ip_map_v4(address + 2, out);
    else
        return false;
    return true;
}

static bool is_public(const uint8_t address[16]) {
    uint8_t v4[16];
    if (embedded_v4(address, v4)) {
        for (size_t i = 0; i < sizeof special_v4 / sizeof *special_v4; i++)
            if (ms_network_holds(special_v4[i], v4))
                return false;
        return true;
    }
    for (size_t i = 0; i < sizeof special_v6 / sizeof *special_v6; i++)
        if (ms_network_holds(special_v6[i], address))
            return false;
    return ms_network_holds("2000::/3", address);
}

bool ms_address_may_be_called(const struct sockaddr *address, const struct ms_networks *allowed) {
    uint8_t ip[16], v4[16];
    return ms_ip_of(address, ip) && (is_public(ip) || ms_networks_hold(allowed, ip) ||
                                     (embedded_v4(ip, v4) && ms_networks_hold(allowed, v4)));
}
