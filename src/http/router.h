/* Which route a method and a path belong to. Pure; any thread. */
#ifndef MSAAS_HTTP_ROUTER_H
#define MSAAS_HTTP_ROUTER_H

#include <stdbool.h>

#include "msaas/http_server.h"

/* The first route of the table that fits method and (decoded) path. NULL: none does; *status: 404
 * or 405. For 405, allow gets the methods of the path ("GET, HEAD, POST"). */
const struct ms_http_route *ms_http_route_find(const struct ms_http_route *routes,
                                               const char *method, const char *path, int *status,
                                               char *allow, size_t allow_capacity);
/* params: what the {} of the pattern match, in order, as strings in `space`, which has room for
 * strlen(path) + 1 bytes. False: the pattern does not fit. */
bool ms_http_route_params(const char *pattern, const char *path, char *space,
                          const char *params[MS_HTTP_MAX_PARAMS]);

#endif
