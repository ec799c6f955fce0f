/* Which route a method and a path belong to. Pure; any thread. */
#ifndef MSAAS_HTTP_ROUTER_H
#define MSAAS_HTTP_ROUTER_H

#include <stdbool.h>

#include "msaas/http_server.h"

/* The first route of the table that fits both; NULL when none does, with *status 404 or 405.
 * `path`: decoded. For 405, allow gets the methods that the path knows ("GET, HEAD, POST"). */
const struct ms_http_route *ms_http_route_find(const struct ms_http_route *routes,
                                               const char *method, const char *path, int *status,
                                               char *allow, size_t allow_capacity);
/* What the pattern's {} match, in order: strings in `space`, which holds at least strlen(path) + 1
 * bytes. False: the pattern does not fit. */
bool ms_http_route_params(const char *pattern, const char *path, char *space,
                          const char *params[MS_HTTP_MAX_PARAMS]);

#endif
