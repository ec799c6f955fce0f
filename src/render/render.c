/* See render.h. A render has one thread, which reads and adds up the stems a few seconds ahead,
 * into a ring of blocks. Its reader's thread takes the blocks and encodes them: so two processors
 * work for one render, and neither works for nobody. */
#include "msaas/render.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mix.h"
#include "msaas/digest.h"
#include "msaas/flac_cut.h"
#include "msaas/media.h"
#include "msaas/sys.h"
#include "msaas/thread.h"
#include "object.h"

#define BLOCK_FRAMES 4096
#define BLOCKS 32                           /* 3 s, 1 MiB */
#define PIECES_BYTES ((size_t)4 << 20)      /* of all stems together */
#define COPY_BYTES ((size_t)256 << 10)      /* a piece of what is not decoded */
#define MOST_HEAD_BYTES (INT64_C(64) << 20) /* tags and cover, in whatever form */
#define AWAKE_S 1.0
#define LARGE_BLOCK_BYTES (64 << 10)

struct ms_renders {
    struct ms_store_options store;
    int most;
    pthread_mutex_t lock;
    struct ms_render *open;
};

struct part {
    struct ms_object object;
    struct ms_flac_cut cut; /* of a part of the song, from a FLAC */
    int64_t skip;           /* frames of the media that are not wanted, yet to be read */
    struct ms_media *media; /* NULL: not read, or at its end */
    const float *planes[MS_AUDIO_CHANNELS];
    int at, count; /* of the planes, frames that are not added yet: [at, count) */
};

struct block {
    float left[BLOCK_FRAMES], right[BLOCK_FRAMES];
    size_t frames;
};

struct ms_render {
    struct ms_renders *renders;
    struct ms_render *next; /* of those that count; guarded by renders->lock */
    double read_s;          /* when its reader last read; the same */

    struct ms_render_plan plan;
    struct ms_store *store;
    bool counts, is_short;
    bool to_end;      /* of the song */
    atomic_bool stop; /* nobody reads any more */
    struct part parts[MS_JOB_MAX_STEMS];
    int64_t frames; /* that there will be */

    /* as stored */
    int64_t copied;
    struct ms_sha256 *digest;

    /* The reader's. */
    struct ms_encoder *encoder;
    const char *bytes; /* the encoder's, not given yet */
    size_t left;
    bool finished;
    bool lent; /* the first block, by ms_render_next */

    /* The ring between both threads, guarded by `lock`. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    bool has_thread;
    struct block *blocks; /* [BLOCKS] */
    int first, filled;
    bool ended;
    struct ms_error err; /* why it ended; code 0: all is there */
};

/* ---- how many ---- */

int ms_renders_new(const struct ms_store_options *store, int most, struct ms_renders **out,
                   struct ms_error *err) {
    struct ms_renders *renders = calloc(1, sizeof *renders);
    if (renders == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for renders");
    /* Each render has a thread, and with it a heap, which would keep the large blocks of the
     * largest render that it ever served. Blocks of this size are not in heaps; without the call
     * the C library soon makes exceptions. */
    (void)mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES);
    renders->store = *store;
    renders->most = most > 0 ? most : 1;
    (void)pthread_mutex_init(&renders->lock, NULL);
    *out = renders;
    return 0;
}

void ms_renders_free(struct ms_renders *renders) {
    if (renders == NULL)
        return;
    (void)pthread_mutex_destroy(&renders->lock);
    free(renders);
}

const struct ms_store_options *ms_renders_store(const struct ms_renders *renders) {
    return &renders->store;
}

static bool is_short(const struct ms_render_plan *plan) {
    bool found = plan->end_frame != MS_RENDER_TO_END &&
                 plan->end_frame - plan->first_frame <= MS_RENDER_SHORT_FRAMES;
    for (int i = 0; i < plan->part_count; i++)
        found = found && strcmp(plan->parts[i].format, "flac") == 0;
    return found;
}

static int enter(struct ms_renders *renders, struct ms_render *render, bool must,
                 struct ms_error *err) {
    const double now_s = ms_monotonic_s();
    int open = 0, awake = 0; /* of its kind */
    (void)pthread_mutex_lock(&renders->lock);
    for (const struct ms_render *other = renders->open; other != NULL; other = other->next)
        if (other->is_short == render->is_short) {
            open++;
            awake += !other->is_short && now_s - other->read_s < AWAKE_S;
        }
    const bool admitted =
        must || (awake < renders->most && open < MS_RENDERS_ASLEEP * renders->most);
    if (admitted) {
        render->counts = true;
        render->read_s = now_s;
        render->next = renders->open;
        renders->open = render;
    }
    (void)pthread_mutex_unlock(&renders->lock);
    return admitted ? 0
                    : ms_error_set(err, MS_ETOOLARGE,
                                   "%d mixes and other formats are being made at the same time; "
                                   "come back later",
                                   awake < renders->most ? open : awake);
}

static void leave(struct ms_render *render) {
    struct ms_renders *renders = render->renders;
    (void)pthread_mutex_lock(&renders->lock);
    struct ms_render **at = &renders->open;
    while (*at != render)
        at = &(*at)->next;
    *at = render->next;
    (void)pthread_mutex_unlock(&renders->lock);
}

static void note_read(struct ms_render *render) {
    (void)pthread_mutex_lock(&render->renders->lock);
    render->read_s = ms_monotonic_s();
    (void)pthread_mutex_unlock(&render->renders->lock);
}

/* ---- the stems ---- */

static int fault(struct ms_render *render, const struct part *part, int rc, struct ms_error *err) {
    if (rc == MS_EINPUT) /* it is no stranger's */
        rc = err->code = MS_ECORRUPT;
    (void)ms_error_prefix(err, "%s", part->object.key);
    return atomic_load(&render->stop) ? ms_error_set(err, MS_ECANCELED, "nobody reads any more")
                                      : rc;
}

/* From the wanted part's first frame on, where the file lets it be found: *source becomes the cut,
 * and *frames how many the whole has. */
static int cut_source(struct ms_render *render, struct part *part, struct ms_media_source *source,
                      int64_t *frames, struct ms_error *err) {
    const int64_t first = render->plan.first_frame;
    ms_flac_cut_close(&part->cut);
    int rc = ms_flac_cut_open(&part->cut, source, first, err);
    if (rc == MS_EUNSUPPORTED) /* another program's: it is read from its beginning */
        return 0;
    if (rc == 0 && first < part->cut.frames) {
        *source = ms_flac_cut_source(&part->cut);
        *frames = part->cut.frames;
        part->skip = first - part->cut.before;
    }
    return rc;
}

/* *frames: of the whole song; -1: the file does not say. */
static int open_media(struct ms_render *render, int index, int64_t *frames, struct ms_error *err) {
    const struct ms_render_part *plan = &render->plan.parts[index];
    struct part *part = &render->parts[index];
    struct ms_media_source source = {
        .bytes = plan->bytes, .read = ms_object_read, .context = &part->object};
    enum ms_audio_format format;
    *frames = -1;
    part->skip = render->plan.first_frame;
    int rc = ms_audio_format_parse(plan->format, &format, err);
    if (rc == 0 && format == MS_FORMAT_FLAC && ms_render_is_part(&render->plan))
        rc = cut_source(render, part, &source, frames, err);
    if (rc == 0)
        rc = ms_media_open_source(&source, format, MS_RENDER_RATE_HZ, &part->media, err);
    if (rc == 0 && *frames < 0)
        *frames = ms_media_frames(part->media);
    return rc == 0 ? 0 : fault(render, part, rc, err);
}

/* All that was read of a part must be what was stored. */
static int check_whole(struct ms_render *render, const struct part *part, struct ms_error *err) {
    return part->media == NULL || !ms_media_was_damaged(part->media)
               ? 0
               : fault(render, part, ms_error_set(err, MS_ECORRUPT, "is damaged"), err);
}

/* The next frames of a part; part->media becomes NULL at its end. */
static int refill(struct ms_render *render, struct part *part, struct ms_error *err) {
    part->at = part->count = 0;
    int rc = ms_media_next(part->media, part->planes, &part->count, err);
    if (rc != 0)
        return fault(render, part, rc, err);
    if (part->count == 0) {
        rc = check_whole(render, part, err);
        ms_media_free(part->media);
        part->media = NULL;
    }
    part->at = part->skip < part->count ? (int)part->skip : part->count;
    part->skip -= part->at;
    return rc;
}

/* Of a format that does not say how long it is: by decoding it once more. */
static int count_frames(struct ms_render *render, int index, int64_t *frames,
                        struct ms_error *err) {
    struct part *part = &render->parts[index];
    int64_t unknown;
    int rc = 0;
    *frames = 0;
    while (rc == 0 && part->media != NULL) {
        rc = refill(render, part, err);
        *frames += part->count;
    }
    part->at = part->count = 0;
    return rc == 0 ? open_media(render, index, &unknown, err) : rc;
}

/* Of the whole song -> of what is wanted of it. */
static int cut_frames(struct ms_render *render, int64_t whole, struct ms_error *err) {
    const struct ms_render_plan *plan = &render->plan;
    const int64_t end = plan->end_frame < whole ? plan->end_frame : whole;
    render->frames = end - plan->first_frame;
    render->to_end = end == whole;
    return render->frames > 0
               ? 0
               : ms_error_set(err, MS_EUSAGE, "from: must be less than %.3f, the song's length",
                              (double)whole / MS_RENDER_RATE_HZ);
}

static int open_parts(struct ms_render *render, struct ms_error *err) {
    const struct ms_render_plan *plan = &render->plan;
    int first = plan->part_count; /* of those that are heard */
    for (int i = plan->part_count - 1; i >= 0; i--)
        if (!ms_mix_is_silent(plan->parts[i].matrix))
            first = i;
    if (first == plan->part_count) /* silence has a length, too */
        first = 0;
    int64_t whole = -1;
    int rc = 0;
    for (int i = first; rc == 0 && i < plan->part_count; i++) {
        if (i > first && ms_mix_is_silent(plan->parts[i].matrix))
            continue;
        rc = ms_object_open(&render->parts[i].object, render->store, plan->parts[i].key,
                            plan->parts[i].bytes, PIECES_BYTES / (size_t)plan->part_count, err);
        int64_t frames = -1;
        if (rc == 0)
            rc = open_media(render, i, &frames, err);
        if (i == first)
            whole = frames;
    }
    struct part *part = &render->parts[first];
    if (rc == 0 && whole < 0)
        rc = count_frames(render, first, &whole, err);
    if (rc == 0)
        rc = cut_frames(render, whole, err);
    if (rc != 0 || plan->raw)
        return rc;
    enum ms_audio_format format;
    rc = ms_audio_format_parse(plan->format, &format, err);
    const struct ms_encode_options options = {.format = format,
                                              .sample_type = (enum ms_sample_type)plan->sample_type,
                                              .bitrate_kbps = plan->bitrate_kbps};
    return rc == 0
               ? ms_encoder_open_stream("the answer", render->frames, MS_RENDER_RATE_HZ, &options,
                                        ms_media_tags(part->media), &render->encoder, err)
               : rc;
}

/* ---- the thread: stems -> ring ---- */

/* Adds the next frames of a part to the sum. A shorter one is silent at its end. */
static int add_part(struct ms_render *render, int index, size_t frames, double *const sum[2],
                    size_t *added, struct ms_error *err) {
    struct part *part = &render->parts[index];
    size_t done = 0;
    while (done < frames && part->media != NULL) {
        if (part->at == part->count) {
            const int rc = refill(render, part, err);
            if (rc != 0)
                return rc;
            continue;
        }
        const size_t left = (size_t)(part->count - part->at);
        const size_t piece = left < frames - done ? left : frames - done;
        const float *in[2] = {part->planes[0] + part->at, part->planes[1] + part->at};
        double *to[2] = {sum[0] + done, sum[1] + done};
        ms_mix_add((const double(*)[2])render->plan.parts[index].matrix, in, piece, to);
        part->at += (int)piece;
        done += piece;
    }
    if (done > *added)
        *added = done;
    return 0;
}

/* At most `frames`, which fit into the block. */
static int make_block(struct ms_render *render, size_t frames, double *const sum[2],
                      struct block *block, struct ms_error *err) {
    for (int c = 0; c < 2; c++)
        memset(sum[c], 0, BLOCK_FRAMES * sizeof *sum[c]);
    block->frames = 0;
    for (int i = 0; i < render->plan.part_count; i++) {
        const int rc = add_part(render, i, frames, sum, &block->frames, err);
        if (rc != 0)
            return rc;
    }
    float *const out[2] = {block->left, block->right};
    const double *const in[2] = {sum[0], sum[1]};
    ms_mix_round(in, block->frames, render->plan.clamp, out);
    return 0;
}

/* The place of the next block; NULL: nobody wants one. */
static struct block *wait_for_place(struct ms_render *render) {
    (void)pthread_mutex_lock(&render->lock);
    while (render->filled == BLOCKS && !atomic_load(&render->stop))
        (void)pthread_cond_wait(&render->changed, &render->lock);
    struct block *block = &render->blocks[(render->first + render->filled) % BLOCKS];
    (void)pthread_mutex_unlock(&render->lock);
    return atomic_load(&render->stop) ? NULL : block;
}

/* How many frames the next block should have. To the song's end all that there are, one more look
 * after the last included: it shows whether the file is whole. */
static size_t frames_of_block(const struct ms_render *render, int64_t done) {
    const int64_t left = render->frames - done;
    return render->to_end || left > BLOCK_FRAMES ? BLOCK_FRAMES : (size_t)left;
}

static int check_parts(struct ms_render *render, struct ms_error *err) {
    int rc = 0;
    for (int i = 0; rc == 0 && i < render->plan.part_count; i++)
        rc = check_whole(render, &render->parts[i], err);
    return rc;
}

static int fill_ring(struct ms_render *render, double *const sum[2], struct ms_error *err) {
    int64_t frames = 0;
    for (;;) {
        struct block *block = wait_for_place(render);
        if (block == NULL)
            return 0;
        const int rc = make_block(render, frames_of_block(render, frames), sum, block, err);
        if (rc != 0)
            return rc;
        frames += (int64_t)block->frames;
        if (frames > render->frames || (block->frames == 0 && frames < render->frames))
            return ms_error_set(err, MS_ECORRUPT, "%s is not as long as it says",
                                render->plan.parts[0].key);
        if (block->frames == 0)
            return check_parts(render, err);
        (void)pthread_mutex_lock(&render->lock);
        render->filled++;
        (void)pthread_cond_signal(&render->changed);
        (void)pthread_mutex_unlock(&render->lock);
    }
}

static void *run_thread(void *context) {
    struct ms_render *render = context;
    struct ms_error err = {0};
    double(*both)[BLOCK_FRAMES] = malloc(2 * sizeof *both);
    if (both != NULL) {
        double *const sum[2] = {both[0], both[1]};
        (void)fill_ring(render, sum, &err);
    } else {
        (void)ms_error_set(&err, MS_ENOMEM, "no memory for a mix");
    }
    free(both);
    (void)pthread_mutex_lock(&render->lock);
    render->ended = true;
    render->err = err;
    (void)pthread_cond_signal(&render->changed);
    (void)pthread_mutex_unlock(&render->lock);
    return NULL;
}

/* ---- open, close ---- */

static int start(struct ms_render *render, struct ms_error *err) {
    render->blocks = malloc(BLOCKS * sizeof *render->blocks);
    if (render->blocks == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a mix");
    const int cause = ms_thread_start(&render->thread, 0, run_thread, render);
    render->has_thread = cause == 0;
    return cause == 0 ? 0 : ms_error_set(err, MS_ENOMEM, "no thread: %s", strerror(cause));
}

int ms_render_open(struct ms_renders *renders, const struct ms_render_plan *plan, bool must,
                   struct ms_render **out, struct ms_error *err) {
    struct ms_error own = {0}; /* its code is looked at */
    struct ms_render *render = calloc(1, sizeof *render);
    *out = NULL;
    if (render == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a mix");
    render->renders = renders;
    render->plan = *plan;
    render->is_short = is_short(plan);
    (void)pthread_mutex_init(&render->lock, NULL);
    (void)pthread_cond_init(&render->changed, NULL);
    struct ms_store_options store = renders->store;
    store.cancel = &render->stop;
    int rc = plan->as_stored ? 0 : enter(renders, render, must, &own);
    if (rc == 0)
        rc = ms_store_open(&store, &render->store, &own);
    if (rc == 0 && plan->as_stored) {
        rc = ms_object_open(&render->parts[0].object, render->store, render->plan.parts[0].key,
                            plan->parts[0].bytes, COPY_BYTES, &own);
        if (rc == 0)
            rc = ms_sha256_new(&render->digest, &own);
    } else if (rc == 0) {
        rc = open_parts(render, &own);
        if (rc == 0)
            rc = start(render, &own);
    }
    if (rc != 0) {
        ms_render_close(render);
        return ms_error_copy(err, &own);
    }
    *out = render;
    return 0;
}

void ms_render_close(struct ms_render *render) {
    if (render == NULL)
        return;
    atomic_store(&render->stop, true);
    (void)pthread_mutex_lock(&render->lock);
    (void)pthread_cond_broadcast(&render->changed);
    (void)pthread_mutex_unlock(&render->lock);
    if (render->has_thread)
        (void)pthread_join(render->thread, NULL);
    if (render->counts)
        leave(render);
    for (int i = 0; i < render->plan.part_count; i++) {
        ms_media_free(render->parts[i].media);
        ms_flac_cut_close(&render->parts[i].cut);
        ms_object_close(&render->parts[i].object);
    }
    ms_encoder_free(render->encoder);
    ms_sha256_free(render->digest);
    ms_store_close(render->store);
    free(render->blocks);
    (void)pthread_cond_destroy(&render->changed);
    (void)pthread_mutex_destroy(&render->lock);
    free(render);
}

int64_t ms_render_length(const struct ms_render *render) {
    return render->plan.as_stored ? render->plan.parts[0].bytes
                                  : ms_encoder_length(render->encoder);
}

int64_t ms_render_most_bytes(const struct ms_render *render) {
    const int64_t length = ms_render_length(render);
    const int64_t frame_bytes = MS_AUDIO_CHANNELS * sizeof(float); /* no format takes more */
    return length >= 0 ? length : render->frames * frame_bytes + MOST_HEAD_BYTES;
}

/* ---- the reader: ring -> encoder -> bytes ---- */

/* *block NULL: there are no more. */
static int wait_for_block(struct ms_render *render, const struct block **block,
                          struct ms_error *err) {
    int rc = 0;
    *block = NULL;
    (void)pthread_mutex_lock(&render->lock);
    while (render->filled == 0 && !render->ended)
        (void)pthread_cond_wait(&render->changed, &render->lock);
    if (render->filled > 0)
        *block = &render->blocks[render->first];
    else if (render->err.code != 0)
        rc = ms_error_copy(err, &render->err);
    (void)pthread_mutex_unlock(&render->lock);
    return rc;
}

static void give_place(struct ms_render *render) {
    (void)pthread_mutex_lock(&render->lock);
    render->first = (render->first + 1) % BLOCKS;
    render->filled--;
    (void)pthread_cond_signal(&render->changed);
    (void)pthread_mutex_unlock(&render->lock);
}

static int encode_block(struct ms_render *render, struct ms_error *err) {
    const struct block *block;
    int rc = wait_for_block(render, &block, err);
    if (rc == 0 && block != NULL) {
        const float *const planes[MS_AUDIO_CHANNELS] = {block->left, block->right};
        rc = ms_encoder_write(render->encoder, planes, block->frames, err);
        give_place(render);
    } else if (rc == 0) {
        rc = ms_encoder_finish(render->encoder, err);
        render->finished = true;
    }
    const void *bytes = NULL;
    if (rc == 0)
        rc = ms_encoder_take(render->encoder, &bytes, &render->left, err);
    render->bytes = bytes;
    return rc;
}

static int copy(struct ms_render *render, void *buffer, size_t capacity, size_t *size,
                struct ms_error *err) {
    const struct ms_render_part *part = &render->plan.parts[0];
    int rc = ms_object_read(&render->parts[0].object, render->copied, buffer, capacity, size, err);
    if (rc != 0 || *size == 0)
        return rc;
    ms_sha256_update(render->digest, buffer, *size);
    render->copied += (int64_t)*size;
    if (render->copied == part->bytes && part->sha256[0] != '\0') {
        char hex[MS_SHA256_HEX];
        ms_sha256_hex(render->digest, hex);
        if (strcmp(hex, part->sha256) != 0)
            rc = ms_error_set(err, MS_ECORRUPT, "%s has the SHA-256 %s instead of %s", part->key,
                              hex, part->sha256);
    }
    return rc;
}

int ms_render_read(struct ms_render *render, void *buffer, size_t capacity, size_t *size,
                   struct ms_error *err) {
    *size = 0;
    if (render->plan.as_stored)
        return copy(render, buffer, capacity, size, err);
    note_read(render);
    while (render->left == 0 && !render->finished) {
        const int rc = encode_block(render, err);
        if (rc != 0)
            return rc;
    }
    *size = render->left < capacity ? render->left : capacity;
    if (*size > 0)
        memcpy(buffer, render->bytes, *size);
    render->bytes += *size;
    render->left -= *size;
    note_read(render);
    return 0;
}

int ms_render_next(struct ms_render *render, const float *planes[2], size_t *frames,
                   struct ms_error *err) {
    const struct block *block;
    note_read(render);
    if (render->lent)
        give_place(render);
    const int rc = wait_for_block(render, &block, err);
    render->lent = rc == 0 && block != NULL;
    *frames = render->lent ? block->frames : 0;
    planes[0] = render->lent ? block->left : NULL;
    planes[1] = render->lent ? block->right : NULL;
    note_read(render);
    return rc;
}
