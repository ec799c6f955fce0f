/* A file from outside, opened as one audio stream: the file, its demuxer, its decoder. First step
 * of decode.c, which alone uses it. */
#ifndef MSAAS_AUDIO_INPUT_H
#define MSAAS_AUDIO_INPUT_H

#include <stdbool.h>
#include <stdint.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>

#include "msaas/err.h"

struct ms_input {
    char *path;
    int fd;
    int64_t size_bytes;
    int64_t at_bytes; /* where FFmpeg reads next */
    int read_errno;   /* why the disk failed; 0: it did not */
    /* Processor time of this thread at which opening is given up: some tags and indices make it
     * quadratic work. */
    double open_until_s; /* 0: not opening */
    bool open_too_long;
    const AVInputFormat *container;

    /* From _start to _stop. */
    AVIOContext *io;
    AVFormatContext *format;
    AVStream *stream; /* the audio stream chosen; all others are discarded */
    AVCodecContext *codec;

    /* Frames at the source's rate by the track's duration and by its edit list, where the decoder
     * gives more than was encoded and the demuxer does not cut it (AAC in MP4); else -1. */
    int64_t track_frames, edited_frames;
};

/* Opens the file, which must be a regular one, and finds its container. `path` is copied. After a
 * failure only _close is allowed. */
MS_MUST_CHECK int ms_input_open(struct ms_input *input, const char *path, struct ms_error *err);
/* Sets demuxer and decoder to the first frame of the best audio stream. */
MS_MUST_CHECK int ms_input_start(struct ms_input *input, struct ms_error *err);
/* After how many frames the audio ends; -1: when the decoder has no more. first: the first packet
 * read since _start. */
int64_t ms_input_end(const struct ms_input *input, const AVPacket *first);
void ms_input_stop(struct ms_input *input);
void ms_input_close(struct ms_input *input);

#endif
