/* A file from outside, opened as one audio stream: its demuxer and its decoder. First step of
 * media.c, which alone uses it. */
#ifndef MSAAS_AUDIO_INPUT_H
#define MSAAS_AUDIO_INPUT_H

#include <stdint.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>

#include "msaas/media.h"

struct ms_input {
    struct ms_media_source source;
    int64_t at_bytes;           /* where FFmpeg reads next */
    struct ms_error read_error; /* why the source failed; code 0: it did not */
    const AVInputFormat *container;
    AVIOContext *io;
    AVFormatContext *format;
    AVStream *stream; /* the audio stream chosen; all others are discarded */
    AVCodecContext *codec;

    /* Frames at the source's rate by the track's duration and by its edit list, where the decoder
     * gives more than was encoded and the demuxer does not cut it (AAC in MP4); else -1. */
    int64_t track_frames, edited_frames;
};

/* Finds the container, and sets demuxer and decoder to the first frame of the best audio stream.
 * accepted: FFmpeg's names of the containers that it may be, "flac,wav"; NULL: all that are safe.
 * After a failure only _close is allowed. */
MS_MUST_CHECK int ms_input_open(struct ms_input *input, const struct ms_media_source *source,
                                const char *accepted, struct ms_error *err);
/* After how many frames the audio ends; -1: when the decoder has no more. first: the first packet
 * read. */
int64_t ms_input_end(const struct ms_input *input, const AVPacket *first);
void ms_input_close(struct ms_input *input);

#endif
