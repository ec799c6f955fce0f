/* What the decoder's process sends to its parent: messages, and the parent's reader of them.
 *
 *     READY (TEXT | COVER)* AUDIO* (END | FAILED)
 *
 * The writer may be in the hands of the file that it decodes. The reader bounds and checks every
 * byte, its memory and its patience. */
#ifndef MSAAS_AUDIO_STREAM_H
#define MSAAS_AUDIO_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "msaas/audio.h"

enum ms_message {
    MS_MESSAGE_READY = 1, /* uint32_t: walls that are missing (confine.h) */
    MS_MESSAGE_TEXT,      /* uint32_t: which (tags.h), then the text, without NUL */
    MS_MESSAGE_COVER,     /* the picture */
    MS_MESSAGE_AUDIO,     /* left plane, right plane; float, 1 to MS_MESSAGE_FRAMES frames each */
    MS_MESSAGE_END,       /* uint32_t: 1: parts could not be decoded */
    MS_MESSAGE_FAILED,    /* int32_t: code, then the text, without NUL */
};
#define MS_MESSAGE_FRAMES 16384

struct ms_message_head {
    uint32_t kind, bytes; /* of what follows */
};

/* ---- the writer: the decoder's process ---- */

/* `first` and `second` are what follows the head; either may be of 0 bytes. False: nobody reads any
 * more. */
bool ms_message_send(int fd, enum ms_message kind, const void *first, size_t first_bytes,
                     const void *second, size_t second_bytes);

/* ---- the reader: its parent ---- */

struct ms_stream {
    int fd; /* not blocking; the caller's */
    int rate_hz;
    bool ready, ended, damaged;
    bool broken_off; /* the writer is gone, and did not say why */
    unsigned missing_walls;
    unsigned texts; /* bits of those received */
    struct ms_audio_tags *tags;
    float *stage[MS_AUDIO_CHANNELS]; /* the last AUDIO; frames from stage_at on are not used yet */
    int stage_at, stage_count;
    int64_t frames;  /* received */
    double waited_s; /* in all */
};

/* After a failure only _close is allowed, which leaves `fd` open. */
MS_MUST_CHECK int ms_stream_open(struct ms_stream *stream, int fd, int rate_hz,
                                 struct ms_error *err);
void ms_stream_close(struct ms_stream *stream);

/* Reads one message. MS_EINPUT: the file's fault, also where the messages make no sense. MS_EIO:
 * the writer is too slow; it has 100 s, and as long as the audio lasts. Errors have no subject. */
MS_MUST_CHECK int ms_stream_receive(struct ms_stream *stream, struct ms_error *err);

#endif
