/* The models that `msaas serve` offers: names, stems, licences. It runs none of them. */
#ifndef MSAAS_CMD_OFFER_H
#define MSAAS_CMD_OFFER_H

#include "msaas/api.h"
#include "msaas/option.h"

struct ms_offer {
    struct ms_api_model *models; /* the first is the default */
    int count;
};

/* --models, else --model and those of the models' folder. A model that is not there is known from
 * the manifests that the program holds. MS_EUSAGE: one is not known at all. */
MS_MUST_CHECK int ms_offer_gather(const struct ms_options *options, struct ms_offer *out,
                                  struct ms_error *err);
void ms_offer_fini(struct ms_offer *offer);

#endif
