/* ONNX read as bounded protobuf: an index of names over the mapped file. Owns the index, not the
 * bytes; any thread. */
#include "onnx.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NODES 65536u
#define MAX_INITIALIZERS 8192u
#define MAX_INPUTS 8

/* Field numbers of onnx.proto. */
enum { MODEL_GRAPH = 7 };
enum { GRAPH_NODE = 1, GRAPH_INITIALIZER = 5, GRAPH_INPUT = 11 };
enum { NODE_INPUT = 1, NODE_NAME = 3 };
enum {
    TENSOR_DIMS = 1,
    TENSOR_TYPE = 2,
    TENSOR_FLOATS = 4,
    TENSOR_NAME = 8,
    TENSOR_RAW = 9,
    TENSOR_LOCATION = 14
};
enum { TYPE_FLOAT = 1 };
enum { VALUE_TYPE = 2, TYPE_TENSOR = 1, TENSOR_SHAPE = 2, SHAPE_DIM = 1, DIM_VALUE = 1 };

struct slice {
    const uint8_t *at, *end;
};

struct node {
    struct ms_onnx_text name;
    struct slice message;
};

struct ms_onnx {
    size_t node_count, initializer_count, input_count;
    struct node *nodes;                  /* sorted by name */
    struct ms_onnx_tensor *initializers; /* sorted by name */
    struct slice inputs[MAX_INPUTS];
};

/* ---- protobuf ---- */

enum wire { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

struct field {
    uint32_t number;
    enum wire wire;
    uint64_t value;     /* VARINT */
    struct slice bytes; /* BYTES */
};

static bool read_varint(struct slice *in, uint64_t *value) {
    *value = 0;
    for (unsigned shift = 0; shift < 64 && in->at < in->end; shift += 7) {
        const uint8_t byte = *in->at++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* 1: a field; 0: the end; -1: malformed. */
static int next_field(struct slice *in, struct field *field) {
    uint64_t length;
    if (in->at == in->end)
        return 0;
    uint64_t key;
    if (!read_varint(in, &key) || key >> 3 == 0 || key >> 3 > UINT32_MAX)
        return -1;
    field->number = (uint32_t)(key >> 3);
    field->wire = (enum wire)(key & 7);
    switch (field->wire) {
    case VARINT: return read_varint(in, &field->value) ? 1 : -1;
    case FIXED64: length = 8; break;
    case FIXED32: length = 4; break;
    case BYTES:
        if (!read_varint(in, &length))
            return -1;
        break;
    default: return -1; /* groups were obsolete before ONNX existed */
    }
    if (length > (uint64_t)(in->end - in->at))
        return -1;
    field->bytes = (struct slice){in->at, in->at + length};
    in->at += length;
    return 1;
}

static struct ms_onnx_text text_of(struct slice slice) {
    return (struct ms_onnx_text){(const char *)slice.at, (size_t)(slice.end - slice.at)};
}

static int compare_text(struct ms_onnx_text a, struct ms_onnx_text b) {
    const int order = memcmp(a.at, b.at, a.size < b.size ? a.size : b.size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/* ---- the graph ---- */

static int by_tensor_name(const void *a, const void *b) {
    return compare_text(((const struct ms_onnx_tensor *)a)->name,
                        ((const struct ms_onnx_tensor *)b)->name);
}

static int by_node_name(const void *a, const void *b) {
    return compare_text(((const struct node *)a)->name, ((const struct node *)b)->name);
}

static bool add_dim(struct ms_onnx_tensor *tensor, uint64_t size) {
    if (tensor->dims == MS_ONNX_MAX_DIMS || size == 0 || size > INT32_MAX)
        return false;
    tensor->shape[tensor->dims++] = (int64_t)size;
    return true;
}

static int malformed(struct ms_error *err) {
    return ms_error_set(err, MS_EMODEL, "not an ONNX file, or cut off or damaged");
}

static int read_initializer(struct slice in, struct ms_onnx_tensor *tensor, struct ms_error *err) {
    tensor->name.at = "";
    struct slice values = {0};
    struct field field;
    uint64_t type = 0, location = 0;
    bool ok = true;
    int more;
    while (ok && (more = next_field(&in, &field)) != 0) {
        if (more < 0)
            return malformed(err);
        uint64_t dim;
        if (field.number == TENSOR_DIMS && field.wire == VARINT)
            ok = add_dim(tensor, field.value);
        else if (field.number == TENSOR_DIMS && field.wire == BYTES)
            while (ok && field.bytes.at < field.bytes.end)
                ok = read_varint(&field.bytes, &dim) && add_dim(tensor, dim);
        else if (field.number == TENSOR_TYPE && field.wire == VARINT)
            type = field.value;
        else if (field.number == TENSOR_LOCATION && field.wire == VARINT)
            location = field.value;
        else if (field.number == TENSOR_NAME && field.wire == BYTES)
            tensor->name = text_of(field.bytes);
        else if ((field.number == TENSOR_RAW || field.number == TENSOR_FLOATS) &&
                 field.wire == BYTES)
            values = field.bytes;
    }
    uint64_t count = 1;
    for (int i = 0; i < tensor->dims && ok; i++) {
        ok = (uint64_t)tensor->shape[i] <= UINT32_MAX / count;
        count *= (uint64_t)tensor->shape[i];
    }
    if (!ok || type != TYPE_FLOAT || location != 0 ||
        (uint64_t)(values.end - values.at) != 4 * count)
        return ms_error_set(
            err, MS_EMODEL,
            "ONNX initializer %.*s: only float32 values inside the file can be read",
            tensor->name.size < 100 ? (int)tensor->name.size : 100, tensor->name.at);
    tensor->count = (size_t)count;
    tensor->values = values.at;
    return 0;
}

static int read_node(struct slice in, struct node *node, struct ms_error *err) {
    node->message = in;
    node->name.at = "";
    struct field field;
    int more;
    while ((more = next_field(&in, &field)) > 0)
        if (field.number == NODE_NAME && field.wire == BYTES)
            node->name = text_of(field.bytes);
    return more < 0 ? malformed(err) : 0;
}

static int read_graph(struct slice graph, struct ms_onnx *onnx, struct ms_error *err) {
    size_t nodes = 0, initializers = 0;
    struct slice in = graph;
    struct field field;
    int more;
    while ((more = next_field(&in, &field)) > 0) {
        nodes += field.number == GRAPH_NODE;
        initializers += field.number == GRAPH_INITIALIZER;
    }
    if (more < 0)
        return malformed(err);
    if (nodes > MAX_NODES || initializers > MAX_INITIALIZERS)
        return ms_error_set(err, MS_EMODEL,
                            "ONNX graph with %zu nodes and %zu initializers: too large", nodes,
                            initializers);
    onnx->nodes = calloc(nodes + 1, sizeof *onnx->nodes);
    onnx->initializers = calloc(initializers + 1, sizeof *onnx->initializers);
    if (onnx->nodes == NULL || onnx->initializers == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for an ONNX graph");
    in = graph;
    int rc = 0;
    while (rc == 0 && next_field(&in, &field) > 0) {
        if (field.wire != BYTES)
            continue;
        if (field.number == GRAPH_NODE)
            rc = read_node(field.bytes, &onnx->nodes[onnx->node_count++], err);
        else if (field.number == GRAPH_INITIALIZER)
            rc = read_initializer(field.bytes, &onnx->initializers[onnx->initializer_count++], err);
        else if (field.number == GRAPH_INPUT && onnx->input_count < MAX_INPUTS)
            onnx->inputs[onnx->input_count++] = field.bytes;
    }
    if (rc != 0)
        return rc;
    qsort(onnx->nodes, onnx->node_count, sizeof *onnx->nodes, by_node_name);
    qsort(onnx->initializers, onnx->initializer_count, sizeof *onnx->initializers, by_tensor_name);
    for (size_t i = 1; i < onnx->initializer_count; i++)
        if (by_tensor_name(&onnx->initializers[i - 1], &onnx->initializers[i]) == 0)
            return ms_error_set(err, MS_EMODEL, "ONNX graph with two initializers of one name");
    return 0;
}

int ms_onnx_parse(const uint8_t *bytes, size_t size, struct ms_onnx **out, struct ms_error *err) {
    struct slice in = {bytes, bytes + size};
    *out = NULL;
    struct slice graph = {0};
    struct field field;
    int more;
    while (size > 0 && (more = next_field(&in, &field)) != 0) {
        if (more < 0)
            return malformed(err);
        if (field.number == MODEL_GRAPH && field.wire == BYTES)
            graph = field.bytes;
    }
    if (graph.at == NULL)
        return malformed(err);
    struct ms_onnx *onnx = calloc(1, sizeof *onnx);
    if (onnx == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for an ONNX graph");
    const int rc = read_graph(graph, onnx, err);
    if (rc != 0) {
        ms_onnx_free(onnx);
        return rc;
    }
    *out = onnx;
    return 0;
}

void ms_onnx_free(struct ms_onnx *onnx) {
    if (onnx == NULL)
        return;
    free(onnx->nodes);
    free(onnx->initializers);
    free(onnx);
}

/* ---- look-up ---- */

static const struct ms_onnx_tensor *find_initializer(const struct ms_onnx *onnx,
                                                     struct ms_onnx_text name) {
    const struct ms_onnx_tensor key = {.name = name};
    return bsearch(&key, onnx->initializers, onnx->initializer_count, sizeof key, by_tensor_name);
}

const struct ms_onnx_tensor *ms_onnx_initializer(const struct ms_onnx *onnx, const char *name) {
    return find_initializer(onnx, (struct ms_onnx_text){name, strlen(name)});
}

const struct ms_onnx_tensor *ms_onnx_node_initializer(const struct ms_onnx *onnx,
                                                      const char *name) {
    const struct node key = {.name = {name, strlen(name)}};
    const struct node *node =
        bsearch(&key, onnx->nodes, onnx->node_count, sizeof key, by_node_name);
    if (node == NULL)
        return NULL;
    struct slice in = node->message;
    struct field field;
    while (next_field(&in, &field) > 0) {
        if (field.number != NODE_INPUT || field.wire != BYTES)
            continue;
        const struct ms_onnx_tensor *tensor = find_initializer(onnx, text_of(field.bytes));
        if (tensor != NULL)
            return tensor;
    }
    return NULL;
}

/* The sub-message in field `number`; empty where there is none. */
static struct slice inside(struct slice in, uint32_t number) {
    struct field field;
    while (next_field(&in, &field) > 0)
        if (field.number == number && field.wire == BYTES)
            return field.bytes;
    return (struct slice){in.end, in.end};
}

int ms_onnx_input_shape(const struct ms_onnx *onnx, int index, int64_t shape[MS_ONNX_MAX_DIMS]) {
    if (index < 0 || (size_t)index >= onnx->input_count)
        return 0;
    struct slice dims =
        inside(inside(inside(onnx->inputs[index], VALUE_TYPE), TYPE_TENSOR), TENSOR_SHAPE);
    struct field field;
    int count = 0;
    while (next_field(&dims, &field) > 0) {
        struct slice dim = field.bytes;
        if (field.number != SHAPE_DIM || field.wire != BYTES)
            continue;
        struct field value;
        if (count == MS_ONNX_MAX_DIMS || next_field(&dim, &value) <= 0 ||
            value.number != DIM_VALUE || value.wire != VARINT || value.value > INT32_MAX)
            return 0;
        shape[count++] = (int64_t)value.value;
    }
    return count;
}
