/* Any bytes as an ONNX file to import. */
#include <stddef.h>
#include <stdint.h>

#include "import.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct ms_imported imported;
    struct ms_error err;
    if (ms_import_onnx(bytes, size, &imported, &err) == 0)
        ms_tensors_free(imported.tensors);
    return 0;
}
