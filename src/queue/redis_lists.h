/* Which jobs are on Redis, in which order. Used by redis.c. */
#ifndef MSAAS_QUEUE_REDIS_LISTS_H
#define MSAAS_QUEUE_REDIS_LISTS_H

#include "queue_ops.h"
#include "redis_connection.h"

/* As `list` of struct ms_queue_ops. */
MS_MUST_CHECK int ms_redis_list(struct ms_redis *redis, const struct ms_listing *listing,
                                char (*ids)[MS_JOB_ID_HEX], int *count, char next[MS_CURSOR_MAX],
                                struct ms_error *err);

#endif
