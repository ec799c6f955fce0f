/* Answers with what is built into the binary. On the loop. */
#ifndef MSAAS_API_DOCUMENT_H
#define MSAAS_API_DOCUMENT_H

#include "msaas/embedded.h"
#include "msaas/http_server.h"

/* 200 with the file, or 304 where the client has it already; adds its entity tag. */
void ms_api_reply_file(const struct ms_http_call *call, const char *content_type,
                       const struct ms_embedded *file);

#endif
