/* Opens a Demucs model. Opening maps and checks every file. A file becomes a member, ready to run,
 * when the member is first needed: a song that needs one stem of a bag costs one network. In
 * bfloat16 a segment of which less than half is sound is computed by the same member in float32:
 * what such a segment asks of the transformer multiplies rounding errors. Owns the mapped files and
 * the members; any thread. */
#include "demucs.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "msaas/model_json.h"

struct demucs {
    struct ms_network network; /* first: the seam */
    struct ms_model_json json;
    const struct ms_backend *backend;
    char *json_path, *device;
    /* Guards the three below. A file is mapped until all of its members that may be needed are
     * made. */
    pthread_mutex_t lock;
    struct ms_weights *weights[MS_MODEL_MAX_MEMBERS];
    struct ms_member *members[MS_MODEL_MAX_MEMBERS]; /* in the network's precision */
    struct ms_member *exact[MS_MODEL_MAX_MEMBERS];   /* in float32, of a network in bfloat16 */
};

struct ms_session {
    struct demucs *demucs;
    struct ms_runner *runner; /* made with the first member */
};

/* Makes the member when it is first asked for. *out is borrowed; any thread. */
static int get_member(struct demucs *demucs, int index, bool exact, const struct ms_member **out,
                      struct ms_error *err) {
    const bool bf16 = demucs->network.precision == MS_PRECISION_BF16;
    struct ms_member **member = exact ? &demucs->exact[index] : &demucs->members[index];
    pthread_mutex_lock(&demucs->lock);
    int rc = 0;
    if (*member == NULL) {
        rc = demucs->backend->member_new(
            &demucs->json.hyper, demucs->weights[index], demucs->device,
            exact ? MS_PRECISION_FLOAT32 : demucs->network.precision, member, err);
        ms_weights_rest(demucs->weights[index]);
    }
    if (demucs->members[index] != NULL && (demucs->exact[index] != NULL || !bf16)) {
        ms_weights_free(demucs->weights[index]);
        demucs->weights[index] = NULL;
    }
    *out = *member;
    pthread_mutex_unlock(&demucs->lock);
    return rc;
}

#define BLOCK_FRAMES 1024
#define SILENCE 1e-3F /* of the segment's largest value */

static float largest(const float *x, int64_t count) {
    float most = 0.0F;
    for (int64_t i = 0; i < count; i++)
        most = fmaxf(most, fabsf(x[i]));
    return most;
}

/* Whether less than half of mix [channels][frames] is sound: blocks with something above -60 dB of
 * the loudest. */
static bool is_mostly_silent(const struct ms_hyper *h, const float *mix) {
    const int64_t frames = h->segment_frames;
    const float threshold = SILENCE * largest(mix, h->audio_channels * frames);
    int64_t sounding = 0;
    for (int64_t from = 0; from < frames; from += BLOCK_FRAMES) {
        const int64_t left = frames - from, count = left < BLOCK_FRAMES ? left : BLOCK_FRAMES;
        bool sound = false;
        for (int c = 0; c < h->audio_channels; c++)
            sound = sound || largest(mix + c * frames + from, count) > threshold;
        sounding += sound ? count : 0;
    }
    return 2 * sounding < frames;
}

/* Maps and checks all files. An only member is made at once: every song needs it. */
static int open_members(struct demucs *demucs, struct ms_error *err) {
    const int count = demucs->json.info.member_count;
    int rc = 0;
    for (int i = 0; i < count && rc == 0; i++)
        rc = ms_model_json_map(demucs->json_path, &demucs->json, i, &demucs->weights[i], err);
    const struct ms_member *only;
    if (rc == 0 && count == 1)
        rc = get_member(demucs, 0, false, &only, err);
    return rc;
}

static void demucs_free(struct ms_network *network) {
    struct demucs *demucs = (struct demucs *)network;
    for (int i = 0; i < MS_MODEL_MAX_MEMBERS; i++) {
        ms_weights_free(demucs->weights[i]);
        if (demucs->members[i] != NULL)
            demucs->backend->member_free(demucs->members[i]);
        if (demucs->exact[i] != NULL)
            demucs->backend->member_free(demucs->exact[i]);
    }
    pthread_mutex_destroy(&demucs->lock);
    free(demucs->json_path);
    free(demucs->device);
    free(demucs);
}

static int session_new(struct ms_network *network, struct ms_session **out, struct ms_error *err) {
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a session");
    (*out)->demucs = (struct demucs *)network;
    return 0;
}

static void session_free(struct ms_session *session) {
    if (session == NULL)
        return;
    session->demucs->backend->runner_free(session->runner);
    free(session);
}

/* Segments of one kind. */
static int run(struct ms_session *session, int member, bool exact, int count, const float *mix,
               float *out, double seconds[MS_STAGE_COUNT], struct ms_error *err) {
    const struct ms_backend *backend = session->demucs->backend;
    const struct ms_member *made = NULL;
    int rc = get_member(session->demucs, member, exact, &made, err);
    if (rc == 0 && session->runner == NULL)
        rc = backend->runner_new(made, &session->runner, err);
    return rc != 0 ? rc : backend->forward(session->runner, made, count, mix, out, seconds, err);
}

static int forward(struct ms_session *session, int member, int count, const float *mix, float *out,
                   double seconds[MS_STAGE_COUNT], struct ms_error *err) {
    const struct demucs *demucs = session->demucs;
    const struct ms_hyper *h = &demucs->json.hyper;
    const int64_t of_mix = (int64_t)h->audio_channels * h->segment_frames;
    const int64_t of_out = h->sources * of_mix;
    if (demucs->network.precision != MS_PRECISION_BF16)
        return run(session, member, false, count, mix, out, seconds, err);
    int rc = 0;
    for (int from = 0, to = 0; rc == 0 && from < count; from = to) {
        const bool exact = is_mostly_silent(h, mix + from * of_mix);
        for (to = from + 1; to < count && is_mostly_silent(h, mix + to * of_mix) == exact;)
            to++;
        rc = run(session, member, exact, to - from, mix + from * of_mix, out + from * of_out,
                 seconds, err);
    }
    return rc;
}

int ms_demucs_open(const char *path, const char *device, enum ms_precision precision,
                   struct ms_network **out, struct ms_error *err) {
    static const struct ms_network_ops ops = {
        .free = demucs_free,
        .session_new = session_new,
        .session_free = session_free,
        .forward = forward,
    };
    *out = NULL;
    struct demucs *demucs = calloc(1, sizeof *demucs);
    if (demucs == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a model");
    demucs->network.ops = &ops;
    pthread_mutex_init(&demucs->lock, NULL);
    demucs->device = strdup(device);
    int rc = demucs->device != NULL ? ms_model_find_json(path, &demucs->json_path, err)
                                    : ms_error_set(err, MS_ENOMEM, "no memory for a model");
    if (rc == 0)
        rc = ms_model_json_read(demucs->json_path, &demucs->json, err);
    if (rc == 0)
        rc = ms_backend_open(&demucs->backend, err);
    if (rc == 0)
        rc = demucs->backend->resolve(device, precision, &demucs->network.precision, err);
    if (rc == 0)
        rc = open_members(demucs, err);
    if (rc == 0) {
        demucs->network.info = demucs->json.info;
        demucs->network.libtorch = demucs->backend->version();
        *out = &demucs->network;
    } else {
        demucs_free(&demucs->network);
    }
    return rc;
}
