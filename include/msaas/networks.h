/* Addresses of the Internet, and lists of networks as operators write them. Pure; any thread.
 *
 * Everything is compared as IPv6: an IPv4 address is its mapped form, ::ffff:a.b.c.d. */
#ifndef MSAAS_NETWORKS_H
#define MSAAS_NETWORKS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "msaas/err.h"

/* "192.0.2.7" or "2001:db8::1", nothing around it. */
MS_MUST_CHECK bool ms_ip_parse(const char *text, uint8_t out[16]);
/* False: it is no address of IPv4 or IPv6. */
MS_MUST_CHECK bool ms_ip_of(const struct sockaddr *address, uint8_t out[16]);
void ms_ip_map_v4(const uint8_t v4[4], uint8_t out[16]);
bool ms_ip_is_v4(const uint8_t ip[16]);
bool ms_ip_is_loopback(const uint8_t ip[16]);
/* IPv4 in its own form. Returns out. */
#define MS_IP_TEXT_BYTES 46
const char *ms_ip_text(const uint8_t ip[16], char out[MS_IP_TEXT_BYTES]);

struct ms_subnet {
    uint8_t bytes[16];
    int bits;
};
/* "ADDRESS" or "ADDRESS/BITS". */
MS_MUST_CHECK bool ms_subnet_parse(const char *text, struct ms_subnet *out);
bool ms_subnet_has(const struct ms_subnet *subnet, const uint8_t ip[16]);
/* Both at once, of a network that can be parsed. */
bool ms_ip_is_in(const char *network, const uint8_t ip[16]);

struct ms_networks; /* a list of them */
/* "10.0.0.0/8, fd00::/8, 192.0.2.7"; NULL or "": none. MS_EUSAGE. */
MS_MUST_CHECK int ms_networks_parse(const char *text, struct ms_networks **out,
                                    struct ms_error *err);
void ms_networks_free(struct ms_networks *networks);
/* networks NULL: none. */
bool ms_networks_hold(const struct ms_networks *networks, const uint8_t ip[16]);

#endif
