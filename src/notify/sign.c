/* The signature of a callback of version 2. Pure; any thread. */
#include "sign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/base64.h"
#include "msaas/digest.h"
#include "msaas/sys.h"

int ms_webhook_sign(const void *secret, size_t secret_bytes, const char *id, int64_t timestamp_s,
                    const char *body, char signature[MS_WEBHOOK_SIGNATURE_MAX],
                    struct ms_error *err) {
    char *text = ms_strdupf("%s.%lld.%s", id, (long long)timestamp_s, body);
    if (text == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a signature");
    unsigned char mac[MS_SHA256_BYTES];
    int rc = ms_hmac_sha256(secret, secret_bytes, text, strlen(text), mac, err);
    char *encoded = NULL;
    if (rc == 0) {
        encoded = ms_base64_encode(mac, sizeof mac);
        if (encoded == NULL)
            rc = ms_error_set(err, MS_ENOMEM, "no memory for a signature");
    }
    if (rc == 0)
        (void)snprintf(signature, MS_WEBHOOK_SIGNATURE_MAX, "v1,%s", encoded);
    free(encoded);
    free(text);
    return rc;
}
