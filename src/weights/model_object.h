/* A model in a bucket of the store: NAME.json under a key, and beside it the files it names. */
#ifndef MSAAS_WEIGHTS_MODEL_OBJECT_H
#define MSAAS_WEIGHTS_MODEL_OBJECT_H

#include "msaas/store.h"

/* Fetches NAME.json into the folder. The text names the object. */
MS_MUST_CHECK int ms_model_object_json(struct ms_store *store, const char *bucket, const char *key,
                                       const char *folder, struct ms_error *err);
/* Then the files that it names, and checks them all by ms_model_verify. MS_EMODEL. */
MS_MUST_CHECK int ms_model_object_networks(struct ms_store *store, const char *bucket,
                                           const char *key, const char *folder,
                                           struct ms_error *err);
/* The last part of a key. */
const char *ms_model_object_name(const char *key);
/* Removes a folder of files. */
void ms_model_object_remove_folder(const char *path);

#endif
