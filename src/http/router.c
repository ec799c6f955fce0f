/* The table of routes is searched from its beginning for each request: a few dozen short
 * comparisons. Pure; any thread. */
#include "router.h"

#include <stdio.h>
#include <string.h>

bool ms_http_route_params(const char *pattern, const char *path, char *space,
                          const char *params[MS_HTTP_MAX_PARAMS]) {
    int count = 0;
    while (*pattern != '\0') {
        if (pattern[0] == '{' && pattern[1] == '}') {
            const size_t length = strcspn(path, "/");
            if (length == 0 || count == MS_HTTP_MAX_PARAMS)
                return false;
            if (space != NULL) {
                memcpy(space, path, length);
                space[length] = '\0';
                params[count] = space;
                space += length + 1;
            }
            count++;
            path += length;
            pattern += 2;
        } else if (*pattern++ != *path++) {
            return false;
        }
    }
    return *path == '\0';
}

static void add_method(char *allow, size_t capacity, const char *method) {
    const size_t used = strlen(allow);
    snprintf(allow + used, capacity - used, "%s%s", used > 0 ? ", " : "", method);
}

const struct ms_http_route *ms_http_route_find(const struct ms_http_route *routes,
                                               const char *method, const char *path, int *status,
                                               char *allow, size_t allow_capacity) {
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    *status = 404;
    *allow = '\0';
    for (const struct ms_http_route *route = routes; route->method != NULL; route++) {
        if (!ms_http_route_params(route->pattern, path, NULL, NULL))
            continue;
        if (strcmp(route->method, wanted) == 0)
            return route;
        *status = 405;
        add_method(allow, allow_capacity, route->method);
        if (strcmp(route->method, "GET") == 0)
            add_method(allow, allow_capacity, "HEAD");
    }
    return NULL;
}
