/* See cors.h. */
#include "cors.h"

#include <stdio.h>
#include <string.h>

#include "origin.h"
#include "router.h"
#include "server.h"

#define PREFLIGHT_S "600" /* how long a browser keeps what it was told */

void ms_cors_add_headers(struct ms_exchange *e) {
    const struct ms_http_server_options *options = &e->server->options;
    if (options->cors_origins == NULL)
        return;
    const bool is_named =
        e->foreign != NULL && ms_origin_is_named(options->cors_origins, e->foreign);
    ms_http_add_header(&e->call, "Vary", "Origin"); /* a cache must not mix them up */
    if (e->foreign == NULL)
        return;
    ms_http_add_header(&e->call, "Access-Control-Allow-Origin", is_named ? e->foreign : "*");
    if (options->cors_exposed != NULL)
        ms_http_add_header(&e->call, "Access-Control-Expose-Headers", options->cors_exposed);
}

bool ms_cors_preflight(struct ms_exchange *e) {
    const struct ms_http_server_options *options = &e->server->options;
    const char *method = ms_http_head_field(&e->head, "Access-Control-Request-Method");
    char allow[64];
    int status;
    if (e->foreign == NULL || method == NULL || strcmp(e->head.method, "OPTIONS") != 0)
        return false;
    if (ms_http_route_find(options->routes, method, e->call.path, &status, allow, sizeof allow) ==
        NULL) {
        ms_exchange_error(e, status, "pages of other origins find nothing to ask for here");
        return true;
    }
    ms_http_add_header(&e->call, "Access-Control-Allow-Methods", method);
    if (options->cors_asked != NULL)
        ms_http_add_header(&e->call, "Access-Control-Allow-Headers", options->cors_asked);
    ms_http_add_header(&e->call, "Access-Control-Max-Age", PREFLIGHT_S);
    ms_http_reply(&e->call, 204, NULL, NULL, 0);
    return true;
}
