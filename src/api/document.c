/* See document.h; and GET /openapi.json: the contract, openapi.json of this folder. */
#include "document.h"

#include <stdio.h>

#include "handlers.h"
#include "msaas/digest.h"
#include "msaas/http_range.h"

void ms_api_reply_file(const struct ms_http_call *call, const char *content_type,
                       const struct ms_embedded *file) {
    char sha256[65], etag[80];
    if (ms_sha256_of(file->bytes, file->size, sha256, NULL) != 0)
        return; /* 500 */
    (void)snprintf(etag, sizeof etag, "\"%s\"", sha256);
    ms_http_add_header(call, "ETag", etag);
    if (ms_http_etag_matches(ms_http_header(call, "If-None-Match"), etag))
        ms_http_reply(call, 304, NULL, NULL, 0);
    else
        ms_http_reply_static(call, 200, content_type, file->bytes, file->size);
}

void ms_api_openapi(const struct ms_http_call *call) {
    ms_http_add_header(call, "Cache-Control", "no-cache");
    ms_api_reply_file(call, "application/json", &ms_embedded_openapi[0]);
}
