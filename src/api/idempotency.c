/* See idempotency.h. Errors are not kept: they changed nothing, so that a request may be put right
 * and sent again. On the threads of the pool. */
#include "idempotency.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "caller.h"
#include "msaas/log.h"
#include "reply.h"

#define MAX_KEY_BYTES 255

/* A string of structured fields (RFC 8941, 3.3.3), without its quotes and escapes. False: none. */
static bool unquote(const char *text, char out[MAX_KEY_BYTES + 1]) {
    size_t size = 0;
    const char *at = text + 1;
    for (; *at != '"' && *at != '\0'; at++) {
        if (*at == '\\' && *++at != '"' && *at != '\\')
            return false;
        if (size == MAX_KEY_BYTES)
            return false;
        out[size++] = *at;
    }
    out[size] = '\0';
    if (*at != '"')
        return false;
    at += 1 + strspn(at + 1, " ");
    return *at == '\0' || *at == ';'; /* parameters mean nothing here */
}

static bool read_key(const char *text, char out[MAX_KEY_BYTES + 1]) {
    if (*text == '"') {
        if (!unquote(text, out))
            return false;
    } else {
        if (strlen(text) > MAX_KEY_BYTES)
            return false;
        memcpy(out, text, strlen(text) + 1);
    }
    for (const char *c = out; *c != '\0'; c++)
        if (*c < 0x20 || *c >= 0x7f)
            return false;
    return *out != '\0';
}

bool ms_api_key_read(const struct ms_http_call *call, struct ms_api_key *key,
                     struct ms_problem *problem) {
    const char *header = ms_http_header(call, "Idempotency-Key");
    const struct ms_account *caller = ms_api_caller(call->exchange);
    char text[MAX_KEY_BYTES + 1], name[MS_ACCOUNT_NAME_BYTES + sizeof text];
    *key = (struct ms_api_key){0};
    if (header == NULL)
        return true;
    if (!read_key(header, text))
        return ms_problem_set(problem, 400, "invalid_idempotency_key",
                              "Idempotency-Key: must be 1 to %d printable ASCII characters, in "
                              "quotes or bare",
                              MAX_KEY_BYTES);
    const int size =
        snprintf(name, sizeof name, "%s\n%s", caller != NULL ? caller->name : "", text);
    struct ms_error err = {0};
    return ms_sha256_of(name, (size_t)size, key->name, &err) == 0 ||
           ms_problem_of_queue(problem, &err);
}

/* The job before it is queued: its id, which stands for the song, options, name and callback. */
static int digest_request(const struct ms_job *job, char digest[MS_SHA256_HEX],
                          struct ms_error *err) {
    char *json = NULL;
    struct ms_job timeless = *job; /* only read */
    timeless.created_ms = 0;
    int rc = ms_job_to_json(&timeless, &json, err);
    if (rc == 0)
        rc = ms_sha256_of(json, strlen(json), digest, err);
    free(json);
    return rc;
}

bool ms_api_key_begin(struct ms_api_link *link, struct ms_api_key *key, const struct ms_job *job,
                      struct ms_problem *problem) {
    struct ms_error err = {0};
    enum ms_key_state state = MS_KEY_NEW;
    if (key->name[0] == '\0')
        return true;
    int rc = digest_request(job, key->request, &err);
    if (rc == 0)
        rc = ms_queue_begin_key(link->queue, key->name, key->request, key->token, &state,
                                &key->answer, &err);
    if (rc != 0)
        return ms_problem_of_queue(problem, &err);
    if (state == MS_KEY_OF_ANOTHER)
        return ms_problem_set(problem, 422, "idempotency_key_reused",
                              "this Idempotency-Key was sent with another request before; use a "
                              "new one");
    if (state == MS_KEY_AT_WORK) {
        (void)ms_problem_set(problem, 409, "idempotency_key_in_use",
                             "the first request with this Idempotency-Key is not answered yet");
        problem->retry_after_s = 1;
        return false;
    }
    key->is_begun = state == MS_KEY_NEW;
    return true;
}

void ms_api_key_end(struct ms_api *api, struct ms_api_key *key, const char *answer) {
    struct ms_problem unused;
    struct ms_error err = {0};
    struct ms_api_link *link = key->is_begun ? ms_api_borrow(api, &unused) : NULL;
    if (link != NULL &&
        ms_queue_end_key(link->queue, key->name, key->request, key->token, answer, &err) != 0)
        ms_log(MS_LOG_WARN, "the answer to a request with an Idempotency-Key was not kept: %s",
               err.text);
    ms_api_give_back(api, link);
    free(key->answer);
    *key = (struct ms_api_key){0};
}
