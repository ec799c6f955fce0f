/* What importers share: room for every tensor of a network, and exact float16. Owns the values; any
 * thread. */
#include "tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t product(int dims, const int64_t *shape) {
    size_t count = 1;
    for (int i = 0; i < dims; i++)
        count *= (size_t)shape[i];
    return count;
}

static int count_one(void *context, const char *name, int dims, const int64_t *shape) {
    size_t *totals = context; /* tensors, values */
    (void)name;
    totals[0]++;
    totals[1] += product(dims, shape);
    return 0;
}

static int add_one(void *context, const char *name, int dims, const int64_t *shape) {
    struct ms_tensors *tensors = context;
    struct ms_tensors_item *tensor = &tensors->items[tensors->count];
    const struct ms_tensors_item *before = tensors->count > 0 ? tensor - 1 : NULL;
    snprintf(tensor->name, sizeof tensor->name, "%s", name);
    tensor->dims = dims;
    memcpy(tensor->shape, shape, (size_t)dims * sizeof *shape);
    tensor->count = product(dims, shape);
    tensor->values = before != NULL ? before->values + before->count : tensors->block;
    tensors->count++;
    return 0;
}

int ms_tensors_new(const struct ms_hyper *hyper, size_t max_values, struct ms_tensors **out,
                   struct ms_error *err) {
    size_t totals[2] = {0, 0};
    *out = NULL;
    const int rc = ms_hyper_check(hyper, err);
    if (rc != 0)
        return rc;
    (void)ms_hyper_visit_tensors(hyper, count_one, totals);
    if (totals[1] > max_values)
        return ms_error_set(err, MS_EMODEL, "the network's %zu values are more than the file holds",
                            totals[1]);
    struct ms_tensors *tensors = calloc(1, sizeof *tensors);
    if (tensors != NULL) {
        tensors->hyper = *hyper;
        tensors->items = calloc(totals[0], sizeof *tensors->items);
        tensors->block = calloc(totals[1], sizeof *tensors->block);
    }
    if (tensors == NULL || tensors->items == NULL || tensors->block == NULL) {
        ms_tensors_free(tensors);
        return ms_error_set(err, MS_ENOMEM, "no memory for a network of %zu values", totals[1]);
    }
    (void)ms_hyper_visit_tensors(hyper, add_one, tensors);
    *out = tensors;
    return 0;
}

void ms_tensors_free(struct ms_tensors *tensors) {
    if (tensors == NULL)
        return;
    free(tensors->items);
    free(tensors->block);
    free(tensors);
}

float ms_half_to_float(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 0x1fu;
    uint32_t fraction = half & 0x3ffu;
    uint32_t bits;
    if (exponent == 0x1f) {
        bits = sign | 0x7f800000u | fraction << 13;
    } else if (exponent != 0) {
        bits = sign | (exponent + 112) << 23 | fraction << 13;
    } else if (fraction == 0) {
        bits = sign;
    } else { /* subnormal: shift the leading one into its implicit place */
        exponent = 113;
        while ((fraction & 0x400u) == 0) {
            fraction <<= 1;
            exponent--;
        }
        bits = sign | exponent << 23 | (fraction & 0x3ffu) << 13;
    }
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

bool ms_half_exact(float value, uint16_t *half) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    const int exponent = (int)(bits >> 23 & 0xffu) - 127;
    const uint32_t fraction = (bits & 0x7fffffu) | 0x800000u;
    if ((bits & 0x7fffffffu) == 0) {
        *half = sign;
        return true;
    }
    if (exponent > 15 || exponent < -24)
        return false;
    if (exponent >= -14) {
        *half = (uint16_t)(sign | (uint32_t)(exponent + 15) << 10 | (fraction >> 13 & 0x3ffu));
        return (fraction & 0x1fffu) == 0;
    }
    /* Subnormal: units of 2^-24. */
    *half = (uint16_t)(sign | fraction >> (-exponent - 1));
    return (fraction & ((1u << (-exponent - 1)) - 1)) == 0;
}
