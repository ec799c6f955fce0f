/* GET /openapi.json: the contract, openapi.json of this folder, as it is built in. On the loop. */
#include <stdio.h>

#include "handlers.h"
#include "msaas/digest.h"
#include "msaas/embedded.h"
#include "msaas/http_range.h"

void ms_api_openapi(const struct ms_http_call *call) {
    const struct ms_embedded *file = &ms_embedded_openapi[0];
    char sha256[65], etag[80];
    if (ms_sha256_of(file->bytes, file->size, sha256, NULL) != 0)
        return; /* 500 */
    (void)snprintf(etag, sizeof etag, "\"%s\"", sha256);
    ms_http_add_header(call, "ETag", etag);
    ms_http_add_header(call, "Cache-Control", "no-cache");
    if (ms_http_etag_matches(ms_http_header(call, "If-None-Match"), etag))
        ms_http_reply(call, 304, NULL, NULL, 0);
    else
        ms_http_reply(call, 200, "application/json", file->bytes, file->size);
}
