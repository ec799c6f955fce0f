/* Opens a Demucs model. Opening maps and checks every file. A file becomes a member, ready to run,
 * when the member is first needed: a song that needs one stem of a bag costs one network. Owns the
 * mapped files and the members; any thread. */
#include "demucs.h"

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
    /* Guards the two below. A file is mapped until its member is made. */
    pthread_mutex_t lock;
    struct ms_weights *weights[MS_MODEL_MAX_MEMBERS];
    struct ms_member *members[MS_MODEL_MAX_MEMBERS];
};

struct ms_session {
    struct demucs *demucs;
    struct ms_runner *runner; /* made with the first member */
};

/* Makes the member when it is first asked for. *out is borrowed; any thread. */
static int get_member(struct demucs *demucs, int index, const struct ms_member **out,
                      struct ms_error *err) {
    pthread_mutex_lock(&demucs->lock);
    int rc = 0;
    if (demucs->members[index] == NULL) {
        rc =
            demucs->backend->member_new(&demucs->json.hyper, demucs->weights[index], demucs->device,
                                        demucs->network.precision, &demucs->members[index], err);
        if (rc == 0) {
            ms_weights_free(demucs->weights[index]);
            demucs->weights[index] = NULL;
        }
    }
    *out = demucs->members[index];
    pthread_mutex_unlock(&demucs->lock);
    return rc;
}

/* Maps and checks all files. An only member is made at once: every song needs it. */
static int open_members(struct demucs *demucs, struct ms_error *err) {
    const int count = demucs->json.info.member_count;
    int rc = 0;
    for (int i = 0; i < count && rc == 0; i++)
        rc = ms_model_json_map(demucs->json_path, &demucs->json, i, &demucs->weights[i], err);
    const struct ms_member *only;
    if (rc == 0 && count == 1)
        rc = get_member(demucs, 0, &only, err);
    return rc;
}

static void demucs_free(struct ms_network *network) {
    struct demucs *demucs = (struct demucs *)network;
    for (int i = 0; i < MS_MODEL_MAX_MEMBERS; i++) {
        ms_weights_free(demucs->weights[i]);
        if (demucs->members[i] != NULL)
            demucs->backend->member_free(demucs->members[i]);
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

static int forward(struct ms_session *session, int member, int count, const float *mix, float *out,
                   double seconds[MS_STAGE_COUNT], struct ms_error *err) {
    const struct ms_backend *backend = session->demucs->backend;
    const struct ms_member *made = NULL;
    int rc = get_member(session->demucs, member, &made, err);
    if (rc == 0 && session->runner == NULL)
        rc = backend->runner_new(made, &session->runner, err);
    return rc != 0 ? rc : backend->forward(session->runner, made, count, mix, out, seconds, err);
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
