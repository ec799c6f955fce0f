/* A job's last step: it calls back whoever asked for it, at public addresses only, since the URLs
 * come from anybody. Owns the secret and the list of what is allowed besides. Version 1 is the
 * course's; version 2 is https://www.standardwebhooks.com/. */
#include "msaas/webhook.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "address.h"
#include "msaas/base64.h"
#include "msaas/http_client.h"
#include "msaas/sys.h"
#include "msaas/url.h"
#include "sign.h"

#define CONNECT_TIMEOUT_S 5
#define TOTAL_TIMEOUT_S 10
#define MAX_ANSWER_BYTES 65536
#define MAX_SECRET_BYTES 1024

struct ms_webhook {
    struct ms_allowed *allowed;
    const atomic_bool *cancel;
    unsigned char *secret;
    size_t secret_bytes;
};

/* ---- the object ---- */

static int set_secret(struct ms_webhook *webhook, const char *secret, struct ms_error *err) {
    static const char prefix[] = "whsec_";
    const size_t prefix_length = sizeof prefix - 1;
    char *bytes;
    if (strncmp(secret, prefix, prefix_length) == 0) {
        bytes = strdup(secret + prefix_length);
        if (bytes != NULL && (ms_base64_decode(bytes, strlen(bytes), MAX_SECRET_BYTES,
                                               &webhook->secret_bytes, NULL) != 0 ||
                              webhook->secret_bytes == 0)) {
            explicit_bzero(bytes, strlen(secret + prefix_length));
            free(bytes);
            return ms_error_set(err, MS_EUSAGE,
                                "the secret of callbacks begins with whsec_, but the rest is not "
                                "base64 of 1 to %d bytes",
                                MAX_SECRET_BYTES);
        }
    } else {
        webhook->secret_bytes = strlen(secret);
        if (webhook->secret_bytes == 0 || webhook->secret_bytes > MAX_SECRET_BYTES)
            return ms_error_set(err, MS_EUSAGE, "the secret of callbacks must be 1 to %d bytes",
                                MAX_SECRET_BYTES);
        bytes = strdup(secret);
    }
    if (bytes == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a secret");
    webhook->secret = (unsigned char *)bytes;
    return 0;
}

int ms_webhook_new(const char *secret, const char *allow, const atomic_bool *cancel,
                   struct ms_webhook **out, struct ms_error *err) {
    struct ms_webhook *webhook = calloc(1, sizeof *webhook);
    *out = NULL;
    if (webhook == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for callbacks");
    webhook->cancel = cancel;
    int rc = ms_allowed_parse(allow, &webhook->allowed, err);
    if (rc == 0 && secret != NULL)
        rc = set_secret(webhook, secret, err);
    if (rc != 0) {
        ms_webhook_free(webhook);
        return rc;
    }
    *out = webhook;
    return 0;
}

void ms_webhook_free(struct ms_webhook *webhook) {
    if (webhook == NULL)
        return;
    ms_allowed_free(webhook->allowed);
    if (webhook->secret != NULL)
        explicit_bzero(webhook->secret, webhook->secret_bytes);
    free(webhook->secret);
    free(webhook);
}

/* ---- one delivery ---- */

struct headers {
    char id[MS_JOB_ID_HEX + 64], timestamp[64], signature[MS_WEBHOOK_SIGNATURE_MAX + 32];
    const char *list[6];
};

/* Version 2 has the headers of
 * https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md */
static int make_headers(const struct ms_webhook *webhook, const struct ms_callback_due *due,
                        const char *body, struct headers *headers, struct ms_error *err) {
    const int64_t now_s = (int64_t)time(NULL);
    int count = 0;
    headers->list[count++] = "Content-Type: application/json";
    if (due->job.callbacks[due->index].version == 2) {
        (void)snprintf(headers->id, sizeof headers->id, "webhook-id: %s", due->webhook_id);
        (void)snprintf(headers->timestamp, sizeof headers->timestamp, "webhook-timestamp: %lld",
                       (long long)now_s);
        headers->list[count++] = headers->id;
        headers->list[count++] = headers->timestamp;
        if (webhook->secret != NULL) {
            char signature[MS_WEBHOOK_SIGNATURE_MAX];
            const int rc = ms_webhook_sign(webhook->secret, webhook->secret_bytes, due->webhook_id,
                                           now_s, body, signature, err);
            if (rc != 0)
                return rc;
            (void)snprintf(headers->signature, sizeof headers->signature, "webhook-signature: %s",
                           signature);
            headers->list[count++] = headers->signature;
        }
    }
    headers->list[count] = NULL;
    return 0;
}

struct guard {
    const struct ms_webhook *webhook;
    char refused[INET6_ADDRSTRLEN]; /* the last address that was */
};

static bool allow_address(void *context, const char *host, const struct sockaddr *address) {
    struct guard *guard = context;
    if (ms_address_is_public(address) || ms_allowed_holds(guard->webhook->allowed, host, address))
        return true;
    (void)getnameinfo(address,
                      address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                     : sizeof(struct sockaddr_in),
                      guard->refused, sizeof guard->refused, NULL, 0, NI_NUMERICHOST);
    return false;
}

/* Ignores the receiver's answer. */
static int drop(void *context, const void *bytes, size_t size, struct ms_error *err) {
    (void)context;
    (void)bytes;
    (void)size;
    (void)err;
    return 0;
}

static int post(const struct ms_webhook *webhook, const struct ms_callback_due *due,
                const char *body, bool *give_up, struct ms_error *err) {
    const struct ms_job_callback *callback = &due->job.callbacks[due->index];
    struct guard guard = {.webhook = webhook};
    struct headers headers;
    const struct ms_http_request request = {
        .method = "POST",
        .url = callback->url,
        .headers = headers.list,
        .body = body,
        .body_bytes = (int64_t)strlen(body),
        .write = drop,
        .max_bytes = MAX_ANSWER_BYTES,
        .allow_address = allow_address,
        .context = &guard,
        .connect_timeout_s = CONNECT_TIMEOUT_S,
        .total_timeout_s = TOTAL_TIMEOUT_S,
        .secret_path = true,
        .cancel = webhook->cancel,
    };
    struct ms_http_client *client = NULL;
    struct ms_http_response response = {0};
    int rc = make_headers(webhook, due, body, &headers, err);
    if (rc == 0)
        rc = ms_http_client_new(&client, err);
    if (rc == 0)
        rc = ms_http_send(client, &request, &response, err);
    ms_http_client_free(client);
    /* The status is the answer, even if the rest is too long or comes too slowly. */
    if (response.status >= 200 && response.status < 300)
        return 0;
    char shown[300];
    ms_url_origin(callback->url, shown, sizeof shown);
    /* Only 410 Gone takes the callback back. Any other status may come from a receiver that is not
     * set up yet. */
    *give_up = rc == MS_EUSAGE || response.refused || response.status == 410;
    if (response.refused)
        return ms_error_about(err, MS_EDENIED, shown,
                              "its address %s is not public. --callback-allow names the hosts and "
                              "networks that callbacks may reach besides",
                              guard.refused);
    if (response.status != 0)
        return ms_error_about(err, MS_ENET, shown, "answered with status %d", response.status);
    return rc;
}

int ms_webhook_deliver(const struct ms_webhook *webhook, const struct ms_callback_due *due,
                       bool *give_up, struct ms_error *err) {
    const struct ms_job_callback *callback = &due->job.callbacks[due->index];
    *give_up = false;
    char *made = NULL;
    int rc = 0;
    if (callback->version == 2)
        rc = ms_job_to_public_json(&due->job, false, &made, err);
    if (rc == 0)
        rc = post(webhook, due,
                  made != NULL             ? made
                  : callback->data != NULL ? callback->data
                                           : "null",
                  give_up, err);
    free(made);
    return rc;
}

/* ---- again? ---- */

int64_t ms_webhook_again_ms(int version, int attempt) {
    static const int64_t v1_s[] = {5, 30};
    static const int64_t v2_s[] = {5, 30, 120, 600, 3600, 21600, 86400};
    const int64_t *delays_s = version == 1 ? v1_s : v2_s;
    const int count =
        version == 1 ? (int)(sizeof v1_s / sizeof *v1_s) : (int)(sizeof v2_s / sizeof *v2_s);
    if (attempt < 0 || attempt >= count)
        return -1;
    uint32_t random = 0;
    (void)!getrandom(&random, sizeof random, GRND_NONBLOCK); /* no random numbers: no jitter */
    const int64_t most_ms = delays_s[attempt] * 1000;
    return most_ms - most_ms / 5 * (int64_t)random / UINT32_MAX;
}
