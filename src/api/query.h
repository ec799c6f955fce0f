/* The query of a request. */
#ifndef MSAAS_API_QUERY_H
#define MSAAS_API_QUERY_H

#include <stdbool.h>

#include "msaas/http_server.h"
#include "song_request.h"

/* *out: the value, which the caller frees; NULL: there is none. The problem is 400 or 503. */
bool ms_api_query(const struct ms_http_call *call, const char *name, char **out,
                  struct ms_problem *problem);
/* The problem is 422 where the query has a name that is not among `known`, which ends with NULL, or
 * has one twice: a slip would give something else than was asked for. */
bool ms_api_query_has_only(const struct ms_http_call *call, const char *const *known,
                           struct ms_problem *problem);

#endif
