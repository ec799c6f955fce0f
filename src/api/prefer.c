/* See prefer.h. The job is looked at as often as its events are. On the threads of the pool, for a
 * moment at each look. */
#include "prefer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "events.h"
#include "expiry.h"
#include "job_reply.h"
#include "jobs.h"
#include "msaas/sys.h"
#include "reply.h"

struct waiter {
    struct ms_api *api;
    char id[MS_JOB_ID_HEX];
    double until_s;
    int otherwise;
};

/* Of "respond-async, wait=10; foo", the 10. */
static int wait_of(const char *preferences) {
    for (const char *at = preferences; *at != '\0'; at += strcspn(at, ",")) {
        at += strspn(at, ", \t");
        if (strncasecmp(at, "wait", 4) != 0)
            continue;
        const char *value = at + 4 + strspn(at + 4, " \t");
        if (*value != '=')
            continue;
        value += 1 + strspn(value + 1, " \t\"");
        const size_t digits = strspn(value, "0123456789");
        if (digits > 0 && strchr(" \t\",;", value[digits]) != NULL)
            return digits > 4 ? MS_API_MAX_WAIT_S : (int)strtol(value, NULL, 10);
    }
    return 0;
}

int ms_api_wait_s(const struct ms_http_call *call) {
    const char *preferences = ms_http_header(call, "Prefer");
    const int asked = preferences != NULL ? wait_of(preferences) : 0;
    return asked < MS_API_MAX_WAIT_S ? asked : MS_API_MAX_WAIT_S;
}

static void close_waiter(void *context) {
    struct waiter *waiter = context;
    (void)atomic_fetch_sub(&waiter->api->listeners, 1);
    free(waiter);
}

static void look(const struct ms_http_call *call, void *context, bool is_last) {
    struct waiter *waiter = context;
    const int again_ms = ms_api_look_ms(waiter->api);
    const bool is_over = is_last || ms_monotonic_s() >= waiter->until_s;
    const struct ms_http_later later = {.look = look, .close = close_waiter, .context = waiter};
    struct ms_job job = {0};
    struct ms_problem problem;
    if (ms_api_find(waiter->api, ms_api_caller(call->exchange), waiter->id, &job, &problem)) {
        ms_api_look_now_and_then(waiter->api, &job);
        if (ms_job_state_is_final(job.state))
            ms_api_reply_job(call, 200, &job);
        else if (is_over)
            ms_api_reply_job(call, waiter->otherwise, &job);
        else
            ms_http_reply_later(call, again_ms, &later);
    } else if (problem.status == 404) {
        (void)ms_problem_set(&problem, 410, "job_canceled", "the job was erased meanwhile");
        ms_api_reply_problem(call, &problem);
    } else if (is_over) {
        ms_api_reply_problem(call, &problem);
    } else { /* the queue cannot be reached now */
        ms_http_reply_later(call, again_ms, &later);
    }
    ms_job_fini(&job);
}

void ms_api_reply_job_later(const struct ms_http_call *call, const char *id, int wait_s,
                            int otherwise) {
    struct ms_api *api = call->context;
    char applied[32];
    struct waiter *waiter = calloc(1, sizeof *waiter);
    if (waiter == NULL)
        return; /* 500 */
    *waiter =
        (struct waiter){.api = api, .until_s = ms_monotonic_s() + wait_s, .otherwise = otherwise};
    (void)snprintf(waiter->id, sizeof waiter->id, "%s", id);
    (void)atomic_fetch_add(&api->listeners, 1);
    (void)snprintf(applied, sizeof applied, "wait=%d", wait_s);
    ms_http_add_header(call, "Preference-Applied", applied);
    const struct ms_http_later later = {.look = look, .close = close_waiter, .context = waiter};
    ms_http_reply_later(call, 0, &later);
}
