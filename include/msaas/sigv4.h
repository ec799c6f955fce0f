/* AWS Signature Version 4 for S3 (docs.aws.amazon.com: "Authenticating Requests (AWS Signature
 * Version 4)"): headers and presigned URLs. Pure functions; any thread. */
#ifndef MSAAS_SIGV4_H
#define MSAAS_SIGV4_H

#include <stddef.h>

#include "msaas/err.h"

struct ms_sigv4_request {
    const char *method, *host;  /* host as in the Host header */
    const char *path;           /* as it is sent, percent-encoded once */
    const char *query;          /* percent-encoded, in any order; "": none */
    const char *const *headers; /* "name: value", ended by NULL: all are signed; host is added */
    const char *payload_sha256; /* hex, or "UNSIGNED-PAYLOAD" */
    const char *region, *service, *access_key, *secret_key;
    const char *session_token; /* NULL: none */
    const char *amz_date;      /* "20130524T000000Z" */
};
#define MS_SIGV4_AUTHORIZATION_MAX 2048
/* The value of the Authorization header. x-amz-date and x-amz-content-sha256 (and
 * x-amz-security-token) must be among headers. */
MS_MUST_CHECK int ms_sigv4_authorization(const struct ms_sigv4_request *request,
                                         char out[MS_SIGV4_AUTHORIZATION_MAX],
                                         struct ms_error *err);
/* Makes the query of a presigned URL, with its signature. The caller frees it. */
MS_MUST_CHECK int ms_sigv4_presign(const struct ms_sigv4_request *request, int expires_s,
                                   char **query, struct ms_error *err);

#endif
