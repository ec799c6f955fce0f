/* The queue of jobs: a seam. ms_queue_open chooses a backend by scheme: redis://, rediss:// (where
 * hiredis has TLS), sqlite:PATH. One contract suite (test/contract) runs against every backend.
 *
 * A queue object serves one thread at a time; threads that work at the same time open one each.
 * Calls block for at most 5 s, unless said otherwise. MS_ENET: the server was lost; the next call
 * connects anew. A call that failed with MS_ENET may have taken effect; every call can be repeated
 * without harm.
 *
 * Delivery: at least once, results once. ms_queue_reserve leases a job under a token, in one atomic
 * step. Every later change of the job is one atomic step that compares the token: MS_ECONFLICT when
 * the lease was lost, and then nothing was changed. A job whose worker died, or never got the
 * answer, comes back when its lease lapses.
 * Acknowledged (enqueue returned 0) means durable as far as the backend is (AOF; WAL with
 * synchronous=FULL). */
#ifndef MSAAS_QUEUE_H
#define MSAAS_QUEUE_H

#include "msaas/job.h"
#include "msaas/metrics.h"

#define MS_TOKEN_HEX 33
#define MS_LEASE_DEFAULT_MS 30000

struct ms_queue;

/* url: as above; user, password and database number as in all Redis URLs. Does not connect.
 * MS_EUSAGE: the URL; MS_EUNSUPPORTED: TLS in a build without it. */
MS_MUST_CHECK int ms_queue_open(const char *url, struct ms_queue **out, struct ms_error *err);
void ms_queue_close(struct ms_queue *queue);

/* The file that a sqlite: URL names, in it; NULL: the queue is not on a disk of this machine. */
const char *ms_queue_file(const char *url);
/* What is put on the list toWorker from now on: JSON as the workers of the course's programs read
 * it, or ids, which is the default. */
void ms_queue_use_course_items(struct ms_queue *queue, bool json);

/* Who hears of items of the list that are no jobs: the first MS_JUNK_CHARACTERS of each, as
 * ms_text_flatten leaves them. Called by ms_queue_reserve. */
#define MS_JUNK_CHARACTERS 80
void ms_queue_on_junk(struct ms_queue *queue, void (*on_junk)(void *context, const char *item),
                      void *context);

/* Whether the server answers (SQLite: the file can be written). *warning: NULL, or borrowed text
 * about a setting that could lose jobs (Redis: maxmemory is set and the eviction policy is not
 * noeviction; no AOF). */
MS_MUST_CHECK int ms_queue_ping(struct ms_queue *queue, const char **warning, struct ms_error *err);

/* Puts the job at the end, unless it is there: *created says which. Atomic: of 64 at once, one
 * creates.
 *
 * A job that is queued, running, or succeeded with all its stems stays as it is. The callback that
 * the new one brings waits for the job's end with those that are there (MS_ETOOLARGE: too many), or
 * is due at once. A job that failed, was canceled, expired, or lost a stem is queued anew.
 * MS_ECONFLICT: it runs and is being canceled; send it again later.
 *
 * now (may be NULL) gets the job as it is afterwards, with its position. */
MS_MUST_CHECK int ms_queue_enqueue(struct ms_queue *queue, const struct ms_job *job, bool *created,
                                   struct ms_job *now, struct ms_error *err);

/* ---- what the owners of jobs use ----
 *
 * A job that is queued, or queued anew, is charged to its owner: the bytes of its song, and its
 * cost (ms_job_cost). Where the song's length is not known yet, or was wrong, the cost is put right
 * when the worker says it. Bytes may also be charged before there is a job (an upload), and then
 * pay for one. Nothing is given back when a job fails or is erased. The sums are of one day, which
 * begins with the first charge after the day before has ended. */

#define MS_DAY_MS INT64_C(86400000)
struct ms_usage {
    int64_t waiting; /* jobs that are queued */
    int64_t cost_ms, bytes;
    int64_t left_ms; /* of the day; 0: none has begun */
};
struct ms_quota { /* of an account; 0: no limit */
    int64_t max_waiting, max_cost_ms, max_bytes;
};
enum ms_limit { MS_LIMIT_NONE, MS_LIMIT_WAITING, MS_LIMIT_COST, MS_LIMIT_BYTES };
/* The first limit that one more job would exceed, of this cost (0: not known; then some must be
 * left) and with a song of so many bytes. */
enum ms_limit ms_quota_exceeded(const struct ms_quota *quota, const struct ms_usage *usage,
                                int64_t cost_ms, int64_t bytes);

/* As ms_queue_enqueue. bytes: what is charged for the song: its bytes, or 0 if they are paid for.
 * If the job would be queued and exceed its owner's quota, nothing is changed: MS_EQUOTA. The check
 * and the charge are one atomic step, whoever else sends jobs of this owner. *usage is set after
 * success if *created, and after MS_EQUOTA. */
MS_MUST_CHECK int ms_queue_enqueue_within(struct ms_queue *queue, const struct ms_job *job,
                                          int64_t bytes, const struct ms_quota *quota,
                                          bool *created, struct ms_job *now, struct ms_usage *usage,
                                          struct ms_error *err);
/* Charges bytes without a job; fewer than 0 are given back. MS_EQUOTA: they would be more than
 * max_bytes (0: no limit), and nothing is changed. *usage is set in both cases. A call that failed
 * with MS_ENET and is repeated may charge twice. */
MS_MUST_CHECK int ms_queue_charge(struct ms_queue *queue, const char *owner, int64_t bytes,
                                  int64_t max_bytes, struct ms_usage *usage, struct ms_error *err);
/* Whether what was charged before as `what` (a name of at most 64 characters) pays for the song of
 * the job `id`: it pays for the first job that asks, again and again. Known for keep_ms. */
MS_MUST_CHECK int ms_queue_pay(struct ms_queue *queue, const char *what, const char *id,
                               int64_t keep_ms, bool *paid, struct ms_error *err);
MS_MUST_CHECK int ms_queue_usage(struct ms_queue *queue, const char *owner, struct ms_usage *out,
                                 struct ms_error *err);

/* Leases the oldest job that may run and asks for `model`, or for none; waits up to wait_ms for one
 * (a job that arrives ends the wait). What another program put on the list toWorker becomes a job
 * when it is next, as if it were sent again, and leaves the list if it is none. *out is the
 * caller's (ms_job_fini). MS_ENOTFOUND: none. */
MS_MUST_CHECK int ms_queue_reserve(struct ms_queue *queue, const char *model, int64_t lease_ms,
                                   int64_t wait_ms, struct ms_job *out, char token[MS_TOKEN_HEX],
                                   struct ms_error *err);

/* What a worker says about its job. */
enum ms_queue_change {
    /* Renews the lease by lease_ms; takes progress, eta_seconds and audio_seconds from job.
     * MS_ECANCELED: somebody asked to cancel it. */
    MS_CHANGE_RENEW,
    /* -> succeeded, with job's stems, receipt and audio_seconds. MS_ECANCELED: as above, and the
     * job is not finished. */
    MS_CHANGE_FINISH,
    /* -> failed, with job's error_code and error_message. */
    MS_CHANGE_FAIL,
    /* -> queued, failures + 1, with job's error, and the attempt is not counted: the worker is
     * sick. In front, unless job->not_before_ms is still to come; not before that. The caller sees
     * to it that failures stays below MS_JOB_MAX_FAILURES. */
    MS_CHANGE_RETRY,
    /* -> queued, in front, and nothing is counted: the worker was asked to stop. */
    MS_CHANGE_REQUEUE,
    /* -> queued, in front, and counted as when the lease lapses: whoever says it knows that the
     * holder of the token is dead. */
    MS_CHANGE_LAPSE,
    /* -> canceled: the answer to MS_ECANCELED. A job that is to be erased vanishes. */
    MS_CHANGE_CANCEL,
};
/* One step of the holder of `token`. A final state makes the job's callback due (the outbox).
 * lease_ms is for RENEW. */
MS_MUST_CHECK int ms_queue_change(struct ms_queue *queue, enum ms_queue_change change,
                                  const struct ms_job *job, const char *token, int64_t lease_ms,
                                  struct ms_error *err);

/* Every worker calls it every few seconds. Retries whose time has come may be reserved. Jobs that
 * another program took off the list go back in front, when they are among the oldest that wait. So
 * do jobs whose lease lapsed; those that got no farther than the lease before count as crashes
 * (the MS_JOB_MAX_CRASHESth: failed, "poison"). Jobs that have waited for model_wait_ms for a model
 * that no caller had meanwhile fail, "model". The caller has `model`. */
struct ms_reaped {
    int taken;            /* jobs that another program took */
    int lapsed, unserved; /* leases; jobs that failed for want of their model */
};
MS_MUST_CHECK int ms_queue_reap(struct ms_queue *queue, const char *model, int64_t model_wait_ms,
                                struct ms_reaped *out, struct ms_error *err);

/* With the job's position, if fewer than MS_POSITION_MAX are before it: to count more would cost
 * more than it tells. MS_ENOTFOUND; MS_ECORRUPT: its record cannot be read. */
#define MS_POSITION_MAX 1000
MS_MUST_CHECK int ms_queue_get(struct ms_queue *queue, const char *id, struct ms_job *out,
                               struct ms_error *err);

/* Which jobs a list gives. */
struct ms_queue_filter {
    const char *owner;  /* NULL: all */
    int state;          /* one, or -1 for all */
    int limit;          /* 1 to 1000 */
    const char *cursor; /* "", or what the last call gave as `next` */
};
/* Newest first. jobs: at most filter->limit, each the caller's to ms_job_fini. next: "" at the end.
 */
#define MS_CURSOR_MAX 128
MS_MUST_CHECK int ms_queue_list(struct ms_queue *queue, const struct ms_queue_filter *filter,
                                struct ms_job *jobs, int *count, char next[MS_CURSOR_MAX],
                                struct ms_error *err);

/* The ids of jobs that wait, next to be served first, at most max <= MS_WAITING_MAX; cursor and
 * next as above. Reads no records, so that many cost little. What a stranger put on the list is
 * left out until it is a job. */
#define MS_WAITING_MAX 10000
MS_MUST_CHECK int ms_queue_waiting(struct ms_queue *queue, const char *cursor, int max,
                                   char (*ids)[MS_JOB_ID_HEX], int *count, char next[MS_CURSOR_MAX],
                                   struct ms_error *err);

/* Erases a job, or one stem of it.
 * stem NULL: a job that waits or has ended vanishes at once. A running one is asked to cancel, and
 * vanishes when its worker answers.
 * Else: that stem of a job that succeeded; the job vanishes with its last stem.
 * *gone: whether the job has vanished. *was (may be NULL): the job before. MS_ENOTFOUND. */
MS_MUST_CHECK int ms_queue_erase(struct ms_queue *queue, const char *id, const char *stem,
                                 bool *gone, struct ms_job *was, struct ms_error *err);

/* -> expired: stems of this succeeded job are gone from the store. Does nothing if the job is not
 * that success any more (its finished_ms tells). */
MS_MUST_CHECK int ms_queue_expire(struct ms_queue *queue, const struct ms_job *job,
                                  struct ms_error *err);

/* ---- retention: jobs that ended long ago ----
 *
 * Whoever removes them removes their objects first, and then has the queue forget them. If their
 * song comes again in between, they are not old any more, and stay. */

/* The ids of jobs that came at least keep_ms ago, the oldest first, without the first `skip`; at
 * most MS_OLD_MAX. Which of them are old, ms_queue_get_old says. */
#define MS_OLD_MAX 100
MS_MUST_CHECK int ms_queue_list_old(struct ms_queue *queue, int64_t keep_ms, int64_t skip,
                                    char (*ids)[MS_JOB_ID_HEX], int *count, struct ms_error *err);
/* As ms_queue_get, of a job that ended at least keep_ms ago. MS_ENOTFOUND: it did not. A record
 * that cannot be read gives a job that is empty but for its id. */
MS_MUST_CHECK int ms_queue_get_old(struct ms_queue *queue, const char *id, int64_t keep_ms,
                                   struct ms_job *out, struct ms_error *err);
/* Erases the record of a job that ended at least keep_ms ago. MS_ENOTFOUND: it did not. */
MS_MUST_CHECK int ms_queue_forget(struct ms_queue *queue, const char *id, int64_t keep_ms,
                                  struct ms_error *err);

#define MS_QUEUE_MAX_MODELS 64 /* others are not shown */
struct ms_queue_stats {
    int64_t jobs[MS_JOB_STATES];
    int64_t oldest_waiting_ms; /* its age; 0: none waits */
    int64_t callbacks_due;
    int model_count;
    struct { /* for which model how many wait; some of those for which none waits */
        char name[MS_JOB_MODEL_BYTES];
        int64_t waiting;
    } models[MS_QUEUE_MAX_MODELS];
    struct ms_usage usage; /* see ms_queue_usage */
};
MS_MUST_CHECK int ms_queue_stats(struct ms_queue *queue, struct ms_queue_stats *out,
                                 struct ms_error *err);

/* ---- outbox: callbacks that are due, kept until they are delivered or given up ---- */

/* Takes one whose time has come; it is hidden from others for hold_ms. wait_ms: 0: this one may be
 * delivered now; else it is put off by so long, so that it holds up no other. It may be asked about
 * one several times. MS_ENOTFOUND: none is due. MS_ECONFLICT: those due the longest were put off,
 * given up or taken by others: call again. */
MS_MUST_CHECK int ms_outbox_take(struct ms_queue *queue, int64_t hold_ms,
                                 int64_t (*wait_ms)(void *context,
                                                    const struct ms_job_callback *callback),
                                 void *context, struct ms_callback_due *out, struct ms_error *err);
/* again_ms < 0: it was delivered or given up, and is forgotten; > 0: it failed and is due again
 * after so long; 0: it was broken off, is due at once, and the attempt is not counted. */
MS_MUST_CHECK int ms_outbox_settle(struct ms_queue *queue, const struct ms_callback_due *due,
                                   int64_t again_ms, struct ms_error *err);

/* ---- keys of requests ---- */

/* A client may send a request under a key, and again under the same key, to any replica: it is done
 * once, and its answer is kept for so long. */
#define MS_KEY_MS (INT64_C(24) * 3600 * 1000)
enum ms_key_state {
    MS_KEY_NEW,        /* the caller is to answer it, and calls ms_queue_end_key */
    MS_KEY_AT_WORK,    /* another caller is about to answer it */
    MS_KEY_ANSWERED,   /* *answer: what was answered, the caller's to free */
    MS_KEY_OF_ANOTHER, /* the key was used for another request */
};
/* key: any text of up to 255 bytes. request: a digest of the request, without blanks. *answer is
 * NULL unless it was answered. If the caller dies, the key is free after a minute. */
MS_MUST_CHECK int ms_queue_begin_key(struct ms_queue *queue, const char *key, const char *request,
                                     char token[MS_TOKEN_HEX], enum ms_key_state *state,
                                     char **answer, struct ms_error *err);
/* answer: any text; NULL: there is none worth keeping, and the key is free. MS_ECONFLICT: it took
 * so long that another caller has the key. */
MS_MUST_CHECK int ms_queue_end_key(struct ms_queue *queue, const char *key, const char *request,
                                   const char token[MS_TOKEN_HEX], const char *answer,
                                   struct ms_error *err);

/* ---- the course's list `logging` ---- */

#define MS_LOG_LIST_MAX 10000 /* lines kept; older ones are dropped */
/* Appends lines, the oldest first, in one step. */
MS_MUST_CHECK int ms_loglist_push(struct ms_queue *queue, const char *const *lines, int count,
                                  struct ms_error *err);
/* The oldest line; waits up to wait_ms. MS_ENOTFOUND: none. *line is the caller's to free. */
MS_MUST_CHECK int ms_loglist_pop(struct ms_queue *queue, int64_t wait_ms, char **line,
                                 struct ms_error *err);

/* Metric: calls of the queue that failed; counted by whoever makes them. */
extern struct ms_metric ms_queue_errors;

#endif
