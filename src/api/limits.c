/* See limits.h. On the threads of the pool. */
#include "limits.h"

#include <inttypes.h>
#include <stdio.h>

#define WAITING_RETRY_S 30      /* nobody knows when a job that waits begins */
#define LARGEST 999999999999999 /* integer of RFC 9651 */
#define DAY_S (MS_DAY_MS / 1000)
#define MINUTE_MS 60000.0

static int64_t left_s(const struct ms_usage *usage) {
    return usage->left_ms > 0 ? (usage->left_ms + 999) / 1000 : DAY_S;
}

bool ms_api_limits_read(struct ms_api_link *link, const struct ms_account *caller,
                        struct ms_api_limits *out, struct ms_problem *problem) {
    *out = (struct ms_api_limits){0};
    if (caller == NULL || caller->name[0] == '\0')
        return true;
    out->quota.max_waiting = caller->max_waiting;
    out->quota.max_cost_ms = (int64_t)(caller->max_minutes_a_day * MINUTE_MS);
    out->quota.max_bytes = caller->max_bytes_a_day;
    if (out->quota.max_waiting <= 0 && out->quota.max_cost_ms <= 0 && out->quota.max_bytes <= 0)
        return true;
    struct ms_error err = {0};
    if (ms_queue_usage(link->queue, caller->name, &out->usage, &err) != 0)
        return ms_problem_of_queue(problem, &err);
    out->account = caller;
    return true;
}

static bool refuse(const struct ms_api_limits *limits, enum ms_limit limit, double cost,
                   struct ms_problem *problem) {
    const struct ms_usage *usage = &limits->usage;
    const int64_t wait_s = left_s(usage);
    const double hours = (double)wait_s / 3600;
    if (limit == MS_LIMIT_WAITING)
        (void)ms_problem_set(problem, 429, "quota",
                             "%" PRId64 " jobs of account %s wait, and it may have no more: send "
                             "the song again when one of them has begun",
                             usage->waiting, limits->account->name);
    else if (limit == MS_LIMIT_COST)
        (void)ms_problem_set(problem, 429, "quota",
                             "account %s has used %.1f of its %.1f minutes of this day, and the "
                             "song needs %.1f: send it again in %.1f hours",
                             limits->account->name, (double)usage->cost_ms / MINUTE_MS,
                             (double)limits->quota.max_cost_ms / MINUTE_MS, cost, hours);
    else
        (void)ms_problem_set(problem, 429, "quota",
                             "account %s has sent %" PRId64 " of its %" PRId64 " bytes of this "
                             "day: send the song again in %.1f hours",
                             limits->account->name, usage->bytes, limits->quota.max_bytes, hours);
    problem->retry_after_s = limit == MS_LIMIT_WAITING ? WAITING_RETRY_S : (int)wait_s;
    return false;
}

static bool never_fits(const struct ms_api_limits *limits, int64_t bytes,
                       struct ms_problem *problem) {
    return ms_problem_set(problem, 413, "too_large",
                          "the song has %" PRId64 " bytes, and account %s may send %" PRId64
                          " a day",
                          bytes, limits->account->name, limits->quota.max_bytes);
}

bool ms_api_limits_charge(struct ms_api_link *link, const struct ms_upload *upload,
                          struct ms_api_limits *limits, struct ms_problem *problem) {
    const int64_t most = limits->quota.max_bytes;
    struct ms_error err = {0};
    struct ms_usage usage;
    if (upload->owner[0] == '\0')
        return true;
    if (most > 0 && upload->length > most)
        return never_fits(limits, upload->length, problem);
    const int rc = ms_queue_charge(link->queue, upload->owner, upload->length, most, &usage, &err);
    if (rc != 0 && rc != MS_EQUOTA)
        return ms_problem_of_queue(problem, &err);
    limits->usage = usage;
    return rc == 0 || refuse(limits, MS_LIMIT_BYTES, 0, problem);
}

bool ms_api_limits_allow(const struct ms_api_limits *limits, const struct ms_job *job,
                         int64_t bytes, struct ms_problem *problem) {
    if (limits->account == NULL)
        return true;
    static const struct ms_usage none;
    const int64_t cost_ms = ms_job_cost_ms(job);
    const double cost = ms_job_cost(job);
    const enum ms_limit never = ms_quota_exceeded(&limits->quota, &none, cost_ms, bytes);
    if (never == MS_LIMIT_COST)
        return ms_problem_set(problem, 422, "too_costly",
                              "the job would cost %.1f minutes of separation, and account %s has "
                              "%.1f a day: send a shorter song, or ask for fewer shifts",
                              cost, limits->account->name,
                              (double)limits->quota.max_cost_ms / MINUTE_MS);
    if (never == MS_LIMIT_BYTES)
        return never_fits(limits, bytes, problem);
    const enum ms_limit limit = ms_quota_exceeded(&limits->quota, &limits->usage, cost_ms, bytes);
    return limit == MS_LIMIT_NONE || refuse(limits, limit, cost, problem);
}

/* ---- headers ---- */

struct text {
    char policy[200], state[200];
    size_t policy_used, state_used;
};

static int64_t capped(int64_t value) {
    return value < 0 ? 0 : value > LARGEST ? LARGEST : value;
}

/* window_s 0: the limit is not one of a day. */
static void put(struct text *text, const char *name, const char *unit, int64_t most, int64_t used,
                int64_t window_s, int64_t ends_in_s) {
    char window[32] = "", ends[32] = "";
    if (window_s > 0) {
        (void)snprintf(window, sizeof window, ";w=%" PRId64, window_s);
        (void)snprintf(ends, sizeof ends, ";t=%" PRId64, ends_in_s);
    }
    text->policy_used +=
        (size_t)snprintf(text->policy + text->policy_used, sizeof text->policy - text->policy_used,
                         "%s\"%s\";q=%" PRId64 ";qu=\"%s\"%s", text->policy_used > 0 ? ", " : "",
                         name, capped(most), unit, window);
    text->state_used +=
        (size_t)snprintf(text->state + text->state_used, sizeof text->state - text->state_used,
                         "%s\"%s\";r=%" PRId64 "%s", text->state_used > 0 ? ", " : "", name,
                         capped(most - used), ends);
}

void ms_api_limits_tell(const struct ms_http_call *call, const struct ms_api_limits *limits) {
    const struct ms_quota *quota = &limits->quota;
    const struct ms_usage *usage = &limits->usage;
    struct text text = {0};
    if (limits->account == NULL)
        return;
    if (quota->max_waiting > 0)
        put(&text, "waiting", "jobs", quota->max_waiting, usage->waiting, 0, 0);
    if (quota->max_cost_ms > 0)
        put(&text, "music", "seconds", quota->max_cost_ms / 1000, (usage->cost_ms + 999) / 1000,
            DAY_S, left_s(usage));
    if (quota->max_bytes > 0)
        put(&text, "bytes", "content-bytes", quota->max_bytes, usage->bytes, DAY_S, left_s(usage));
    ms_http_add_header(call, "RateLimit-Policy", text.policy);
    ms_http_add_header(call, "RateLimit", text.state);
}
