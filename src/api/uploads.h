/* The uploads that clients may name. */
#ifndef MSAAS_API_UPLOADS_H
#define MSAAS_API_UPLOADS_H

#include "caller.h"
#include "link.h"
#include "msaas/upload.h"

/* 404: there is none, or it is another account's; 410: it has expired. */
bool ms_api_find_upload(struct ms_store *store, const struct ms_account *caller, const char *id,
                        struct ms_upload *upload, struct ms_problem *problem);

/* The song's name, as the upload's metadata have it; "": they have none. */
void ms_api_upload_name(const struct ms_upload *upload, char out[MS_JOB_INPUT_NAME_BYTES]);

#endif
