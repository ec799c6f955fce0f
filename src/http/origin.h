/* Whether a request may have been made by a page of somebody else's that a browser shows. Pure; any
 * thread. Clients that are no browsers send no Origin, and pass. */
#ifndef MSAAS_HTTP_ORIGIN_H
#define MSAAS_HTTP_ORIGIN_H

#include <stdbool.h>

#include "parse.h"

struct ms_origin_rules {
    /* The server listens on loopback: then Host must be localhost or an address of loopback, with
     * any port, or one of allowed_hosts. A name that a page's owner points at 127.0.0.1 is none. */
    bool loopback;
    /* "a.example,b.example"; "*": any name. Elsewhere than on loopback Host is judged only where
     * this is given, and may be any address, too. NULL: none is given. */
    const char *allowed_hosts;
    /* "https://a.example,http://b.example:8080": origins whose pages may ask, too; "*": any. NULL:
     * none. */
    const char *cors_origins;
};

/* proxied: a trusted proxy sent it, so that X-Forwarded-Host may name the service, too. Returns 0,
 * or the status to answer with: 421 (Host), 403 (Origin), and *reason, a constant. */
MS_MUST_CHECK int ms_origin_judge(const struct ms_http_head *head,
                                  const struct ms_origin_rules *rules, bool proxied,
                                  const char **reason);

/* The Origin of a request that passed, where it is another one than the service's. NULL: none. */
const char *ms_origin_foreign(const struct ms_http_head *head, bool proxied);
/* Whether the list of cors_origins has this one by name, not only as "*". */
bool ms_origin_is_named(const char *cors_origins, const char *origin);
#endif
