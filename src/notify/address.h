/* Which addresses callbacks may reach: those of the public Internet, and what an operator allows
 * besides. Pure; any thread. */
#ifndef MSAAS_NOTIFY_ADDRESS_H
#define MSAAS_NOTIFY_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "msaas/err.h"

/* False for loopback, private, link-local, shared (CGNAT), multicast, unspecified, documentation
 * and reserved addresses, for the clouds' metadata services, for IPv6 forms that stand for such an
 * IPv4 address (mapped, NAT64), and for all of 6to4 and Teredo. */
bool ms_address_is_public(const struct sockaddr *address);

struct ms_allowed; /* a list of hosts and of networks */

/* "localhost, 10.0.0.0/8, fd00::/8, 192.0.2.7"; NULL or "": none. MS_EUSAGE. */
MS_MUST_CHECK int ms_allowed_parse(const char *text, struct ms_allowed **out, struct ms_error *err);
void ms_allowed_free(struct ms_allowed *allowed);

/* Whether the list names the host, in whatever case, or a network that holds the address, which
 * may be an IPv6 form of an IPv4 address. */
bool ms_allowed_holds(const struct ms_allowed *allowed, const char *host,
                      const struct sockaddr *address);

#endif
