/* Any bytes as the NAME.yaml of a bag. */
#include <stddef.h>
#include <stdint.h>

#include "bag.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static struct ms_manifest bag; /* large */
    if (ms_bag_parse((const char *)bytes, size, &bag, NULL) == 0 &&
        (bag.info.member_count < 1 || bag.info.member_count > MS_MODEL_MAX_MEMBERS ||
         bag.info.stem_count > MS_MODEL_MAX_STEMS))
        __builtin_trap();
    return 0;
}
