/* A file in the making, written through FFmpeg's I/O: a hidden temporary beside its final name, or
 * bytes in memory that somebody takes away as they come. Last step of the encoder, which alone uses
 * it. */
#ifndef MSAAS_AUDIO_SINK_H
#define MSAAS_AUDIO_SINK_H

#include <stddef.h>
#include <stdint.h>

#include <libavformat/avio.h>

#include "msaas/err.h"

struct ms_sink {
    char *path;      /* the final name; of a stream: what it is, for messages */
    char *temporary; /* NULL: there is none, or no longer */
    int fd;          /* -1: a stream */
    int64_t at_bytes, size_bytes;
    int write_errno; /* the disk's error; 0: none */
    AVIOContext *io;
    /* Of a stream: the bytes from `taken` on. */
    uint8_t *held;
    size_t held_bytes, held_capacity;
    int64_t taken;
};

/* `path` is copied. After a failure only _discard is allowed. */
MS_MUST_CHECK int ms_sink_open(struct ms_sink *sink, const char *path, struct ms_error *err);
/* FFmpeg may seek back and write over what is still held; what was taken stays as it was. */
MS_MUST_CHECK int ms_sink_open_stream(struct ms_sink *sink, const char *name, struct ms_error *err);
/* Makes room for so many bytes behind those that are held. */
MS_MUST_CHECK int ms_sink_reserve(struct ms_sink *sink, size_t more, struct ms_error *err);
/* All that is held; it is valid until something is written. */
void ms_sink_take(struct ms_sink *sink, const void **bytes, size_t *size);
/* Completes and closes the temporary file. */
MS_MUST_CHECK int ms_sink_finish(struct ms_sink *sink, struct ms_error *err);
MS_MUST_CHECK int ms_sink_publish(struct ms_sink *sink, struct ms_error *err);
/* Frees, and removes the temporary file unless it was published. */
void ms_sink_discard(struct ms_sink *sink);

/* The disk's error (MS_EIO), or 0 when there was none so far. */
MS_MUST_CHECK int ms_sink_check(const struct ms_sink *sink, struct ms_error *err);

#endif
