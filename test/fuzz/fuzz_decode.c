/* Any bytes as an audio file: opened, read to the end, rewound, read again. The input goes through
 * a file in memory, as the decoder takes regular files only. Checked beyond the absence of crashes:
 * every sample is finite, both passes give as many frames, a refusal has a text and one of the
 * stated codes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "msaas/audio.h"

#define BLOCK_FRAMES 4096
#define MAX_FRAMES (60 * 44100) /* a minute is enough of a file that unpacks to hours */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

static int check_refusal(int rc, const struct ms_error *err) {
    require(rc == MS_EINPUT || rc == MS_ENOMEM, "a code that bad input must not give");
    require(err->code == rc && err->text[0] != '\0', "a refusal without a text");
    return -1;
}

/* Frames until the end or MAX_FRAMES; -1 after a refusal. */
static int64_t read_to_the_end(struct ms_decoder *decoder) {
    static float left[BLOCK_FRAMES], right[BLOCK_FRAMES];
    float *planes[2] = {left, right};
    struct ms_error err = {0};
    int64_t total = 0;
    while (total < MAX_FRAMES) {
        size_t frames = 0;
        int rc = ms_decoder_read(decoder, planes, BLOCK_FRAMES, &frames, &err);
        if (rc < 0)
            return check_refusal(rc, &err);
        if (frames == 0)
            break;
        for (size_t i = 0; i < frames; i++)
            require(isfinite(left[i]) && isfinite(right[i]), "a sample that is no number");
        total += (int64_t)frames;
    }
    return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct ms_decoder *decoder = NULL;
    struct ms_error err = {0};
    int fd = memfd_create("input", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, data, size) == (ssize_t)size, "no file in memory");
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int rc = ms_decoder_open(path, 44100, &decoder, &err);
    if (rc < 0) {
        (void)check_refusal(rc, &err);
        goto out;
    }
    int64_t first = read_to_the_end(decoder);
    require(first != 0, "an open file without a frame");
    rc = ms_decoder_rewind(decoder, &err);
    require(rc == 0, "a file that cannot be opened twice");
    require(read_to_the_end(decoder) == first, "a second pass that differs");
out:
    ms_decoder_free(decoder);
    close(fd);
    return 0;
}
