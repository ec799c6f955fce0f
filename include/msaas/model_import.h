/* From published weights to a model on disk. */
#ifndef MSAAS_MODEL_IMPORT_H
#define MSAAS_MODEL_IMPORT_H

#include "msaas/manifest.h"

struct ms_model_import {
    const char *const *files; /* one for each network */
    const char *const *names; /* under which they are published; NULL: their own */
    int file_count;
    const char *folder; /* of the model; made where it is missing */
    const char *name;   /* of the model; NULL: the manifest's name, else the first file's */
    /* The files must be sources of the manifest's networks, in their order, and the result must be
     * what the manifest says, which may be a bag's. NULL: any files; several make a bag whose
     * networks have equal weights. Known files are recognised by their digests where the manifest
     * has none. */
    const struct ms_manifest *manifest;
};

/* Reads published weights and writes FOLDER/NAME.safetensors (a bag: NAME-0.safetensors, ...) and
 * FOLDER/NAME.json. A file is checked against the manifest before it is parsed: MS_ECORRUPT. On
 * failure nothing stands under a final name that did not before. info may be NULL. */
MS_MUST_CHECK int ms_model_import(const struct ms_model_import *import, struct ms_model_info *info,
                                  struct ms_error *err);

#endif
