/* See preview.h. Owns its thread, a store of its own, and the pieces on their way: those that are
 * filled on the worker's thread, and a list of those that wait. What waits is bounded by bytes, so
 * that a slow store costs no more memory than that. */
#include "preview.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/audio.h"
#include "msaas/log.h"
#include "msaas/objects.h"
#include "msaas/sys.h"
#include "msaas/thread.h"

#define MOST_BYTES                                                                                 \
    ((size_t)32 << 20) /* of samples: 45 s of four stems, which come at once on many
                                         lanes */
#define STEP_FRAMES 4096
#define PUT_S 2.0    /* so long a piece that is being put may hold up the end of its job */
#define REMOVE_S 5.0 /* so long removals may hold up the end of the worker */

struct item {
    struct item *next;
    char id[MS_JOB_ID_HEX];
    char key[MS_JOB_KEY_MAX]; /* "": the job's pieces are to be removed */
    double reached_s;         /* > 0: with this piece all outputs are there up to here */
    int rate_hz;
    size_t frames, filled;
    int16_t samples[]; /* [MS_AUDIO_CHANNELS][frames] */
};

struct ms_preview {
    struct ms_preview_options options;
    struct ms_store *store;
    pthread_t thread;
    bool has_thread;
    atomic_bool cancel; /* of the store */
    /* Of the job at work; the worker's thread alone. */
    struct ms_job job; /* owns nothing: the id */
    char labels[MS_PIPELINE_MAX_OUTPUTS][MS_STEM_LABEL_BYTES];
    int output_count, rate_hz;
    int64_t song_frames, wanted_frames; /* of each output; 0: nothing more */
    int64_t heard_frames[MS_PIPELINE_MAX_OUTPUTS];
    struct item *filling[MS_PIPELINE_MAX_OUTPUTS];
    pthread_mutex_t lock; /* for all below */
    pthread_cond_t wake, rest;
    struct item *first;
    size_t bytes; /* of samples, waiting and being filled */
    bool busy, putting, ending;
    bool failed, has_put; /* of the job at work */
};

/* ---- pieces, on the worker's thread ---- */

static size_t samples_bytes(const struct item *item) {
    return MS_AUDIO_CHANNELS * item->frames * sizeof item->samples[0];
}

static struct item *new_item(const char *id, size_t frames) {
    struct item *item =
        calloc(1, sizeof *item + MS_AUDIO_CHANNELS * frames * sizeof item->samples[0]);
    if (item != NULL) {
        item->frames = frames;
        memcpy(item->id, id, sizeof item->id);
    }
    return item;
}

/* With the lock held. */
static void drop(struct ms_preview *preview, struct item *item) {
    if (item != NULL)
        preview->bytes -= samples_bytes(item);
    free(item);
}

static void hand_over(struct ms_preview *preview, struct item *item) {
    (void)pthread_mutex_lock(&preview->lock);
    struct item **at = &preview->first;
    while (*at != NULL)
        at = &(*at)->next;
    *at = item;
    (void)pthread_cond_signal(&preview->wake);
    (void)pthread_mutex_unlock(&preview->lock);
}

/* The piece at which the output is. NULL: the preview ends here. */
static struct item *begin_piece(struct ms_preview *preview, int output) {
    const int64_t piece_frames = (int64_t)MS_PREVIEW_PIECE_S * preview->rate_hz;
    const int64_t from = preview->heard_frames[output];
    const int64_t to =
        from + piece_frames < preview->song_frames ? from + piece_frames : preview->song_frames;
    struct item *item = new_item(preview->job.id, (size_t)(to - from));
    if (item == NULL)
        return NULL;
    item->rate_hz = preview->rate_hz;
    if (output == preview->output_count - 1)
        item->reached_s = (double)to / preview->rate_hz;
    ms_job_preview_key(&preview->job, preview->labels[output], (int)(from / piece_frames),
                       item->key);
    (void)pthread_mutex_lock(&preview->lock);
    preview->bytes += samples_bytes(item);
    if (preview->failed || preview->bytes > MOST_BYTES) {
        drop(preview, item);
        item = NULL;
    }
    (void)pthread_mutex_unlock(&preview->lock);
    return item;
}

static void fill(struct item *item, const float *const planes[MS_AUDIO_CHANNELS], size_t at,
                 size_t frames) {
    for (int c = 0; c < MS_AUDIO_CHANNELS; c++) {
        int16_t *to = item->samples + (size_t)c * item->frames + item->filled;
        for (size_t i = 0; i < frames; i++)
            to[i] = (int16_t)lrintf(fminf(fmaxf(planes[c][at + i] * 32768, -32768), 32767));
    }
    item->filled += frames;
}

void ms_preview_begin(struct ms_preview *preview, const struct ms_job *job,
                      const struct ms_pipeline_output *outputs, int output_count, int rate_hz,
                      int64_t song_frames) {
    if (preview == NULL)
        return;
    const double pieces = ceil(preview->options.seconds / MS_PREVIEW_PIECE_S);
    const int64_t most = (int64_t)pieces * MS_PREVIEW_PIECE_S * rate_hz;
    memcpy(preview->job.id, job->id, sizeof preview->job.id);
    for (int i = 0; i < output_count; i++)
        memcpy(preview->labels[i], outputs[i].label, sizeof preview->labels[i]);
    preview->output_count = output_count;
    preview->rate_hz = rate_hz;
    preview->song_frames = song_frames;
    preview->wanted_frames = song_frames < most ? song_frames : most;
    if (song_frames <= (int64_t)MS_PREVIEW_PIECE_S * rate_hz)
        preview->wanted_frames = 0;
    memset(preview->heard_frames, 0, sizeof preview->heard_frames);
}

void ms_preview_hear(struct ms_preview *preview, int output,
                     const float *const planes[MS_AUDIO_CHANNELS], size_t frames) {
    if (preview == NULL)
        return;
    int64_t *heard = &preview->heard_frames[output];
    for (size_t at = 0, count; at < frames && *heard < preview->wanted_frames; at += count) {
        struct item *item = preview->filling[output];
        if (item == NULL)
            item = preview->filling[output] = begin_piece(preview, output);
        if (item == NULL) {
            preview->wanted_frames = 0;
            return;
        }
        count = item->frames - item->filled;
        if (count > frames - at)
            count = frames - at;
        fill(item, planes, at, count);
        *heard += (int64_t)count;
        if (item->filled == item->frames) {
            preview->filling[output] = NULL;
            hand_over(preview, item);
        }
    }
}

bool ms_preview_end(struct ms_preview *preview) {
    if (preview == NULL)
        return false;
    preview->wanted_frames = 0;
    (void)pthread_mutex_lock(&preview->lock);
    for (int i = 0; i < MS_PIPELINE_MAX_OUTPUTS; i++) {
        drop(preview, preview->filling[i]);
        preview->filling[i] = NULL;
    }
    for (struct item **at = &preview->first; *at != NULL;) {
        struct item *item = *at;
        if (item->key[0] == '\0') {
            at = &item->next;
            continue;
        }
        *at = item->next;
        drop(preview, item);
    }
    const double until_s = ms_monotonic_s() + PUT_S;
    while (preview->putting && ms_cond_wait_until(&preview->rest, &preview->lock, until_s))
        continue;
    atomic_store(&preview->cancel, preview->putting);
    while (preview->putting)
        (void)pthread_cond_wait(&preview->rest, &preview->lock);
    atomic_store(&preview->cancel, false);
    const bool has_put = preview->has_put;
    preview->has_put = preview->failed = false;
    (void)pthread_mutex_unlock(&preview->lock);
    return has_put;
}

void ms_preview_remove(struct ms_preview *preview, const struct ms_job *job) {
    struct item *item = preview != NULL ? new_item(job->id, 0) : NULL;
    if (item != NULL)
        hand_over(preview, item);
}

/* ---- the thread ---- */

/* The bytes are the encoder's. */
static int encode(const struct item *item, struct ms_encoder **encoder, const void **bytes,
                  size_t *size, struct ms_error *err) {
    static const struct ms_encode_options flac = {.format = MS_FORMAT_FLAC,
                                                  .sample_type = MS_SAMPLE_INT16};
    float step[MS_AUDIO_CHANNELS][STEP_FRAMES];
    const float *const planes[MS_AUDIO_CHANNELS] = {step[0], step[1]};
    int rc = ms_encoder_open_stream(item->key, (int64_t)item->frames, item->rate_hz, &flac, NULL,
                                    encoder, err);
    for (size_t at = 0; rc == 0 && at < item->frames; at += STEP_FRAMES) {
        const size_t count = item->frames - at < STEP_FRAMES ? item->frames - at : STEP_FRAMES;
        for (int c = 0; c < MS_AUDIO_CHANNELS; c++)
            for (size_t i = 0; i < count; i++)
                step[c][i] = (float)item->samples[(size_t)c * item->frames + at + i] / 32768;
        rc = ms_encoder_write(*encoder, planes, count, err);
    }
    if (rc == 0)
        rc = ms_encoder_finish(*encoder, err);
    return rc == 0 ? ms_encoder_take(*encoder, bytes, size, err) : rc;
}

static bool put(struct ms_preview *preview, const struct item *item) {
    struct ms_encoder *encoder = NULL;
    const void *bytes = NULL;
    size_t size = 0;
    struct ms_error err = {0};
    int rc = encode(item, &encoder, &bytes, &size, &err);
    if (rc == 0) {
        const struct ms_object_source source = {
            .bytes = bytes, .size = (int64_t)size, .content_type = ms_job_mime("flac")};
        rc = ms_store_put(preview->store, MS_BUCKET_STEMS, item->key, &source, NULL, &err);
        (void)ms_outage_note(preview->options.store_outage, rc, &err);
    }
    ms_encoder_free(encoder);
    if (rc != 0 && rc != MS_ECANCELED)
        ms_log_fields(MS_LOG_WARN, "the job's preview ends early", "job", item->id, "error",
                      err.text, NULL);
    return rc == 0;
}

static void remove_pieces(struct ms_preview *preview, const struct item *item) {
    struct ms_job job = {0};
    struct ms_error err = {0};
    memcpy(job.id, item->id, sizeof job.id);
    const int rc = ms_objects_remove_previews(preview->store, &job, &err);
    if (rc != 0 && rc != MS_ECANCELED)
        ms_log_fields(MS_LOG_INFO, "the job's preview stays in the store for a day", "job",
                      item->id, "error", err.text, NULL);
}

static void serve(struct ms_preview *preview, struct item *item) {
    const bool is_piece = item->key[0] != '\0';
    preview->busy = true;
    preview->putting = is_piece;
    preview->has_put |= is_piece;
    (void)pthread_mutex_unlock(&preview->lock);
    bool done = true;
    if (is_piece)
        done = put(preview, item);
    else
        remove_pieces(preview, item);
    if (done && item->reached_s > 0)
        ms_lease_preview(preview->options.lease, item->reached_s);
    (void)pthread_mutex_lock(&preview->lock);
    preview->failed |= !done;
    preview->busy = preview->putting = false;
    drop(preview, item);
    (void)pthread_cond_signal(&preview->rest);
}

static void *serve_all(void *user) {
    struct ms_preview *preview = user;
    (void)pthread_mutex_lock(&preview->lock);
    for (;;) {
        struct item *item = preview->first;
        if (item != NULL) {
            preview->first = item->next;
            if (item->key[0] != '\0' && preview->failed)
                drop(preview, item);
            else
                serve(preview, item);
        } else if (preview->ending) {
            break;
        } else {
            (void)pthread_cond_wait(&preview->wake, &preview->lock);
        }
    }
    (void)pthread_mutex_unlock(&preview->lock);
    return NULL;
}

/* ---- begin and end ---- */

int ms_preview_new(const struct ms_preview_options *options, struct ms_preview **out,
                   struct ms_error *err) {
    struct ms_preview *preview = calloc(1, sizeof *preview);
    *out = NULL;
    if (preview == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for previews");
    preview->options = *options;
    preview->options.store.cancel = &preview->cancel;
    (void)pthread_mutex_init(&preview->lock, NULL);
    (void)ms_cond_init(&preview->wake);
    (void)ms_cond_init(&preview->rest);
    int rc = ms_store_open(&preview->options.store, &preview->store, err);
    if (rc == 0) {
        preview->has_thread = ms_thread_start(&preview->thread, 0, serve_all, preview) == 0;
        if (!preview->has_thread)
            rc = ms_error_set(err, MS_ENOMEM, "cannot start the thread that puts previews");
    }
    if (rc != 0) {
        ms_preview_free(preview);
        return rc;
    }
    *out = preview;
    return 0;
}

void ms_preview_free(struct ms_preview *preview) {
    if (preview == NULL)
        return;
    (void)ms_preview_end(preview);
    (void)pthread_mutex_lock(&preview->lock);
    const double until_s = ms_monotonic_s() + REMOVE_S;
    preview->ending = true;
    (void)pthread_cond_signal(&preview->wake);
    while (preview->has_thread && (preview->busy || preview->first != NULL) &&
           ms_cond_wait_until(&preview->rest, &preview->lock, until_s))
        continue;
    atomic_store(&preview->cancel, true);
    (void)pthread_mutex_unlock(&preview->lock);
    if (preview->has_thread)
        (void)pthread_join(preview->thread, NULL);
    ms_store_close(preview->store);
    (void)pthread_cond_destroy(&preview->wake);
    (void)pthread_cond_destroy(&preview->rest);
    (void)pthread_mutex_destroy(&preview->lock);
    free(preview);
}
