/* Opens a model: its files are mapped and checked one after the other, and each becomes a network. Owns the networks;
 * immutable once opened, any thread. */
#include "msaas/model.h"

#include <stdlib.h>

#include "backend.h"
#include "model_json.h"
#include "safetensors.h"

struct ms_model {
    struct ms_model_json json;
    const struct ms_backend *backend;
    enum ms_precision precision;
    struct ms_network *networks[MS_MODEL_MAX_NETWORKS];
};

int ms_model_open(const char *path, const char *device, enum ms_precision precision,
                  struct ms_model **out, struct ms_error *err) {
    struct ms_model *model = NULL;
    char *json_path = NULL;
    int rc;

    *out = NULL;
    rc = ms_model_find_json(path, &json_path, err);
    if (rc != 0)
        return rc;
    model = calloc(1, sizeof *model);
    if (model == NULL) {
        rc = ms_error_set(err, MS_ENOMEM, "no memory for a model");
        goto out;
    }
    rc = ms_model_json_read(json_path, &model->json, err);
    if (rc == 0)
        rc = ms_backend_open(&model->backend, err);
    if (rc == 0)
        model->precision = model->backend->resolve(device, precision);
    for (int i = 0; i < model->json.info.network_count && rc == 0; i++) {
        struct ms_mapped mapped;
        struct ms_weights *weights;

        rc = ms_model_json_map(json_path, &model->json, i, &mapped, &weights, err);
        if (rc != 0)
            break;
        rc = model->backend->network_new(&model->json.hyper, weights, device, model->precision,
                                         &model->networks[i], err);
        ms_weights_free(weights);
        ms_mapped_close(&mapped);
    }
    if (rc == 0) {
        *out = model;
        model = NULL;
    }
out:
    ms_model_free(model);
    free(json_path);
    return rc;
}

void ms_model_free(struct ms_model *model) {
    if (model == NULL)
        return;
    for (int i = 0; model->backend != NULL && i < MS_MODEL_MAX_NETWORKS; i++)
        model->backend->network_free(model->networks[i]);
    free(model);
}

const struct ms_model_info *ms_model_info(const struct ms_model *model) {
    return &model->json.info;
}

enum ms_precision ms_model_precision(const struct ms_model *model) {
    return model->precision;
}

const struct ms_network *ms_model_network(const struct ms_model *model, int index) {
    return model->networks[index];
}
