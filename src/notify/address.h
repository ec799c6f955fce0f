/* Which addresses callbacks may reach: those of the public Internet, and what an operator allows
 * besides. Pure; any thread. */
#ifndef MSAAS_NOTIFY_ADDRESS_H
#define MSAAS_NOTIFY_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "msaas/err.h"

struct ms_networks; /* a list of CIDR blocks */

/* "10.0.0.0/8, fd00::/8, 192.0.2.7"; NULL or "": none. MS_EUSAGE. */
MS_MUST_CHECK int ms_networks_parse(const char *text, struct ms_networks **out,
                                    struct ms_error *err);
void ms_networks_free(struct ms_networks *networks);

/* False for loopback, private, link-local, shared (CGNAT), multicast, unspecified, documentation
 * and reserved addresses, for the clouds' metadata services, and for IPv6 forms that stand for such
 * an IPv4 address (mapped, NAT64, 6to4) - unless `allowed` holds it. */
bool ms_address_may_be_called(const struct sockaddr *address, const struct ms_networks *allowed);

#endif
