/* Opens a model: its files are mapped and checked one after the other; each becomes a network when
 * it is first needed, so that a song which needs one stem of a bag costs one network. Owns the
 * networks; any thread. */
#include "msaas/model.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "model_json.h"
#include "safetensors.h"

/* Made when they are first needed: the one thing about a model that changes. */
struct networks {
    pthread_mutex_t lock;
    struct ms_network *made[MS_MODEL_MAX_NETWORKS];
};

struct ms_model {
    struct ms_model_json json;
    const struct ms_backend *backend;
    enum ms_precision precision;
    char *json_path, *device;
    struct networks *networks;
};

/* Maps and checks one file; makes its network where `made` is not NULL. */
static int read_network(const struct ms_model *model, int index, struct ms_network **made,
                        struct ms_error *err) {
    struct ms_mapped mapped;
    struct ms_weights *weights;
    int rc = ms_model_json_map(model->json_path, &model->json, index, &mapped, &weights, err);
    if (rc != 0)
        return rc;
    if (made != NULL)
        rc = model->backend->network_new(&model->json.hyper, weights, model->device,
                                         model->precision, made, err);
    ms_weights_free(weights);
    ms_mapped_close(&mapped);
    return rc;
}

int ms_model_network(const struct ms_model *model, int index, const struct ms_network **out,
                     struct ms_error *err) {
    struct networks *networks = model->networks;
    int rc = 0;
    pthread_mutex_lock(&networks->lock);
    if (networks->made[index] == NULL)
        rc = read_network(model, index, &networks->made[index], err);
    *out = networks->made[index];
    pthread_mutex_unlock(&networks->lock);
    return rc;
}

/* All files are checked now. The only network of a model is made now, too: its faults belong to
 * the start. */
static int check_networks(const struct ms_model *model, struct ms_error *err) {
    const struct ms_network *only = NULL;
    int rc = 0;
    if (model->json.info.network_count == 1)
        return ms_model_network(model, 0, &only, err);
    for (int i = 0; i < model->json.info.network_count && rc == 0; i++)
        rc = read_network(model, i, NULL, err);
    return rc;
}

static struct networks *networks_new(void) {
    struct networks *networks = calloc(1, sizeof *networks);
    if (networks != NULL && pthread_mutex_init(&networks->lock, NULL) != 0) {
        free(networks);
        networks = NULL;
    }
    return networks;
}

int ms_model_open(const char *path, const char *device, enum ms_precision precision,
                  struct ms_model **out, struct ms_error *err) {
    *out = NULL;
    struct ms_model *model = calloc(1, sizeof *model);
    if (model == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a model");
    model->device = strdup(device);
    model->networks = networks_new();
    int rc = model->networks != NULL && model->device != NULL
                 ? ms_model_find_json(path, &model->json_path, err)
                 : ms_error_set(err, MS_ENOMEM, "no memory for a model");
    if (rc == 0)
        rc = ms_model_json_read(model->json_path, &model->json, err);
    if (rc == 0)
        rc = ms_backend_open(&model->backend, err);
    if (rc == 0)
        rc = model->backend->resolve(device, precision, &model->precision, err);
    if (rc == 0)
        rc = check_networks(model, err);
    if (rc == 0)
        *out = model;
    else
        ms_model_free(model);
    return rc;
}

void ms_model_free(struct ms_model *model) {
    if (model == NULL)
        return;
    for (int i = 0; model->backend != NULL && i < MS_MODEL_MAX_NETWORKS; i++)
        model->backend->network_free(model->networks->made[i]);
    if (model->networks != NULL)
        pthread_mutex_destroy(&model->networks->lock);
    free(model->networks);
    free(model->json_path);
    free(model->device);
    free(model);
}

const struct ms_model_info *ms_model_info(const struct ms_model *model) {
    return &model->json.info;
}

enum ms_precision ms_model_precision(const struct ms_model *model) {
    return model->precision;
}
