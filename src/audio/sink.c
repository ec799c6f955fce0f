/* Bytes to the disk under a temporary name, then under the final one; or to whoever takes them. */
#include "sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <libavformat/version.h>
#include <libavutil/avstring.h>
#include <libavutil/error.h>
#include <libavutil/mem.h>

#define IO_BUFFER_BYTES (64 << 10)
#define MAX_NAME_TRIES 100

#if LIBAVFORMAT_VERSION_MAJOR >= 61
typedef const uint8_t written_byte;
#else
typedef uint8_t written_byte;
#endif

static bool has_room(struct ms_sink *sink, size_t size) {
    if (size <= sink->held_capacity)
        return true;
    const size_t capacity = 2 * sink->held_capacity + size;
    uint8_t *grown = realloc(sink->held, capacity);
    if (grown == NULL)
        return false;
    sink->held = grown;
    sink->held_capacity = capacity;
    return true;
}

int ms_sink_reserve(struct ms_sink *sink, size_t more, struct ms_error *err) {
    return has_room(sink, sink->held_bytes + more)
               ? 0
               : ms_error_about(err, MS_ENOMEM, sink->path, "out of memory");
}

/* What lies before the bytes that are held was taken, and cannot be changed any more. */
static int hold_bytes(void *opaque, written_byte *bytes, int size) {
    struct ms_sink *sink = opaque;
    const int64_t late = sink->taken - sink->at_bytes;
    const size_t skipped = late <= 0 ? 0 : late < size ? (size_t)late : (size_t)size;
    const size_t count = (size_t)size - skipped;
    const size_t at = (size_t)(sink->at_bytes + (int64_t)skipped - sink->taken);
    if (count > 0) {
        if (!has_room(sink, at + count))
            return AVERROR(ENOMEM);
        memcpy(sink->held + at, bytes + skipped, count);
        if (sink->held_bytes < at + count)
            sink->held_bytes = at + count;
    }
    sink->at_bytes += size;
    if (sink->size_bytes < sink->at_bytes)
        sink->size_bytes = sink->at_bytes;
    return size;
}

static int write_bytes(void *opaque, written_byte *bytes, int size) {
    struct ms_sink *sink = opaque;
    int done = 0;
    while (done < size) {
        ssize_t put = pwrite(sink->fd, bytes + done, (size_t)(size - done), (off_t)sink->at_bytes);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            sink->write_errno = put < 0 ? errno : EIO;
            return AVERROR(sink->write_errno);
        }
        done += (int)put;
        sink->at_bytes += put;
        if (sink->size_bytes < sink->at_bytes)
            sink->size_bytes = sink->at_bytes;
    }
    return size;
}

static int64_t seek_bytes(void *opaque, int64_t offset, int whence) {
    struct ms_sink *sink = opaque;
    switch (whence & ~AVSEEK_FORCE) {
    case AVSEEK_SIZE: return sink->size_bytes;
    case SEEK_SET: break;
    case SEEK_CUR: offset += sink->at_bytes; break;
    case SEEK_END: offset += sink->size_bytes; break;
    default: return AVERROR(EINVAL);
    }
    if (offset < 0)
        return AVERROR(EINVAL);
    sink->at_bytes = offset;
    return offset;
}

/* Not mkstemp: with O_CREAT and 0666 the kernel applies the user's umask, as for any other file. */
static int create_temporary(struct ms_sink *sink) {
    const char *slash = strrchr(sink->path, '/');
    const char *name = slash != NULL ? slash + 1 : sink->path;
    int folder_bytes = (int)(name - sink->path);
    if (strlen(name) > NAME_MAX)
        return ENAMETOOLONG;
    for (int i = 0; i < MAX_NAME_TRIES; i++) {
        uint64_t unique;
        if (getrandom(&unique, sizeof unique, 0) != (ssize_t)sizeof unique)
            return errno;
        /* Cuts the name, so that the temporary one is not too long. */
        char *temporary = av_asprintf("%.*s.%.200s.%012llx.part", folder_bytes, sink->path, name,
                                      (unsigned long long)(unique & 0xffffffffffffu));
        if (temporary == NULL)
            return ENOMEM;
        sink->fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (sink->fd >= 0) {
            sink->temporary = temporary;
            return 0;
        }
        int cause = errno;
        av_free(temporary);
        if (cause != EEXIST)
            return cause;
    }
    return EEXIST;
}

static int open_io(struct ms_sink *sink, int (*write)(void *, written_byte *, int),
                   struct ms_error *err) {
    uint8_t *buffer = av_malloc(IO_BUFFER_BYTES);
    if (buffer != NULL)
        sink->io = avio_alloc_context(buffer, IO_BUFFER_BYTES, 1, sink, NULL, write, seek_bytes);
    if (sink->io == NULL) {
        av_free(buffer);
        return ms_error_about(err, MS_ENOMEM, sink->path, "out of memory");
    }
    return 0;
}

int ms_sink_open(struct ms_sink *sink, const char *path, struct ms_error *err) {
    *sink = (struct ms_sink){.fd = -1};
    sink->path = av_strdup(path);
    if (sink->path == NULL)
        return ms_error_about(err, MS_ENOMEM, path, "out of memory");
    int cause = create_temporary(sink);
    if (cause != 0)
        return ms_error_about(err, cause == ENOMEM ? MS_ENOMEM : MS_EIO, path,
                              "cannot be created: %s", strerror(cause));
    return open_io(sink, write_bytes, err);
}

int ms_sink_open_stream(struct ms_sink *sink, const char *name, struct ms_error *err) {
    *sink = (struct ms_sink){.fd = -1};
    sink->path = av_strdup(name);
    return sink->path != NULL ? open_io(sink, hold_bytes, err)
                              : ms_error_about(err, MS_ENOMEM, name, "out of memory");
}

void ms_sink_take(struct ms_sink *sink, const void **bytes, size_t *size) {
    *bytes = sink->held;
    *size = sink->held_bytes;
    sink->taken += (int64_t)sink->held_bytes;
    sink->held_bytes = 0;
}

int ms_sink_check(const struct ms_sink *sink, struct ms_error *err) {
    if (sink->write_errno == 0)
        return 0;
    return ms_error_about(err, MS_EIO, sink->path, "cannot be written: %s",
                          strerror(sink->write_errno));
}

static void free_io(struct ms_sink *sink) {
    if (sink->io != NULL)
        av_freep(&sink->io->buffer);
    avio_context_free(&sink->io);
}

int ms_sink_finish(struct ms_sink *sink, struct ms_error *err) {
    avio_flush(sink->io);
    free_io(sink);
    /* Network disks and disks with quotas may fail only here. */
    if (sink->fd >= 0 && close(sink->fd) != 0 && errno != EINTR && sink->write_errno == 0)
        sink->write_errno = errno;
    sink->fd = -1;
    return ms_sink_check(sink, err);
}

int ms_sink_publish(struct ms_sink *sink, struct ms_error *err) {
    if (rename(sink->temporary, sink->path) != 0)
        return ms_error_about(err, MS_EIO, sink->path, "cannot be put in place: %s",
                              strerror(errno));
    av_freep(&sink->temporary);
    return 0;
}

void ms_sink_discard(struct ms_sink *sink) {
    free_io(sink);
    if (sink->fd >= 0)
        close(sink->fd);
    sink->fd = -1;
    if (sink->temporary != NULL)
        unlink(sink->temporary);
    av_freep(&sink->temporary);
    av_freep(&sink->path);
    free(sink->held);
    sink->held = NULL;
}
