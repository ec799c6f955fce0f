/* Between model file and jobs: opens the model in the precision that a job asks for and keeps it
 * open for the jobs that follow. Owns the model and its separator. Worker's thread. */
#include "msaas/engine.h"

#include <stdlib.h>
#include <string.h>

#include "msaas/digest.h"

struct ms_engine {
    struct ms_engine_options options;
    struct ms_model_info info;
    /* of the file at options.path, which holds the digests of the weights */
    char sha256[MS_SHA256_HEX];
    struct ms_network *network; /* NULL: none is loaded */
    struct ms_separator *separator;
    enum ms_precision asked; /* what the loaded model was opened with */
    enum ms_precision usual; /* options.precision; where that is AUTO, what it came to */
};

static void unload(struct ms_engine *engine) {
    ms_separator_free(engine->separator);
    ms_network_free(engine->network);
    engine->separator = NULL;
    engine->network = NULL;
}

static int load(struct ms_engine *engine, enum ms_precision asked, struct ms_error *err) {
    const struct ms_engine_options *options = &engine->options;
    int rc = options->open(options->path, options->device, asked, &engine->network, err);
    if (rc == 0)
        rc = ms_separator_new(engine->network, options->lanes, options->batch, &engine->separator,
                              err);
    if (rc != 0)
        unload(engine);
    engine->asked = asked;
    return rc;
}

int ms_engine_new(const struct ms_engine_options *options, struct ms_engine **out,
                  struct ms_error *err) {
    struct ms_engine *engine = calloc(1, sizeof *engine);
    *out = NULL;
    if (engine == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a model");
    engine->options = *options;
    int rc = ms_sha256_of_file(options->path, engine->sha256, err);
    if (rc == 0)
        rc = load(engine, options->precision, err);
    if (rc != 0) {
        ms_engine_free(engine);
        return rc;
    }
    engine->info = engine->network->info;
    engine->usual = engine->network->precision;
    *out = engine;
    return 0;
}

void ms_engine_free(struct ms_engine *engine) {
    if (engine == NULL)
        return;
    unload(engine);
    free(engine);
}

int ms_engine_use(struct ms_engine *engine, enum ms_precision asked, struct ms_error *err) {
    const enum ms_precision wanted = asked != MS_PRECISION_AUTO ? asked : engine->usual;
    /* A device may compute in another precision than the one asked for. The model fits both, lest
     * every such job load it again. */
    if (engine->network != NULL &&
        (wanted == engine->asked || wanted == engine->network->precision))
        return 0;
    char sha256[MS_SHA256_HEX];
    const int rc = ms_sha256_of_file(engine->options.path, sha256, err);
    if (rc != 0)
        return rc;
    if (strcmp(sha256, engine->sha256) != 0)
        return ms_error_about(
            err, MS_EMODEL, engine->options.path,
            "the model has changed since this worker was started; restart the worker");
    unload(engine);
    return load(engine, wanted, err);
}

const struct ms_model_info *ms_engine_info(const struct ms_engine *engine) {
    return &engine->info;
}

const char *ms_engine_sha256(const struct ms_engine *engine) {
    return engine->sha256;
}

struct ms_separator *ms_engine_separator(const struct ms_engine *engine) {
    return engine->separator;
}

const struct ms_network *ms_engine_network(const struct ms_engine *engine) {
    return engine->network;
}
