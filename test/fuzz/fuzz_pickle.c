/* Any bytes as a .th file to import, and, since a zip archive is hard to hit, as the pickle inside.
 */
#include <stddef.h>
#include <stdint.h>

#include "import.h"
#include "pickle.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct ms_imported imported;
    struct ms_error err;
    if (ms_import_th(bytes, size, &imported, &err) == 0)
        ms_tensors_free(imported.tensors);
    struct ms_pickle *pickle;
    if (ms_pickle_parse(bytes, size, &pickle, &err) == 0) {
        (void)ms_pickle_get(ms_pickle_root(pickle), "state");
        ms_pickle_free(pickle);
    }
    return 0;
}
