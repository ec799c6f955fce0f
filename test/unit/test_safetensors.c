/* safetensors files: what is written is read again, and what is malformed is refused. Exact float16
 * with it. */
#include "tiny_model.h"

#include <math.h>

static void halves_are_exact(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits < 65536; bits++) {
        const float value = ms_half_to_float((uint16_t)bits);
        uint16_t back;
        if ((bits & 0x7c00) == 0x7c00) {
            assert_true(isnan(value) || isinf(value));
            assert_false(ms_half_exact(value, &back));
            continue;
        }
        assert_true(ms_half_exact(value, &back));
        assert_int_equal(back, bits);
        assert_false(ms_half_exact(nextafterf(value, 1e9F), &back));
    }
    assert_true(ms_half_to_float(0x3c00) == 1.0F);
    assert_true(ms_half_to_float(0xc000) == -2.0F);
    assert_true(ms_half_to_float(0x7bff) == 65504.0F);
    assert_true(ms_half_to_float(0x0001) == 0x1p-24F);
    assert_true(ms_half_to_float(0x0400) == 0x1p-14F);
}

static void written_is_read(void **state) {
    const struct ms_hyper hyper = tiny_hyper();
    struct ms_tensors *tensors = tiny_tensors(5);
    char folder[64];
    (void)state;
    make_folder(folder);
    char path[100];
    snprintf(path, sizeof path, "%s/w", folder);
    char again[MS_SHA256_HEX], sha256[MS_SHA256_HEX];
    struct ms_mapped mapped;
    for (int float32 = 0; float32 < 2; float32++) {
        if (float32)
            tensors->items[3].values[0] = 0.1F;
        assert_int_equal(ms_safetensors_write(path, tensors, again, NULL), 0);
        assert_int_equal(ms_safetensors_write(path, tensors, sha256, NULL), 0);
        assert_string_equal(sha256, again);
        assert_int_equal(ms_sha256_of_file(path, again, NULL), 0);
        assert_string_equal(sha256, again);
        assert_int_equal(ms_mapped_open(&mapped, path, 1 << 20, NULL), 0);
        struct ms_weights *weights;
        assert_int_equal(ms_safetensors_parse(mapped.bytes, mapped.size, &weights, NULL), 0);
        assert_int_equal(ms_weights_check(weights, &hyper, NULL), 0);
        assert_int_equal(ms_weights_count(weights), tensors->count);
        for (size_t i = 0; i < tensors->count; i++) {
            const struct ms_tensors_item *tensor = &tensors->items[i];
            const struct ms_weight *weight = ms_weights_find(weights, tensor->name);
            assert_non_null(weight);
            assert_int_equal(weight->dtype, float32 ? MS_DTYPE_F32 : MS_DTYPE_F16);
            assert_int_equal((uintptr_t)weight->data % (float32 ? 4 : 2), 0);
            for (size_t j = 0; j < tensor->count; j++)
                assert_true(tensor->values[j] ==
                            (float32 ? ((const float *)weight->data)[j]
                                     : ms_half_to_float(((const uint16_t *)weight->data)[j])));
        }
        assert_null(ms_weights_find(weights, "nothing"));
        ms_weights_free(weights);
        ms_mapped_close(&mapped);
    }
    tensors->items[3].values[0] = NAN;
    assert_int_equal(ms_safetensors_write(path, tensors, sha256, NULL), MS_EMODEL);
    assert_int_equal(ms_safetensors_write("/nonexistent/w", tensors, sha256, NULL), MS_EMODEL);
    tensors->items[3].values[0] = 0;
    assert_int_equal(ms_safetensors_write("/nonexistent/w", tensors, sha256, NULL), MS_EIO);
    assert_int_equal(ms_safetensors_write("/dev/full", tensors, sha256, NULL), MS_EIO);
    ms_tensors_free(tensors);
    remove_folder(folder);
}

/* A file with that header and so many bytes of data. */
static int parse(const char *header, size_t data_bytes, struct ms_error *err) {
    const size_t padding = (8 - strlen(header) % 8) % 8;
    const size_t length = strlen(header) + padding;
    const size_t size = 8 + length + data_bytes;
    uint8_t *bytes = calloc(1, size);
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((uint64_t)length >> (8 * i));
    memcpy(bytes + 8, header, strlen(header));
    memset(bytes + 8 + strlen(header), ' ', padding);
    struct ms_weights *weights;
    int rc = ms_safetensors_parse(bytes, size, &weights, err);
    if (rc == 0)
        ms_weights_free(weights);
    else
        assert_null(weights);
    free(bytes);
    return rc;
}

#define A(type, shape, begin, end)                                                                 \
    "\"a\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"
#define B(type, shape, begin, end)                                                                 \
    "\"b\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

static void sound_headers(void **state) {
    (void)state;
    assert_int_equal(parse("{" A("F16", "[2,3]", 0, 12) "}", 12, NULL), 0);
    assert_int_equal(parse("{" A("F16", "[2]", 4, 8) "," B("F32", "[]", 0, 4) "}", 8, NULL), 0);
    assert_int_equal(
        parse("{\"__metadata__\":{\"format\":\"pt\"}," A("F32", "[1,1,1,1]", 0, 4) "}", 4, NULL),
        0);
    assert_int_equal(parse("{}", 0, NULL), 0);
}

static void malformed_headers(void **state) {
    static const struct {
        const char *header;
        size_t data_bytes;
    } cases[] = {
        {"[]", 0},
        {"{", 0},
        {"{} x", 0},
        {"{\"a\":1}", 0},
        {"{" A("F64", "[1]", 0, 8) "}", 8},
        {"{" A("F16", "[2,3]", 0, 10) "}", 12},
        {"{" A("F16", "[2,3]", 0, 12) "}", 14},
        {"{" A("F16", "[2,3]", 0, 12) "}", 10},
        {"{" A("F16", "[2,3]", 2, 14) "}", 14},
        {"{" A("F16", "[-2,-3]", 0, 12) "}", 12},
        {"{" A("F16", "[0]", 0, 0) "}", 0},
        {"{" A("F16", "[1.5]", 0, 3) "}", 3},
        {"{" A("F16", "[1,1,1,1,1]", 0, 2) "}", 2},
        {"{" A("F16", "[4294967296,4294967296]", 0, 0) "}", 0},
        {"{" A("F16", "[9007199254740992,9007199254740992,4]", 0, 8) "}", 8},
        {"{" A("F16", "[1]", 12, 10) "}", 12},
        {"{" A("F16", "[1]", -2, 0) "}", 2},
        {"{" A("F16", "[2]", 0, 4) "," B("F16", "[2]", 0, 4) "}", 4},
        {"{" A("F16", "[2]", 0, 4) "," B("F16", "[2]", 2, 6) "}", 6},
        {"{" A("F16", "[2]", 0, 4) "," B("F16", "[2]", 6, 10) "}", 10},
        {"{" A("F16", "[2]", 0, 4) "," A("F16", "[2]", 4, 8) "}", 8},
        {"{" A("F16", "[1]", 0, 2) "," B("F32", "[1]", 2, 6) "}", 6},
        {"{\"\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]}}", 2},
        {"{\"a\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0]}}", 2},
        {"{\"a\":{\"dtype\":\"F16\",\"shape\":1,\"data_offsets\":[0,2]}}", 2},
        {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,2]}}", 2},
    };
    struct ms_error err;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (parse(cases[i].header, cases[i].data_bytes, &err) != MS_EMODEL)
            fail_msg("accepted: %s", cases[i].header);
    }
}

static void cut_off(void **state) {
    static const uint8_t huge[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '{', '}'};
    char folder[64], path[100];
    struct ms_weights *weights;
    size_t size;
    char *bytes;
    (void)state;
    assert_int_equal(ms_safetensors_parse(NULL, 0, &weights, NULL), MS_EMODEL);
    assert_int_equal(ms_safetensors_parse(huge, sizeof huge, &weights, NULL), MS_EMODEL);
    make_folder(folder);
    write_tiny_model(folder, 1);
    snprintf(path, sizeof path, "%s/tiny-0.safetensors", folder);
    bytes = read_file(path, &size);
    for (size_t cut = 0; cut < size; cut += 97) {
        char *part = malloc(cut + 1);
        memcpy(part, bytes, cut);
        assert_int_equal(ms_safetensors_parse((uint8_t *)part, cut, &weights, NULL), MS_EMODEL);
        free(part);
    }
    free(bytes);
    remove_folder(folder);
}

static void other_networks(void **state) {
    struct ms_hyper hyper = tiny_hyper();
    char folder[64];
    (void)state;
    make_folder(folder);
    write_tiny_model(folder, 1);
    char path[100];
    snprintf(path, sizeof path, "%s/tiny-0.safetensors", folder);
    struct ms_mapped mapped;
    assert_int_equal(ms_mapped_open(&mapped, path, 1 << 20, NULL), 0);
    struct ms_weights *weights;
    assert_int_equal(ms_safetensors_parse(mapped.bytes, mapped.size, &weights, NULL), 0);
    hyper.t_layers = 3;
    struct ms_error err;
    assert_int_equal(ms_weights_check(weights, &hyper, &err), MS_EMODEL);
    assert_non_null(strstr(err.text, "crosstransformer.layers.2"));
    hyper.t_layers = 1;
    assert_int_equal(ms_weights_check(weights, &hyper, &err), MS_EMODEL);
    hyper.t_layers = 2;
    hyper.sources = 3;
    assert_int_equal(ms_weights_check(weights, &hyper, &err), MS_EMODEL);
    assert_non_null(strstr(err.text, "shape"));
    ms_weights_free(weights);
    ms_mapped_close(&mapped);
    assert_int_equal(ms_mapped_open(&mapped, path, 100, &err), MS_ETOOLARGE);
    assert_int_equal(ms_mapped_open(&mapped, folder, 100, &err), MS_EIO);
    assert_int_equal(ms_mapped_open(&mapped, "/nonexistent", 100, &err), MS_ENOTFOUND);
    remove_folder(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves_are_exact), cmocka_unit_test(written_is_read),
        cmocka_unit_test(sound_headers),    cmocka_unit_test(malformed_headers),
        cmocka_unit_test(cut_off),          cmocka_unit_test(other_networks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
