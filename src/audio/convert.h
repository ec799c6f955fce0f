/* Samples of any format, rate and number of channels -> planar stereo float at one rate: media.c
 * uses it on the way in, encode.c on the way out to Opus. L frames at `in` Hz become exactly
 * round(L * out / in). Same rate and two channels: only the format changes, float stays bit for
 * bit. */
#ifndef MSAAS_AUDIO_CONVERT_H
#define MSAAS_AUDIO_CONVERT_H

#include <stdint.h>

#include <libavutil/channel_layout.h>
#include <libavutil/samplefmt.h>
#include <libswresample/swresample.h>

#include "msaas/audio.h"

#define MS_CONVERT_MAX_FRAMES 4096 /* of one push */

struct ms_converter {
    const char *name; /* the file it serves, for messages; borrowed; may be NULL */
    SwrContext *swr;
    AVChannelLayout layout; /* of the input, as given */
    enum AVSampleFormat format;
    int in_rate_hz, out_rate_hz;
    int64_t in_frames, out_frames;
    float *stage[MS_AUDIO_CHANNELS]; /* what the last _push or _drain gave; the converter's own */
    int capacity;
};

/* `converter` is zeroed or was closed. Mono is doubled; more than two channels are mixed,
 * with the front ones at their own level. */
MS_MUST_CHECK int ms_converter_open(struct ms_converter *converter, const char *name,
                                    const AVChannelLayout *layout, enum AVSampleFormat format,
                                    int in_rate_hz, int out_rate_hz, struct ms_error *err);
/* planes: as FFmpeg lays them out (one plane where the format is interleaved). *count frames are in
 * `stage`. */
MS_MUST_CHECK int ms_converter_push(struct ms_converter *converter, const uint8_t **planes,
                                    int frames, int *count, struct ms_error *err);
/* After the last push, until *count is 0. */
MS_MUST_CHECK int ms_converter_drain(struct ms_converter *converter, int *count,
                                     struct ms_error *err);
void ms_converter_close(struct ms_converter *converter);

#endif
