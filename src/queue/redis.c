/* The queue on Redis, with the course's lists: `toWorker` carries the ids of the jobs that wait
 * (pushed on the left, served from the right), `logging` the lines of the log. A record is the
 * hash msaas:job:ID; msaas:jobs, msaas:state:STATE, msaas:delayed, msaas:leases and msaas:outbox
 * order ids by time, the first two with :OWNER for those of an account, whose usage is
 * msaas:usage:OWNER; msaas:waiting:MODEL is that model's part of toWorker; msaas:looked and
 * msaas:looked:MODEL are there for a second after a look that one does for all; msaas:note:KEY are
 * notes. Every change of a record is one script (lua/queue.lua). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "msaas/sys.h"
#include "queue_ops.h"
#include "redis_connection.h"
#include "redis_lists.h"

#define POLL_MS 100 /* while only jobs for other models wait */
#define WORD(number) #number
#define WORD_OF(number) WORD(number)
#define POSITION_MAX WORD_OF(MS_POSITION_MAX)
#define ITEM_MAX WORD_OF(MS_COURSE_ITEM_BYTES)

struct redis {
    struct ms_queue queue;
    struct ms_redis *connection;
    redisReply *claimed; /* the last answer: the item that a claim lends lies there */
    int64_t far;         /* where the next claim looks for what no model's list has */
    char warning[200];
};

static const char *const places[] = {"waiting", "delayed", "leased", "ended"};

static void redis_close(struct ms_queue *queue) {
    struct redis *r = (struct redis *)queue;
    ms_redis_free(r->connection);
    freeReplyObject(r->claimed);
    free(r);
}

/* The value behind "\nname:" of INFO, or of CONFIG GET's pair; "" where there is none. */
static void find_setting(const char *text, const char *name, char *out, size_t capacity) {
    const char *at = strstr(text, name);
    out[0] = '\0';
    if (at != NULL)
        (void)snprintf(out, capacity, "%.*s", (int)strcspn(at + strlen(name), "\r\n"),
                       at + strlen(name));
}

static int redis_ping(struct ms_queue *queue, const char **warning, struct ms_error *err) {
    struct redis *r = (struct redis *)queue;
    redisReply *reply = NULL;
    char policy[40] = "", memory[24] = "", aof[8] = "", changes[24] = "";
    /* A server that still reads its file answers INFO, but not this. */
    int rc = ms_redis_ask(r->connection, MS_REDIS_REPEAT, 0, &reply, err, "LLEN toWorker");
    freeReplyObject(reply);
    reply = NULL;
    if (rc == 0)
        rc = ms_redis_ask(r->connection, MS_REDIS_REPEAT, 0, &reply, err, "INFO");
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
    if (ms_redis_call(r->connection, MS_REDIS_REPEAT, 3, get, NULL, 0, &reply, NULL) == 0 &&
        reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 && reply->element[1]->str != NULL)
        (void)snprintf(changes, sizeof changes, "%s", reply->element[1]->str);
    const bool knows_save = reply != NULL;
    freeReplyObject(reply);
    if (policy[0] != '\0' && strcmp(policy, "noeviction") != 0 && strcmp(memory, "0") != 0) {
        (void)snprintf(r->warning, sizeof r->warning,
                       "Redis may drop jobs when its memory is full (maxmemory-policy is %s): set "
                       "it to noeviction",
                       policy);
        *warning = r->warning;
    } else if (strcmp(aof, "0") == 0 && knows_save && changes[0] == '\0') {
        *warning =
            "Redis keeps nothing on disk, so that a restart loses all jobs: set appendonly to yes";
    } else if (strcmp(aof, "0") == 0) {
        *warning = "Redis may lose the jobs of the last minutes when it is restarted: set "
                   "appendonly to yes";
    }
    return 0;
}

/* ---- records ---- */

/* What read() of queue.lua gives. */
static int read_record(const redisReply *reply, struct ms_record *out, int64_t *now_ms,
                       struct ms_error *err) {
    enum {
        ID,
        NOW,
        POSITION,
        DOC,
        REVISION,
        PLACE,
        STATE,
        CREATED,
        STARTED,
        ATTEMPTS,
        TOKEN,
        LEASE_UNTIL,
        FLAGS,
        DUE,
        OWNER,
        COUNT
    };
    redisReply *const *field = reply->element;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != COUNT)
        return ms_redis_unexpected(err);
    *now_ms = ms_redis_int(field[NOW]);
    if (field[DOC]->type == REDIS_REPLY_NIL && field[REVISION]->type == REDIS_REPLY_NIL)
        return ms_error_set(err, MS_ENOTFOUND, "there is no job with this id");
    (void)snprintf(out->job.id, sizeof out->job.id, "%s", ms_redis_text(field[ID]));
    out->job.position = ms_redis_int(field[POSITION]);
    out->job.created_ms = ms_redis_int(field[CREATED]);
    out->job.started_ms = ms_redis_int(field[STARTED]);
    out->job.attempts = (int)ms_redis_int(field[ATTEMPTS]);
    out->revision = ms_redis_int(field[REVISION]);
    out->place = MS_PLACE_ENDED;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (strcmp(ms_redis_text(field[PLACE]), places[i]) == 0)
            out->place = (enum ms_place)i;
    (void)snprintf(out->token, sizeof out->token, "%s", ms_redis_text(field[TOKEN]));
    out->lease_until_ms = ms_redis_int(field[LEASE_UNTIL]);
    out->flags = (int)ms_redis_int(field[FLAGS]);
    out->callback_due_ms = ms_redis_int(field[DUE]);
    (void)snprintf(out->job.owner, sizeof out->job.owner, "%s", ms_redis_text(field[OWNER]));
    if (ms_job_state_parse(ms_redis_text(field[STATE]), &out->job.state, NULL) != 0) {
        out->unreadable = true;
        return ms_error_set(err, MS_ECORRUPT, "the record of job %.12s... has no state",
                            out->job.id);
    }
    return ms_record_read(out, field[DOC]->str,
                          field[DOC]->str != NULL ? (size_t)field[DOC]->len : 0, err);
}

static int redis_load(struct ms_queue *queue, const char *id, struct ms_record *out,
                      int64_t *now_ms, struct ms_error *err) {
    redisReply *reply = NULL;
    *out = (struct ms_record){0};
    int rc = ms_redis_script(((struct redis *)queue)->connection, MS_REDIS_REPEAT, 3,
                             (const char *[]){"load", id, POSITION_MAX}, &reply, err);
    if (rc == 0) {
        rc = read_record(reply, out, now_ms, err);
    } else if (rc == MS_ECORRUPT) { /* no hash at all */
        out->unreadable = true;
        (void)snprintf(out->job.id, sizeof out->job.id, "%s", id);
    }
    freeReplyObject(reply);
    return rc;
}

static int take_off_list(struct redis *r, const struct ms_record *record, struct ms_error *err) {
    redisReply *reply = NULL;
    int rc = ms_redis_call(r->connection, MS_REDIS_ONCE, 4,
                           (const char *[]){"LREM", "toWorker", "-1", record->item},
                           (const size_t[]){4, 8, 2, record->item_bytes}, 0, &reply, err);
    if (rc == 0 && ms_redis_int(reply) == 0)
        rc = ms_error_set(err, MS_ECONFLICT, "the item has left the list");
    freeReplyObject(reply);
    return rc;
}

/* What usage() of queue.lua gives. */
static int read_usage(const redisReply *reply, struct ms_usage *out, struct ms_error *err) {
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 4)
        return ms_redis_unexpected(err);
    *out = (struct ms_usage){ms_redis_int(reply->element[0]), ms_redis_int(reply->element[1]),
                             ms_redis_int(reply->element[2]), ms_redis_int(reply->element[3])};
    return 0;
}

/* What save() of queue.lua gives. */
static int read_saved(const redisReply *reply, struct ms_record *record, struct ms_error *err) {
    struct ms_job *job = &record->job;
    struct ms_usage unused, *usage = record->usage != NULL ? record->usage : &unused;
    if (reply->type == REDIS_REPLY_NIL)
        return ms_error_set(err, MS_ECONFLICT, "job %.12s... was changed meanwhile", job->id);
    if (reply->type != REDIS_REPLY_ARRAY)
        return ms_redis_unexpected(err);
    if (reply->elements == 4) {
        int rc = read_usage(reply, usage, err);
        return rc != 0 ? rc : ms_queue_at_limit(job->owner, err);
    }
    if (reply->elements != 2 && reply->elements != 3)
        return ms_redis_unexpected(err);
    record->revision++;
    job->position = ms_redis_int(reply->element[0]);
    if (job->created_ms == 0)
        job->created_ms = ms_redis_int(reply->element[1]);
    return reply->elements == 3 ? read_usage(reply->element[2], usage, err) : 0;
}

static int redis_save(struct ms_queue *queue, struct ms_record *record, struct ms_error *err) {
    struct redis *r = (struct redis *)queue;
    struct ms_job *job = &record->job;
    char *doc = NULL, *item = NULL;
    if (job->id[0] == '\0')
        return take_off_list(r, record, err);
    int rc = ms_job_to_json(job, &doc, err);
    if (rc == 0 && queue->course_items && record->place == MS_PLACE_WAITING)
        rc = ms_course_item_write(job, &item, err);
    if (rc != 0) {
        free(doc);
        return rc;
    }
    const struct ms_redis_number revision = ms_redis_number(record->revision);
    const struct ms_redis_number created = ms_redis_number(job->created_ms);
    const struct ms_redis_number not_before = ms_redis_number(job->not_before_ms);
    const struct ms_redis_number lease_until = ms_redis_number(record->lease_until_ms);
    const struct ms_redis_number due = ms_redis_number(record->callback_due_ms);
    const struct ms_redis_number started = ms_redis_number(job->started_ms);
    const struct ms_redis_number attempts = ms_redis_number(job->attempts);
    const struct ms_redis_number flags = ms_redis_number(record->flags);
    const struct ms_quota quota = record->quota != NULL ? *record->quota : (struct ms_quota){0};
    const struct ms_redis_number cost = ms_redis_number(record->charge_ms);
    const struct ms_redis_number bytes = ms_redis_number(record->charge_bytes);
    const struct ms_redis_number max_waiting = ms_redis_number(quota.max_waiting);
    const struct ms_redis_number max_cost = ms_redis_number(quota.max_cost_ms);
    const struct ms_redis_number max_bytes = ms_redis_number(quota.max_bytes);
    const char *const argv[] = {
        "save",
        job->id,
        revision.text,
        record->fate == MS_FATE_ERASE ? "1" : "0",
        places[record->place],
        record->in_front ? "1" : "0",
        item != NULL ? item : "",
        record->item != NULL ? record->item : "",
        job->owner,
        job->options.model,
        ms_job_state_name(job->state),
        created.text,
        not_before.text,
        lease_until.text,
        due.text,
        POSITION_MAX,
        cost.text,
        bytes.text,
        max_waiting.text,
        max_cost.text,
        max_bytes.text,
        "doc",
        doc,
        "started",
        started.text,
        "attempts",
        attempts.text,
        "token",
        record->token,
        "flags",
        flags.text,
    };
    redisReply *reply = NULL;
    rc = ms_redis_script(r->connection, MS_REDIS_ONCE, (int)(sizeof argv / sizeof *argv), argv,
                         &reply, err);
    free(doc);
    free(item);
    if (rc != 0)
        return rc;
    rc = read_saved(reply, record, err);
    freeReplyObject(reply);
    return rc;
}

/* Until something is on the list, which it leaves there: the right end is moved to itself. All who
 * wait wake up; one gets the job, the others find nothing and wait on. What wakes them is never
 * left on the list, as a claim takes off what is not a job. MS_ENOTFOUND: the time is over. */
static int wait_for_item(struct redis *r, double until_s, struct ms_error *err) {
    const int64_t left_ms = (int64_t)((until_s - ms_monotonic_s()) * 1000);
    if (left_ms <= 0)
        return ms_error_set(err, MS_ENOTFOUND, "no job waits");
    redisReply *reply = NULL;
    int rc = ms_redis_ask(r->connection, MS_REDIS_REPEAT, left_ms, &reply, err,
                          "BLMOVE toWorker toWorker RIGHT RIGHT %.3f", (double)left_ms / 1000);
    if (rc == 0 && reply->type == REDIS_REPLY_NIL)
        rc = ms_error_set(err, MS_ENOTFOUND, "no job waits");
    freeReplyObject(reply);
    return rc;
}

/* What blocks on the list would wake at once. */
static int wait_for_others(double until_s, struct ms_error *err) {
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
    if (ms_monotonic_s() >= until_s)
        return ms_error_set(err, MS_ENOTFOUND, "no job waits for this model");
    (void)nanosleep(&pause, NULL);
    return 0;
}

static int redis_claim(struct ms_queue *queue, const char *model, const char token[MS_TOKEN_HEX],
                       int64_t lease_ms, int64_t wait_ms, struct ms_record *out,
                       struct ms_error *err) {
    enum { EMPTY, JUNK, OTHERS }; /* what queue.lua gives if nothing is next */
    struct redis *r = (struct redis *)queue;
    const double until_s = ms_monotonic_s() + (double)wait_ms / 1000;
    const struct ms_redis_number lease = ms_redis_number(lease_ms);
    *out = (struct ms_record){0};
    for (;;) {
        const struct ms_redis_number far = ms_redis_number(r->far);
        const char *const argv[] = {"claim", model, token, lease.text, ITEM_MAX, far.text};
        freeReplyObject(r->claimed);
        r->claimed = NULL;
        int rc = ms_redis_script(r->connection, MS_REDIS_ONCE, 6, argv, &r->claimed, err);
        if (rc == 0 && (r->claimed->type != REDIS_REPLY_ARRAY || r->claimed->elements != 3))
            rc = ms_redis_unexpected(err);
        if (rc != 0)
            return rc;
        r->far = ms_redis_int(r->claimed->element[2]);
        const redisReply *next = r->claimed->element[0], *junk = r->claimed->element[1];
        for (size_t i = 0; i < junk->elements; i++)
            ms_queue_tell_junk(queue, ms_redis_text(junk->element[i]),
                               (size_t)junk->element[i]->len);
        if (next->type == REDIS_REPLY_STRING) {
            out->item = next->str;
            out->item_bytes = (size_t)next->len;
            return ms_error_set(err, MS_EINPUT, "another program's item is next");
        }
        int64_t now_ms;
        if (next->type != REDIS_REPLY_INTEGER)
            return read_record(next, out, &now_ms, err);
        if (next->integer == EMPTY)
            rc = wait_for_item(r, until_s, err);
        else if (next->integer == OTHERS)
            rc = wait_for_others(until_s, err);
        if (rc != 0)
            return rc;
    }
}

/* ---- looking ---- */

static int redis_list(struct ms_queue *queue, const struct ms_listing *listing,
                      char (*ids)[MS_JOB_ID_HEX], int *count, char next[MS_CURSOR_MAX],
                      struct ms_error *err) {
    return ms_redis_list(((struct redis *)queue)->connection, listing, ids, count, next, err);
}

static int get_usage(struct redis *r, const char *owner, struct ms_usage *out,
                     struct ms_error *err) {
    redisReply *reply = NULL;
    int rc = ms_redis_script(r->connection, MS_REDIS_REPEAT, 2, (const char *[]){"usage", owner},
                             &reply, err);
    if (rc == 0)
        rc = read_usage(reply, out, err);
    freeReplyObject(reply);
    return rc;
}

static int redis_charge(struct ms_queue *queue, const char *owner, int64_t bytes, int64_t max_bytes,
                        struct ms_usage *usage, struct ms_error *err) {
    const struct ms_redis_number more = ms_redis_number(bytes), most = ms_redis_number(max_bytes);
    redisReply *reply = NULL;
    int rc = ms_redis_script(((struct redis *)queue)->connection, MS_REDIS_ONCE, 4,
                             (const char *[]){"charge", owner, more.text, most.text}, &reply, err);
    if (rc == 0 && (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2))
        rc = ms_redis_unexpected(err);
    if (rc == 0)
        rc = read_usage(reply->element[1], usage, err);
    if (rc == 0 && ms_redis_int(reply->element[0]) == 0)
        rc = ms_queue_at_limit(owner, err);
    freeReplyObject(reply);
    return rc;
}

static int redis_stats(struct ms_queue *queue, const char *owner, struct ms_queue_stats *out,
                       struct ms_error *err) {
    if (owner != NULL)
        return get_usage((struct redis *)queue, owner, &out->usage, err);
    const char *argv[1 + MS_JOB_STATES] = {"stats"};
    for (int i = 0; i < MS_JOB_STATES; i++)
        argv[1 + i] = ms_job_state_name((enum ms_job_state)i);
    redisReply *reply = NULL;
    int rc = ms_redis_script(((struct redis *)queue)->connection, MS_REDIS_REPEAT,
                             1 + MS_JOB_STATES, argv, &reply, err);
    if (rc == 0 && (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2 + MS_JOB_STATES))
        rc = ms_redis_unexpected(err);
    if (rc == 0) {
        out->callbacks_due = ms_redis_int(reply->element[0]);
        out->oldest_waiting_ms = ms_redis_int(reply->element[1]);
        for (int i = 0; i < MS_JOB_STATES; i++)
            out->jobs[i] = ms_redis_int(reply->element[2 + i]);
        for (size_t i = 2 + MS_JOB_STATES; i + 1 < reply->elements; i += 2)
            ms_queue_add_waiting(out, ms_redis_text(reply->element[i]),
                                 ms_redis_int(reply->element[i + 1]));
    }
    freeReplyObject(reply);
    return rc;
}

static int redis_note(struct ms_queue *queue, const char *key, const char *old, const char *note,
                      int64_t keep_ms, char **found, struct ms_error *err) {
    const struct ms_redis_number keep = ms_redis_number(keep_ms);
    redisReply *reply = NULL;
    int rc = ms_redis_script(((struct redis *)queue)->connection, MS_REDIS_REPEAT, 5,
                             (const char *[]){"note", key, old, note, keep.text}, &reply, err);
    if (rc != 0)
        return rc;
    if (reply->type == REDIS_REPLY_STRING && (*found = strdup(reply->str)) == NULL)
        rc = ms_error_set(err, MS_ENOMEM, "no memory for a note");
    else if (reply->type != REDIS_REPLY_INTEGER)
        rc = ms_error_set(err, MS_ECONFLICT, "the note is another one");
    freeReplyObject(reply);
    return rc;
}

/* ---- the list `logging` ---- */

static int redis_log_push(struct ms_queue *queue, const char *const *lines, int count,
                          struct ms_error *err) {
    struct redis *r = (struct redis *)queue;
    redisReply *reply = NULL;
    const char **words = malloc(((size_t)count + 2) * sizeof *words);
    if (words == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for lines of the log");
    words[0] = "LPUSH";
    words[1] = "logging";
    memcpy(words + 2, lines, (size_t)count * sizeof *words);
    int rc = ms_redis_call(r->connection, MS_REDIS_ONCE, count + 2, words, NULL, 0, &reply, err);
    free(words);
    const bool trim = rc == 0 && ms_redis_int(reply) > MS_LOG_LIST_MAX;
    freeReplyObject(reply);
    if (!trim)
        return rc;
    reply = NULL;
    rc = ms_redis_ask(r->connection, MS_REDIS_REPEAT, 0, &reply, err, "LTRIM logging 0 %d",
                      MS_LOG_LIST_MAX - 1);
    freeReplyObject(reply);
    return rc;
}

static int redis_log_pop(struct ms_queue *queue, int64_t wait_ms, char **line,
                         struct ms_error *err) {
    struct redis *r = (struct redis *)queue;
    redisReply *reply = NULL;
    int rc = wait_ms > 0
                 ? ms_redis_ask(r->connection, MS_REDIS_ONCE, wait_ms, &reply, err,
                                "BRPOP logging %.3f", (double)wait_ms / 1000)
                 : ms_redis_ask(r->connection, MS_REDIS_ONCE, 0, &reply, err, "RPOP logging");
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

int ms_queue_redis_open(const char *url, struct ms_queue **out, struct ms_error *err) {
    static const struct ms_queue_ops ops = {
        .close = redis_close,
        .ping = redis_ping,
        .load = redis_load,
        .save = redis_save,
        .claim = redis_claim,
        .list = redis_list,
        .stats = redis_stats,
        .charge = redis_charge,
        .note = redis_note,
        .log_push = redis_log_push,
        .log_pop = redis_log_pop,
    };
    struct redis *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the queue");
    r->queue.ops = &ops;
    int rc = ms_redis_new(url, &r->connection, err);
    if (rc == 0)
        *out = &r->queue;
    else
        free(r);
    return rc;
}
