/* Weights out of a package as Demucs 4.1 publishes it, SIGNATURE.safetensors: the tensors, and in
 * the file's metadata "klass", "args" and "kwargs", the last two as JSON in a string. Owns nothing;
 * any thread. */
#include <stdlib.h>
#include <string.h>

#include "package.h"
#include "safetensors.h"

/* Published networks have some 60 parameters. */
#define MAX_VALUES 1024
#define MAX_DEPTH 4

/* ---- parameters: JSON as the Python values that it stands for ---- */

struct values {
    size_t count, link_count;
    struct ms_pickle_value items[MAX_VALUES];
    const struct ms_pickle_value *links[2 * MAX_VALUES]; /* items of lists and dictionaries */
};

static struct ms_pickle_value *new_value(struct values *values, enum ms_pickle_type type) {
    if (values->count == MAX_VALUES)
        return NULL;
    struct ms_pickle_value *value = &values->items[values->count++];
    value->type = type;
    return value;
}

static struct ms_pickle_value *new_text(struct values *values, const char *text) {
    struct ms_pickle_value *value = new_value(values, MS_PICKLE_TEXT);
    if (value != NULL) {
        value->text = text;
        value->text_size = strlen(text);
    }
    return value;
}

static const struct ms_pickle_value *new_fraction(struct values *values,
                                                  const struct ms_json *object) {
    struct ms_pickle_value *value = new_value(values, MS_PICKLE_FRACTION);
    const char *type = ms_json_string(ms_json_get(object, "_type"));
    if (value == NULL || type == NULL || strcmp(type, "fraction") != 0 ||
        !ms_json_int(ms_json_get(object, "numerator"), &value->integer) ||
        !ms_json_int(ms_json_get(object, "denominator"), &value->denominator) ||
        value->denominator < 1)
        return NULL;
    return value;
}

static const struct ms_pickle_value *new_scalar(struct values *values, const struct ms_json *node) {
    const char *text = ms_json_string(node);
    if (text != NULL)
        return new_text(values, text);
    struct ms_pickle_value *value = new_value(values, MS_PICKLE_NONE);
    bool truth;
    if (value == NULL || ms_json_is_null(node))
        return value;
    if (ms_json_bool(node, &truth)) {
        value->type = MS_PICKLE_BOOL;
        value->integer = truth;
    } else if (ms_json_int(node, &value->integer)) {
        value->type = MS_PICKLE_INT;
    } else if (ms_json_double(node, &value->real)) {
        value->type = MS_PICKLE_FLOAT;
    } else {
        return NULL;
    }
    return value;
}

/* NULL: too many or too deep, or of a type that is not known. */
static const struct ms_pickle_value *new_from_json(struct values *values,
                                                   const struct ms_json *node, int depth) {
    const bool is_object = ms_json_is_object(node);
    if (!is_object && !ms_json_is_array(node))
        return new_scalar(values, node);
    if (is_object && ms_json_get(node, "_type") != NULL)
        return new_fraction(values, node);
    const size_t count = ms_json_count(node) * (is_object ? 2 : 1);
    struct ms_pickle_value *list = new_value(values, is_object ? MS_PICKLE_DICT : MS_PICKLE_LIST);
    if (list == NULL || depth == MAX_DEPTH ||
        count > sizeof values->links / sizeof *values->links - values->link_count)
        return NULL;
    const struct ms_pickle_value **links = &values->links[values->link_count];
    values->link_count += count;
    list->items = links;
    list->count = count;
    for (const struct ms_json *item = ms_json_first(node); item != NULL;
         item = ms_json_next(item)) {
        if (is_object && (*links++ = new_text(values, ms_json_name(item))) == NULL)
            return NULL;
        if ((*links++ = new_from_json(values, item, depth + 1)) == NULL)
            return NULL;
    }
    return list;
}

/* A parameter of the metadata: JSON within a string of JSON. `document` keeps the texts. */
static int read_values(const struct ms_json *metadata, const char *name, struct values *values,
                       struct ms_json **document, const struct ms_pickle_value **out,
                       struct ms_error *err) {
    const char *text = ms_json_string(ms_json_get(metadata, name));
    if (text == NULL)
        return ms_error_set(err, MS_EMODEL,
                            "its metadata does not describe a network: there is no %s", name);
    const int rc = ms_json_parse(text, strlen(text), document, err);
    if (rc != 0) {
        ms_error_prefix(err, "%s in the metadata", name);
        return rc == MS_ENOMEM ? rc : MS_EMODEL;
    }
    *out = new_from_json(values, *document, 0);
    return *out != NULL
               ? 0
               : ms_error_set(err, MS_EMODEL,
                              "%s in the metadata holds too much, or what is not known", name);
}

static int read_hyper(const struct ms_json *metadata, struct ms_imported *out,
                      struct ms_hyper *hyper, struct ms_error *err) {
    const char *klass = ms_json_string(ms_json_get(metadata, "klass"));
    if (klass == NULL)
        return ms_error_set(err, MS_EMODEL,
                            "its metadata does not describe a network: it is not one of the files "
                            "that Demucs publishes since version 4.1");
    struct values *values = calloc(1, sizeof *values);
    struct ms_json *documents[2] = {NULL, NULL};
    const struct ms_pickle_value *args = NULL, *kwargs = NULL;
    if (values == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a network's parameters");
    int rc = read_values(metadata, "args", values, &documents[0], &args, err);
    if (rc == 0)
        rc = read_values(metadata, "kwargs", values, &documents[1], &kwargs, err);
    if (rc == 0)
        rc = ms_package_hyper(klass, args, kwargs, out, hyper, err);
    if (rc == 0 && ms_json_get(metadata, "structure") != NULL)
        rc = ms_error_set(err, MS_EMODEL,
                          "the weights are quantized (diffq): that is not supported");
    ms_json_free(documents[0]);
    ms_json_free(documents[1]);
    free(values);
    return rc;
}

/* ---- tensors ---- */

/* Both have the same shape, which was checked. */
static void copy_values(const struct ms_weight *from, struct ms_tensors_item *to) {
    if (from->dtype == MS_DTYPE_F32) {
        memcpy(to->values, from->data, to->count * sizeof *to->values);
        return;
    }
    for (size_t i = 0; i < to->count; i++) {
        uint16_t half;
        memcpy(&half, (const uint8_t *)from->data + 2 * i, sizeof half);
        to->values[i] = ms_half_to_float(half);
    }
}

int ms_import_safetensors(const uint8_t *bytes, size_t size, struct ms_imported *out,
                          struct ms_error *err) {
    memset(out, 0, sizeof *out);
    struct ms_json *header = NULL;
    struct ms_weights *weights = NULL;
    struct ms_hyper hyper;
    int rc = ms_safetensors_header(bytes, size, &header, err);
    if (rc == 0)
        rc = read_hyper(ms_json_get(header, "__metadata__"), out, &hyper, err);
    if (rc == 0)
        rc = ms_safetensors_parse(bytes, size, &weights, err);
    if (rc == 0)
        rc = ms_weights_check(weights, &hyper, err);
    if (rc == 0)
        rc = ms_tensors_new(&hyper, size / 2, &out->tensors, err);
    for (size_t i = 0; rc == 0 && i < out->tensors->count; i++)
        copy_values(ms_weights_find(weights, out->tensors->items[i].name), &out->tensors->items[i]);
    ms_weights_free(weights);
    ms_json_free(header);
    return rc;
}
