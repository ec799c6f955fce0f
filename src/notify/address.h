/* Which addresses callbacks may reach: those of the public Internet, and what an operator allows
 * besides. Pure; any thread. */
#ifndef MSAAS_NOTIFY_ADDRESS_H
#define MSAAS_NOTIFY_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "msaas/networks.h"

/* False for loopback, private, link-local, shared (CGNAT), multicast, unspecified, documentation
 * and reserved addresses, for the clouds' metadata services, and for IPv6 forms that stand for such
 * an IPv4 address (mapped, NAT64, 6to4) - unless `allowed` holds it. */
bool ms_address_may_be_called(const struct sockaddr *address, const struct ms_networks *allowed);

#endif
