/* Models that lie in the store: fetched once into a folder of this machine, however many workers it
 * runs. */
#ifndef MSAAS_MODEL_CACHE_H
#define MSAAS_MODEL_CACHE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "msaas/err.h"
#include "msaas/store.h"

/* Whether MSAAS_MODEL names an object, s3://BUCKET/PATH/NAME.json, and no file or model of the
 * models' folder. */
bool ms_model_is_remote(const char *word);

/* NAME.json in the cache, checked by ms_model_verify with all that it names, which lies beside it
 * in the bucket; *path is the caller's to free. store: endpoint, credentials and so on (its url
 * does not matter); its cancel is heeded. While the bucket cannot be reached, what was fetched
 * before is used. A change of NAME.json is a new model, fetched anew; older ones stay. Blocks for
 * as long as the download takes, another worker's included. MS_EUSAGE: the word; MS_EMODEL: no good
 * model lies there. */
MS_MUST_CHECK int ms_model_cache_get(const char *word, const struct ms_store_options *store,
                                     const char *cache_dir, char **path, struct ms_error *err);

/* The same from any store. cancel may be NULL. */
MS_MUST_CHECK int ms_model_cache_fetch(struct ms_store *store, const char *bucket, const char *key,
                                       const char *cache_dir, const atomic_bool *cancel,
                                       char **path, struct ms_error *err);

#endif
