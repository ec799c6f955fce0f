/* Who asks, and whether that account may. */
#ifndef MSAAS_API_CALLER_H
#define MSAAS_API_CALLER_H

#include "msaas/account.h"
#include "msaas/http_server.h"

/* Among the scopes of a route: everybody may ask, and who it is is not known. */
#define MS_API_OPEN 0x100U

#define MS_API_SESSION_COOKIE "msaas_session"

/* The account of the request, borrowed until the exchange ends. NULL: no accounts are configured,
 * and everybody may everything; or the route is open to all. Any thread that has the exchange. */
const struct ms_account *ms_api_caller(const struct ms_exchange *exchange);

/* For ms_http_server_options, where the API has accounts. */
enum ms_http_verdict ms_api_admit(const struct ms_http_call *call,
                                  const struct ms_http_route *route, bool may_block);

/* Whether the path, or pattern, belongs to /apiv1. */
bool ms_api_is_v1(const char *path);
/* Whether a browser says that a page of somebody else's asks. Other clients say nothing. */
bool ms_api_is_foreign(const struct ms_http_call *call);
/* The session in a header Cookie (NULL: there is no such header); NULL: none. Pure. */
const char *ms_api_session_of(const char *cookie, size_t *size);

#endif
