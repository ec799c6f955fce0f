/* Who asks, behind proxies: RFC 7239 Forwarded, X-Forwarded-For and X-Forwarded-Proto. Pure; any
 * thread. */
#ifndef MSAAS_HTTP_FORWARDED_H
#define MSAAS_HTTP_FORWARDED_H

#include <stdbool.h>
#include <stdint.h>

#include "msaas/networks.h"
#include "parse.h"

/* out: the address of the client. It is the peer, unless the peer is one of the trusted proxies:
 * then it is the last address in the header that is not one of them. What stands left of it, or of
 * anything that cannot be read, may be the client's own invention and is not believed. Nor is
 * either header where both are there and differ: a proxy passes on the one that it does not
 * write. Then the client is the proxy that is known. */
void ms_forwarded_client(const struct ms_http_head *head, const struct ms_networks *trusted,
                         const uint8_t peer[16], uint8_t out[16]);

/* Whether any proxy of a trusted one's request says, by Forwarded or X-Forwarded-Proto, that it was
 * asked by TLS. A client that invents this gets stricter cookies, and nothing else. */
bool ms_forwarded_https(const struct ms_http_head *head);

#endif
