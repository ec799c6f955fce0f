/* See query.h. Owns nothing; on the threads of the pool. */
#include "query.h"

#include <stdio.h>
#include <string.h>

bool ms_api_query(const struct ms_http_call *call, const char *name, char **out,
                  struct ms_problem *problem) {
    const int rc = ms_http_query(call, name, out);
    if (rc == MS_ENOMEM)
        return ms_problem_set(problem, 503, "no_memory", "the server is short of memory");
    return rc == 0 || ms_problem_set(problem, 400, "invalid_query",
                                     "%s: the value is not percent-encoded UTF-8", name);
}

static bool is_among(const char *name, size_t length, const char *const *known) {
    for (; *known != NULL; known++)
        if (strlen(*known) == length && strncmp(*known, name, length) == 0)
            return true;
    return false;
}

bool ms_api_query_has_only(const struct ms_http_call *call, const char *const *known,
                           struct ms_problem *problem) {
    for (const char *at = call->query; *at != '\0'; at += strspn(at, "&")) {
        const size_t pair = strcspn(at, "&");
        const size_t length = strcspn(at, "=&");
        if (length > 0 && !is_among(at, length, known)) {
            char list[200] = "";
            size_t used = 0;
            for (int i = 0; known[i] != NULL && used < sizeof list; i++)
                used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "",
                                         known[i]);
            return ms_problem_set(problem, 422, "unknown_option",
                                  "%.*s: there is no such option; there are %s",
                                  length < 60 ? (int)length : 60, at, list);
        }
        at += pair;
    }
    return true;
}
