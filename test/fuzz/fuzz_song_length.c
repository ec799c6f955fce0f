/* Any bytes as a song's head: the length is a number, and not negative. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "song_length.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    for (int64_t more = 0; more <= INT64_C(1) << 31; more = more * 1024 + 1) {
        const double seconds = ms_song_seconds(bytes, size, (int64_t)size + more);
        if (!isfinite(seconds) || seconds < 0)
            abort();
    }
    return 0;
}
