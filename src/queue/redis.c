/* The queue on Redis, with the course's lists: `toWorker` carries the ids (pushed on the left, served from the right),
 * `logging` the lines of the log. A record is the hash msaas:job:ID; msaas:jobs, msaas:state:STATE, msaas:delayed,
 * msaas:leases and msaas:outbox order the ids by time; msaas:worker:NAME holds what that worker popped and has not claimed
 * yet, msaas:workers who was heard of when. Every change of a record is one script (lua/save.lua). */
#include "redis.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue.h"

#define NUMBER_MAX 24
#define KNOWN_BATCH 1000 /* ids asked about at once */

struct backend {
    struct ms_redis *redis;
    char warning[200];
    char worker[MS_WORKER_NAME_MAX];
    redisReply *popped; /* the item on the worker's list, byte for byte; NULL: none */
};

static const char *const places[] = {"waiting", "delayed", "leased", "ended"};

static int unexpected(struct ms_error *err) {
    return ms_error_set(err, MS_EINTERNAL, "Redis answered something unexpected");
}

static int64_t to_int(const redisReply *reply) {
    if (reply->type == REDIS_REPLY_INTEGER)
        return reply->integer;
    return reply->type == REDIS_REPLY_STRING ? strtoll(reply->str, NULL, 10) : 0;
}

/* A command whose reply is of no interest, or a number. */
static int ask_int(struct backend *b, int64_t *value, struct ms_error *err, const char *command,
                   const char *key) {
    redisReply *reply = NULL;
    int rc = ms_redis_ask(b->redis, 0, &reply, err, "%s %s", command, key);
    if (rc == 0 && value != NULL)
        *value = to_int(reply);
    freeReplyObject(reply);
    return rc;
}

static void op_close(void *backend) {
    struct backend *b = backend;
    freeReplyObject(b->popped);
    ms_redis_free(b->redis);
    free(b);
}

static void forget_popped(struct backend *b) {
    freeReplyObject(b->popped);
    b->popped = NULL;
}

/* The value behind "\nname:" of INFO, or of CONFIG GET's pair; "" where there is none. */
static void find_setting(const char *text, const char *name, char *out, size_t capacity) {
    const char *at = strstr(text, name);
    out[0] = '\0';
    if (at != NULL)
        (void)snprintf(out, capacity, "%.*s", (int)strcspn(at + strlen(name), "\r\n"),
                       at + strlen(name));
}

static int op_ping(void *backend, const char **warning, struct ms_error *err) {
    struct backend *b = backend;
    redisReply *reply = NULL;
    char policy[40] = "", memory[24] = "", aof[8] = "", changes[24] = "";
    int rc = ask_int(b, NULL, err, "LLEN",
                     "toWorker"); /* one that still reads its file answers INFO, but not this */
    if (rc == 0)
        rc = ms_redis_ask(b->redis, 0, &reply, err, "INFO");
    if (rc == 0 && reply->str != NULL) {
        find_setting(reply->str, "\nmaxmemory_policy:", policy, sizeof policy);
        find_setting(reply->str, "\nmaxmemory:", memory, sizeof memory);
        find_setting(reply->str, "\naof_enabled:", aof, sizeof aof);
    }
    freeReplyObject(reply);
    if (rc != 0)
        return rc;
    reply = NULL; /* a server that hides its settings is fine */
    const char *const get[] = {"CONFIG", "GET", "save"};
    if (ms_redis_call(b->redis, 3, get, NULL, 0, &reply, NULL) == 0 &&
        reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 && reply->element[1]->str != NULL)
        (void)snprintf(changes, sizeof changes, "%s", reply->element[1]->str);
    const bool knows_save = reply != NULL;
    freeReplyObject(reply);
    if (policy[0] != '\0' && strcmp(policy, "noeviction") != 0 && strcmp(memory, "0") != 0) {
        (void)snprintf(b->warning, sizeof b->warning,
                       "Redis may drop jobs when its memory is full (maxmemory-policy is %s): set "
                       "it to noeviction",
                       policy);
        *warning = b->warning;
    } else if (strcmp(aof, "0") == 0 && knows_save && changes[0] == '\0') {
        *warning =
            "Redis keeps nothing on disk, so that a restart loses all jobs: set appendonly to yes";
    } else if (strcmp(aof, "0") == 0) {
        *warning = "Redis may lose the jobs of the last minutes when it is restarted: set "
                   "appendonly to yes";
    }
    return 0;
}

static int op_now(void *backend, int64_t *now_ms, struct ms_error *err) {
    struct backend *b = backend;
    redisReply *reply = NULL;
    int rc = ms_redis_ask(b->redis, 0, &reply, err, "TIME");
    if (rc == 0 && (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2))
        rc = unexpected(err);
    if (rc == 0)
        *now_ms = to_int(reply->element[0]) * 1000 + to_int(reply->element[1]) / 1000;
    freeReplyObject(reply);
    return rc;
}

static int op_load(void *backend, const char *id, struct ms_record *out, struct ms_error *err) {
    struct backend *b = backend;
    redisReply *reply = NULL;
    memset(out, 0, sizeof *out);
    int rc = ms_redis_ask(
        b->redis, 0, &reply, err,
        "HMGET msaas:job:%s doc revision place token lease_until flags due attempt", id);
    if (rc != 0)
        return rc;
    redisReply *const *field = reply->element;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 8) {
        rc = unexpected(err);
    } else if (field[0]->type != REDIS_REPLY_STRING) {
        rc = ms_error_set(err, MS_ENOTFOUND, "there is no job of that id");
    } else {
        rc = ms_job_from_json(field[0]->str, (size_t)field[0]->len, &out->job, err);
        out->revision = to_int(field[1]);
        out->place = MS_PLACE_ENDED;
        for (int i = 0; field[2]->str != NULL && i < (int)(sizeof places / sizeof *places); i++)
            if (strcmp(field[2]->str, places[i]) == 0)
                out->place = (enum ms_place)i;
        (void)snprintf(out->token, sizeof out->token, "%s",
                       field[3]->str != NULL ? field[3]->str : "");
        out->lease_until_ms = to_int(field[4]);
        out->erase_asked = to_int(field[5]) & 1;
        out->stripped = to_int(field[5]) & 2;
        out->callback_due_ms = to_int(field[6]);
        out->callback_attempt = (int)to_int(field[7]);
    }
    freeReplyObject(reply);
    return rc;
}

static int op_save(void *backend, struct ms_record *record, bool gone, struct ms_error *err) {
    struct backend *b = backend;
    const struct ms_job *job = &record->job;
    const bool popped = b->popped != NULL && strcmp(job->id, b->popped->str) == 0;
    char key[80], list[140] = "", revision[NUMBER_MAX], created[NUMBER_MAX], not_before[NUMBER_MAX],
                  lease[NUMBER_MAX], due[NUMBER_MAX], attempt[NUMBER_MAX], *doc = NULL;
    redisReply *reply = NULL;
    int rc = ms_job_to_json(job, &doc, err);
    if (rc != 0)
        return rc;
    (void)snprintf(key, sizeof key, "msaas:job:%s", job->id);
    if (popped)
        (void)snprintf(list, sizeof list, "msaas:worker:%s", b->worker);
    (void)snprintf(revision, sizeof revision, "%" PRId64, record->revision);
    (void)snprintf(created, sizeof created, "%" PRId64, job->created_ms);
    (void)snprintf(not_before, sizeof not_before, "%" PRId64, job->not_before_ms);
    (void)snprintf(lease, sizeof lease, "%" PRId64, record->lease_until_ms);
    (void)snprintf(due, sizeof due, "%" PRId64, record->callback_due_ms);
    (void)snprintf(attempt, sizeof attempt, "%d", record->callback_attempt);
    const char *const argv[] = {
        key,
        job->id,
        revision,
        gone ? "1" : "0",
        places[record->place],
        record->in_front ? "1" : "0",
        list,
        ms_job_state_name(job->state),
        created,
        not_before,
        lease,
        due,
        "doc",
        doc,
        "token",
        record->token,
        "flags",
        record->erase_asked ? (record->stripped ? "3" : "1")
        : record->stripped  ? "2"
                            : "0",
        "attempt",
        attempt,
    };
    rc = ms_redis_script(b->redis, "save.lua", 1, (int)(sizeof argv / sizeof *argv), argv, &reply,
                         err);
    free(doc);
    if (rc != 0)
        return rc;
    const int64_t saved = to_int(reply);
    freeReplyObject(reply);
    if (saved < 0)
        return ms_error_set(err, MS_ENOTFOUND, "the job was erased after it was popped");
    if (saved == 0)
        return ms_error_set(err, MS_ECONFLICT, "the job was changed meanwhile");
    record->revision++;
    if (popped)
        forget_popped(b);
    return 0;
}

/* ---- popping ------------------------------------------------------------------------------------------------------- */

static int op_pop(void *backend, const char *worker, int64_t wait_ms, char *id, size_t capacity,
                  struct ms_error *err) {
    struct backend *b = backend;
    redisReply *reply = NULL;
    int64_t now_ms = 0;
    int rc = op_now(b, &now_ms, err);
    if (rc != 0)
        return rc;
    forget_popped(b);
    (void)snprintf(b->worker, sizeof b->worker, "%s", worker);
    rc = ms_redis_ask(b->redis, 0, &reply, err, "ZADD msaas:workers %" PRId64 " %s",
                      now_ms + wait_ms, worker);
    freeReplyObject(reply);
    reply = NULL;
    /* First what an earlier pop moved here, if its answer or the claim's was lost on the way. */
    if (rc == 0)
        rc = ms_redis_ask(b->redis, 0, &reply, err, "LINDEX msaas:worker:%s -1", worker);
    const bool left_over = rc == 0 && reply->type == REDIS_REPLY_STRING;
    if (rc == 0 && !left_over) {
        freeReplyObject(reply);
        reply = NULL;
    }
    if (rc == 0 && !left_over && wait_ms > 0)
        rc = ms_redis_ask(b->redis, wait_ms, &reply, err,
                          "BLMOVE toWorker msaas:worker:%s RIGHT LEFT %.3f", worker,
                          (double)wait_ms / 1000);
    else if (rc == 0 && !left_over)
        rc = ms_redis_ask(b->redis, 0, &reply, err, "LMOVE toWorker msaas:worker:%s RIGHT LEFT",
                          worker);
    if (rc != 0)
        return rc;
    if (reply->type == REDIS_REPLY_NIL) {
        rc = ms_error_set(err, MS_ENOTFOUND, "no job waits");
    } else if (reply->type != REDIS_REPLY_STRING) {
        rc = unexpected(err);
    } else {
        (void)snprintf(id, capacity, "%s", reply->str);
        b->popped = reply;
        reply = NULL;
    }
    freeReplyObject(reply);
    return rc;
}

static int op_drop(void *backend, const char *worker, const char *id, struct ms_error *err) {
    struct backend *b = backend;
    redisReply *reply = NULL;
    char list[140];
    (void)id; /* perhaps cut: a stranger's item may be of any form */
    if (b->popped == NULL)
        return 0;
    (void)snprintf(list, sizeof list, "msaas:worker:%s", worker);
    const char *const argv[] = {"LREM", list, "0", b->popped->str};
    const size_t sizes[] = {4, strlen(list), 1, (size_t)b->popped->len};
    int rc = ms_redis_call(b->redis, 4, argv, sizes, 0, &reply, err);
    freeReplyObject(reply);
    if (rc == 0)
        forget_popped(b);
    return rc;
}

static int op_rescue(void *backend, int64_t silent_ms, int *count, struct ms_error *err) {
    struct backend *b = backend;
    redisReply *reply = NULL;
    char silent[NUMBER_MAX];
    (void)snprintf(silent, sizeof silent, "%" PRId64, silent_ms);
    int rc = ms_redis_script(b->redis, "rescue.lua", 0, 1, (const char *[]){silent}, &reply, err);
    if (rc == 0)
        *count += (int)to_int(reply);
    freeReplyObject(reply);
    return rc;
}

/* ---- looking ------------------------------------------------------------------------------------------------------- */

static int op_due(void *backend, enum ms_due what, int64_t now_ms, char (*ids)[MS_JOB_ID_HEX],
                  int max, int *count, struct ms_error *err) {
    struct backend *b = backend;
    redisReply *reply = NULL;
    *count = 0;
    int rc;
    if (what == MS_DUE_DELAYED)
        rc =
            ms_redis_ask(b->redis, 0, &reply, err,
                         "ZREVRANGEBYSCORE msaas:delayed %" PRId64 " -inf LIMIT 0 %d", now_ms, max);
    else
        rc = ms_redis_ask(b->redis, 0, &reply, err, "ZRANGEBYSCORE %s -inf %" PRId64 " LIMIT 0 %d",
                          what == MS_DUE_LEASES ? "msaas:leases" : "msaas:outbox", now_ms, max);
    for (size_t i = 0; rc == 0 && i < reply->elements && *count < max; i++)
        (void)snprintf(ids[(*count)++], MS_JOB_ID_HEX, "%s", reply->element[i]->str);
    freeReplyObject(reply);
    return rc;
}

static int list_newest(struct backend *b, const struct ms_queue_filter *filter, int64_t from,
                       const char *after, char (*ids)[MS_JOB_ID_HEX], int *count,
                       char next[MS_CURSOR_MAX], struct ms_error *err) {
    char key[40], most[NUMBER_MAX];
    int64_t last = 0, skipped = 0;
    bool more = true;
    int rc = 0;
    (void)snprintf(key, sizeof key, filter->state < 0 ? "msaas:jobs" : "msaas:state:%s",
                   ms_job_state_name((enum ms_job_state)(filter->state < 0 ? 0 : filter->state)));
    (void)snprintf(most, sizeof most, after[0] == '\0' ? "+inf" : "%" PRId64, from);
    while (rc == 0 && more && *count < filter->limit) {
        redisReply *reply = NULL;
        rc = ms_redis_ask(b->redis, 0, &reply, err,
                          "ZREVRANGEBYSCORE %s %s -inf WITHSCORES LIMIT %" PRId64 " %d", key, most,
                          skipped, filter->limit);
        more = rc == 0 && reply->elements == 2 * (size_t)filter->limit;
        for (size_t i = 0; rc == 0 && i + 1 < reply->elements && *count < filter->limit; i += 2) {
            const char *id = reply->element[i]->str;
            const int64_t created = to_int(reply->element[i + 1]);
            skipped++;
            if (after[0] != '\0' && created == from && strcmp(id, after) >= 0)
                continue; /* of the same millisecond, and seen */
            (void)snprintf(ids[(*count)++], MS_JOB_ID_HEX, "%s", id);
            last = created;
        }
        freeReplyObject(reply);
    }
    if (rc == 0 && *count == filter->limit)
        (void)snprintf(next, MS_CURSOR_MAX, "%" PRId64 ":%s", last, ids[*count - 1]);
    return rc;
}

/* Cursors: "CREATED:ID". */
static int op_list(void *backend, const struct ms_queue_filter *filter, char (*ids)[MS_JOB_ID_HEX],
                   int *count, char next[MS_CURSOR_MAX], struct ms_error *err) {
    const char *after;
    int64_t from;
    *count = 0;
    int rc = ms_queue_read_cursor(filter->cursor, ':', 0, &from, &after, err);
    return rc != 0 ? rc : list_newest(backend, filter, from, after, ids, count, next, err);
}

/* Of the list's items, the last first, those that are ids of queued jobs. */
static int keep_jobs(struct backend *b, redisReply *const *items, size_t item_count,
                     char (*ids)[MS_JOB_ID_HEX], int *count, struct ms_error *err) {
    const char *argv[2 + KNOWN_BATCH] = {"ZMSCORE", "msaas:state:queued"};
    while (item_count > 0) {
        redisReply *reply = NULL;
        int argc = 2;
        while (item_count > 0 && argc < 2 + KNOWN_BATCH) {
            const redisReply *item = items[--item_count];
            if (item->type == REDIS_REPLY_STRING && item->len == MS_JOB_ID_HEX - 1 &&
                ms_job_id_is_valid(item->str))
                argv[argc++] = item->str;
        }
        if (argc == 2)
            continue;
        int rc = ms_redis_call(b->redis, argc, argv, NULL, 0, &reply, err);
        if (rc == 0 && (reply->type != REDIS_REPLY_ARRAY || reply->elements != (size_t)argc - 2))
            rc = unexpected(err);
        for (int i = 2; rc == 0 && i < argc; i++)
            if (reply->element[i - 2]->type != REDIS_REPLY_NIL)
                (void)snprintf(ids[(*count)++], MS_JOB_ID_HEX, "%s", argv[i]);
        freeReplyObject(reply);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* Cursors: how many items come before; the list's right end is served first. */
static int op_waiting(void *backend, const char *cursor, int max, char (*ids)[MS_JOB_ID_HEX],
                      int *count, char next[MS_CURSOR_MAX], struct ms_error *err) {
    struct backend *b = backend;
    redisReply *reply = NULL;
    const char *rest;
    int64_t from;
    int rc = ms_queue_read_cursor(cursor, '\0', 0, &from, &rest, err);
    if (rc == 0 && (from < 0 || from > INT32_MAX))
        rc = ms_error_set(err, MS_EUSAGE, "cursor: not one that a list has given");
    if (rc == 0)
        rc = ms_redis_ask(b->redis, 0, &reply, err, "LRANGE toWorker %" PRId64 " %" PRId64,
                          -(from + max), -(from + 1));
    if (rc != 0)
        return rc;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements > (size_t)max) {
        rc = unexpected(err);
    } else { /* a list shorter than that gives what there is */
        rc = keep_jobs(b, reply->element, reply->elements, ids, count, err);
        if (rc == 0 && reply->elements == (size_t)max)
            (void)snprintf(next, MS_CURSOR_MAX, "%" PRId64, from + max);
    }
    freeReplyObject(reply);
    return rc;
}

static int op_position(void *backend, const char *id, int64_t *position, struct ms_error *err) {
    struct backend *b = backend;
    redisReply *reply = NULL;
    int64_t length = 0;
    *position = -1;
    int rc = ask_int(b, &length, err, "LLEN", "toWorker");
    if (rc == 0)
        rc = ms_redis_ask(b->redis, 0, &reply, err, "LPOS toWorker %s RANK -1 MAXLEN %d", id,
                          MS_POSITION_MAX);
    if (rc == 0 && reply->type == REDIS_REPLY_INTEGER && reply->integer < length)
        *position = length - 1 - reply->integer;
    freeReplyObject(reply);
    return rc;
}

static int op_stats(void *backend, struct ms_queue_stats *out, char oldest[MS_JOB_ID_HEX],
                    struct ms_error *err) {
    struct backend *b = backend;
    redisReply *reply = NULL;
    int rc = 0;
    for (int i = 0; rc == 0 && i < MS_JOB_STATES; i++) {
        char key[40];
        (void)snprintf(key, sizeof key, "msaas:state:%s", ms_job_state_name((enum ms_job_state)i));
        rc = ask_int(b, &out->jobs[i], err, "ZCARD", key);
    }
    if (rc == 0)
        rc = ask_int(b, &out->callbacks_due, err, "ZCARD", "msaas:outbox");
    if (rc == 0)
        rc = ms_redis_ask(b->redis, 0, &reply, err, "ZRANGE msaas:state:queued 0 0");
    if (rc == 0 && reply->type == REDIS_REPLY_ARRAY && reply->elements == 1)
        (void)snprintf(oldest, MS_JOB_ID_HEX, "%s", reply->element[0]->str);
    freeReplyObject(reply);
    return rc;
}

/* ---- the list `logging` -------------------------------------------------------------------------------------------- */

static int op_log_push(void *backend, const char *line, struct ms_error *err) {
    struct backend *b = backend;
    redisReply *reply = NULL;
    int rc = ms_redis_call(b->redis, 3, (const char *[]){"LPUSH", "logging", line}, NULL, 0, &reply,
                           err);
    const bool trim = rc == 0 && to_int(reply) > MS_LOG_LIST_MAX;
    freeReplyObject(reply);
    if (!trim)
        return rc;
    reply = NULL;
    rc = ms_redis_ask(b->redis, 0, &reply, err, "LTRIM logging 0 %d", MS_LOG_LIST_MAX - 1);
    freeReplyObject(reply);
    return rc;
}

static int op_log_pop(void *backend, int64_t wait_ms, char **line, struct ms_error *err) {
    struct backend *b = backend;
    redisReply *reply = NULL;
    int rc = wait_ms > 0 ? ms_redis_ask(b->redis, wait_ms, &reply, err, "BRPOP logging %.3f",
                                        (double)wait_ms / 1000)
                         : ms_redis_ask(b->redis, 0, &reply, err, "RPOP logging");
    if (rc != 0)
        return rc;
    const redisReply *text =
        reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 ? reply->element[1] : reply;
    if (text->type != REDIS_REPLY_STRING)
        rc = ms_error_set(err, MS_ENOTFOUND, "no line");
    else if ((*line = strdup(text->str)) == NULL)
        rc = ms_error_set(err, MS_ENOMEM, "no memory for a line of the log");
    freeReplyObject(reply);
    return rc;
}

int ms_queue_redis_open(const char *url, const struct ms_queue_ops **ops, void **backend,
                        struct ms_error *err) {
    static const struct ms_queue_ops table = {
        .close = op_close,
        .ping = op_ping,
        .now = op_now,
        .load = op_load,
        .save = op_save,
        .pop = op_pop,
        .drop = op_drop,
        .rescue = op_rescue,
        .due = op_due,
        .list = op_list,
        .waiting = op_waiting,
        .position = op_position,
        .stats = op_stats,
        .log_push = op_log_push,
        .log_pop = op_log_pop,
    };
    struct backend *b = calloc(1, sizeof *b);
    if (b == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the queue");
    int rc = ms_redis_new(url, &b->redis, err);
    if (rc != 0) {
        free(b);
        return rc;
    }
    *ops = &table;
    *backend = b;
    return 0;
}
