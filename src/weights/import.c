/* Which form a file of published weights has. Owns nothing; any thread. */
#include "import.h"

#include <string.h>

#include "safetensors.h"

int ms_import_bytes(const uint8_t *bytes, size_t size, struct ms_imported *out,
                    struct ms_error *err) {
    if (size >= 4 && memcmp(bytes, "PK\3\4", 4) == 0)
        return ms_import_th(bytes, size, out, err);
    if (ms_safetensors_is(bytes, size))
        return ms_import_safetensors(bytes, size, out, err);
    return ms_import_onnx(bytes, size, out, err);
}
