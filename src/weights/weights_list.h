/* What the reader of a model file and the weights share: how weights are kept. */
#ifndef MSAAS_WEIGHTS_WEIGHTS_LIST_H
#define MSAAS_WEIGHTS_WEIGHTS_LIST_H

#include "mapped.h"
#include "msaas/weights.h"

struct ms_weights {
    size_t count;
    struct ms_weight *items; /* sorted by name */
    struct ms_mapped file;   /* all zeros: the bytes are somebody else's */
};

/* Sorts the items by name. MS_EMODEL: two of one name. */
MS_MUST_CHECK int ms_weights_sort(struct ms_weights *weights, struct ms_error *err);

/* The weights own the mapping from now on: freeing them closes it. */
void ms_weights_own(struct ms_weights *weights, const struct ms_mapped *file);

#endif
