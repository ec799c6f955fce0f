/* Pickles as torch.save writes them (protocol 2), read as data: values are built, nothing is
 * imported or called. */
#ifndef MSAAS_WEIGHTS_PICKLE_H
#define MSAAS_WEIGHTS_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "msaas/err.h"

#define MS_PICKLE_MAX_DIMS 8

enum ms_pickle_type {
    MS_PICKLE_NONE,
    MS_PICKLE_BOOL,
    MS_PICKLE_INT,
    MS_PICKLE_FLOAT,
    MS_PICKLE_TEXT,
    MS_PICKLE_TUPLE,
    MS_PICKLE_LIST,
    MS_PICKLE_DICT,     /* an OrderedDict too; items are key, value, key, value, ... */
    MS_PICKLE_NAME,     /* a class or function: text is "module name" */
    MS_PICKLE_FRACTION, /* integer / denominator */
    /* text is its key; half: float16, else float32; integer: its number of values */
    MS_PICKLE_STORAGE,
    MS_PICKLE_TENSOR, /* items: its storage */
};

struct ms_pickle_tensor {
    int dims;
    int64_t offset; /* of the first value in the storage, in values */
    int64_t shape[MS_PICKLE_MAX_DIMS];
    int64_t stride[MS_PICKLE_MAX_DIMS];
};

struct ms_pickle_value {
    enum ms_pickle_type type;
    bool half;
    const char *text; /* not NUL-terminated; borrowed from the pickle */
    size_t text_size;
    int64_t integer; /* of BOOL too */
    int64_t denominator;
    double real;
    size_t count;    /* of items */
    size_t capacity; /* of items; the reader's own */
    const struct ms_pickle_value **items;
    struct ms_pickle_tensor *tensor;
};

struct ms_pickle;

/* Values may contain themselves: walk them only to a limited depth. Limits: 16 MiB, 2^20 values,
 * 2^22 items. MS_EMODEL; the text names a refused name. */
MS_MUST_CHECK int ms_pickle_parse(const uint8_t *bytes, size_t size, struct ms_pickle **out,
                                  struct ms_error *err);
void ms_pickle_free(struct ms_pickle *pickle);
const struct ms_pickle_value *ms_pickle_root(const struct ms_pickle *pickle);

bool ms_pickle_is_text(const struct ms_pickle_value *value, const char *text);
/* The last value under that key, as in Python; NULL where value is no dictionary or does not have
 * it. */
const struct ms_pickle_value *ms_pickle_get(const struct ms_pickle_value *value, const char *key);

#endif
