/* The access log, and the metrics of requests. */
#ifndef MSAAS_API_ACCESS_LOG_H
#define MSAAS_API_ACCESS_LOG_H

#include "msaas/http_server.h"

/* For ms_http_server_options: done. */
void ms_api_done(void *context, const char *method, const char *route, const char *path, int status,
                 double seconds, int64_t sent_bytes, const char *request_id, const char *peer,
                 const struct ms_exchange *exchange);

#endif
