/* Published models in the store, for all workers: one of them puts a model there, the others have
 * it from there and need not ask the publisher. Bucket MS_BUCKET_SONGS:
 *
 *     models/NAME.json, and beside it the files that it names
 *     models/NAME.claim   while somebody fetches the model from its publisher
 *
 * Calls block as those of the store and have its errors. */
#ifndef MSAAS_MODEL_STORE_H
#define MSAAS_MODEL_STORE_H

#include "msaas/manifest.h"
#include "msaas/store.h"

/* Fetches the model into the folder, which exists, and checks it by ms_manifest_check_model.
 * Before that nothing in the folder changes. MS_ENOTFOUND: the store does not have it; MS_EMODEL,
 * MS_ECORRUPT: what it has is damaged, or not the published model. */
MS_MUST_CHECK int ms_model_store_fetch(struct ms_store *store, const struct ms_manifest *manifest,
                                       const char *folder, struct ms_error *err);
/* Puts the model, whose NAME.json is at `path`, into the store, over what was there. The JSON comes
 * last. */
MS_MUST_CHECK int ms_model_store_put(struct ms_store *store, const char *path,
                                     struct ms_error *err);

/* Of all that want to fetch a model from its publisher at the same time, one holds the claim. It
 * renews it on a thread of its own, so that a claim that stands still is that of a process that
 * died: then the next one takes it. Two may hold it after a holder stood still itself: a model is
 * then fetched twice. */
struct ms_model_claim;
struct ms_model_claim_options {
    const struct ms_store_options *store;
    const char *name;   /* of the model */
    double patience_s;  /* how long it may stand still; 0: 60. Renewed six times as often. */
    void (*wait)(void); /* called once where another holds it; may be NULL */
};
/* Waits until the claim is the caller's, or the store's cancel is set: MS_ECANCELED. */
MS_MUST_CHECK int ms_model_claim_take(const struct ms_model_claim_options *options,
                                      struct ms_model_claim **out, struct ms_error *err);
/* Also ends it in the store, as far as that answers. NULL: nothing. */
void ms_model_claim_release(struct ms_model_claim *claim);

#endif
