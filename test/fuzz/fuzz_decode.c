/* Any bytes as an audio file, decoded to the end, twice: what runs in the decoder's process, here
 * without its walls. The input goes through a file in memory. Checked beyond the absence of
 * crashes: both passes give as many frames, a refusal has a text and one of the stated codes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "msaas/media.h"

#define MAX_FRAMES (60 * 44100) /* a minute is enough of a file that unpacks to hours */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

/* Frames until the end or MAX_FRAMES; -1 after a refusal, whose code and text are as promised. */
static int64_t decode(int fd) {
    struct ms_media *media = NULL;
    struct ms_error err = {0};
    int rc = ms_media_open(fd, 44100, &media, &err);
    int64_t total = 0;
    for (int frames = 1; rc == 0 && frames > 0 && total < MAX_FRAMES; total += frames) {
        const float *planes[MS_AUDIO_CHANNELS];
        frames = 0;
        rc = ms_media_next(media, planes, &frames, &err);
        require(rc < 0 || total > 0 || frames > 0, "an open file without a frame");
    }
    ms_media_free(media);
    if (rc == 0)
        return total;
    require(rc == MS_EINPUT || rc == MS_ENOMEM, "a code that bad input must not give");
    require(err.code == rc && err.text[0] != '\0', "a refusal without a text");
    return -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int fd = memfd_create("input", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, data, size) == (ssize_t)size, "no file in memory");
    const int64_t first = decode(fd);
    require(decode(fd) == first, "a second pass that differs");
    close(fd);
    return 0;
}
