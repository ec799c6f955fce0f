/* A job: one song, its options, and how far it has come.
 *
 *     queued -> running -> succeeded | failed | canceled
 *     succeeded -> expired: its stems are gone from the store
 *     running -> queued: a retry, a worker that stops, a lease that lapsed
 *
 * Plain data, no I/O. A job owns its strings: ms_job_fini frees them. Its form as JSON is known to
 * src/job/job_json.c alone. */
#ifndef MSAAS_JOB_H
#define MSAAS_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "msaas/account.h"
#include "msaas/err.h"
#include "msaas/job_options.h"
#include "msaas/stem.h"

#define MS_JOB_ID_HEX 57 /* SHA-224 as lower-case hex, with the final NUL */
#define MS_JOB_LABEL_MAX MS_STEM_LABEL_BYTES
/* After so many crashes at a place where an attempt had been before: failed, code "poison". */
#define MS_JOB_MAX_CRASHES 3
/* So many workers may take a fault for their own and give the job back. More than one sick worker
 * can before it gives up: then it is the song's. */
#define MS_JOB_MAX_FAILURES 100
#define MS_JOB_MAX_CALLBACK_URL 2048
#define MS_JOB_MAX_CALLBACK_DATA 65536

enum ms_job_state {
    MS_JOB_QUEUED,
    MS_JOB_RUNNING,
    MS_JOB_SUCCEEDED,
    MS_JOB_FAILED,
    MS_JOB_CANCELED,
    MS_JOB_EXPIRED,
    MS_JOB_STATES
};
const char *ms_job_state_name(enum ms_job_state state); /* "queued", ... */
MS_MUST_CHECK int ms_job_state_parse(const char *name, enum ms_job_state *out,
                                     struct ms_error *err);
bool ms_job_state_is_final(enum ms_job_state state);

#define MS_JOB_MAX_CALLBACKS 8 /* waiting at the same time, of one job */

struct ms_job_callback {
    /* 0: no callback; 1: POST `data`; 2: Standard Webhooks, the body is the job as in /apiv2 */
    int version;
    char *url;
    char *data; /* JSON text, version 1; NULL: null */
    /* When to deliver it, Unix time; 0: when the job has ended. */
    int64_t due_ms;
    int attempt; /* 0 at first */
};

struct ms_job_stem { /* one result, in the format that was asked for; its object: ms_job_stem_key */
    char name[MS_JOB_LABEL_MAX];
    int64_t bytes;
    char sha256[65];
    /* The same stem without loss, of which every other format can be made; its object:
     * ms_job_kept_key. It is the stem times kept_gain, 0 < gain <= 1, which keeps its peak below
     * full scale. kept_sha256 "": made by an earlier release or another program, and nothing is
     * kept. */
    int64_t kept_bytes;
    char kept_sha256[65];
    double kept_gain;
};

struct ms_job_receipt { /* how the result was made */
    char made_by[64];   /* "msaas 0.1.0, libtorch 2.6.0" */
    char model_sha256[65];
    double seconds; /* of work */
    bool damaged;   /* parts of the song could not be decoded; the stems hold the rest */
    enum ms_precision precision; /* AUTO: made by an earlier release, which did not record it */
};

/* An object's key at its longest, with the final NUL. */
#define MS_JOB_SONG_KEY_BYTES 513

#define MS_JOB_INPUT_NAME_BYTES 256
struct ms_job {
    char id[MS_JOB_ID_HEX];
    char owner[MS_ACCOUNT_NAME_BYTES]; /* the account that sent it; "": there were none */
    enum ms_job_state state;
    char input_name
        [MS_JOB_INPUT_NAME_BYTES]; /* as the client called it; "" unknown; never used as a path */
    int64_t input_bytes;
    /* The song's object, as another program named it; "": it has the usual names. */
    char song_key[MS_JOB_SONG_KEY_BYTES];
    struct ms_job_options options;
    /* Everyone who sent the song is called. Each is due for itself, and is dropped when it is
     * delivered or given up. In the order in which they came; no two are the same. */
    struct ms_job_callback callbacks[MS_JOB_MAX_CALLBACKS];
    int callback_count;
    int64_t created_ms, started_ms, finished_ms; /* Unix time, UTC; 0: not yet */
    int64_t not_before_ms;                       /* a retry waits until then */
    int attempts;    /* how often work on it began, without those that a sick worker gave back */
    int failures;    /* how often a sick worker gave it back */
    int crashes;     /* leases that lapsed no farther into the song than the one before */
    double reached;  /* the progress at which the last of all these leases lapsed */
    double progress; /* 0..1 */
    double audio_seconds; /* of the song; 0: not known yet */
    int networks;         /* of the model: a bag has several; 0: not known */
    double eta_seconds;   /* < 0: not known */
    /* While it is at work: so much of every stem lies in the store, in pieces (ms_job_preview_key).
     * 0: nothing. */
    double preview_seconds;
    /* Of its cost (ms_job_cost_ms), so much was charged to the owner. The queue sets it. */
    int64_t charged_ms;
    /* In the queue: 0 is next; -1: not waiting, or too far behind to be counted. The queue sets it.
     * */
    int64_t position;
    bool cancel_asked;
    int stem_count;
    struct ms_job_stem stems[MS_JOB_MAX_STEMS];
    char error_code[32]; /* "": none; ms_code_name, or "poison" */
    char error_message[512];
    struct ms_job_receipt receipt;
};

/* Makes a queued job, created now. The options are checked; a model of "" becomes default_model.
 * The id is the SHA-224 of the song's bytes. With options that change the separation and differ
 * from the defaults for default_model, it is the SHA-224 of that digest and these options in
 * canonical form. Format, bit rate and clip do not change it: they are made of what is kept. */
MS_MUST_CHECK int ms_job_init(struct ms_job *job, const void *song, size_t song_bytes,
                              const struct ms_job_options *options, const char *default_model,
                              struct ms_error *err);
/* The same for a song whose SHA-224 is known. */
MS_MUST_CHECK int ms_job_init_of_digest(struct ms_job *job, const char sha224[MS_JOB_ID_HEX],
                                        int64_t song_bytes, const struct ms_job_options *options,
                                        const char *default_model, struct ms_error *err);
/* Gives a job that ms_job_init has just made its owner (not ""). Its id then depends on the owner
 * too, so that two who send the same song have a job each: 40 digits of the SHA-224 of owner and
 * id, 8 that mark the owner, and 8 that are a check of these 48. So an id says whose it is. */
MS_MUST_CHECK int ms_job_set_owner(struct ms_job *job, const char *owner, struct ms_error *err);
/* The mark of an owner, with the final NUL; "" for "". */
#define MS_OWNER_MARK_BYTES 9
MS_MUST_CHECK int ms_owner_mark(const char *owner, char mark[MS_OWNER_MARK_BYTES],
                                struct ms_error *err);
/* Whether a valid id has this mark; "": whether it has none. Wrong once in 2^32. */
bool ms_job_id_has_mark(const char *id, const char *mark);
void ms_job_fini(struct ms_job *job); /* frees what it owns and zeroes it */
MS_MUST_CHECK int ms_job_copy(const struct ms_job *from, struct ms_job *to, struct ms_error *err);

/* What the job costs: minutes of the song, times the passes of networks through it (shifts, a bag's
 * networks), divided by 1 - overlap. 0: the song's length is not known. */
double ms_job_cost(const struct ms_job *job);
int64_t ms_job_cost_ms(const struct ms_job *job); /* the same in milliseconds, as it is charged */
/* MS_ETOOLARGE: it costs more than max_cost; 0: it may cost anything. */
MS_MUST_CHECK int ms_job_check_cost(const struct ms_job *job, double max_cost,
                                    struct ms_error *err);

/* An http:// or https:// URL with a host, of printable ASCII, not too long. */
bool ms_job_callback_url_is_valid(const char *url);
/* Whether both call the same URL with the same data. */
bool ms_job_callback_equal(const struct ms_job_callback *a, const struct ms_job_callback *b);
/* Appends a copy of the callback, not due and not attempted yet. Does nothing if it is there
 * already. MS_ETOOLARGE: the list is full. */
MS_MUST_CHECK int ms_job_add_callback(struct ms_job *job, const struct ms_job_callback *callback,
                                      struct ms_error *err);
void ms_job_drop_callback(struct ms_job *job, int index);

struct ms_callback_due { /* a callback to be delivered now; see queue.h */
    struct ms_job job;
    int index;                           /* of job.callbacks */
    char webhook_id[MS_JOB_ID_HEX + 24]; /* the same in every attempt */
};

bool ms_job_id_is_valid(const char *text);    /* exactly 56 lower-case hex digits */
bool ms_job_label_is_valid(const char *text); /* [A-Za-z0-9_-], 1 to MS_JOB_LABEL_MAX - 1 of them */

/* Objects: bucket "queue" holds songs, bucket "output" holds ID-NAME.EXT, and what is kept of every
 * stem as kept/ID-NAME.flac: who lists a job's stems, as the course's programs do, finds those that
 * were asked for. */
#define MS_BUCKET_SONGS "queue"
#define MS_BUCKET_STEMS "output"
#define MS_JOB_KEPT_FOLDER "kept/"
#define MS_JOB_PREVIEW_FOLDER "preview/"
#define MS_JOB_KEY_MAX 128
void ms_job_stem_key(const struct ms_job *job, const char *stem, char key[MS_JOB_KEY_MAX]);
/* Of the lossless stem, 24-bit FLAC. */
void ms_job_kept_key(const struct ms_job *job, const char *stem, char key[MS_JOB_KEY_MAX]);
/* Of the peaks of what is kept of all stems, made as they are encoded; see msaas/peaks.h. */
void ms_job_peaks_key(const struct ms_job *job, char key[MS_JOB_KEY_MAX]);
/* Of a piece of a stem's beginning, put while the job is at work and removed when it has ended:
 * seconds [MS_PREVIEW_PIECE_S * piece, MS_PREVIEW_PIECE_S * (piece + 1)), 16-bit FLAC. The song's
 * last piece may be shorter. */
#define MS_PREVIEW_PIECE_S 5
void ms_job_preview_key(const struct ms_job *job, const char *stem, int piece,
                        char key[MS_JOB_KEY_MAX]);
/* The names under which the song may lie, in the order in which it is looked for. */
enum ms_job_song_name {
    MS_JOB_SONG_NAMED,  /* job->song_key */
    MS_JOB_SONG_ID,     /* the id: where the API puts it */
    MS_JOB_SONG_COURSE, /* ID.mp3: where the course's programs put it */
    MS_JOB_SONG_NAMES
};
/* False: the job has no such name. */
bool ms_job_song_key(const struct ms_job *job, enum ms_job_song_name name,
                     char key[MS_JOB_SONG_KEY_BYTES]);

/* The labels of the outputs that the options ask for, of a model with these stems, in order.
 * MS_EUSAGE: the model does not have such a stem. */
MS_MUST_CHECK int ms_job_labels(const struct ms_job_options *options,
                                const char (*stems)[MS_STEM_NAME_BYTES], int stem_count,
                                char labels[MS_JOB_MAX_STEMS][MS_JOB_LABEL_MAX], int *count,
                                struct ms_error *err);

/* ---- as items of the course's list of work (course_item.c) ---- */
#define MS_COURSE_ITEM_BYTES 81920 /* of the longest: its callback's data, and room for the rest */
/* A job as another program asks for it: JSON with `songhash` or `hash`, some with `callback`,
 * `bucket`, `object`, `model`; or a string that is the id. MS_EINPUT: it is no job. *out is the
 * caller's after success. */
MS_MUST_CHECK int ms_course_item_read(const char *text, size_t size, struct ms_job *out,
                                      struct ms_error *err);
/* A job as their workers read it, with their names for all that they look for; the caller frees
 * it. */
MS_MUST_CHECK int ms_course_item_write(const struct ms_job *job, char **out, struct ms_error *err);
/* The id in an item, bare or JSON, found without a look at the rest. False: there is none. */
bool ms_course_item_id(const char *text, size_t size, char id[MS_JOB_ID_HEX]);

/* ---- as JSON (job_json.c) ---- */
/* What queues store: everything except the position. The caller frees it. Reading is strict:
 * MS_ECORRUPT. */
MS_MUST_CHECK int ms_job_to_json(const struct ms_job *job, char **out, struct ms_error *err);
MS_MUST_CHECK int ms_job_from_json(const char *text, size_t size, struct ms_job *out,
                                   struct ms_error *err);
/* What clients of /apiv2 see. Contains no secrets and no callback data. with_owner: for those who
 * see the jobs of all accounts. */
MS_MUST_CHECK int ms_job_to_public_json(const struct ms_job *job, bool with_owner, char **out,
                                        struct ms_error *err);

#endif
