/* TLS for Redis, where hiredis has it (1.0 on). */
#ifndef MSAAS_QUEUE_REDIS_TLS_H
#define MSAAS_QUEUE_REDIS_TLS_H

#include <hiredis/hiredis.h>

#include "msaas/err.h"

/* MS_EUNSUPPORTED in a build without it. */
MS_MUST_CHECK int ms_redis_tls_check(struct ms_error *err);
/* The server's certificate must be of that host, and of an authority that the system or
 * SSL_CERT_FILE trusts; else MS_EDENIED. */
MS_MUST_CHECK int ms_redis_tls_begin(redisContext *context, const char *host, struct ms_error *err);

#endif
