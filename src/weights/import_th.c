/* Weights out of upstream's own package: {"klass", "args", "kwargs", "state", ...} in a pickle,
 * with the tensors' values in other members of the same zip. Owns nothing; any thread. */
#include <stdio.h>
#include <string.h>

#include "package.h"
#include "zip.h"

static int read_hyper(const struct ms_pickle_value *package, struct ms_imported *out,
                      struct ms_hyper *hyper, struct ms_error *err) {
    const struct ms_pickle_value *klass = ms_pickle_get(package, "klass");
    char name[200];
    if (klass == NULL || klass->type != MS_PICKLE_NAME || klass->text_size >= sizeof name)
        return ms_error_set(err, MS_EMODEL, "it is not a package of demucs.htdemucs.HTDemucs");
    memcpy(name, klass->text, klass->text_size);
    name[klass->text_size] = '\0';
    char *end = strchr(name, '\n');
    if (end != NULL)
        *end = '.';
    return ms_package_hyper(name, ms_pickle_get(package, "args"), ms_pickle_get(package, "kwargs"),
                            out, hyper, err);
}

/* ---- tensors ---- */

/* The zip member with a storage's values, in data/ beside the pickle. */
static const struct ms_zip_entry *find_storage(const struct ms_zip *zip,
                                               const struct ms_zip_entry *pickle,
                                               const struct ms_pickle_value *storage) {
    const size_t folder = pickle->name_size - strlen("data.pkl");
    char name[256];
    if (folder + strlen("data/") + storage->text_size > sizeof name)
        return NULL;
    memcpy(name, pickle->name, folder);
    memcpy(name + folder, "data/", 5);
    memcpy(name + folder + 5, storage->text, storage->text_size);
    return ms_zip_find(zip, name, folder + 5 + storage->text_size);
}

static float value_at(const uint8_t *bytes, bool half, uint64_t index) {
    uint16_t bits;
    if (half) {
        memcpy(&bits, bytes + 2 * index, sizeof bits);
        return ms_half_to_float(bits);
    }
    float value;
    memcpy(&value, bytes + 4 * index, sizeof value);
    return value;
}

/* Walks the tensor's strides through the storage in C order. */
static bool copy_values(const struct ms_pickle_tensor *from, const uint8_t *bytes,
                        uint64_t available, bool half, struct ms_tensors_item *to) {
    uint64_t last = (uint64_t)from->offset;
    for (int i = 0; i < from->dims; i++) {
        uint64_t reach;
        if (__builtin_mul_overflow((uint64_t)(from->shape[i] - 1), (uint64_t)from->stride[i],
                                   &reach) ||
            __builtin_add_overflow(last, reach, &last))
            return false;
    }
    if (last >= available)
        return false;
    int64_t index[MS_PICKLE_MAX_DIMS] = {0};
    for (size_t i = 0; i < to->count; i++) {
        int64_t at = from->offset;
        int dim = from->dims - 1;
        for (int j = 0; j < from->dims; j++)
            at += index[j] * from->stride[j];
        to->values[i] = value_at(bytes, half, (uint64_t)at);
        while (dim >= 0 && ++index[dim] == from->shape[dim])
            index[dim--] = 0;
    }
    return true;
}

static int take_tensor(const struct ms_zip *zip, const struct ms_zip_entry *pickle,
                       const struct ms_pickle_value *value, struct ms_tensors_item *to,
                       struct ms_error *err) {
    if (value == NULL || value->type != MS_PICKLE_TENSOR)
        return ms_error_set(err, MS_EMODEL, "tensor %s is missing", to->name);
    if (value->tensor->dims != to->dims ||
        memcmp(value->tensor->shape, to->shape, (size_t)to->dims * sizeof *to->shape) != 0)
        return ms_error_set(err, MS_EMODEL,
                            "tensor %s does not have the shape that the hyper-parameters ask for",
                            to->name);
    const struct ms_pickle_value *storage = value->items[0];
    const struct ms_zip_entry *member = find_storage(zip, pickle, storage);
    if (member == NULL || !copy_values(value->tensor, member->bytes,
                                       member->size / (storage->half ? 2 : 4), storage->half, to))
        return ms_error_set(err, MS_EMODEL, "tensor %s: its values are not in the file", to->name);
    return 0;
}

static int take_tensors(const struct ms_zip *zip, const struct ms_zip_entry *pickle,
                        const struct ms_pickle_value *state, struct ms_tensors *tensors,
                        struct ms_error *err) {
    if (state == NULL || state->type != MS_PICKLE_DICT)
        return ms_error_set(err, MS_EMODEL, "the package holds no weights");
    if (ms_pickle_get(state, "__quantized") != NULL)
        return ms_error_set(err, MS_EMODEL,
                            "the weights are quantized (diffq): that is not supported");
    if (state->count / 2 != tensors->count)
        return ms_error_set(err, MS_EMODEL,
                            "there are %zu tensors, but the hyper-parameters ask for %zu",
                            state->count / 2, tensors->count);
    for (size_t i = 0; i < tensors->count; i++) {
        struct ms_tensors_item *to = &tensors->items[i];
        const int rc = take_tensor(zip, pickle, ms_pickle_get(state, to->name), to, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* ---- the file ---- */

/* FOLDER/data.pkl, in a folder of any name */
static const struct ms_zip_entry *find_pickle(const struct ms_zip *zip) {
    static const char name[] = "/data.pkl";
    const size_t size = sizeof name - 1;
    for (size_t i = 0; i < zip->count; i++) {
        const struct ms_zip_entry *entry = &zip->entries[i];
        if (entry->name_size > size &&
            memcmp(entry->name + entry->name_size - size, name, size) == 0 &&
            memchr(entry->name, '/', entry->name_size - size) == NULL)
            return entry;
    }
    return NULL;
}

static bool is_big_endian(const struct ms_zip *zip, const struct ms_zip_entry *pickle) {
    const size_t folder = pickle->name_size - strlen("data.pkl");
    char name[256];
    if (folder + strlen("byteorder") > sizeof name)
        return false;
    memcpy(name, pickle->name, folder);
    memcpy(name + folder, "byteorder", strlen("byteorder"));
    const struct ms_zip_entry *order = ms_zip_find(zip, name, folder + strlen("byteorder"));
    return order != NULL && (order->size != 6 || memcmp(order->bytes, "little", 6) != 0);
}

int ms_import_th(const uint8_t *bytes, size_t size, struct ms_imported *out, struct ms_error *err) {
    struct ms_pickle *pickle = NULL;
    memset(out, 0, sizeof *out);
    struct ms_zip zip;
    int rc = ms_zip_open(&zip, bytes, size, err);
    if (rc != 0)
        return rc;
    const struct ms_zip_entry *member = find_pickle(&zip);
    if (member == NULL || is_big_endian(&zip, member)) {
        rc = ms_error_set(err, MS_EMODEL,
                          "torch did not write the zip archive, or did so on a big-endian machine");
        goto out;
    }
    rc = ms_pickle_parse(member->bytes, member->size, &pickle, err);
    struct ms_hyper hyper;
    if (rc == 0)
        rc = read_hyper(ms_pickle_root(pickle), out, &hyper, err);
    if (rc == 0)
        rc = ms_tensors_new(&hyper, size / 2, &out->tensors, err);
    if (rc == 0)
        rc = take_tensors(&zip, member, ms_pickle_get(ms_pickle_root(pickle), "state"),
                          out->tensors, err);
out:
    if (rc != 0) {
        ms_tensors_free(out->tensors);
        out->tensors = NULL;
    }
    ms_pickle_free(pickle);
    ms_zip_close(&zip);
    return rc;
}
