/* What pages of other origins may ask for (CORS, WHATWG Fetch, 3.3): options.cors_origins. Whether
 * they may ask at all is judged in origin.h. On the loop. */
#ifndef MSAAS_HTTP_CORS_H
#define MSAAS_HTTP_CORS_H

#include "exchange.h"

/* Adds to the answer what lets a browser show it to the page of exchange->foreign. */
void ms_cors_add_headers(struct ms_exchange *exchange);
/* Whether a browser asks first if the page may ask; then the answer is set. */
bool ms_cors_preflight(struct ms_exchange *exchange);

#endif
