/* The connection to Redis: commands in, replies out, errors told apart, connected anew after it was
 * lost. Used by redis.c and redis_lists.c. */
#ifndef MSAAS_QUEUE_REDIS_CONNECTION_H
#define MSAAS_QUEUE_REDIS_CONNECTION_H

#include <hiredis/hiredis.h>
#include <stddef.h>

#include "msaas/err.h"

#define MS_REDIS_DEADLINE_MS 5000

struct ms_redis;
MS_MUST_CHECK int ms_redis_new(const char *url, struct ms_redis **out, struct ms_error *err);
void ms_redis_free(struct ms_redis *redis);

/* Whether a command does the same when it is carried out twice. */
enum ms_redis_effect {
    MS_REDIS_ONCE,   /* a second time it does more: it takes or adds something */
    MS_REDIS_REPEAT, /* a look, or the same again */
};

/* Sends one command and waits for its reply, at most MS_REDIS_DEADLINE_MS + wait_ms. A connection
 * that was lost since its last command is replaced, and the command is sent again over the new one:
 * always where the server cannot have carried it out, else where it is MS_REDIS_REPEAT. *reply is
 * the caller's (freeReplyObject) and never an error. MS_ENET: the connection was lost, or the
 * server cannot serve now; MS_EDENIED: it refuses until somebody mends its configuration or ours,
 * and the text says how; MS_ECORRUPT: a value of the wrong type. See redis_refusals.h. */
MS_MUST_CHECK int ms_redis_call(struct ms_redis *redis, enum ms_redis_effect effect, int argc,
                                const char *const *argv, const size_t *sizes, int64_t wait_ms,
                                redisReply **reply, struct ms_error *err);
/* The same; the words are separated by spaces. For constant words and ids. */
MS_MUST_CHECK int ms_redis_ask(struct ms_redis *redis, enum ms_redis_effect effect, int64_t wait_ms,
                               redisReply **reply, struct ms_error *err, const char *fmt, ...)
    MS_PRINTF(6, 7);
/* Runs src/queue/lua/queue.lua: the operation, then its arguments. */
MS_MUST_CHECK int ms_redis_script(struct ms_redis *redis, enum ms_redis_effect effect, int argc,
                                  const char *const *argv, redisReply **reply,
                                  struct ms_error *err);

/* ---- what replies say, and numbers as words of commands ---- */

MS_MUST_CHECK int ms_redis_unexpected(struct ms_error *err); /* MS_EINTERNAL */
int64_t ms_redis_int(const redisReply *reply);               /* 0: no number */
const char *ms_redis_text(const redisReply *reply);          /* borrowed; "": no text */

struct ms_redis_number {
    char text[24];
};
struct ms_redis_number ms_redis_number(int64_t value);

#endif
