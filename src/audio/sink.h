/* A file in the making: a hidden temporary beside its final name, written through FFmpeg's I/O.
 * Last step of encode.c, which alone uses it. */
#ifndef MSAAS_AUDIO_SINK_H
#define MSAAS_AUDIO_SINK_H

#include <stdint.h>

#include <libavformat/avio.h>

#include "msaas/err.h"

struct ms_sink {
    char *path;      /* the final name */
    char *temporary; /* NULL: there is none, or no longer */
    int fd;
    int64_t at_bytes, size_bytes;
    int write_errno; /* the disk's error; 0: none */
    AVIOContext *io;
};

/* `path` is copied. After a failure only _discard is allowed. */
MS_MUST_CHECK int ms_sink_open(struct ms_sink *sink, const char *path, struct ms_error *err);
/* Completes and closes the temporary file. */
MS_MUST_CHECK int ms_sink_finish(struct ms_sink *sink, struct ms_error *err);
MS_MUST_CHECK int ms_sink_publish(struct ms_sink *sink, struct ms_error *err);
/* Frees, and removes the temporary file unless it was published. */
void ms_sink_discard(struct ms_sink *sink);

/* The disk's error (MS_EIO), or 0 when there was none so far. */
MS_MUST_CHECK int ms_sink_check(const struct ms_sink *sink, struct ms_error *err);

#endif
