/* The seam: what a backend of the queue implements. queue.c, sweep.c and outbox.c hold the rules of
 * jobs (states, tokens, leases, retries), the same for all; a backend keeps records, changes each
 * in one atomic step, and keeps them in order. */
#ifndef MSAAS_QUEUE_OPS_H
#define MSAAS_QUEUE_OPS_H

#include "msaas/queue.h"

/* Where a record stands. */
enum ms_place {
    MS_PLACE_WAITING, /* for a worker */
    MS_PLACE_DELAYED, /* until job.not_before_ms */
    MS_PLACE_LEASED,  /* until lease_until_ms */
    MS_PLACE_ENDED,
};

/* What a rule decides about a record. */
enum ms_fate {
    MS_FATE_KEEP, /* stays as it is stored */
    MS_FATE_SAVE,
    MS_FATE_ERASE,
};

/* As stored. */
enum ms_record_flag {
    MS_RECORD_ERASE_ASKED = 1,
    /* A stem was erased: the song is separated anew when it comes again. */
    MS_RECORD_STRIPPED = 2,
};

struct ms_record {
    /* Its owner, state, created_ms, started_ms and attempts are fields of the record, which rule
     * over those in the stored document: a claim changes them without reading it. */
    struct ms_job job;
    /* Grows with each save and claim. 0: not stored. */
    int64_t revision;
    /* Something is stored that is no record of this job. The job is empty but for its id. */
    bool unreadable;
    enum ms_fate fate;
    enum ms_place place;
    /* Of a save into WAITING: is served next, not last. */
    bool in_front;
    /* What another program put on the list. Of a claim: found in the place of a job, and still
     * there; borrowed until the next claim. Of a save: leaves the list with it. NULL: nothing. */
    const char *item;
    size_t item_bytes;
    /* Of the lease. */
    char token[MS_TOKEN_HEX];
    int64_t lease_until_ms;
    /* Of enum ms_record_flag. */
    int flags;
    /* The first of its callbacks; 0: none is due. ms_queue_update sets it. */
    int64_t callback_due_ms;
    /* Of a save: what is added to the usage of job.owner, which does not fall below 0. */
    int64_t charge_ms, charge_bytes;
    /* Of a save: the limits that the charge must keep (ms_quota_exceeded); NULL: none. */
    const struct ms_quota *quota;
    /* Of a save: gets the owner's usage afterwards; NULL: nobody asks. */
    struct ms_usage *usage;
};

/* The orders in which ids are listed. Only the first two have a cursor. The next four give those
 * whose time has come by the server's clock, which also says what is the OLDEST. */
enum ms_order {
    MS_ORDER_NEWEST,    /* of one state and one owner, or of all */
    MS_ORDER_WAITING,   /* next to be served first */
    MS_ORDER_LAPSED,    /* leases; the longest lapsed first */
    MS_ORDER_DELAYED,   /* the shortest due first: each is put in front of all */
    MS_ORDER_CALLBACKS, /* the longest due first */
    /* Those that wait for a model that nobody who asked for this order has had for wait_ms. Asking
     * says that one has `model`. */
    MS_ORDER_UNSERVED,
    /* Of the oldest that wait, those that a stranger took off the list; the youngest first: each is
     * put in front of all. Where nobody else has access to the list, there are none. One of all who
     * ask within a second gets them. */
    MS_ORDER_MISSING,
    /* All that came at least wait_ms ago; the oldest first, without the first `skip`. */
    MS_ORDER_OLDEST,
};

struct ms_listing {
    enum ms_order order;
    const char *owner; /* NEWEST: one, or NULL for all */
    int state;         /* NEWEST: one, or -1 for all */
    int max;           /* so many ids */
    const char *cursor;
    const char *model;
    int64_t wait_ms;
    int64_t skip;
};

/* All block for at most 5 s and the wait they are given, and return 0 or MS_E... After MS_ENET the
 * server was lost, the next call connects anew, and any call may be repeated. One thread at a time.
 */
struct ms_queue_ops {
    /* Frees the backend's object, which may be half-built. */
    void (*close)(struct ms_queue *queue);
    /* As ms_queue_ping; *warning is NULL before. */
    int (*ping)(struct ms_queue *queue, const char **warning, struct ms_error *err);
    /* One record, with job.position, and the time by the server's clock, which rules all leases.
     * MS_ENOTFOUND. MS_ECORRUPT: it is unreadable; the other fields are set all the same. The
     * record is the caller's in all cases (ms_record_fini). */
    int (*load)(struct ms_queue *queue, const char *id, struct ms_record *out, int64_t *now_ms,
                struct ms_error *err);
    /* Does what record->fate says (not KEEP), and moves the record to its place, as one step, if
     * its revision is the stored one; else MS_ECONFLICT. Then sets revision, job.position, and
     * job.created_ms where it was 0. Charges the owner in the same step; MS_EQUOTA: the quota does
     * not allow it, and only *usage is set. ERASE of a record without an id takes its item off the
     * list, and does nothing else; MS_ECONFLICT: it is not there. */
    int (*save)(struct ms_queue *queue, struct ms_record *record, struct ms_error *err);
    /* Leases the next job that waits for `model` or for none, as one step: it leaves the list,
     * becomes RUNNING and LEASED under the token, with attempts + 1. Waits up to wait_ms for one.
     * Jobs for other models cost little, however many wait. Items that can be no jobs leave the
     * list (ms_queue_tell_junk). MS_ENOTFOUND: none. MS_EINPUT: nothing is leased; next is
     * out->item, which may be a job. MS_ECORRUPT: leased, but unreadable. The record is the
     * caller's in all cases. */
    int (*claim)(struct ms_queue *queue, const char *model, const char token[MS_TOKEN_HEX],
                 int64_t lease_ms, int64_t wait_ms, struct ms_record *out, struct ms_error *err);
    /* Ids in order, without a look at their records. next: "" at the end. MS_EUSAGE: the cursor. */
    int (*list)(struct ms_queue *queue, const struct ms_listing *listing,
                char (*ids)[MS_JOB_ID_HEX], int *count, char next[MS_CURSOR_MAX],
                struct ms_error *err);
    /* As ms_queue_stats; with an owner, its usage alone. *out is zeroed before. */
    int (*stats)(struct ms_queue *queue, const char *owner, struct ms_queue_stats *out,
                 struct ms_error *err);
    /* As ms_queue_charge. */
    int (*charge)(struct ms_queue *queue, const char *owner, int64_t bytes, int64_t max_bytes,
                  struct ms_usage *usage, struct ms_error *err);
    /* Notes: texts by key that lapse. Puts `note` in the place of `old`, for keep_ms, as one step;
     * "" is no note. MS_ECONFLICT: neither of them is there, but *found, which is the caller's;
     * NULL: no note. */
    int (*note)(struct ms_queue *queue, const char *key, const char *old, const char *note,
                int64_t keep_ms, char **found, struct ms_error *err);
    /* As ms_loglist_push. */
    int (*log_push)(struct ms_queue *queue, const char *const *lines, int count,
                    struct ms_error *err);
    /* As ms_loglist_pop; *line is NULL before. */
    int (*log_pop)(struct ms_queue *queue, int64_t wait_ms, char **line, struct ms_error *err);
};

/* A backend's own object begins with this one. */
struct ms_queue {
    const struct ms_queue_ops *ops;
    bool course_items; /* see ms_queue_use_course_items */
    void (*on_junk)(void *context, const char *item);
    void *junk_context;
};

MS_MUST_CHECK int ms_queue_sqlite_open(const char *url, struct ms_queue **out,
                                       struct ms_error *err);
MS_MUST_CHECK int ms_queue_redis_open(const char *url, struct ms_queue **out, struct ms_error *err);

/* ---- shared by the backends (queue_ops.c) ---- */

void ms_record_fini(struct ms_record *record);

/* Reads a stored document into record->job, of which id, owner, state, created_ms, started_ms,
 * attempts and position are set; a time or number of 0 gives way to the document's. doc: NULL for
 * a job that a stranger put on the list: default options, and the song lies in the store under that
 * id. MS_ECORRUPT: no document of that job; sets record->unreadable. */
MS_MUST_CHECK int ms_record_read(struct ms_record *record, const char *doc, size_t size,
                                 struct ms_error *err);

/* The number that a cursor begins with, `first` for an empty one, and what stands behind `end`.
 * MS_EUSAGE. */
MS_MUST_CHECK int ms_queue_read_cursor(const char *cursor, char end, int64_t first, int64_t *number,
                                       const char **rest, struct ms_error *err);

/* Counts the jobs that wait for a model. */
void ms_queue_add_waiting(struct ms_queue_stats *stats, const char *model, int64_t waiting);

/* MS_EQUOTA. */
int ms_queue_at_limit(const char *owner, struct ms_error *err);

/* Tells of an item that was taken off the list because it is no job. */
void ms_queue_tell_junk(const struct ms_queue *queue, const char *item, size_t size);

/* ---- shared by the rules: one record (record.c) ---- */

/* Each sets job and place; what else they set is said. */
void ms_record_end(struct ms_record *record, enum ms_job_state state, int64_t now_ms);
/* Answers a cancel that was asked. Sets the fate. */
void ms_record_cancel(struct ms_record *record, int64_t now_ms);
/* Queued again. */
void ms_record_put_back(struct ms_record *record, enum ms_place place, bool in_front);
/* Its worker lost it. Sets no fate, but where a cancel is answered. */
void ms_record_lapse(struct ms_record *record, int64_t now_ms);
/* What becomes of an unreadable record: a failed job, error "corrupt". Sets the fate. */
void ms_record_give_up(struct ms_record *record, int64_t now_ms);
void ms_record_set_error(struct ms_job *job, const char *code, const char *message);
/* Charges what the job costs now, less what was charged before, to its owner, if it has one. */
void ms_record_charge_cost(struct ms_record *record);
/* Makes due who waits for the job's end. */
void ms_record_call(struct ms_job *job, int64_t now_ms);

/* Changes one record by a rule: load, rule, save, and again if somebody else saved meanwhile. The
 * rule sees the record as stored (revision 0, not unreadable: there is none), changes it and sets
 * its fate; it may be called several times, and its failure is the result. out: NULL, or gets the
 * record as it is afterwards, the caller's after success. */
MS_MUST_CHECK int ms_queue_update(struct ms_queue *queue, const char *id,
                                  int (*rule)(struct ms_record *record, int64_t now_ms,
                                              void *context, struct ms_error *err),
                                  void *context, struct ms_record *out, struct ms_error *err);

#endif
