/* The model that a worker serves, loaded in one precision at a time, and its separator. Owns both;
 * one thread. */
#ifndef MSAAS_ENGINE_H
#define MSAAS_ENGINE_H

#include "msaas/separate.h"

struct ms_engine_options {
    const char *path, *device;   /* see ms_network_open; they outlive the engine */
    enum ms_precision precision; /* the usual one, for jobs that ask for none */
    int lanes, batch;            /* as of ms_separator_new */
    /* What opens the model: ms_network_open, or a test's. */
    int (*open)(const char *path, const char *device, enum ms_precision precision,
                struct ms_network **out, struct ms_error *err);
};

struct ms_engine;

/* Loads the model in its usual precision. */
MS_MUST_CHECK int ms_engine_new(const struct ms_engine_options *options, struct ms_engine **out,
                                struct ms_error *err);
void ms_engine_free(struct ms_engine *engine);

/* Sees to it that what is loaded computes in `asked`, AUTO: in the usual precision. Often there is
 * nothing to do; else what is loaded goes first, so that there are never two, and the model is
 * opened anew, which takes a second or more. The next call tries again what failed. MS_EMODEL: the
 * file is another one by now. Errors name paths. */
MS_MUST_CHECK int ms_engine_use(struct ms_engine *engine, enum ms_precision asked,
                                struct ms_error *err);

const struct ms_model_info *ms_engine_info(const struct ms_engine *engine); /* always there */
const char *ms_engine_sha256(const struct ms_engine *engine); /* of the model's JSON; likewise */
/* Of what is loaded, after ms_engine_new or an ms_engine_use that did not fail; until the next
 * ms_engine_use. */
struct ms_separator *ms_engine_separator(const struct ms_engine *engine);
const struct ms_network *ms_engine_network(const struct ms_engine *engine);

#endif
