/* The ONNX reader against files that no exporter would write. What one does write: test/model. */
#include "import.h"
#include "onnx.h"
#include "tiny_model.h"

/* Protobuf by hand: bytes with a one-byte key and length before them. */
struct message {
    uint8_t bytes[512];
    size_t size;
};

static void put(struct message *to, uint8_t number, const void *bytes, size_t size) {
    to->bytes[to->size++] = (uint8_t)(number << 3 | 2);
    if (size >= 128)
        to->bytes[to->size++] = (uint8_t)(size & 127) | 128;
    to->bytes[to->size++] = (uint8_t)(size >= 128 ? size >> 7 : size);
    memcpy(to->bytes + to->size, bytes, size);
    to->size += size;
}

static void put_number(struct message *to, uint8_t number, uint8_t value) {
    to->bytes[to->size++] = (uint8_t)(number << 3);
    to->bytes[to->size++] = value;
}

static const float values[6] = {1, 2, 3, 4, 5, 6};

static struct message tensor(const char *name, uint8_t rows, uint8_t columns, uint8_t type,
                             size_t bytes) {
    struct message message = {0};
    put_number(&message, 1, rows);
    put_number(&message, 1, columns);
    put_number(&message, 2, type);
    put(&message, 8, name, strlen(name));
    put(&message, 9, values, bytes);
    return message;
}

/* A model of a graph with these initializers (0: fewer) and the node "/a/Mul" of inputs x and
 * "onnx::1". */
static struct message model(const struct message *first, const struct message *second) {
    struct message node = {0};
    put(&node, 1, "x", 1);
    put(&node, 1, "onnx::1", 7);
    put(&node, 3, "/a/Mul", 6);
    struct message graph = {0};
    put(&graph, 1, node.bytes, node.size);
    if (first != NULL)
        put(&graph, 5, first->bytes, first->size);
    if (second != NULL)
        put(&graph, 5, second->bytes, second->size);
    struct message whole = {0};
    put_number(&whole, 1, 8);
    put(&whole, 7, graph.bytes, graph.size);
    return whole;
}

static int parse(const struct message *message, struct ms_error *err) {
    uint8_t *exact =
        malloc(message->size + 1); /* so that a sanitizer sees what is read past the end */
    memcpy(exact, message->bytes, message->size);
    struct ms_onnx *onnx;
    int rc = ms_onnx_parse(exact, message->size, &onnx, err);
    if (rc == 0)
        ms_onnx_free(onnx);
    free(exact);
    return rc;
}

static void names_lead_to_values(void **state) {
    const struct message named = tensor("b.weight", 2, 3, 1, 24),
                         unnamed = tensor("onnx::1", 3, 2, 1, 24);
    const struct message whole = model(&named, &unnamed);
    struct ms_onnx *onnx;
    (void)state;
    assert_int_equal(ms_onnx_parse(whole.bytes, whole.size, &onnx, NULL), 0);
    const struct ms_onnx_tensor *found = ms_onnx_initializer(onnx, "b.weight");
    assert_non_null(found);
    assert_int_equal(found->dims, 2);
    assert_int_equal(found->shape[1], 3);
    assert_int_equal(found->count, 6);
    assert_memory_equal(found->values, values, 24);
    assert_null(ms_onnx_initializer(onnx, "b.weigh"));
    found = ms_onnx_node_initializer(onnx, "/a/Mul");
    assert_non_null(found);
    assert_int_equal(found->shape[0], 3);
    assert_null(ms_onnx_node_initializer(onnx, "/a/Add"));
    ms_onnx_free(onnx);
}

static void what_does_not_fit(void **state) {
    const struct message good = tensor("w", 2, 3, 1, 24);
    const struct message cases[] = {
        tensor("w", 2, 3, 1, 20),  /* fewer values than the shape says */
        tensor("w", 2, 2, 1, 24),  /* more */
        tensor("w", 2, 3, 10, 24), /* float16 */
        tensor("w", 0, 3, 1, 0),   /* an empty dimension */
        tensor("w", 127, 127, 1, 24),
    };
    struct message whole = model(&good, NULL);
    struct ms_error err;
    (void)state;
    assert_int_equal(parse(&whole, &err), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        whole = model(&cases[i], NULL);
        assert_int_equal(parse(&whole, &err), MS_EMODEL);
    }
    whole = model(&good, &good);
    assert_int_equal(parse(&whole, &err), MS_EMODEL);
    assert_non_null(strstr(err.text, "one name"));
}

static void damaged_files(void **state) {
    const struct message named = tensor("b.weight", 2, 3, 1, 24),
                         unnamed = tensor("onnx::1", 3, 2, 1, 24);
    const struct message whole = model(&named, &unnamed);
    struct ms_error err;
    (void)state;
    for (size_t cut = 0; cut < whole.size; cut++) {
        struct message part = whole;
        part.size = cut;
        assert_int_equal(parse(&part, &err), MS_EMODEL);
    }
    for (size_t at = 0; at < whole.size; at++) { /* anything may come of it but no harm */
        for (int bit = 0; bit < 8; bit++) {
            struct message changed = whole;
            changed.bytes[at] ^= (uint8_t)(1 << bit);
            (void)!parse(&changed, &err);
        }
    }
    struct ms_imported imported;
    assert_int_equal(ms_import_bytes(whole.bytes, whole.size, &imported, &err), MS_EMODEL);
    assert_non_null(strstr(err.text, "Demucs"));
    assert_int_equal(ms_import_bytes((const uint8_t *)"", 0, &imported, &err), MS_EMODEL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_lead_to_values),
        cmocka_unit_test(what_does_not_fit),
        cmocka_unit_test(damaged_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
