/* Weights by name, and whether they are the ones that a network has. Weights own their list and,
 * where they were given it, the mapping that they lie in; any thread. */
#include "msaas/weights.h"

#include <stdlib.h>
#include <string.h>

#include "mapped.h"

struct ms_weights {
    size_t count;
    struct ms_weight *items; /* sorted by name */
    struct ms_mapped file;   /* all zeros: the bytes are somebody else's */
};

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct ms_weight *)a)->name, ((const struct ms_weight *)b)->name);
}

int ms_weights_new(struct ms_weight *items, size_t count, struct ms_weights **out,
                   struct ms_error *err) {
    *out = NULL;
    qsort(items, count, sizeof *items, by_name);
    int rc = 0;
    for (size_t i = 1; i < count && rc == 0; i++)
        if (by_name(&items[i - 1], &items[i]) == 0)
            rc = ms_error_set(err, MS_EMODEL, "there are two tensors named %s", items[i].name);
    struct ms_weights *weights = rc == 0 ? calloc(1, sizeof *weights) : NULL;
    if (rc == 0 && weights == NULL)
        rc = ms_error_set(err, MS_ENOMEM, "no memory for a model's weights");
    if (rc != 0) {
        free(items);
        return rc;
    }
    weights->items = items;
    weights->count = count;
    *out = weights;
    return 0;
}

const struct ms_weight *ms_weights_find(const struct ms_weights *weights, const char *name) {
    struct ms_weight key;
    if (strlen(name) >= sizeof key.name)
        return NULL;
    memcpy(key.name, name, strlen(name) + 1);
    return bsearch(&key, weights->items, weights->count, sizeof key, by_name);
}

size_t ms_weights_count(const struct ms_weights *weights) {
    return weights->count;
}

const struct ms_weight *ms_weights_at(const struct ms_weights *weights, size_t index) {
    return &weights->items[index];
}

void ms_weights_free(struct ms_weights *weights) {
    if (weights == NULL)
        return;
    ms_mapped_close(&weights->file);
    free(weights->items);
    free(weights);
}

void ms_weights_rest(const struct ms_weights *weights) {
    ms_mapped_rest(&weights->file);
}

void ms_weights_own(struct ms_weights *weights, const struct ms_mapped *file) {
    weights->file = *file;
}

struct check {
    const struct ms_weights *weights;
    struct ms_error *err;
    size_t seen;
};

static int check_one(void *context, const char *name, int dims, const int64_t *shape) {
    struct check *check = context;
    const struct ms_weight *weight = ms_weights_find(check->weights, name);
    if (weight == NULL)
        return ms_error_set(check->err, MS_EMODEL, "tensor %s is missing", name);
    if (weight->dims != dims || memcmp(weight->shape, shape, (size_t)dims * sizeof *shape) != 0)
        return ms_error_set(check->err, MS_EMODEL,
                            "tensor %s does not have the shape that the hyper-parameters ask for",
                            name);
    check->seen++;
    return 0;
}

int ms_weights_check(const struct ms_weights *weights, const struct ms_hyper *hyper,
                     struct ms_error *err) {
    struct check check = {.weights = weights, .err = err};
    int rc = ms_hyper_visit_tensors(hyper, check_one, &check);
    if (rc == 0 && check.seen != weights->count)
        rc = ms_error_set(err, MS_EMODEL,
                          "there are %zu tensors, but the hyper-parameters ask for %zu",
                          weights->count, check.seen);
    return rc;
}
