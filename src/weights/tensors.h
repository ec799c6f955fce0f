/* Weights on their way into a model file: every tensor of the network, in the order of
 * ms_hyper_visit_tensors, as float32. Importers fill them. */
#ifndef MSAAS_WEIGHTS_TENSORS_H
#define MSAAS_WEIGHTS_TENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "msaas/weights.h"

struct ms_tensors_item {
    char name[MS_TENSOR_NAME_BYTES];
    int dims;
    int64_t shape[MS_TENSOR_MAX_DIMS];
    size_t count;  /* product of the shape */
    float *values; /* C order; part of the set's one block */
};

struct ms_tensors {
    struct ms_hyper hyper;
    size_t count;
    struct ms_tensors_item *items;
    float *block;
};

/* Makes them, all zeros. Checks the hyper-parameters first (ms_hyper_check), and that there are at
 * most max_values values, which is what the file that they come from can hold. */
MS_MUST_CHECK int ms_tensors_new(const struct ms_hyper *hyper, size_t max_values,
                                 struct ms_tensors **out, struct ms_error *err);
void ms_tensors_free(struct ms_tensors *tensors);

/* IEEE 754 binary16. */
float ms_half_to_float(uint16_t half);
/* Whether a binary16 holds the value exactly; *half is that one. False for NaN and infinity. */
bool ms_half_exact(float value, uint16_t *half);

#endif
