/* The models that `msaas serve` offers: names, stems, licences. It runs none of them. */
#ifndef MSAAS_CMD_OFFER_H
#define MSAAS_CMD_OFFER_H

#include "msaas/api.h"
#include "msaas/option.h"

struct ms_offer {
    struct ms_api_model *models; /* the first is the default */
    int count;
};

/* The models of --models, else that of --model and all in the models' folder. A model that is not
 * installed is described by its built-in manifest. MS_EUSAGE: a model is unknown. */
MS_MUST_CHECK int ms_offer_gather(const struct ms_options *options, struct ms_offer *out,
                                  struct ms_error *err);
void ms_offer_fini(struct ms_offer *offer);

#endif
