/* Sessions: a model's networks, run on one thread by the backend's runner. */
#include <stdlib.h>
#include <string.h>

#include "backend.h"

const char *const ms_stage_names[MS_STAGE_COUNT] = {"stft", "encoders", "transformer", "decoders",
                                                    "istft"};

struct ms_session {
    const struct ms_model *model;
    const struct ms_backend *backend;
    struct ms_runner *runner; /* made with the first network */
    double seconds[MS_STAGE_COUNT];
};

int ms_session_new(const struct ms_model *model, struct ms_session **out, struct ms_error *err) {
    const struct ms_backend *backend = NULL;
    *out = NULL;
    int rc = ms_backend_open(&backend, err);
    if (rc != 0)
        return rc;
    struct ms_session *session = calloc(1, sizeof *session);
    if (session == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a session");
    session->model = model;
    session->backend = backend;
    *out = session;
    return 0;
}

void ms_session_free(struct ms_session *session) {
    if (session == NULL)
        return;
    session->backend->runner_free(session->runner);
    free(session);
}

int ms_session_forward(struct ms_session *session, int network, int count, const float *mix,
                       float *out, struct ms_error *err) {
    const struct ms_network *made = NULL;
    int rc = ms_model_network(session->model, network, &made, err);
    if (rc == 0 && session->runner == NULL)
        rc = session->backend->runner_new(made, &session->runner, err);
    return rc != 0 ? rc
                   : session->backend->forward(session->runner, made, count, mix, out,
                                               session->seconds, err);
}

void ms_session_stage_seconds(const struct ms_session *session, double seconds[MS_STAGE_COUNT]) {
    memcpy(seconds, session->seconds, sizeof session->seconds);
}

const char *ms_network_libtorch_version(void) {
    const struct ms_backend *backend = NULL;
    return ms_backend_open(&backend, NULL) == 0 ? backend->version() : "none";
}
