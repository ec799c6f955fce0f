/* The signature of a callback of version 2, as https://www.standardwebhooks.com/ defines it. */
#ifndef MSAAS_NOTIFY_SIGN_H
#define MSAAS_NOTIFY_SIGN_H

#include <stddef.h>
#include <stdint.h>

#include "msaas/err.h"

#define MS_WEBHOOK_SIGNATURE_MAX 64

/* "v1,BASE64" of HMAC-SHA256 over id.timestamp.body. */
MS_MUST_CHECK int ms_webhook_sign(const void *secret, size_t secret_bytes, const char *id,
                                  int64_t timestamp_s, const char *body,
                                  char signature[MS_WEBHOOK_SIGNATURE_MAX], struct ms_error *err);

#endif
