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

/* -1: it is none of them. */
static int place_of(const char *name, size_t length, const char *const *known) {
    for (int i = 0; known[i] != NULL; i++)
        if (strlen(known[i]) == length && strncmp(known[i], name, length) == 0)
            return i;
    return -1;
}

static bool unknown(const char *name, size_t length, const char *const *known,
                    struct ms_problem *problem) {
    char list[200] = "";
    size_t used = 0;
    for (int i = 0; known[i] != NULL && used < sizeof list; i++)
        used +=
            (size_t)snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", known[i]);
    return ms_problem_set(problem, 422, "unknown_option",
                          "%.*s: there is no such option; there are %s",
                          length < 60 ? (int)length : 60, name, list);
}

bool ms_api_query_has_only(const struct ms_http_call *call, const char *const *known,
                           struct ms_problem *problem) {
    unsigned seen = 0;
    for (const char *at = call->query; *at != '\0'; at += strspn(at, "&")) {
        const size_t pair = strcspn(at, "&");
        const size_t length = strcspn(at, "=&");
        const int place = place_of(at, length, known);
        if (length > 0 && place < 0)
            return unknown(at, length, known, problem);
        if (place >= 0 && (seen & 1U << place) != 0)
            return ms_problem_set(problem, 422, "invalid_option", "%s: is given twice",
                                  known[place]);
        if (place >= 0)
            seen |= 1U << place;
        at += pair;
    }
    return true;
}
