/* The queue of jobs: a seam. ms_queue_open chooses a backend by scheme: redis://, rediss:// (where hiredis has TLS),
 * sqlite:PATH. One contract suite (test/contract) runs against every backend.
 *
 * A queue object serves one thread at a time; threads that work at the same time open one each. Calls block, with a
 * deadline (5 s unless said otherwise); a lost server is MS_ENET and the next call connects anew. A call that failed with
 * MS_ENET may have taken effect: every operation can be repeated without harm.
 *
 * Delivery: at least once, results once. reserve() hands out a job with a token and a lease; every later change of the job
 * is one atomic step that compares the token: MS_ECONFLICT when the lease was lost, and then nothing was changed.
 * Acknowledged (enqueue returned 0) means durable as far as the backend is (AOF; WAL with synchronous=FULL). */
#ifndef MSAAS_QUEUE_H
#define MSAAS_QUEUE_H

#include "msaas/job.h"

#define MS_TOKEN_HEX 33
#define MS_LEASE_DEFAULT_MS 30000

struct ms_queue;

/* url: as above; user, password, db number as redis URLs have them. Does not connect. MS_EUSAGE: the URL;
 * MS_EUNSUPPORTED: TLS in a build without it. */
MS_MUST_CHECK int ms_queue_open(const char *url, struct ms_queue **out, struct ms_error *err);
void ms_queue_close(struct ms_queue *queue);

/* Whether the server answers (sqlite: the file can be written). *warning: NULL, or static/borrowed text about a setting that could lose jobs
 * (Redis: an eviction policy other than noeviction while maxmemory is set, neither AOF nor RDB). */
MS_MUST_CHECK int ms_queue_ping(struct ms_queue *queue, const char **warning, struct ms_error *err);

/* Puts the job at the end, unless it is there: *created says which. A job that is queued, running, or succeeded with all
 * its stems stays as it is; a callback that it brings waits for the job's end with those that are there (MS_ETOOLARGE: too many), or is due at once; failed, canceled or
 * succeeded-but-stripped jobs are queued anew; MS_ECONFLICT: it runs and is being canceled, send it again later. Atomic: of 64 at once, one creates. `now` (may be NULL) gets the job as it is afterwards, with its position (-1 where that cannot be had). */
MS_MUST_CHECK int ms_queue_enqueue(struct ms_queue *queue, const struct ms_job *job, bool *created,
                                   struct ms_job *now, struct ms_error *err);

/* Waits up to wait_ms (a job that arrives wakes it) for the oldest job that may run, makes it running, under a lease. *out is the
 * caller's (ms_job_fini). MS_ENOTFOUND: none. worker: the worker's name, [A-Za-z0-9._-]{1,100}, unique among running workers. */
MS_MUST_CHECK int ms_queue_reserve(struct ms_queue *queue, const char *worker, int64_t lease_ms,
                                   int64_t wait_ms, struct ms_job *out, char token[MS_TOKEN_HEX],
                                   struct ms_error *err);

enum ms_queue_change {
    MS_CHANGE_RENEW, /* the lease, by lease_ms; takes progress, eta_seconds, audio_seconds from job. MS_ECANCELED: cancel was asked */
    MS_CHANGE_FINISH, /* -> succeeded, with job's stems, receipt, audio_seconds. MS_ECANCELED as above: not finished */
    MS_CHANGE_FAIL,  /* -> failed, with job's error_code and error_message */
    MS_CHANGE_RETRY, /* -> queued, failures + 1, not before job->not_before_ms; the MAX_ATTEMPTSth: failed with job's error */
    MS_CHANGE_REQUEUE, /* -> queued, in front, nothing counted: the worker was asked to stop */
    MS_CHANGE_CANCEL,  /* -> canceled: answers a cancel that was asked; erase_asked jobs vanish */
};
/* One step of the holder of `token`. A final state makes the job's callback due (the outbox). lease_ms is for RENEW. */
MS_MUST_CHECK int ms_queue_change(struct ms_queue *queue, enum ms_queue_change change,
                                  const struct ms_job *job, const char *token, int64_t lease_ms,
                                  struct ms_error *err);

/* Every worker calls it every few seconds: jobs whose lease lapsed, and what a dead worker moved and never claimed, go back in front
 * (crashes + 1; the third: failed, "poison"), and retries whose time has come may be reserved. *count: jobs put back or failed. */
MS_MUST_CHECK int ms_queue_reap(struct ms_queue *queue, int64_t lease_ms, int *count,
                                struct ms_error *err);

/* With the job's position, if fewer than MS_POSITION_MAX are before it: beyond, counting would cost more than it tells.
 * MS_ENOTFOUND. */
#define MS_POSITION_MAX 1000
MS_MUST_CHECK int ms_queue_get(struct ms_queue *queue, const char *id, struct ms_job *out,
                               struct ms_error *err);

/* Newest first. state: one, or -1 for all. cursor: "" or the last call's; next: "" at the end. jobs: at most limit <= 1000,
 * each the caller's to ms_job_fini. */
struct ms_queue_filter {
    int state;
    int limit;
    const char *cursor;
};
#define MS_CURSOR_MAX 128
MS_MUST_CHECK int ms_queue_list(struct ms_queue *queue, const struct ms_queue_filter *filter,
                                struct ms_job *jobs, int *count, char next[MS_CURSOR_MAX],
                                struct ms_error *err);

/* The ids of those that wait, next to be served first, at most max <= MS_WAITING_MAX; cursor and next as above. No record is
 * looked at, so that many cost little. What a stranger put on the list is left out until it is a job. */
#define MS_WAITING_MAX 10000
MS_MUST_CHECK int ms_queue_waiting(struct ms_queue *queue, const char *cursor, int max,
                                   char (*ids)[MS_JOB_ID_HEX], int *count, char next[MS_CURSOR_MAX],
                                   struct ms_error *err);

/* Erases the record: stem NULL, the whole job: waiting or ended ones vanish at once; a running one is asked to cancel and vanishes when its worker
 * answers. With a stem: that stem of a succeeded job; with the last one the job. *gone: whether the record is gone. *was (may be NULL): the job before. MS_ENOTFOUND. */
MS_MUST_CHECK int ms_queue_erase(struct ms_queue *queue, const char *id, const char *stem,
                                 bool *gone, struct ms_job *was, struct ms_error *err);

struct ms_queue_stats {
    int64_t jobs[MS_JOB_STATES];
    int64_t oldest_waiting_ms; /* age; 0: none */
    int64_t callbacks_due;
};
MS_MUST_CHECK int ms_queue_stats(struct ms_queue *queue, struct ms_queue_stats *out,
                                 struct ms_error *err);

/* ---- outbox: callbacks that are due; kept until delivered or given up -------------------------------------------- */
/* Takes one whose time has come, hidden from others for hold_ms. MS_ENOTFOUND: none. */
MS_MUST_CHECK int ms_outbox_take(struct ms_queue *queue, int64_t hold_ms,
                                 struct ms_callback_due *out, struct ms_error *err);
/* again_ms < 0: delivered or given up, forget it; else try again after so long. */
MS_MUST_CHECK int ms_outbox_settle(struct ms_queue *queue, const struct ms_callback_due *due,
                                   int64_t again_ms, struct ms_error *err);

/* ---- the course's list `logging` ----------------------------------------------------------------------------------- */
#define MS_LOG_LIST_MAX 10000 /* lines kept; older ones are dropped */
MS_MUST_CHECK int ms_loglist_push(struct ms_queue *queue, const char *line, struct ms_error *err);
/* The oldest line; waits up to wait_ms. MS_ENOTFOUND: none. *line is the caller's to free. */
MS_MUST_CHECK int ms_loglist_pop(struct ms_queue *queue, int64_t wait_ms, char **line,
                                 struct ms_error *err);

#endif
