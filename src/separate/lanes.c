/* Between separate.c and the network: segments go to whichever lane is free, a batch at a time, and
 * come back in order.
 *
 * Owns the lane threads, their sessions and the slots' buffers, all made once. A session is made,
 * used and freed on its lane's thread. Slots form a ring: submitted at its head, collected at its
 * tail. Their buffers lie one behind the other, so that a batch, which is slots in a row, is one
 * piece of memory and needs no copy. */
#include "lanes.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/network.h"
#include "msaas/separate.h"
#include "msaas/sys.h"
#include "msaas/thread.h"

#define LANE_STACK_BYTES (8u << 20)
#define CANCEL_POLL_MS 50

struct lane {
    struct ms_lanes *owner;
    pthread_t thread;
    struct ms_session *session;
    float *scratch;      /* one network's output, like a batch's stems, where several are joined */
    struct ms_error err; /* of making the session */
    bool started;        /* guarded by the owner's lock */
};

struct ms_lanes {
    struct ms_network *network;
    const struct ms_model_info *info;
    struct lane *lane;
    int lane_count, threads; /* threads: those that run */
    int batch;               /* segments of a forward, at most */
    struct ms_slot *slots;
    int slot_count;
    float *windows, *stems; /* of all slots */
    /* What to run; written while nothing is in flight. */
    int needed[MS_MODEL_MAX_MEMBERS], needed_count;
    float share[MS_MODEL_MAX_MEMBERS][MS_MODEL_MAX_STEMS]; /* 0 where the stem is not wanted */
    pthread_mutex_t lock;
    pthread_cond_t to_lanes, to_caller;
    bool locks_made;
    int64_t submitted, begun, collected; /* slot of number n: slots[n % slot_count] */
    int64_t flushed; /* segments before this one also run in batches that are not full */
    int running;     /* batches */
    bool dropping, ending;
};

static size_t plane_pair_floats(const struct ms_lanes *lanes) {
    return (size_t)MS_MIX_CHANNELS * (size_t)lanes->info->segment_frames;
}

static size_t stems_floats(const struct ms_lanes *lanes) {
    return (size_t)lanes->info->stem_count * plane_pair_floats(lanes);
}

/* ---- on the lanes' threads ---- */

static void add_scaled(float *restrict to, const float *restrict from, float factor, size_t count) {
    for (size_t i = 0; i < count; i++)
        to[i] += factor * from[i];
}

static bool is_dropping(struct ms_lanes *lanes) {
    pthread_mutex_lock(&lanes->lock);
    bool dropping = lanes->dropping;
    pthread_mutex_unlock(&lanes->lock);
    return dropping;
}

/* windows [count][2][frames] -> stems [count][stem_count][2][frames]: the weighted mean of the
 * networks that serve a wanted stem. */
static int forward(struct lane *lane, int count, const float *windows, float *stems,
                   struct ms_error *err) {
    struct ms_lanes *lanes = lane->owner;
    const struct ms_network_ops *ops = lanes->network->ops;
    double seconds[MS_STAGE_COUNT] = {0}; /* not used */
    if (lanes->needed_count == 1)
        return ops->forward(lane->session, lanes->needed[0], count, windows, stems, seconds, err);
    size_t pair = plane_pair_floats(lanes);
    int stem_count = lanes->info->stem_count;
    memset(stems, 0, (size_t)count * stems_floats(lanes) * sizeof *stems);
    for (int n = 0; n < lanes->needed_count; n++) {
        if (n > 0 && is_dropping(lanes))
            return ms_error_set(err, MS_ECANCELED, "canceled");
        const float *share = lanes->share[lanes->needed[n]];
        int rc = ops->forward(lane->session, lanes->needed[n], count, windows, lane->scratch,
                              seconds, err);
        if (rc != 0)
            return rc;
        for (int s = 0; s < count * stem_count; s++)
            if (share[s % stem_count] != 0.0f)
                add_scaled(stems + (size_t)s * pair, lane->scratch + (size_t)s * pair,
                           share[s % stem_count], pair);
    }
    return 0;
}

/* Takes the next batch: slots in a row from *first on. Returns how many; 0: a fuller batch will
 * come, since a caller that does not wait submits more, or flushes. */
static int take_batch(struct ms_lanes *lanes, int *first) {
    int64_t waiting = lanes->submitted - lanes->begun;
    if (waiting < lanes->batch && lanes->begun >= lanes->flushed)
        return 0;
    *first = (int)(lanes->begun % lanes->slot_count);
    int64_t count = waiting < lanes->batch ? waiting : lanes->batch;
    if (count > lanes->slot_count - *first)
        count = lanes->slot_count - *first;
    lanes->begun += count;
    return (int)count;
}

static void *lane_main(void *argument) {
    struct lane *lane = argument;
    struct ms_lanes *lanes = lane->owner;
    lane->err.code = lanes->network->ops->session_new(lanes->network, &lane->session, &lane->err);

    pthread_mutex_lock(&lanes->lock);
    lane->started = true;
    pthread_cond_signal(&lanes->to_caller);
    for (;;) {
        int first = 0, count = 0;
        while (!lanes->ending && (count = take_batch(lanes, &first)) == 0)
            pthread_cond_wait(&lanes->to_lanes, &lanes->lock);
        if (lanes->ending)
            break;
        struct ms_slot *slots = &lanes->slots[first];
        lanes->running++;
        pthread_mutex_unlock(&lanes->lock);

        struct ms_error failure = {0};
        failure.code = forward(lane, count, slots[0].window, slots[0].stems, &failure);

        pthread_mutex_lock(&lanes->lock);
        for (int i = 0; i < count; i++) {
            slots[i].err = failure;
            slots[i].done = true;
        }
        lanes->running--;
        pthread_cond_signal(&lanes->to_caller);
    }
    pthread_mutex_unlock(&lanes->lock);
    lanes->network->ops->session_free(lane->session);
    return NULL;
}

/* ---- on the caller's thread ---- */

static int make_locks(struct ms_lanes *lanes, struct ms_error *err) {
    int rc = pthread_mutex_init(&lanes->lock, NULL);
    if (rc == 0 && (rc = pthread_cond_init(&lanes->to_lanes, NULL)) == 0)
        rc = ms_cond_init(&lanes->to_caller);
    if (rc != 0)
        return ms_error_set(err, MS_ENOMEM, "cannot make the locks of the lanes: %s", strerror(rc));
    lanes->locks_made = true;
    return 0;
}

static int start_threads(struct ms_lanes *lanes, struct ms_error *err) {
    int rc = 0;
    for (; rc == 0 && lanes->threads < lanes->lane_count; lanes->threads += rc == 0) {
        struct lane *lane = &lanes->lane[lanes->threads];
        rc = ms_thread_start(&lane->thread, LANE_STACK_BYTES, lane_main, lane);
    }
    if (rc != 0)
        return ms_error_set(err, MS_ENOMEM, "cannot start lane %d of %d: %s", lanes->threads + 1,
                            lanes->lane_count, strerror(rc));

    pthread_mutex_lock(&lanes->lock);
    for (int i = 0; i < lanes->threads; i++)
        while (!lanes->lane[i].started)
            pthread_cond_wait(&lanes->to_caller, &lanes->lock);
    pthread_mutex_unlock(&lanes->lock);
    for (int i = 0; i < lanes->threads; i++)
        if (lanes->lane[i].err.code != 0)
            return ms_error_copy(err, &lanes->lane[i].err);
    return 0;
}

int ms_lanes_new(struct ms_network *network, int lanes, int batch, struct ms_lanes **out,
                 struct ms_error *err) {
    *out = NULL;
    if (batch < 1 || batch > MS_BATCH_MAX)
        return ms_error_about(err, MS_EUSAGE, "batch", "%d is not in 1..%d", batch, MS_BATCH_MAX);
    if (lanes < 1 || lanes > MS_LANES_MAX)
        return ms_error_about(err, MS_EUSAGE, "lanes", "%d is not in 1..%d", lanes, MS_LANES_MAX);
    int rc = 0;
    struct ms_lanes *made = calloc(1, sizeof *made);
    if (made == NULL)
        goto no_memory;
    made->network = network;
    made->info = &network->info;
    made->lane_count = lanes;
    made->batch = batch;
    made->slot_count = (lanes + 1) * batch;
    made->lane = calloc((size_t)made->lane_count, sizeof *made->lane);
    made->slots = calloc((size_t)made->slot_count, sizeof *made->slots);
    if (made->lane == NULL || made->slots == NULL)
        goto no_memory;
    size_t window = plane_pair_floats(made), stems = stems_floats(made);
    made->windows = malloc((size_t)made->slot_count * window * sizeof(float));
    made->stems = malloc((size_t)made->slot_count * stems * sizeof(float));
    if (made->windows == NULL || made->stems == NULL)
        goto no_memory;
    for (int i = 0; i < made->slot_count; i++) {
        made->slots[i].window = made->windows + (size_t)i * window;
        made->slots[i].stems = made->stems + (size_t)i * stems;
    }
    for (int i = 0; i < lanes; i++) {
        made->lane[i].owner = made;
        if (made->info->member_count > 1) {
            made->lane[i].scratch = malloc((size_t)batch * stems * sizeof(float));
            if (made->lane[i].scratch == NULL)
                goto no_memory;
        }
    }
    rc = make_locks(made, err);
    if (rc == 0)
        rc = start_threads(made, err);
    if (rc != 0)
        goto out;
    *out = made;
    made = NULL;
    goto out;
no_memory:
    rc = ms_error_set(err, MS_ENOMEM, "no memory for the buffers of %d lanes with batches of %d",
                      lanes, batch);
out:
    ms_lanes_free(made);
    return rc;
}

void ms_lanes_free(struct ms_lanes *lanes) {
    if (lanes == NULL)
        return;
    if (lanes->locks_made) {
        pthread_mutex_lock(&lanes->lock);
        lanes->ending = true;
        pthread_cond_broadcast(&lanes->to_lanes);
        pthread_mutex_unlock(&lanes->lock);
        for (int i = 0; i < lanes->threads; i++)
            pthread_join(lanes->lane[i].thread, NULL);
        pthread_cond_destroy(&lanes->to_caller);
        pthread_cond_destroy(&lanes->to_lanes);
        pthread_mutex_destroy(&lanes->lock);
    }
    for (int i = 0; lanes->lane != NULL && i < lanes->lane_count; i++)
        free(lanes->lane[i].scratch);
    free(lanes->windows);
    free(lanes->stems);
    free(lanes->lane);
    free(lanes->slots);
    free(lanes);
}

int ms_lanes_count(const struct ms_lanes *lanes) {
    return lanes->lane_count;
}

int ms_lanes_slots(const struct ms_lanes *lanes) {
    return lanes->slot_count;
}

int ms_lanes_want(struct ms_lanes *lanes, const bool *wanted, struct ms_error *err) {
    const struct ms_model_info *info = lanes->info;
    bool serves[MS_MODEL_MAX_MEMBERS] = {false};
    for (int s = 0; s < info->stem_count; s++) {
        double total = 0.0;
        for (int n = 0; n < info->member_count; n++)
            total += info->weights[n][s];
        if (wanted[s] && !(total > 0.0))
            return ms_error_set(err, MS_EMODEL,
                                "model %s: no network has a weight above 0 for stem %s", info->name,
                                info->stems[s]);
        for (int n = 0; n < info->member_count; n++) {
            lanes->share[n][s] = wanted[s] ? (float)(info->weights[n][s] / total) : 0.0f;
            serves[n] = serves[n] || lanes->share[n][s] != 0.0f;
        }
    }
    lanes->needed_count = 0;
    for (int n = 0; n < info->member_count; n++)
        if (serves[n])
            lanes->needed[lanes->needed_count++] = n;
    return 0;
}

/* Only the caller's thread writes submitted and collected: it may read them without the lock. */
struct ms_slot *ms_lanes_claim(struct ms_lanes *lanes) {
    if (lanes->submitted - lanes->collected == lanes->slot_count)
        return NULL;
    return &lanes->slots[lanes->submitted % lanes->slot_count];
}

void ms_lanes_submit(struct ms_lanes *lanes) {
    pthread_mutex_lock(&lanes->lock);
    lanes->slots[lanes->submitted++ % lanes->slot_count].done = false;
    if (lanes->submitted - lanes->begun >= lanes->batch)
        pthread_cond_signal(&lanes->to_lanes);
    pthread_mutex_unlock(&lanes->lock);
}

/* With the lock. */
static void flush(struct ms_lanes *lanes) {
    if (lanes->flushed == lanes->submitted)
        return;
    lanes->flushed = lanes->submitted;
    pthread_cond_broadcast(&lanes->to_lanes);
}

void ms_lanes_flush(struct ms_lanes *lanes) {
    pthread_mutex_lock(&lanes->lock);
    flush(lanes);
    pthread_mutex_unlock(&lanes->lock);
}

const struct ms_slot *ms_lanes_oldest(const struct ms_lanes *lanes) {
    return lanes->submitted == lanes->collected
               ? NULL
               : &lanes->slots[lanes->collected % lanes->slot_count];
}

int ms_lanes_collect(struct ms_lanes *lanes, const atomic_bool *cancel, struct ms_slot **out,
                     struct ms_error *err) {
    struct ms_slot *slot = &lanes->slots[lanes->collected % lanes->slot_count];
    pthread_mutex_lock(&lanes->lock);
    int rc = 0;
    for (;;) {
        if (cancel != NULL && atomic_load(cancel)) {
            rc = ms_error_set(err, MS_ECANCELED, "canceled");
            break;
        }
        if (slot->done) {
            if (slot->err.code != 0)
                rc = ms_error_copy(err, &slot->err);
            break;
        }
        flush(lanes); /* the caller submits nothing before this one is done */
        /* A signal handler or another thread sets the flag, and neither can wake this thread. */
        (void)ms_cond_wait_until(&lanes->to_caller, &lanes->lock,
                                 ms_monotonic_s() + CANCEL_POLL_MS / 1000.0);
    }
    pthread_mutex_unlock(&lanes->lock);
    *out = slot;
    return rc;
}

void ms_lanes_release(struct ms_lanes *lanes) {
    lanes->collected++;
}

void ms_lanes_drain(struct ms_lanes *lanes) {
    pthread_mutex_lock(&lanes->lock);
    lanes->dropping = true;
    lanes->begun = lanes->submitted;
    while (lanes->running > 0)
        pthread_cond_wait(&lanes->to_caller, &lanes->lock);
    /* The next song begins at the ring's start. slot_count is a multiple of the batch, so that full
     * batches do not wrap around. */
    lanes->submitted = lanes->begun = lanes->collected = lanes->flushed = 0;
    lanes->dropping = false;
    pthread_mutex_unlock(&lanes->lock);
}
