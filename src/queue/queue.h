/* The room's inner contract: what a backend of the queue does. The rules of jobs (states, tokens, leases, retries) are
 * queue.c's and the same for all; a backend keeps records, compares and sets them atomically, and orders them.
 *
 * Each operation blocks for at most 5 s (pop: its wait), may be called again after MS_ENET, which says that the server was
 * lost; the next call connects anew. One queue object serves one thread at a time. */
#ifndef MSAAS_QUEUE_QUEUE_H
#define MSAAS_QUEUE_QUEUE_H

#include "msaas/queue.h"

enum ms_place { /* in which order a record stands */
                MS_PLACE_WAITING,
                MS_PLACE_DELAYED, /* until job.not_before_ms */
                MS_PLACE_LEASED,  /* until lease_until_ms */
                MS_PLACE_ENDED,
};

struct ms_record {
    struct ms_job job;
    int64_t revision; /* grows with each save; 0: not stored yet */
    enum ms_place place;
    bool in_front;            /* of save into WAITING: is served next, else last */
    char token[MS_TOKEN_HEX]; /* of the lease */
    int64_t lease_until_ms;
    bool erase_asked;
    bool stripped;           /* a stem was erased: the song is separated anew when it comes again */
    int64_t callback_due_ms; /* 0: none is due */
    int callback_attempt;
};

#define MS_WORKER_NAME_MAX 101

enum ms_due { MS_DUE_LEASES, MS_DUE_DELAYED, MS_DUE_CALLBACKS }; /* delayed ones: the last first */

struct ms_queue_ops {
    void (*close)(void *backend);
    int (*ping)(void *backend, const char **warning, struct ms_error *err);
    int (*now)(void *backend, int64_t *now_ms,
               struct ms_error *err); /* the server's clock: it rules all leases */

    /* The caller's: ms_job_fini(&out->job). MS_ENOTFOUND. MS_ECORRUPT: no record that can be read; out->revision is that
     * which save() compares. */
    int (*load)(void *backend, const char *id, struct ms_record *out, struct ms_error *err);
    /* Stores the record, and moves it to its place, if its revision is still the stored one (0: there is none), as one
     * atomic step, else MS_ECONFLICT. A job that leaves WAITING is taken off the list, also off the worker's own. `gone`:
     * erases it instead. On success the revision has grown. MS_ENOTFOUND: a popped id without a record was erased. */
    int (*save)(void *backend, struct ms_record *record, bool gone, struct ms_error *err);

    /* The id of the next waiting job, for the claim that a save is; waits up to wait_ms. MS_ENOTFOUND: none. The id is kept
     * on a list of the worker's until it is saved as something else, or dropped; until then the next pop gives it again. */
    int (*pop)(void *backend, const char *worker, int64_t wait_ms, char *id, size_t capacity,
               struct ms_error *err);
    int (*drop)(void *backend, const char *worker, const char *id, struct ms_error *err);
    /* Puts back in front what workers popped that were not heard of for so long. */
    int (*rescue)(void *backend, int64_t silent_ms, int *count, struct ms_error *err);

    /* Ids of at most `max` records, in order: */
    int (*due)(void *backend, enum ms_due what, int64_t now_ms, char (*ids)[MS_JOB_ID_HEX], int max,
               int *count, struct ms_error *err);
    int (*list)(void *backend, const struct ms_queue_filter *filter, char (*ids)[MS_JOB_ID_HEX],
                int *count, char next[MS_CURSOR_MAX], struct ms_error *err);
    int (*waiting)(void *backend, const char *cursor, int max, char (*ids)[MS_JOB_ID_HEX],
                   int *count, char next[MS_CURSOR_MAX], struct ms_error *err);
    int (*position)(void *backend, const char *id, int64_t *position,
                    struct ms_error *err); /* -1: not among the first MS_POSITION_MAX */
    int (*stats)(void *backend, struct ms_queue_stats *out, char oldest[MS_JOB_ID_HEX],
                 struct ms_error *err);

    int (*log_push)(void *backend, const char *line, struct ms_error *err);
    int (*log_pop)(void *backend, int64_t wait_ms, char **line, struct ms_error *err);
};

/* ---- what queue.c and outbox.c share --------------------------------------------------------------------------------- */

struct ms_queue {
    const struct ms_queue_ops *ops;
    void *backend;
};

#define MS_QUEUE_TRIES 50 /* of get, change, save; each loss is somebody else's success */

/* MS_ENOTFOUND. MS_ECORRUPT: what is stored is no record of that job; *out is then empty but for the id and the revision, and
 * can be saved, to be erased or replaced. */
MS_MUST_CHECK int ms_record_get(struct ms_queue *queue, const char *id, struct ms_record *out,
                                struct ms_error *err);
void ms_record_fini(struct ms_record *record);

/* The number that a cursor begins with, `first` for an empty one, and what stands behind `end`. MS_EUSAGE. */
MS_MUST_CHECK int ms_queue_read_cursor(const char *cursor, char end, int64_t first, int64_t *number,
                                       const char **rest, struct ms_error *err);

/* Each makes a backend; *ops is static. */
MS_MUST_CHECK int ms_queue_sqlite_open(const char *url, const struct ms_queue_ops **ops,
                                       void **backend, struct ms_error *err);
MS_MUST_CHECK int ms_queue_redis_open(const char *url, const struct ms_queue_ops **ops,
                                      void **backend, struct ms_error *err);

#endif
