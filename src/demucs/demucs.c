/* Opens a Demucs model: its files are mapped and checked one after the other; each becomes a member
 * ready to run when it is first needed, so that a song which needs one stem of a bag costs one
 * network. Owns the members; any thread. */
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
    pthread_mutex_t lock;                            /* guards: */
    struct ms_member *members[MS_MODEL_MAX_MEMBERS]; /* made when they are first needed */
};

struct ms_session {
    struct demucs *demucs;
    struct ms_runner *runner; /* made with the first member */
};

/* Maps and checks one file; makes its member where `out` is not NULL. */
static int read_member(const struct demucs *demucs, int index, struct ms_member **out,
                       struct ms_error *err) {
    struct ms_weights *weights;
    int rc = ms_model_json_map(demucs->json_path, &demucs->json, index, &weights, err);
    if (rc != 0)
        return rc;
    if (out != NULL)
        rc = demucs->backend->member_new(&demucs->json.hyper, weights, demucs->device,
                                         demucs->network.precision, out, err);
    ms_weights_free(weights);
    return rc;
}

/* Borrowed; any thread. */
static int get_member(struct demucs *demucs, int index, const struct ms_member **out,
                      struct ms_error *err) {
    pthread_mutex_lock(&demucs->lock);
    int rc = 0;
    if (demucs->members[index] == NULL)
        rc = read_member(demucs, index, &demucs->members[index], err);
    *out = demucs->members[index];
    pthread_mutex_unlock(&demucs->lock);
    return rc;
}

/* All files are checked now. An only member is made now, too: its faults belong to the start. */
static int check_members(struct demucs *demucs, struct ms_error *err) {
    const int count = demucs->json.info.member_count;
    const struct ms_member *only = NULL;
    if (count == 1)
        return get_member(demucs, 0, &only, err);
    int rc = 0;
    for (int i = 0; i < count && rc == 0; i++)
        rc = read_member(demucs, i, NULL, err);
    return rc;
}

static void demucs_free(struct ms_network *network) {
    struct demucs *demucs = (struct demucs *)network;
    for (int i = 0; demucs->backend != NULL && i < MS_MODEL_MAX_MEMBERS; i++)
        demucs->backend->member_free(demucs->members[i]);
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
        rc = check_members(demucs, err);
    if (rc == 0) {
        demucs->network.info = demucs->json.info;
        demucs->network.libtorch = demucs->backend->version();
        *out = &demucs->network;
    } else {
        demucs_free(&demucs->network);
    }
    return rc;
}
