/* The model that a worker serves, loaded in one precision at a time, and its separator. Owns both;
 * one thread. */
#ifndef MSAAS_ENGINE_H
#define MSAAS_ENGINE_H

#include "msaas/separate.h"

struct ms_engine_options {
    const char *path, *device;   /* see ms_network_open; they outlive the engine */
    enum ms_precision precision; /* the usual one, for jobs that ask for none */
    int lanes, batch;            /* as of ms_separator_new */
    /* Opens the model: ms_network_open, or a test's stand-in. */
    int (*open)(const char *path, const char *device, enum ms_precision precision,
                struct ms_network **out, struct ms_error *err);
};

struct ms_engine;

/* Loads the model in its usual precision. */
MS_MUST_CHECK int ms_engine_new(const struct ms_engine_options *options, struct ms_engine **out,
                                struct ms_error *err);
void ms_engine_free(struct ms_engine *engine);

/* Makes the loaded model compute in `asked`; AUTO means the usual precision. A model in another
 * precision is closed first and then opened again, so that two are never in memory. That takes a
 * second or more. After a failure the next call tries again. MS_EMODEL: the file has changed. Error
 * texts name paths. */
MS_MUST_CHECK int ms_engine_use(struct ms_engine *engine, enum ms_precision asked,
                                struct ms_error *err);

const struct ms_model_info *ms_engine_info(const struct ms_engine *engine); /* always there */
const char *ms_engine_sha256(const struct ms_engine *engine); /* of the model's JSON; likewise */
/* Those of the loaded model. Valid after a successful ms_engine_new or ms_engine_use, until the
 * next ms_engine_use. */
struct ms_separator *ms_engine_separator(const struct ms_engine *engine);
const struct ms_network *ms_engine_network(const struct ms_engine *engine);

#endif
