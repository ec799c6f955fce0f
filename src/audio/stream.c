/* Messages of the decoder's process, through a pipe. The reader trusts none of them. */
#include "stream.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "msaas/sys.h"
#include "tags.h"

#define PATIENCE_S 100 /* less than the least --stall that is wise */
#define LONGEST_WAIT_S 1

/* ---- the writer ---- */

bool ms_message_send(int fd, enum ms_message kind, const void *first, size_t first_bytes,
                     const void *second, size_t second_bytes) {
    const struct ms_message_head head = {kind, (uint32_t)(first_bytes + second_bytes)};
    struct iovec parts[] = {
        {(void *)&head, sizeof head}, {(void *)first, first_bytes}, {(void *)second, second_bytes}};
    const int count = sizeof parts / sizeof *parts;
    for (int at = 0; at < count;) {
        const ssize_t written = writev(fd, &parts[at], count - at);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        size_t left = (size_t)written;
        for (; at < count && left >= parts[at].iov_len; at++)
            left -= parts[at].iov_len;
        if (at < count) {
            parts[at].iov_base = (uint8_t *)parts[at].iov_base + left;
            parts[at].iov_len -= left;
        }
    }
    return true;
}

/* ---- the reader ---- */

static int nonsense(struct ms_error *err) {
    return ms_error_set(err, MS_EINPUT, "is damaged in a way that confuses the decoder");
}

/* Waits for more; how long in all is limited, lest a byte now and then keep the reader for ever.
 * Time in which both were stopped, as by Ctrl-Z, does not count: no single wait is that long. */
static int wait_for_more(struct ms_stream *stream, struct ms_error *err) {
    const double begin_s = ms_monotonic_s();
    struct pollfd more = {.fd = stream->fd, .events = POLLIN};
    if (poll(&more, 1, LONGEST_WAIT_S * 1000) < 0 && errno != EINTR)
        return ms_error_set(err, MS_EIO, "cannot wait for its decoder: %s", strerror(errno));
    stream->waited_s += fmin(ms_monotonic_s() - begin_s, LONGEST_WAIT_S);
    if (stream->waited_s >= PATIENCE_S + (double)stream->frames / stream->rate_hz)
        return ms_error_set(err, MS_EIO, "cannot be decoded: the decoder was waited for %.0f s",
                            stream->waited_s);
    return 0;
}

static int receive_bytes(struct ms_stream *stream, void *to, size_t bytes, struct ms_error *err) {
    for (size_t done = 0; done < bytes;) {
        const ssize_t got = read(stream->fd, (uint8_t *)to + done, bytes - done);
        if (got > 0) {
            done += (size_t)got;
            continue;
        }
        int rc = 0;
        if (got == 0) {
            stream->broken_off = true;
            rc = ms_error_set(err, MS_EINPUT, "ended its decoder");
        } else if (errno == EAGAIN) {
            rc = wait_for_more(stream, err);
        } else if (errno != EINTR) {
            rc = ms_error_set(err, MS_EIO, "cannot read from its decoder: %s", strerror(errno));
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int receive_number(struct ms_stream *stream, uint32_t bytes, uint32_t *out,
                          struct ms_error *err) {
    return bytes < sizeof *out ? nonsense(err) : receive_bytes(stream, out, sizeof *out, err);
}

static int receive_tag(struct ms_stream *stream, bool is_cover, uint32_t bytes,
                       struct ms_error *err) {
    uint32_t which = MS_TAGS_TEXTS; /* the cover's bit */
    int rc = 0;
    if (!is_cover) {
        rc = receive_number(stream, bytes, &which, err);
        if (rc < 0)
            return rc;
        bytes -= (uint32_t)sizeof which;
    }
    const uint32_t most = is_cover ? MS_TAGS_COVER_BYTES : MS_TAGS_TEXT_BYTES;
    if (bytes > most || which > MS_TAGS_TEXTS || (!is_cover && which == MS_TAGS_TEXTS) ||
        (stream->texts & 1u << which) != 0)
        return nonsense(err);
    stream->texts |= 1u << which;
    char *value = malloc((size_t)bytes + 1);
    if (value == NULL)
        return ms_error_set(err, MS_ENOMEM, "out of memory for tags");
    rc = receive_bytes(stream, value, bytes, err);
    value[bytes] = '\0';
    if (rc == 0 && !is_cover)
        rc = ms_tags_set_text(stream->tags, (int)which, value, err);
    else if (rc == 0)
        rc = ms_tags_set_cover(stream->tags, (const uint8_t *)value, (int)bytes, err);
    free(value);
    return rc;
}

/* An exponent of all ones is infinity or NaN. Integer work, so that the compiler can vectorise it.
 */
static bool all_finite(const float *samples, int count) {
    uint32_t bad = 0;
    for (int i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &samples[i], sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return bad == 0;
}

static int receive_audio(struct ms_stream *stream, uint32_t bytes, struct ms_error *err) {
    const uint32_t frame_bytes = MS_AUDIO_CHANNELS * sizeof(float);
    if (bytes == 0 || bytes % frame_bytes != 0 || bytes / frame_bytes > MS_MESSAGE_FRAMES)
        return nonsense(err);
    const int count = (int)(bytes / frame_bytes);
    for (int c = 0; c < MS_AUDIO_CHANNELS; c++) {
        int rc = receive_bytes(stream, stream->stage[c], (size_t)count * sizeof(float), err);
        if (rc < 0)
            return rc;
        if (!all_finite(stream->stage[c], count))
            return ms_error_set(err, MS_EINPUT,
                                "holds NaN or infinity at %.1f s; samples must be finite numbers",
                                (double)stream->frames / stream->rate_hz);
    }
    stream->stage_at = 0;
    stream->stage_count = count;
    stream->frames += count;
    return 0;
}

/* The text may quote the file. */
static int receive_failure(struct ms_stream *stream, uint32_t bytes, struct ms_error *err) {
    char text[MS_ERROR_TEXT_BYTES];
    uint32_t number;
    int rc = receive_number(stream, bytes, &number, err);
    if (rc < 0)
        return rc;
    bytes -= (uint32_t)sizeof number;
    if (bytes >= sizeof text)
        return nonsense(err);
    rc = receive_bytes(stream, text, bytes, err);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < bytes; i++)
        if (text[i] < 0x20 || text[i] >= 0x7f)
            text[i] = '?';
    text[bytes] = '\0';
    const int code = (int)number;
    if (code == MS_ENOMEM) /* not the machine's lack: the writer has a limit of its own */
        return ms_error_set(err, MS_EINPUT, "asks for more memory than decoding may take");
    return ms_error_set(err, code == MS_EIO || code == MS_EINTERNAL ? code : MS_EINPUT, "%s", text);
}

int ms_stream_receive(struct ms_stream *stream, struct ms_error *err) {
    struct ms_message_head head;
    uint32_t number = 0;
    int rc = receive_bytes(stream, &head, sizeof head, err);
    if (rc < 0)
        return rc;
    if (stream->ended || stream->ready == (head.kind == MS_MESSAGE_READY))
        return nonsense(err);
    switch (head.kind) {
    case MS_MESSAGE_READY:
    case MS_MESSAGE_END:
        rc = head.bytes == sizeof number ? receive_number(stream, head.bytes, &number, err)
                                         : nonsense(err);
        if (rc < 0)
            return rc;
        if (head.kind == MS_MESSAGE_READY)
            stream->missing_walls = number;
        else
            stream->damaged = number != 0;
        stream->ready = true;
        stream->ended = head.kind == MS_MESSAGE_END;
        return 0;
    case MS_MESSAGE_TEXT:
    case MS_MESSAGE_COVER:
        return receive_tag(stream, head.kind == MS_MESSAGE_COVER, head.bytes, err);
    case MS_MESSAGE_AUDIO: return receive_audio(stream, head.bytes, err);
    case MS_MESSAGE_FAILED: return receive_failure(stream, head.bytes, err);
    default: return nonsense(err);
    }
}

int ms_stream_open(struct ms_stream *stream, int fd, int rate_hz, struct ms_error *err) {
    *stream = (struct ms_stream){.fd = fd, .rate_hz = rate_hz, .tags = ms_tags_new()};
    bool all = stream->tags != NULL;
    for (int c = 0; c < MS_AUDIO_CHANNELS; c++) {
        stream->stage[c] = malloc(MS_MESSAGE_FRAMES * sizeof(float));
        all = all && stream->stage[c] != NULL;
    }
    return all ? 0 : ms_error_set(err, MS_ENOMEM, "out of memory");
}

void ms_stream_close(struct ms_stream *stream) {
    ms_tags_free(stream->tags);
    for (int c = 0; c < MS_AUDIO_CHANNELS; c++)
        free(stream->stage[c]);
    *stream = (struct ms_stream){.fd = -1};
}
