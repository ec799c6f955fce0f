/* See job_reply.h. The tag is the digest of the job's JSON, so it changes with everything that a
 * client sees. Owns nothing; on the threads of the pool. */
#include "job_reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "caller.h"
#include "msaas/digest.h"
#include "msaas/http_range.h"
#include "owner.h"
#include "reply.h"

#define ETAG_BYTES (MS_SHA256_HEX + 2)

static bool tag_of(const char *json, char etag[ETAG_BYTES]) {
    char digest[MS_SHA256_HEX];
    if (ms_sha256_of(json, strlen(json), digest, NULL) != 0)
        return false;
    (void)snprintf(etag, ETAG_BYTES, "\"%s\"", digest);
    return true;
}

static int job_json(const struct ms_http_call *call, const struct ms_job *job, char **json) {
    return ms_job_to_public_json(job, ms_api_shows_owner(ms_api_caller(call->exchange)), json,
                                 NULL);
}

bool ms_api_tag_matches(const struct ms_http_call *call, const char *etag,
                        struct ms_problem *problem) {
    return ms_http_if_match_holds(ms_http_header(call, "If-Match"), etag) ||
           ms_problem_set(problem, 412, "precondition_failed",
                          "If-Match does not name what is there now");
}

bool ms_api_job_matches(const struct ms_http_call *call, const struct ms_job *job,
                        struct ms_problem *problem) {
    char etag[ETAG_BYTES] = "", *json = NULL;
    if (job_json(call, job, &json) == 0 && !tag_of(json, etag))
        etag[0] = '\0';
    free(json);
    return ms_api_tag_matches(call, etag, problem);
}

/* Without memory there is no answer, and the client gets 500. */
void ms_api_reply_job(const struct ms_http_call *call, int status, const struct ms_job *job) {
    const bool is_get = strcmp(call->method, "GET") == 0 || strcmp(call->method, "HEAD") == 0;
    char etag[ETAG_BYTES] = "", *json = NULL;
    struct ms_problem problem;
    if (job_json(call, job, &json) != 0 || (is_get && !tag_of(json, etag)))
        ;
    else if (!is_get)
        ms_api_reply_json(call, status, json);
    else if (!ms_api_tag_matches(call, etag, &problem))
        ms_api_reply_problem(call, &problem);
    else {
        ms_http_add_header(call, "ETag", etag);
        if (ms_http_etag_matches(ms_http_header(call, "If-None-Match"), etag))
            ms_http_reply(call, 304, NULL, NULL, 0);
        else
            ms_api_reply_json(call, status, json);
    }
    free(json);
}
