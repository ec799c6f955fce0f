/* The connection to Redis: commands in, replies out, errors told apart, connected anew when it was lost. Used by redis.c. */
#ifndef MSAAS_QUEUE_REDIS_H
#define MSAAS_QUEUE_REDIS_H

#include <hiredis/hiredis.h>
#include <stddef.h>

#include "msaas/err.h"

#define MS_REDIS_DEADLINE_MS 5000

struct ms_redis;
MS_MUST_CHECK int ms_redis_new(const char *url, struct ms_redis **out, struct ms_error *err);
void ms_redis_free(struct ms_redis *redis);

/* Sends one command and waits for its reply, at most MS_REDIS_DEADLINE_MS + wait_ms. *reply is the caller's
 * (freeReplyObject) and never an error. MS_ENET: lost, or the server cannot serve now; MS_EDENIED: credentials. */
MS_MUST_CHECK int ms_redis_call(struct ms_redis *redis, int argc, const char *const *argv,
                                const size_t *sizes, int64_t wait_ms, redisReply **reply,
                                struct ms_error *err);
/* Words apart by spaces: for commands of constant words and ids. */
MS_MUST_CHECK int ms_redis_ask(struct ms_redis *redis, int64_t wait_ms, redisReply **reply,
                               struct ms_error *err, const char *fmt, ...) MS_PRINTF(5, 6);
/* A script of src/queue/lua by its file's name; keys are the first key_count of argv. */
MS_MUST_CHECK int ms_redis_script(struct ms_redis *redis, const char *name, int key_count, int argc,
                                  const char *const *argv, redisReply **reply,
                                  struct ms_error *err);

#endif
