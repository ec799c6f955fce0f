/* Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): a request that is sent again under
 * its key is done once, and gets the first one's answer. */
#ifndef MSAAS_API_IDEMPOTENCY_H
#define MSAAS_API_IDEMPOTENCY_H

#include "link.h"
#include "msaas/digest.h"

/* The key of one request. Zero: it has none. */
struct ms_api_key {
    char name[MS_SHA256_HEX]; /* a digest of account and key */
    char request[MS_SHA256_HEX];
    char token[MS_TOKEN_HEX];
    bool is_begun; /* this request is the first, and is still to be answered */
    char *answer;  /* of the first; NULL: this is the first */
};

/* Reads the header, a string of structured fields ("...") or the bare key. False: 400. */
bool ms_api_key_read(const struct ms_http_call *call, struct ms_api_key *key,
                     struct ms_problem *problem);
/* job: what the request would queue; it stands for all that the request says. False: 409, the first
 * one is at work; 422, the key was used for another request. */
bool ms_api_key_begin(struct ms_api_link *link, struct ms_api_key *key, const struct ms_job *job,
                      struct ms_problem *problem);
/* Keeps the answer (NULL: none, the request may be sent again under this key), and frees what the
 * key holds. */
void ms_api_key_end(struct ms_api *api, struct ms_api_key *key, const char *answer);

#endif
