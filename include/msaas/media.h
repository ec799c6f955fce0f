/* An audio file, decoded in this process. Two use it: the decoder's own process, behind its walls,
 * and whoever reads files that msaas itself has made. A stranger's file goes to ms_decoder
 * (audio.h).
 *
 * Blocks of planar stereo float at the rate asked for; memory does not grow with the file. One
 * object serves one thread at a time. */
#ifndef MSAAS_MEDIA_H
#define MSAAS_MEDIA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "msaas/audio.h"

/* The bytes of a file, wherever it lies. */
struct ms_media_source {
    int64_t bytes; /* in all */
    /* Reads up to `size` bytes from `at` on, where at < bytes; *got 0: there are no more, after
     * all. An error ends the decoding and is returned. */
    int (*read)(void *context, int64_t at, void *buffer, size_t size, size_t *got,
                struct ms_error *err);
    void *context;
};

struct ms_media;

/* Opens the best audio stream of a regular file that is open for reading; `fd` stays the caller's,
 * and its position does not count. At least one frame can be decoded. Errors have no subject. */
MS_MUST_CHECK int ms_media_open(int fd, int sample_rate_hz, struct ms_media **out,
                                struct ms_error *err);
/* The same for a file of this format that lies elsewhere; it may be nothing else. The source is
 * copied. */
MS_MUST_CHECK int ms_media_open_source(const struct ms_media_source *source,
                                       enum ms_audio_format format, int sample_rate_hz,
                                       struct ms_media **out, struct ms_error *err);
void ms_media_free(struct ms_media *media);

const struct ms_audio_tags *ms_media_tags(const struct ms_media *media); /* borrowed */
/* How many frames it has, at the rate asked for, where the file says that exactly (FLAC, WAV);
 * else -1. */
int64_t ms_media_frames(const struct ms_media *media);

/* The next block of planar stereo, finite or not; *frames == 0: the end. `planes` are the media's
 * own until the next call. */
MS_MUST_CHECK int ms_media_next(struct ms_media *media, const float *planes[MS_AUDIO_CHANNELS],
                                int *frames, struct ms_error *err);

/* Whether parts could not be decoded; valid after the end. */
bool ms_media_was_damaged(const struct ms_media *media);

#endif
