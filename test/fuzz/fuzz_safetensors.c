/* Any bytes as a safetensors file, of ours and of Demucs, and as a model's description. */
#include <stddef.h>
#include <stdint.h>

#include "import.h"
#include "msaas/model_json.h"
#include "safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Reads both ends, so that a sanitizer sees where they lie. */
static void touch(const volatile uint8_t *data, size_t size) {
    (void)data[0];
    (void)data[size - 1];
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct ms_weights *weights;
    struct ms_error err;
    if (ms_safetensors_parse(bytes, size, &weights, &err) == 0) {
        for (size_t i = 0; i < ms_weights_count(weights); i++) {
            const struct ms_weight *weight = ms_weights_at(weights, i);
            size_t values = 1;
            for (int j = 0; j < weight->dims; j++)
                values *= (size_t)weight->shape[j];
            values *= weight->dtype == MS_DTYPE_F16 ? 2 : 4;
            touch(weight->data, values);
            if (ms_weights_find(weights, weight->name) != weight)
                __builtin_trap();
        }
        ms_weights_free(weights);
    }
    struct ms_imported imported;
    if (ms_import_safetensors(bytes, size, &imported, &err) == 0)
        ms_tensors_free(imported.tensors);
    struct ms_model_json json;
    if (ms_model_json_parse((const char *)bytes, size, &json, &err) == 0 &&
        ms_hyper_check(&json.hyper, &err) != 0)
        __builtin_trap();
    return 0;
}
