/* Bytes to the disk under a temporary name, then under the final one. */
#include "sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
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

int ms_sink_open(struct ms_sink *sink, const char *path, struct ms_error *err) {
    *sink = (struct ms_sink){.fd = -1};
    sink->path = av_strdup(path);
    if (sink->path == NULL)
        return ms_error_about(err, MS_ENOMEM, path, "out of memory");
    int cause = create_temporary(sink);
    if (cause != 0)
        return ms_error_about(err, cause == ENOMEM ? MS_ENOMEM : MS_EIO, path,
                              "cannot be created: %s", strerror(cause));
    uint8_t *buffer = av_malloc(IO_BUFFER_BYTES);
    if (buffer != NULL)
        sink->io =
            avio_alloc_context(buffer, IO_BUFFER_BYTES, 1, sink, NULL, write_bytes, seek_bytes);
    if (sink->io == NULL) {
        av_free(buffer);
        return ms_error_about(err, MS_ENOMEM, path, "out of memory");
    }
    return 0;
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
    if (close(sink->fd) != 0 && errno != EINTR && sink->write_errno == 0)
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
}
