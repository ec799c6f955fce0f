/* Any bytes as what the decoder's process sends, which may be in the hands of a hostile file: every
 * sample that gets through is finite, a refusal has a text and one of the stated codes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct ms_stream stream;
    struct ms_error err = {0};
    int fd = memfd_create("messages", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, data, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0,
            "no file in memory");
    int rc = ms_stream_open(&stream, fd, 44100, &err);
    while (rc == 0) { /* it ends with the bytes */
        const int64_t before = stream.frames;
        rc = ms_stream_receive(&stream, &err);
        for (int i = 0; rc == 0 && stream.frames > before && i < stream.stage_count; i++)
            require(isfinite(stream.stage[0][i]) && isfinite(stream.stage[1][i]),
                    "a sample that is no number");
    }
    require(rc == MS_EINPUT || rc == MS_EIO || rc == MS_ENOMEM || rc == MS_EINTERNAL,
            "a code that is not promised");
    require(err.code == rc, "a refusal without an error");
    ms_stream_close(&stream);
    close(fd);
    return 0;
}
