/* Models that lie in the store. They are fetched once into a folder of this machine, however many
 * workers it runs. */
#ifndef MSAAS_MODEL_CACHE_H
#define MSAAS_MODEL_CACHE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "msaas/err.h"
#include "msaas/store.h"

/* Whether MSAAS_MODEL names an object, s3://BUCKET/PATH/NAME.json, rather than a file or a model of
 * the models' folder. */
bool ms_model_is_remote(const char *word);

/* Fetches NAME.json and the files that it names, which lie beside it in the bucket, into the cache,
 * and checks them by ms_model_verify. *path is the NAME.json in the cache; the caller frees it.
 * store: endpoint, credentials, cancel and so on; its url is ignored. While the bucket cannot be
 * reached, the model fetched last is used. A changed NAME.json is a new model; older ones stay.
 * Blocks as long as the download takes, also that of another worker. MS_EUSAGE: the word is
 * malformed; MS_EMODEL: what lies there is not a good model. */
MS_MUST_CHECK int ms_model_cache_get(const char *word, const struct ms_store_options *store,
                                     const char *cache_dir, char **path, struct ms_error *err);

/* The same from any store. cancel may be NULL. */
MS_MUST_CHECK int ms_model_cache_fetch(struct ms_store *store, const char *bucket, const char *key,
                                       const char *cache_dir, const atomic_bool *cancel,
                                       char **path, struct ms_error *err);

#endif
