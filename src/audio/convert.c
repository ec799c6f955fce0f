/* Sample format, rate and channels by libswresample. One object, one thread. */
#include "convert.h"

#include <string.h>

#include <libavutil/mathematics.h>
#include <libavutil/mem.h>
#include <libavutil/opt.h>

#include "ffmpeg.h"

#define FILTER_TAPS 64
#define HALF_POWER 0.70710678118654752440

/* How much of one channel goes to the left and to the right. */
static void channel_gain(enum AVChannel channel, double *left, double *right) {
    *left = *right = 0.5;
    switch (channel) {
    case AV_CHAN_FRONT_LEFT: *left = 1, *right = 0; break;
    case AV_CHAN_FRONT_RIGHT: *left = 0, *right = 1; break;
    case AV_CHAN_FRONT_CENTER: *left = *right = HALF_POWER; break;
    case AV_CHAN_LOW_FREQUENCY:
    case AV_CHAN_LOW_FREQUENCY_2: *left = *right = 0; break;
    case AV_CHAN_BACK_LEFT:
    case AV_CHAN_SIDE_LEFT:
    case AV_CHAN_WIDE_LEFT:
    case AV_CHAN_FRONT_LEFT_OF_CENTER:
    case AV_CHAN_TOP_FRONT_LEFT:
    case AV_CHAN_TOP_BACK_LEFT: *left = HALF_POWER, *right = 0; break;
    case AV_CHAN_BACK_RIGHT:
    case AV_CHAN_SIDE_RIGHT:
    case AV_CHAN_WIDE_RIGHT:
    case AV_CHAN_FRONT_RIGHT_OF_CENTER:
    case AV_CHAN_TOP_FRONT_RIGHT:
    case AV_CHAN_TOP_BACK_RIGHT: *left = 0, *right = HALF_POWER; break;
    default: break;
    }
}

/* matrix [2 out][channels in], after ITU-R BS.775: the front channels keep their level, whatever
 * the others hold. A mix may pass full scale; a float holds it. Where no speaker is named, all
 * channels count the same. */
static void downmix_matrix(const AVChannelLayout *layout, double *matrix) {
    int channels = layout->nb_channels;
    for (int c = 0; c < channels; c++) {
        double *left = &matrix[c], *right = &matrix[channels + c];
        if (channels == 1)
            *left = *right = 1;
        else if (layout->order == AV_CHANNEL_ORDER_UNSPEC)
            *left = *right = 1.0 / channels;
        else
            channel_gain(av_channel_layout_channel_from_index(layout, (unsigned)c), left, right);
    }
}

int ms_converter_open(struct ms_converter *converter, const char *name,
                      const AVChannelLayout *layout, enum AVSampleFormat format, int in_rate_hz,
                      int out_rate_hz, struct ms_error *err) {
    *converter = (struct ms_converter){
        .name = name, .format = format, .in_rate_hz = in_rate_hz, .out_rate_hz = out_rate_hz};
    AVChannelLayout stereo = AV_CHANNEL_LAYOUT_STEREO;
    AVChannelLayout plain = {0};
    double matrix[2 * MS_AUDIO_MAX_CHANNELS] = {0};
    int channels = layout->nb_channels;
    int rc = av_channel_layout_copy(&converter->layout, layout);
    if (rc < 0)
        goto out;
    /* Only the matrix needs to know the channels' speakers; libswresample gets a plain layout. */
    av_channel_layout_default(&plain, channels);
    if (plain.nb_channels != channels) { /* no layout is known for this number */
        plain.order = AV_CHANNEL_ORDER_UNSPEC;
        plain.nb_channels = channels;
    }
    rc = swr_alloc_set_opts2(&converter->swr, &stereo, AV_SAMPLE_FMT_FLTP, out_rate_hz, &plain,
                             format, in_rate_hz, 0, NULL);
    if (rc < 0)
        goto out;
    rc = av_opt_set_sample_fmt(converter->swr, "internal_sample_fmt", AV_SAMPLE_FMT_FLTP, 0);
    if (rc >= 0)
        rc = av_opt_set_int(converter->swr, "filter_size", FILTER_TAPS, 0);
    if (rc >= 0)
        rc = av_opt_set_int(converter->swr, "exact_rational", 1, 0);
    if (rc >= 0)
        rc = av_opt_set_int(converter->swr, "linear_interp", 1, 0);
    if (rc < 0)
        goto out;
    if (channels != MS_AUDIO_CHANNELS) {
        downmix_matrix(layout->order == AV_CHANNEL_ORDER_UNSPEC ? &plain : layout, matrix);
        rc = swr_set_matrix(converter->swr, matrix, channels);
        if (rc < 0)
            goto out;
    }
    rc = swr_init(converter->swr);
    if (rc < 0)
        goto out;
    int64_t most = av_rescale_rnd(MS_CONVERT_MAX_FRAMES + 2 * FILTER_TAPS, out_rate_hz, in_rate_hz,
                                  AV_ROUND_UP);
    converter->capacity = (int)most + MS_CONVERT_MAX_FRAMES;
    for (int c = 0; c < MS_AUDIO_CHANNELS; c++) {
        converter->stage[c] = av_calloc((size_t)converter->capacity, sizeof(float));
        if (converter->stage[c] == NULL)
            rc = AVERROR(ENOMEM);
    }
out:
    av_channel_layout_uninit(&plain);
    if (rc < 0)
        return ms_ffmpeg_error(err, rc == AVERROR(ENOMEM) ? MS_ENOMEM : MS_EINTERNAL, rc, name,
                               "cannot convert %d channels at %d Hz to stereo at %d Hz", channels,
                               in_rate_hz, out_rate_hz);
    return 0;
}

static int convert(struct ms_converter *converter, const uint8_t **planes, int frames, int *count,
                   struct ms_error *err) {
    uint8_t *out[MS_AUDIO_CHANNELS] = {(uint8_t *)converter->stage[0],
                                       (uint8_t *)converter->stage[1]};
    int rc = swr_convert(converter->swr, out, converter->capacity, planes, frames);
    if (rc < 0)
        return ms_ffmpeg_error(err, MS_EINTERNAL, rc, converter->name, "resampling failed");
    *count = rc;
    return 0;
}

int ms_converter_push(struct ms_converter *converter, const uint8_t **planes, int frames,
                      int *count, struct ms_error *err) {
    int rc = convert(converter, planes, frames, count, err);
    if (rc == 0) {
        converter->in_frames += frames;
        converter->out_frames += *count;
    }
    return rc;
}

int ms_converter_drain(struct ms_converter *converter, int *count, struct ms_error *err) {
    int64_t left = av_rescale(converter->in_frames, converter->out_rate_hz, converter->in_rate_hz) -
                   converter->out_frames;
    *count = 0;
    if (left <= 0)
        return 0;
    int rc = convert(converter, NULL, 0, count, err);
    if (rc < 0)
        return rc;
    if (*count == 0) { /* the filter's tail may be a frame short */
        *count = (int)(left < converter->capacity ? left : converter->capacity);
        for (int c = 0; c < MS_AUDIO_CHANNELS; c++)
            memset(converter->stage[c], 0, (size_t)*count * sizeof(float));
    }
    if (*count > left)
        *count = (int)left;
    converter->out_frames += *count;
    return 0;
}

void ms_converter_close(struct ms_converter *converter) {
    swr_free(&converter->swr);
    av_channel_layout_uninit(&converter->layout);
    for (int c = 0; c < MS_AUDIO_CHANNELS; c++)
        av_freep(&converter->stage[c]);
}
