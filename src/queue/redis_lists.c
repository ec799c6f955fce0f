/* See redis_lists.h. What is due comes from scripts (lua/queue.lua), the rest from commands. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "redis_lists.h"

#define KNOWN_BATCH 1000 /* ids asked about at once */

/* `script`: an operation of queue.lua and its first two arguments; the last one is `max`. */
static int list_due(struct ms_redis *redis, const char *const script[3], int max,
                    char (*ids)[MS_JOB_ID_HEX], int *count, struct ms_error *err) {
    const struct ms_redis_number most = ms_redis_number(max);
    redisReply *reply = NULL;
    int rc =
        ms_redis_script(redis, MS_REDIS_REPEAT, 4,
                        (const char *[]){script[0], script[1], script[2], most.text}, &reply, err);
    for (size_t i = 0; rc == 0 && i < reply->elements && *count < max; i++)
        (void)snprintf(ids[(*count)++], MS_JOB_ID_HEX, "%s", ms_redis_text(reply->element[i]));
    freeReplyObject(reply);
    return rc;
}

/* Cursors: "CREATED:ID". */
static int list_newest(struct ms_redis *redis, const struct ms_listing *listing,
                       char (*ids)[MS_JOB_ID_HEX], int *count, char next[MS_CURSOR_MAX],
                       struct ms_error *err) {
    const char *after;
    int64_t from;
    int rc = ms_queue_read_cursor(listing->cursor, ':', 0, &from, &after, err);
    char key[40 + MS_ACCOUNT_NAME_BYTES];
    (void)snprintf(key, sizeof key, "%s%s%s%s", listing->state < 0 ? "msaas:jobs" : "msaas:state:",
                   listing->state < 0 ? "" : ms_job_state_name((enum ms_job_state)listing->state),
                   listing->owner != NULL ? ":" : "", listing->owner != NULL ? listing->owner : "");
    const struct ms_redis_number before = ms_redis_number(from);
    const char *const most = after[0] == '\0' ? "+inf" : before.text;
    int64_t last = 0, skipped = 0;
    bool more = true;
    while (rc == 0 && more && *count < listing->max) {
        redisReply *reply = NULL;
        rc = ms_redis_ask(redis, MS_REDIS_REPEAT, 0, &reply, err,
                          "ZREVRANGEBYSCORE %s %s -inf WITHSCORES LIMIT %" PRId64 " %d", key, most,
                          skipped, listing->max);
        more = rc == 0 && reply->elements == 2 * (size_t)listing->max;
        for (size_t i = 0; rc == 0 && i + 1 < reply->elements && *count < listing->max; i += 2) {
            const char *id = reply->element[i]->str;
            const int64_t created = ms_redis_int(reply->element[i + 1]);
            skipped++;
            if (after[0] != '\0' && created == from && strcmp(id, after) >= 0)
                continue; /* of the same millisecond, and seen */
            (void)snprintf(ids[(*count)++], MS_JOB_ID_HEX, "%s", id);
            last = created;
        }
        freeReplyObject(reply);
    }
    if (rc == 0 && *count == listing->max)
        (void)snprintf(next, MS_CURSOR_MAX, "%" PRId64 ":%s", last, ids[*count - 1]);
    return rc;
}

/* Of the list's items, the last first, those that are queued jobs. */
static int keep_jobs(struct ms_redis *redis, redisReply *const *items, size_t item_count,
                     char (*ids)[MS_JOB_ID_HEX], int *count, struct ms_error *err) {
    const char *argv[2 + KNOWN_BATCH] = {"ZMSCORE", "msaas:state:queued"};
    while (item_count > 0) {
        char(*const asked)[MS_JOB_ID_HEX] = ids + *count;
        int batch = 0;
        while (item_count > 0 && batch < KNOWN_BATCH) {
            const redisReply *item = items[--item_count];
            if (item->type == REDIS_REPLY_STRING &&
                ms_course_item_id(item->str, (size_t)item->len, asked[batch])) {
                argv[2 + batch] = asked[batch];
                batch++;
            }
        }
        if (batch == 0)
            continue;
        redisReply *reply = NULL;
        int rc = ms_redis_call(redis, MS_REDIS_REPEAT, 2 + batch, argv, NULL, 0, &reply, err);
        if (rc == 0 && (reply->type != REDIS_REPLY_ARRAY || reply->elements != (size_t)batch))
            rc = ms_redis_unexpected(err);
        for (int i = 0; rc == 0 && i < batch; i++)
            if (reply->element[i]->type != REDIS_REPLY_NIL)
                memmove(ids[(*count)++], asked[i], sizeof asked[i]);
        freeReplyObject(reply);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* Cursors: how many items come before; the list's right end is served first. */
static int list_waiting(struct ms_redis *redis, const struct ms_listing *listing,
                        char (*ids)[MS_JOB_ID_HEX], int *count, char next[MS_CURSOR_MAX],
                        struct ms_error *err) {
    const int max = listing->max;
    const char *rest;
    int64_t from;
    int rc = ms_queue_read_cursor(listing->cursor, '\0', 0, &from, &rest, err);
    if (rc == 0 && (from < 0 || from > INT32_MAX))
        rc = ms_error_about(err, MS_EUSAGE, "cursor", "%" PRId64 " is not a place in the list",
                            from);
    redisReply *reply = NULL;
    if (rc == 0)
        rc = ms_redis_ask(redis, MS_REDIS_REPEAT, 0, &reply, err,
                          "LRANGE toWorker %" PRId64 " %" PRId64, -(from + max), -(from + 1));
    if (rc != 0)
        return rc;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements > (size_t)max) {
        rc = ms_redis_unexpected(err);
    } else { /* a list shorter than that gives what there is */
        rc = keep_jobs(redis, reply->element, reply->elements, ids, count, err);
        if (rc == 0 && reply->elements == (size_t)max)
            (void)snprintf(next, MS_CURSOR_MAX, "%" PRId64, from + max);
    }
    freeReplyObject(reply);
    return rc;
}

int ms_redis_list(struct ms_redis *redis, const struct ms_listing *listing,
                  char (*ids)[MS_JOB_ID_HEX], int *count, char next[MS_CURSOR_MAX],
                  struct ms_error *err) {
    const struct ms_redis_number wait = ms_redis_number(listing->wait_ms),
                                 skip = ms_redis_number(listing->skip);
    *count = 0;
    next[0] = '\0';
    const char *script[3] = {"due", "msaas:leases", "first"};
    switch (listing->order) {
    case MS_ORDER_NEWEST: return list_newest(redis, listing, ids, count, next, err);
    case MS_ORDER_WAITING: return list_waiting(redis, listing, ids, count, next, err);
    case MS_ORDER_LAPSED: break;
    case MS_ORDER_DELAYED:
        script[1] = "msaas:delayed";
        script[2] = "last";
        break;
    case MS_ORDER_CALLBACKS: script[1] = "msaas:outbox"; break;
    case MS_ORDER_UNSERVED:
        script[0] = "unserved";
        script[1] = listing->model;
        script[2] = wait.text;
        break;
    case MS_ORDER_MISSING: script[0] = "missing"; break;
    case MS_ORDER_OLDEST:
        script[0] = "oldest";
        script[1] = wait.text;
        script[2] = skip.text;
        break;
    }
    return list_due(redis, script, listing->max, ids, count, err);
}
