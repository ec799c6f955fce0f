/* The named weights of one network, as they lie in a mapped file. */
#ifndef MSAAS_WEIGHTS_H
#define MSAAS_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

#include "msaas/hyper.h"

enum ms_dtype { MS_DTYPE_F16, MS_DTYPE_F32 };

struct ms_weight {
    char name[MS_TENSOR_NAME_BYTES];
    enum ms_dtype dtype;
    int dims;
    int64_t shape[MS_TENSOR_MAX_DIMS];
    /* little-endian, C order; borrowed from the mapping; at least 2-byte aligned */
    const void *data;
};

/* All weights of one network. Immutable once read; any thread. */
struct ms_weights;
/* Makes weights of `count` items, allocated ones, which belong to the call in all cases. MS_EMODEL:
 * two of one name. */
MS_MUST_CHECK int ms_weights_new(struct ms_weight *items, size_t count, struct ms_weights **out,
                                 struct ms_error *err);
/* The weights own the mapping in which they lie from now on: freeing them closes it. */
struct ms_mapped;
void ms_weights_own(struct ms_weights *weights, const struct ms_mapped *file);
/* Gives the pages of the file back; they are read again when they are needed. */
void ms_weights_rest(const struct ms_weights *weights);
void ms_weights_free(struct ms_weights *weights); /* NULL is fine */
/* NULL where there is none of that name. */
const struct ms_weight *ms_weights_find(const struct ms_weights *weights, const char *name);
size_t ms_weights_count(const struct ms_weights *weights);
/* In the order of their names. */
const struct ms_weight *ms_weights_at(const struct ms_weights *weights, size_t index);

/* That the weights are exactly the tensors that the hyper-parameters give, each in its shape.
 * MS_EMODEL. */
MS_MUST_CHECK int ms_weights_check(const struct ms_weights *weights, const struct ms_hyper *hyper,
                                   struct ms_error *err);

#endif
