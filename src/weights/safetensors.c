/* Model files: read from a mapping (the way to the network), written by the importers. Checks
 * everything that the header says before anyone follows it. Owns nothing; any thread. */
#include "safetensors.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "msaas/json.h"

#define MAX_HEADER (4u << 20)
#define MAX_TENSORS 8192u
#define DATA_ALIGNMENT 64u

static size_t value_bytes(enum ms_dtype dtype) {
    return dtype == MS_DTYPE_F16 ? 2 : 4;
}

/* ---- reading ---- */

/* Where a tensor's values lie in the file's data. */
struct extent {
    uint64_t begin, end;
};

static int read_entry(const struct ms_json *entry, uint64_t data_bytes, struct ms_weight *weight,
                      struct extent *extent, struct ms_error *err) {
    const char *name = ms_json_name(entry);
    const struct ms_json *shape = ms_json_get(entry, "shape");
    const struct ms_json *offsets = ms_json_get(entry, "data_offsets");
    const char *dtype = ms_json_string(ms_json_get(entry, "dtype"));
    if (strlen(name) == 0 || strlen(name) >= sizeof weight->name)
        return ms_error_set(err, MS_EMODEL, "a tensor's name has %zu bytes", strlen(name));
    memcpy(weight->name, name, strlen(name) + 1);
    if (dtype != NULL && strcmp(dtype, "F16") == 0)
        weight->dtype = MS_DTYPE_F16;
    else if (dtype != NULL && strcmp(dtype, "F32") == 0)
        weight->dtype = MS_DTYPE_F32;
    else
        return ms_error_set(err, MS_EMODEL,
                            "tensor %s is of type %.20s; only F16 and F32 can be read", name,
                            dtype != NULL ? dtype : "(none)");
    if (!ms_json_is_array(shape) || ms_json_count(shape) > MS_TENSOR_MAX_DIMS)
        return ms_error_set(err, MS_EMODEL, "tensor %s has no shape, or more than %d dimensions",
                            name, MS_TENSOR_MAX_DIMS);
    uint64_t bytes = value_bytes(weight->dtype);
    for (const struct ms_json *dim = ms_json_first(shape); dim != NULL; dim = ms_json_next(dim)) {
        int64_t size;
        if (!ms_json_int(dim, &size) || size < 1 || (uint64_t)size > data_bytes / bytes)
            return ms_error_set(err, MS_EMODEL, "tensor %s does not fit in the file", name);
        bytes *= (uint64_t)size; /* at most data_bytes */
        weight->shape[weight->dims++] = size;
    }
    int64_t begin, end;
    if (!ms_json_is_array(offsets) || ms_json_count(offsets) != 2 ||
        !ms_json_int(ms_json_first(offsets), &begin) ||
        !ms_json_int(ms_json_next(ms_json_first(offsets)), &end) || begin < 0 || end < begin ||
        (uint64_t)end > data_bytes || (uint64_t)(end - begin) != bytes)
        return ms_error_set(err, MS_EMODEL,
                            "tensor %s: its offsets do not fit its shape or the file", name);
    if ((uint64_t)begin % value_bytes(weight->dtype) != 0)
        return ms_error_set(err, MS_EMODEL, "tensor %s is not aligned", name);
    extent->begin = (uint64_t)begin;
    extent->end = (uint64_t)end;
    return 0;
}

static int by_begin(const void *a, const void *b) {
    const uint64_t x = ((const struct extent *)a)->begin, y = ((const struct extent *)b)->begin;
    return (x > y) - (x < y);
}

static int read_header(const struct ms_json *header, const uint8_t *data, uint64_t data_bytes,
                       struct ms_weights **out, struct ms_error *err) {
    const size_t members = ms_json_count(header);
    if (!ms_json_is_object(header) || members > MAX_TENSORS)
        return ms_error_set(err, MS_EMODEL, "the header is not an object of at most %u tensors",
                            MAX_TENSORS);
    struct ms_weight *items = calloc(members + 1, sizeof *items);
    struct extent *extents = calloc(members + 1, sizeof *extents);
    size_t count = 0;
    int rc = 0;
    if (items == NULL || extents == NULL) {
        rc = ms_error_set(err, MS_ENOMEM, "no memory for %zu tensors", members);
        goto out;
    }
    for (const struct ms_json *entry = ms_json_first(header); entry != NULL;
         entry = ms_json_next(entry)) {
        if (strcmp(ms_json_name(entry), "__metadata__") == 0)
            continue;
        rc = read_entry(entry, data_bytes, &items[count], &extents[count], err);
        if (rc != 0)
            goto out;
        items[count].data = data + extents[count].begin;
        count++;
    }
    qsort(extents, count, sizeof *extents, by_begin);
    uint64_t end = 0;
    for (size_t i = 0; i < count; i++) {
        if (extents[i].begin != end) {
            rc = ms_error_set(err, MS_EMODEL,
                              "tensors overlap or leave a gap at byte %llu of the data",
                              (unsigned long long)end);
            goto out;
        }
        end = extents[i].end;
    }
    if (end != data_bytes) {
        rc = ms_error_set(err, MS_EMODEL, "%llu bytes follow the last tensor",
                          (unsigned long long)(data_bytes - end));
        goto out;
    }
    rc = ms_weights_new(items, count, out, err);
    items = NULL;
out:
    free(items);
    free(extents);
    return rc;
}

/* The bytes of the header, which begins at byte 8. */
static int header_size(const uint8_t *bytes, size_t size, uint64_t *out, struct ms_error *err) {
    uint64_t header_bytes = 0;
    for (size_t i = 0; i < 8 && size >= 8; i++)
        header_bytes |= (uint64_t)bytes[i] << (8 * i);
    if (size < 8 || header_bytes > MAX_HEADER || header_bytes > size - 8)
        return ms_error_set(err, MS_EMODEL, "not a safetensors file, or cut off");
    if (header_bytes % 4 != 0)
        return ms_error_set(err, MS_EMODEL, "the header's length, %llu, is not aligned",
                            (unsigned long long)header_bytes);
    *out = header_bytes;
    return 0;
}

bool ms_safetensors_is(const uint8_t *bytes, size_t size) {
    uint64_t header_bytes;
    return header_size(bytes, size, &header_bytes, NULL) == 0 && header_bytes > 0 &&
           bytes[8] == '{';
}

int ms_safetensors_header(const uint8_t *bytes, size_t size, struct ms_json **out,
                          struct ms_error *err) {
    *out = NULL;
    uint64_t header_bytes;
    int rc = header_size(bytes, size, &header_bytes, err);
    if (rc != 0)
        return rc;
    rc = ms_json_parse((const char *)bytes + 8, (size_t)header_bytes, out, err);
    if (rc != 0) {
        ms_error_prefix(err, "the header");
        return rc == MS_ENOMEM ? rc : MS_EMODEL;
    }
    return 0;
}

int ms_safetensors_parse(const uint8_t *bytes, size_t size, struct ms_weights **out,
                         struct ms_error *err) {
    *out = NULL;
    uint64_t header_bytes;
    struct ms_json *header = NULL;
    int rc = header_size(bytes, size, &header_bytes, err);
    if (rc == 0)
        rc = ms_safetensors_header(bytes, size, &header, err);
    if (rc == 0)
        rc = read_header(header, bytes + 8 + header_bytes, size - 8 - header_bytes, out, err);
    ms_json_free(header);
    return rc;
}

/* ---- writing ---- */

struct output {
    FILE *file;
    struct ms_sha256 *digest;
};

static bool put(struct output *output, const void *bytes, size_t size) {
    ms_sha256_update(output->digest, bytes, size);
    return fwrite(bytes, 1, size, output->file) == size;
}

static int choose_dtype(const struct ms_tensors *tensors, enum ms_dtype *dtype,
                        struct ms_error *err) {
    *dtype = MS_DTYPE_F16;
    for (size_t i = 0; i < tensors->count; i++) {
        const struct ms_tensors_item *tensor = &tensors->items[i];
        for (size_t j = 0; j < tensor->count; j++) {
            uint16_t half;
            if (ms_half_exact(tensor->values[j], &half))
                continue;
            if (!isfinite(tensor->values[j]))
                return ms_error_set(err, MS_EMODEL, "tensor %s holds a value that is not a number",
                                    tensor->name);
            *dtype = MS_DTYPE_F32;
        }
    }
    return 0;
}

static bool put_header(struct output *output, const struct ms_tensors *tensors,
                       enum ms_dtype dtype) {
    static const char spaces[DATA_ALIGNMENT] =
        "                                                                ";
    struct ms_json_writer *writer = ms_json_writer_new();
    if (writer == NULL)
        return false;
    ms_json_begin_object(writer, NULL);
    int64_t offset = 0;
    for (size_t i = 0; i < tensors->count; i++) {
        const struct ms_tensors_item *tensor = &tensors->items[i];
        ms_json_begin_object(writer, tensor->name);
        ms_json_put_string(writer, "dtype", dtype == MS_DTYPE_F16 ? "F16" : "F32");
        ms_json_begin_array(writer, "shape");
        for (int j = 0; j < tensor->dims; j++)
            ms_json_put_int(writer, NULL, tensor->shape[j]);
        ms_json_end_array(writer);
        ms_json_begin_array(writer, "data_offsets");
        ms_json_put_int(writer, NULL, offset);
        offset += (int64_t)(tensor->count * value_bytes(dtype));
        ms_json_put_int(writer, NULL, offset);
        ms_json_end_array(writer);
        ms_json_end_object(writer);
    }
    ms_json_end_object(writer);
    size_t size;
    const char *text = ms_json_writer_text(writer, &size);
    uint8_t length[8];
    bool ok = false;
    if (text != NULL) {
        const size_t padding = (DATA_ALIGNMENT - (8 + size) % DATA_ALIGNMENT) % DATA_ALIGNMENT;
        for (size_t i = 0; i < 8; i++)
            length[i] = (uint8_t)((uint64_t)(size + padding) >> (8 * i));
        ok = put(output, length, sizeof length) && put(output, text, size) &&
             put(output, spaces, padding);
    }
    ms_json_writer_free(writer);
    return ok;
}

static bool put_values(struct output *output, const struct ms_tensors_item *tensor,
                       enum ms_dtype dtype) {
    if (dtype == MS_DTYPE_F32)
        return put(output, tensor->values, tensor->count * sizeof *tensor->values);
    uint16_t halves[4096];
    size_t done = 0;
    while (done < tensor->count) {
        const size_t left = tensor->count - done;
        const size_t some = left < 4096 ? left : 4096;
        for (size_t i = 0; i < some; i++)
            (void)ms_half_exact(tensor->values[done + i], &halves[i]);
        if (!put(output, halves, some * sizeof *halves))
            return false;
        done += some;
    }
    return true;
}

int ms_safetensors_write(const char *path, const struct ms_tensors *tensors,
                         char sha256[MS_SHA256_HEX], struct ms_error *err) {
    enum ms_dtype dtype;
    int rc = choose_dtype(tensors, &dtype, err);
    if (rc != 0)
        return rc;
    struct output output = {0};
    rc = ms_sha256_new(&output.digest, err);
    if (rc != 0)
        return rc;
    output.file = fopen(path, "wbe");
    if (output.file == NULL) {
        rc = ms_error_about(err, MS_EIO, path, "%s", strerror(errno));
        goto out;
    }
    bool ok = put_header(&output, tensors, dtype);
    for (size_t i = 0; i < tensors->count && ok; i++)
        ok = put_values(&output, &tensors->items[i], dtype);
    ok = ok && fflush(output.file) == 0 && fsync(fileno(output.file)) == 0;
    if (!ok)
        rc = ms_error_about(err, MS_EIO, path, "cannot write: %s", strerror(errno));
    else
        ms_sha256_hex(output.digest, sha256);
    if (fclose(output.file) != 0 && rc == 0)
        rc = ms_error_about(err, MS_EIO, path, "cannot write: %s", strerror(errno));
out:
    ms_sha256_free(output.digest);
    return rc;
}
