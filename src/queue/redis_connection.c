/* See redis_connection.h. Owns the connection; one thread at a time. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/embedded.h"
#include "msaas/url.h"
#include "redis_connection.h"
#include "redis_refusals.h"
#include "redis_tls.h"

#define WORDS_MAX 64
#define SHA1_HEX 41

struct ms_redis {
    struct ms_url url;
    char shown[320]; /* for messages: no password */
    redisContext *context;
    /* Digest of the script, once a server has loaded it; "": not yet. */
    char script[SHA1_HEX];
};

static struct timeval to_timeval(int64_t ms) {
    return (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
}

int ms_redis_new(const char *url, struct ms_redis **out, struct ms_error *err) {
    struct ms_redis *redis = calloc(1, sizeof *redis);
    *out = NULL;
    if (redis == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the queue");
    int rc = ms_url_parse(url, &redis->url, err);
    const char *db = redis->url.path[0] == '/' ? redis->url.path + 1 : redis->url.path;
    if (rc == 0 &&
        (redis->url.host[0] == '\0' || strspn(db, "0123456789") != strlen(db) || strlen(db) > 5))
        rc = ms_error_set(err, MS_EUSAGE,
                          "the queue's URL must be redis://[USER:PASSWORD@]HOST[:PORT][/DB]");
    if (rc == 0 && strcmp(redis->url.scheme, "rediss") == 0)
        rc = ms_redis_tls_check(err);
    if (rc != 0) {
        free(redis);
        return rc;
    }
    ms_url_public(url, redis->shown, sizeof redis->shown);
    *out = redis;
    return 0;
}

static void disconnect(struct ms_redis *redis) {
    if (redis->context != NULL)
        redisFree(redis->context);
    redis->context = NULL;
}

void ms_redis_free(struct ms_redis *redis) {
    if (redis == NULL)
        return;
    disconnect(redis);
    free(redis);
}

/* Whether the server was silent for too long. */
static bool was_late(const struct ms_redis *redis) {
    return redis->context != NULL && redis->context->err == REDIS_ERR_IO &&
           (errno == EAGAIN || errno == EWOULDBLOCK);
}

static int lost(struct ms_redis *redis, struct ms_error *err) {
    int rc = ms_error_set(err, MS_ENET, "Redis %s: %s", redis->shown,
                          redis->context == NULL ? "no memory for a connection"
                          : was_late(redis)      ? "no answer in time"
                                                 : redis->context->errstr);
    disconnect(redis);
    return rc;
}

/* An error that the server answered with. Its first sentence says what it is; the rest differs from
 * command to command, and one cause is to be told in the same words each time. */
static int refused(struct ms_redis *redis, const redisReply *reply, struct ms_error *err) {
    const char *remedy, *end = strstr(reply->str, ". ");
    const int code = ms_redis_refusal(reply->str, &remedy);
    return ms_error_set(err, code, "Redis %s: %.*s%s%s", redis->shown,
                        end != NULL && end - reply->str < 300 ? (int)(end - reply->str) : 300,
                        reply->str, remedy != NULL ? ": " : "", remedy != NULL ? remedy : "");
}

static bool send_all(redisContext *context, int argc, const char *const *argv,
                     const size_t *sizes) {
    /* hiredis takes an array of pointers that it does not write to. */
    const char **words;
    memcpy(&words, &argv, sizeof words);
    int done = 0;
    bool ok = redisAppendCommandArgv(context, argc, words, sizes) == REDIS_OK;
    while (ok && done == 0)
        ok = redisBufferWrite(context, &done) == REDIS_OK;
    return ok;
}

/* *again: after MS_ENET, whether the command may be sent again over a new
 * connection. A command that did not go out whole was not carried out, nor was one that the server
 * refused. A server that is silent would be so for the next connection. */
static int exchange(struct ms_redis *redis, enum ms_redis_effect effect, int argc,
                    const char *const *argv, const size_t *sizes, redisReply **reply, bool *again,
                    struct ms_error *err) {
    void *answer = NULL;
    const bool sent = send_all(redis->context, argc, argv, sizes);
    if (!sent || redisGetReply(redis->context, &answer) != REDIS_OK) {
        *again = (!sent || effect == MS_REDIS_REPEAT) && !was_late(redis);
        return lost(redis, err);
    }
    *reply = answer;
    *again = true;
    if ((*reply)->type != REDIS_REPLY_ERROR)
        return 0;
    int rc = refused(redis, *reply, err);
    if (strncmp((*reply)->str, "NOSCRIPT", 8) == 0)
        rc = MS_ENOTFOUND;
    freeReplyObject(*reply);
    *reply = NULL;
    if (rc == MS_ENET) /* another server may have its name by now (READONLY after a failover) */
        disconnect(redis);
    return rc;
}

static int introduce(struct ms_redis *redis, int argc, const char *const *argv,
                     struct ms_error *err) {
    redisReply *reply = NULL;
    bool again;
    int rc = exchange(redis, MS_REDIS_REPEAT, argc, argv, NULL, &reply, &again, err);
    if (reply != NULL)
        freeReplyObject(reply);
    return rc;
}

/* The first words are short: to a command of more than 10 words from one who has not logged in,
 * Redis answers with an error of the protocol where a short one has NOAUTH. */
static int connect_to(struct ms_redis *redis, struct ms_error *err) {
    const struct ms_url *url = &redis->url;
    const int port = url->port[0] != '\0' ? (int)strtol(url->port, NULL, 10) : 6379;
    const char *db = url->path[0] == '/' ? url->path + 1 : url->path;
    int rc = 0;
    redis->context = redisConnectWithTimeout(url->host, port, to_timeval(MS_REDIS_DEADLINE_MS));
    if (redis->context == NULL || redis->context->err != 0)
        return lost(redis, err);
    if (redisSetTimeout(redis->context, to_timeval(MS_REDIS_DEADLINE_MS)) != REDIS_OK)
        return lost(redis, err);
    (void)redisEnableKeepAlive(redis->context);
    if (strcmp(url->scheme, "rediss") == 0)
        rc = ms_redis_tls_begin(redis->context, url->host, err);
    if (rc == 0 && url->password[0] != '\0' && url->user[0] != '\0')
        rc = introduce(redis, 3, (const char *[]){"AUTH", url->user, url->password}, err);
    else if (rc == 0 && url->password[0] != '\0')
        rc = introduce(redis, 2, (const char *[]){"AUTH", url->password}, err);
    if (rc == 0 && db[0] != '\0' && strcmp(db, "0") != 0)
        rc = introduce(redis, 2, (const char *[]){"SELECT", db}, err);
    else if (rc == 0 && url->password[0] == '\0')
        rc = introduce(redis, 1, (const char *[]){"PING"}, err);
    if (rc != 0)
        disconnect(redis);
    return rc;
}

/* Whether the server has closed the connection since its last command. */
static bool is_closed(const redisContext *context) {
    struct pollfd look = {.fd = context->fd, .events = POLLRDHUP};
    return poll(&look, 1, 0) > 0;
}

int ms_redis_call(struct ms_redis *redis, enum ms_redis_effect effect, int argc,
                  const char *const *argv, const size_t *sizes, int64_t wait_ms, redisReply **reply,
                  struct ms_error *err) {
    *reply = NULL;
    if (redis->context != NULL && is_closed(redis->context))
        disconnect(redis);
    bool is_new, again;
    int rc;
    do {
        rc = 0;
        again = false;
        is_new = redis->context == NULL;
        if (is_new)
            rc = connect_to(redis, err);
        if (rc == 0 &&
            redisSetTimeout(redis->context, to_timeval(MS_REDIS_DEADLINE_MS + wait_ms)) != REDIS_OK)
            rc = lost(redis, err);
        else if (rc == 0)
            rc = exchange(redis, effect, argc, argv, sizes, reply, &again, err);
    } while (rc == MS_ENET && again && !is_new);
    return rc;
}

int ms_redis_ask(struct ms_redis *redis, enum ms_redis_effect effect, int64_t wait_ms,
                 redisReply **reply, struct ms_error *err, const char *fmt, ...) {
    char text[1024], *rest = NULL;
    const char *words[WORDS_MAX];
    int count = 0;
    va_list args;
    va_start(args, fmt);
    const int size = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    *reply = NULL;
    if (size < 0 || (size_t)size >= sizeof text)
        return ms_error_set(err, MS_EINTERNAL, "a command for Redis is too long");
    for (char *word = strtok_r(text, " ", &rest); word != NULL && count < WORDS_MAX;
         word = strtok_r(NULL, " ", &rest))
        words[count++] = word;
    return ms_redis_call(redis, effect, count, words, NULL, wait_ms, reply, err);
}

static int load_script(struct ms_redis *redis, struct ms_error *err) {
    const struct ms_embedded *script = &ms_embedded_lua[0];
    const char *const argv[] = {"SCRIPT", "LOAD", (const char *)script->bytes};
    redisReply *reply = NULL;
    int rc = ms_redis_call(redis, MS_REDIS_REPEAT, 3, argv, (const size_t[]){6, 4, script->size}, 0,
                           &reply, err);
    if (rc == 0 && reply != NULL && reply->type == REDIS_REPLY_STRING && reply->len == SHA1_HEX - 1)
        memcpy(redis->script, reply->str, SHA1_HEX);
    else if (rc == 0)
        rc = ms_error_set(err, MS_EINTERNAL, "Redis %s does not load scripts", redis->shown);
    freeReplyObject(reply);
    return rc;
}

int ms_redis_script(struct ms_redis *redis, enum ms_redis_effect effect, int argc,
                    const char *const *argv, redisReply **reply, struct ms_error *err) {
    const char *words[WORDS_MAX] = {"EVALSHA", redis->script, "0"};
    if (argc + 3 > WORDS_MAX)
        return ms_error_set(err, MS_EINTERNAL, "a script for Redis has too many arguments");
    memcpy(&words[3], argv, (size_t)argc * sizeof *argv);
    /* Twice: a server that has not got the script (restarted, SCRIPT FLUSH) gets it again. */
    int rc = MS_ENOTFOUND;
    for (int i = 0; i < 2 && rc == MS_ENOTFOUND; i++) {
        rc = redis->script[0] == '\0' || i > 0 ? load_script(redis, err) : 0;
        if (rc == 0)
            rc = ms_redis_call(redis, effect, argc + 3, words, NULL, 0, reply, err);
    }
    return rc == MS_ENOTFOUND
               ? ms_error_set(err, MS_EINTERNAL, "Redis %s forgets its scripts", redis->shown)
               : rc;
}

/* ---- replies and words ---- */

int ms_redis_unexpected(struct ms_error *err) {
    return ms_error_set(err, MS_EINTERNAL, "Redis answered something unexpected");
}

int64_t ms_redis_int(const redisReply *reply) {
    if (reply->type == REDIS_REPLY_INTEGER)
        return reply->integer;
    return reply->type == REDIS_REPLY_STRING ? strtoll(reply->str, NULL, 10) : 0;
}

const char *ms_redis_text(const redisReply *reply) {
    return reply->str != NULL ? reply->str : "";
}

struct ms_redis_number ms_redis_number(int64_t value) {
    struct ms_redis_number number;
    (void)snprintf(number.text, sizeof number.text, "%" PRId64, value);
    return number;
}
