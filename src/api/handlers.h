/* The handlers in the table of routes (api.c). Each reads the request, borrows a link to queue and
 * store if it needs one, and answers. */
#ifndef MSAAS_API_HANDLERS_H
#define MSAAS_API_HANDLERS_H

#include "msaas/http_server.h"

void ms_api_v1_separate(const struct ms_http_call *call);
void ms_api_v1_queue(const struct ms_http_call *call);
void ms_api_v1_track(const struct ms_http_call *call);
void ms_api_v1_remove(const struct ms_http_call *call);
void ms_api_v2_submit(const struct ms_http_call *call);
void ms_api_v2_list(const struct ms_http_call *call);
void ms_api_v2_get(const struct ms_http_call *call);
void ms_api_v2_erase(const struct ms_http_call *call);
void ms_api_v2_events(const struct ms_http_call *call);
void ms_api_v2_stem(const struct ms_http_call *call);
void ms_api_v2_mix(const struct ms_http_call *call);
void ms_api_v2_peaks(const struct ms_http_call *call);
void ms_api_v2_preview(const struct ms_http_call *call);
void ms_api_v2_archive(const struct ms_http_call *call);
void ms_api_v2_stem_file(const struct ms_http_call *call);
void ms_api_v2_models(const struct ms_http_call *call);
void ms_api_v2_session_begin(const struct ms_http_call *call);
void ms_api_v2_session_end(const struct ms_http_call *call);
void ms_api_openapi(const struct ms_http_call *call);
void ms_api_uploads_options(const struct ms_http_call *call);
void ms_api_uploads_create(const struct ms_http_call *call);
void ms_api_upload_get(const struct ms_http_call *call);
void ms_api_upload_patch(const struct ms_http_call *call);
void ms_api_upload_delete(const struct ms_http_call *call);
void ms_api_upload_post(const struct ms_http_call *call);
void ms_api_page(const struct ms_http_call *call);
void ms_api_asset(const struct ms_http_call *call);
void ms_api_healthz(const struct ms_http_call *call);
void ms_api_readyz(const struct ms_http_call *call);
void ms_api_metrics(const struct ms_http_call *call);

#endif
