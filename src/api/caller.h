/* Who asks. */
#ifndef MSAAS_API_CALLER_H
#define MSAAS_API_CALLER_H

#include "msaas/account.h"
#include "msaas/http_server.h"

/* The account of the request, borrowed until the exchange ends. NULL: no accounts are configured,
 * and everybody may everything. Any thread that has the exchange. */
const struct ms_account *ms_api_caller(const struct ms_exchange *exchange);

#endif
