/* Planar stereo float -> a file of one of five formats. Owns the sink (a temporary file, or the
 * bytes of a stream), FFmpeg's encoder and muxer, and one frame that gathers what _write brings
 * until the encoder's block is full. Runs on the caller's thread.
 *
 * Everything that would make two runs differ (versions, dates, random serial numbers) is switched
 * off. */
#include "msaas/audio.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/intreadwrite.h>

#include "convert.h"
#include "encode_head.h"
#include "ffmpeg.h"
#include "sink.h"
#include "tags.h"

#define OPUS_RATE_HZ 48000
#define PCM_BLOCK_FRAMES 4096
#define FRAGMENT_US 1000000 /* of a stream of M4A */
#define MP3_PRESET 7        /* the fastest and the nearest to the stem, see docs/speed.md */

struct format {
    const char *name; /* also the file's extension */
    const char *muxer;
    const char *encoder; /* NULL: by the sample type */
    int default_kbps, min_kbps, max_kbps;
};

static const struct format formats[] = {
    [MS_FORMAT_WAV] = {"wav", "wav", NULL, 0, 0, 0},
    [MS_FORMAT_MP3] = {"mp3", "mp3", "libmp3lame", 320, 32, 320},
    [MS_FORMAT_FLAC] = {"flac", "flac", "flac", 0, 0, 0},
    [MS_FORMAT_OPUS] = {"opus", "opus", "libopus", 160, 12, 510},
    [MS_FORMAT_M4A] = {"m4a", "ipod", "aac", 256, 32, 512},
};
#define FORMAT_COUNT ((int)(sizeof formats / sizeof *formats))

struct ms_encoder {
    struct ms_sink sink;
    const struct format *format;
    struct ms_encode_options options;
    int rate_hz;    /* of what _write brings */
    int64_t frames; /* of a stream: how many there will be; of a file: -1 */
    int64_t length; /* of a stream, in bytes; -1: not known */
    bool headless;  /* of a stream of M4A: its head has not come yet */
    AVFormatContext *muxer;
    AVStream *stream;
    AVCodecContext *codec;
    AVPacket *packet;
    AVFrame *frame;   /* codec's format, `block_frames` long */
    int block_frames; /* what the codec takes at a time */
    int filled;
    int64_t pts;                   /* frames given to the codec, at its rate */
    int64_t packets;               /* got from it */
    struct ms_converter converter; /* Opus only: to its 48 kHz */
};

const char *ms_audio_format_extension(enum ms_audio_format format) {
    return formats[format].name;
}

int ms_audio_format_parse(const char *name, enum ms_audio_format *out, struct ms_error *err) {
    for (int i = 0; i < FORMAT_COUNT; i++) {
        if (strcmp(name, formats[i].name) == 0) {
            *out = (enum ms_audio_format)i;
            return 0;
        }
    }
    return ms_error_set(err, MS_EUSAGE,
                        "\"%s\" is not an output format; choose wav, mp3, flac, opus or m4a", name);
}

static int encode_error(struct ms_encoder *encoder, int av_error, const char *what,
                        struct ms_error *err) {
    int rc = ms_sink_check(&encoder->sink, err);
    if (rc < 0)
        return rc;
    return ms_ffmpeg_error(err, av_error == AVERROR(ENOMEM) ? MS_ENOMEM : MS_EINTERNAL, av_error,
                           encoder->sink.path, "%s", what);
}

static int check_options(const struct ms_encode_options *options, const char *path,
                         struct ms_error *err) {
    if ((int)options->format < 0 || (int)options->format >= FORMAT_COUNT)
        return ms_error_about(err, MS_EUSAGE, path, "unknown output format %d",
                              (int)options->format);
    const struct format *format = &formats[options->format];
    if (format->max_kbps > 0 && options->bitrate_kbps != 0 &&
        (options->bitrate_kbps < format->min_kbps || options->bitrate_kbps > format->max_kbps))
        return ms_error_about(
            err, MS_EUSAGE, path, "a bit rate of %d kbit/s is not possible; %s takes %d to %d",
            options->bitrate_kbps, format->name, format->min_kbps, format->max_kbps);
    if (options->format == MS_FORMAT_MP3 && options->mp3_preset != 0 &&
        (options->mp3_preset < 2 || options->mp3_preset > 7))
        return ms_error_about(err, MS_EUSAGE, path,
                              "MP3 preset %d is not possible; choose 2 (slowest) to 7 (fastest)",
                              options->mp3_preset);
    if (options->format == MS_FORMAT_FLAC && options->sample_type == MS_SAMPLE_FLOAT32)
        return ms_error_about(err, MS_EUSAGE, path, "FLAC holds 16- or 24-bit integers, not float");
    return 0;
}

static const char *encoder_name(const struct ms_encode_options *options) {
    if (formats[options->format].encoder != NULL)
        return formats[options->format].encoder;
    switch (options->sample_type) {
    case MS_SAMPLE_INT16: return "pcm_s16le";
    case MS_SAMPLE_INT24: return "pcm_s24le";
    case MS_SAMPLE_FLOAT32: break;
    }
    return "pcm_f32le";
}

static enum AVSampleFormat sample_format(const struct ms_encode_options *options) {
    switch (options->format) {
    case MS_FORMAT_MP3:
    case MS_FORMAT_M4A: return AV_SAMPLE_FMT_FLTP;
    case MS_FORMAT_OPUS: return AV_SAMPLE_FMT_FLT;
    case MS_FORMAT_WAV:
    case MS_FORMAT_FLAC: break;
    }
    switch (options->sample_type) {
    case MS_SAMPLE_INT16: return AV_SAMPLE_FMT_S16;
    case MS_SAMPLE_INT24: return AV_SAMPLE_FMT_S32; /* in the upper 24 bits */
    case MS_SAMPLE_FLOAT32: break;
    }
    return AV_SAMPLE_FMT_FLT;
}

static int open_codec(struct ms_encoder *encoder, struct ms_error *err) {
    const struct ms_encode_options *options = &encoder->options;
    const AVChannelLayout stereo = AV_CHANNEL_LAYOUT_STEREO;
    const char *name = encoder_name(options);
    const AVCodec *codec = avcodec_find_encoder_by_name(name);
    if (codec == NULL)
        return ms_error_about(err, MS_EUNSUPPORTED, encoder->sink.path,
                              "this FFmpeg was built without %s", name);
    AVCodecContext *context = encoder->codec = avcodec_alloc_context3(codec);
    if (context == NULL)
        return encode_error(encoder, AVERROR(ENOMEM), "cannot be encoded", err);
    context->sample_fmt = sample_format(options);
    context->sample_rate = options->format == MS_FORMAT_OPUS ? OPUS_RATE_HZ : encoder->rate_hz;
    context->ch_layout = stereo;
    context->time_base = (AVRational){1, context->sample_rate};
    context->thread_count = 1;
    context->flags |= AV_CODEC_FLAG_BITEXACT;
    if ((encoder->muxer->oformat->flags & AVFMT_GLOBALHEADER) != 0)
        context->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    int kbps = options->bitrate_kbps != 0 ? options->bitrate_kbps : encoder->format->default_kbps;
    if (encoder->format->max_kbps > 0)
        context->bit_rate = (int64_t)kbps * 1000;
    if (options->format == MS_FORMAT_MP3)
        context->compression_level = options->mp3_preset != 0 ? options->mp3_preset : MP3_PRESET;
    if (context->sample_fmt == AV_SAMPLE_FMT_S32)
        context->bits_per_raw_sample = 24;
    int rc = options->format == MS_FORMAT_M4A ? ms_ffmpeg_tune_aac(context) : 0;
    if (rc >= 0)
        rc = avcodec_open2(context, codec, NULL);
    if (rc < 0)
        return encode_error(encoder, rc, "its encoder cannot be opened", err);

    encoder->block_frames = context->frame_size > 0 ? context->frame_size : PCM_BLOCK_FRAMES;
    AVFrame *frame = encoder->frame;
    frame->format = context->sample_fmt;
    frame->ch_layout = stereo;
    frame->sample_rate = context->sample_rate;
    frame->nb_samples = encoder->block_frames;
    rc = av_frame_get_buffer(frame, 0);
    if (rc < 0)
        return encode_error(encoder, rc, "cannot be encoded", err);
    if (options->format == MS_FORMAT_OPUS)
        return ms_converter_open(&encoder->converter, encoder->sink.path, &stereo,
                                 AV_SAMPLE_FMT_FLTP, encoder->rate_hz, OPUS_RATE_HZ, err);
    return 0;
}

static int open_muxer(struct ms_encoder *encoder, const struct ms_audio_tags *tags,
                      struct ms_error *err) {
    AVDictionary *options = NULL;
    AVStream *cover = NULL;
    AVFormatContext *muxer = encoder->muxer;
    AVStream *stream = encoder->stream = avformat_new_stream(muxer, NULL);
    int rc = stream != NULL ? 0 : AVERROR(ENOMEM);
    if (rc < 0)
        goto out;
    stream->time_base = encoder->codec->time_base;
    rc = avcodec_parameters_from_context(stream->codecpar, encoder->codec);
    if (rc < 0)
        goto out;
    if (encoder->frames >= 0 && encoder->options.format == MS_FORMAT_FLAC)
        ms_head_flac(stream->codecpar->extradata, stream->codecpar->extradata_size,
                     encoder->frames);
    rc = ms_tags_write(tags, encoder->options.format, muxer, stream, &cover, err);
    if (rc < 0)
        return rc;
    switch (encoder->options.format) {
    case MS_FORMAT_WAV: /* past 4 GiB the header changes to RF64 */
        rc = av_dict_set(&options, "rf64", "auto", 0);
        break;
    case MS_FORMAT_MP3: /* 2.3 is what every player reads */
        rc = av_dict_set(&options, "id3v2_version", "3", 0);
        break;
    case MS_FORMAT_M4A: /* lets the edit list end at any frame */
        rc = av_dict_set_int(&options, "movie_timescale", encoder->rate_hz, 0);
        if (rc >= 0 && encoder->frames >= 0) {
            rc = av_dict_set(&options, "movflags",
                             "empty_moov+delay_moov+default_base_moof+skip_trailer", 0);
            if (rc >= 0)
                rc = av_dict_set_int(&options, "frag_duration", FRAGMENT_US, 0);
            if (rc >= 0) /* so that there is a list of tags */
                rc = av_dict_set(&muxer->metadata, "gapless_playback", "1", 0);
            encoder->headless = true;
        }
        break;
    case MS_FORMAT_FLAC:
    case MS_FORMAT_OPUS: break;
    }
    if (rc >= 0)
        rc = avformat_write_header(muxer, &options);
out:
    av_dict_free(&options);
    if (rc < 0)
        return encode_error(encoder, rc, "its header cannot be written", err);
    return cover != NULL ? ms_tags_write_cover(tags, muxer, cover, err) : 0;
}

/* What a file's head learns at its end, a stream's is told now. */
static int complete_head(struct ms_encoder *encoder, struct ms_error *err) {
    struct ms_sink *sink = &encoder->sink;
    const AVCodecContext *codec = encoder->codec;
    avio_flush(encoder->sink.io);
    if (encoder->options.format == MS_FORMAT_WAV) {
        const int64_t data =
            encoder->frames * MS_AUDIO_CHANNELS * (av_get_bits_per_sample(codec->codec_id) / 8);
        encoder->length = (int64_t)sink->held_bytes + data;
        if (!ms_head_wav(sink->held, sink->held_bytes, encoder->frames, data))
            return ms_error_about(err, MS_EINTERNAL, sink->path, "its head is not that of a WAV");
    }
    if (encoder->options.format == MS_FORMAT_MP3 &&
        !ms_head_mp3(sink->held, sink->held_bytes, encoder->frames, codec->initial_padding,
                     codec->bit_rate, encoder->rate_hz))
        return ms_error_about(err, MS_EINTERNAL, sink->path, "its head is not that of an MP3");
    return 0;
}

/* path: of the file; frames -1. Or the stream's name. */
static int open_encoder(const char *path, int64_t frames, int sample_rate_hz,
                        const struct ms_encode_options *options, const struct ms_audio_tags *tags,
                        struct ms_encoder **out, struct ms_error *err) {
    ms_ffmpeg_init();
    ms_ffmpeg_forget_log();
    int rc = check_options(options, path, err);
    if (rc < 0)
        return rc;
    struct ms_encoder *encoder = calloc(1, sizeof *encoder);
    if (encoder == NULL)
        return ms_error_about(err, MS_ENOMEM, path, "out of memory");
    encoder->options = *options;
    encoder->format = &formats[options->format];
    encoder->rate_hz = sample_rate_hz;
    encoder->frames = frames;
    encoder->length = -1;
    rc = frames < 0 ? ms_sink_open(&encoder->sink, path, err)
                    : ms_sink_open_stream(&encoder->sink, path, err);
    if (rc < 0)
        goto out;
    encoder->packet = av_packet_alloc();
    encoder->frame = av_frame_alloc();
    rc = avformat_alloc_output_context2(&encoder->muxer, NULL, encoder->format->muxer, NULL);
    if (rc < 0 || encoder->packet == NULL || encoder->frame == NULL) {
        rc = encode_error(encoder, rc < 0 ? rc : AVERROR(ENOMEM), "cannot be encoded", err);
        goto out;
    }
    encoder->muxer->pb = encoder->sink.io;
    encoder->muxer->flags |= AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_BITEXACT;
    rc = open_codec(encoder, err);
    if (rc < 0)
        goto out;
    rc = open_muxer(encoder, tags, err);
    if (rc == 0 && frames >= 0)
        rc = complete_head(encoder, err);
out:
    if (rc < 0) {
        ms_encoder_free(encoder);
        return rc;
    }
    *out = encoder;
    return 0;
}

int ms_encoder_open(const char *path, int sample_rate_hz, const struct ms_encode_options *options,
                    const struct ms_audio_tags *tags, struct ms_encoder **out,
                    struct ms_error *err) {
    return open_encoder(path, -1, sample_rate_hz, options, tags, out, err);
}

int ms_encoder_open_stream(const char *name, int64_t frames, int sample_rate_hz,
                           const struct ms_encode_options *options,
                           const struct ms_audio_tags *tags, struct ms_encoder **out,
                           struct ms_error *err) {
    return open_encoder(name, frames, sample_rate_hz, options, tags, out, err);
}

/* The head of M4A comes with the first fragment. */
static int complete_fragments(struct ms_encoder *encoder, struct ms_error *err) {
    struct ms_sink *sink = &encoder->sink;
    int rc = ms_sink_reserve(sink, MS_HEAD_M4A_BYTES, err);
    if (rc != 0)
        return rc;
    const int64_t size =
        ms_head_m4a(sink->held, sink->held_bytes, encoder->frames, encoder->codec->initial_padding);
    if (size < 0)
        return ms_error_about(err, MS_EINTERNAL, sink->path, "its head is not that of an M4A");
    encoder->headless = size == 0;
    if (size > 0) {
        sink->taken -=
            size - (int64_t)sink->held_bytes; /* FFmpeg knows nothing of what was added */
        sink->held_bytes = (size_t)size;
    }
    return 0;
}

int ms_encoder_take(struct ms_encoder *encoder, const void **bytes, size_t *size,
                    struct ms_error *err) {
    *size = 0;
    int rc = encoder->headless ? complete_fragments(encoder, err) : 0;
    if (rc == 0 && !encoder->headless)
        ms_sink_take(&encoder->sink, bytes, size);
    return rc;
}

int64_t ms_encoder_length(const struct ms_encoder *encoder) {
    return encoder->length;
}

/* LAME may pad by more frames than its last packet holds, which FFmpeg does not count. The muxer
 * records the padding that the last packet names, so each packet of the flush names all the padding
 * up to itself. */
static int tell_padding(struct ms_encoder *encoder) {
    int64_t excess = encoder->packets * encoder->codec->frame_size -
                     encoder->codec->initial_padding - encoder->pts;
    if (excess <= 0)
        return 0;
    size_t size = 0;
    uint8_t *skip = av_packet_get_side_data(encoder->packet, AV_PKT_DATA_SKIP_SAMPLES, &size);
    if (skip == NULL) {
        skip = av_packet_new_side_data(encoder->packet, AV_PKT_DATA_SKIP_SAMPLES, 10);
        if (skip == NULL)
            return AVERROR(ENOMEM);
        memset(skip, 0, 10);
    }
    AV_WL32(skip + 4, (uint32_t)excess);
    return 0;
}

/* Encodes a frame; NULL: the end. */
static int send(struct ms_encoder *encoder, const AVFrame *frame, struct ms_error *err) {
    int rc = avcodec_send_frame(encoder->codec, frame);
    while (rc >= 0) {
        rc = avcodec_receive_packet(encoder->codec, encoder->packet);
        if (rc == AVERROR(EAGAIN) || rc == AVERROR_EOF)
            return ms_sink_check(&encoder->sink, err);
        if (rc < 0)
            break;
        encoder->packets++;
        if (frame == NULL && encoder->options.format == MS_FORMAT_MP3 &&
            (rc = tell_padding(encoder)) < 0)
            break;
        encoder->packet->stream_index = encoder->stream->index;
        av_packet_rescale_ts(encoder->packet, encoder->codec->time_base,
                             encoder->stream->time_base);
        rc = av_write_frame(encoder->muxer, encoder->packet);
        av_packet_unref(encoder->packet);
    }
    return encode_error(encoder, rc, "cannot be encoded", err);
}

/* Sends the gathered frames to the codec: a full block, or the last part of one. */
static int send_block(struct ms_encoder *encoder, struct ms_error *err) {
    encoder->frame->nb_samples = encoder->filled;
    encoder->frame->pts = encoder->pts;
    encoder->pts += encoder->filled;
    encoder->filled = 0;
    int rc = send(encoder, encoder->frame, err);
    if (rc < 0)
        return rc;
    /* The codec may keep a reference to the buffer. */
    encoder->frame->nb_samples = encoder->block_frames;
    rc = av_frame_make_writable(encoder->frame);
    return rc < 0 ? encode_error(encoder, rc, "cannot be encoded", err) : 0;
}

/* Rounds to the nearest of the integers -scale .. scale - 1. */
static int32_t quantise(float sample, float scale) {
    float scaled = sample * scale;
    return (int32_t)lrintf(fminf(fmaxf(scaled, -scale), scale - 1));
}

/* Copies frames of two planes into the block, from `filled` on, in the codec's format. */
static void gather(struct ms_encoder *encoder, const float *const planes[MS_AUDIO_CHANNELS],
                   size_t from, size_t frames) {
    for (int c = 0; c < MS_AUDIO_CHANNELS; c++) {
        const float *in = planes[c] + from;
        size_t at = (size_t)encoder->filled * MS_AUDIO_CHANNELS + (size_t)c;
        switch (encoder->codec->sample_fmt) {
        case AV_SAMPLE_FMT_S16: {
            int16_t *to = (int16_t *)(void *)encoder->frame->data[0] + at;
            for (size_t i = 0; i < frames; i++)
                to[i * MS_AUDIO_CHANNELS] = (int16_t)quantise(in[i], 32768);
            break;
        }
        case AV_SAMPLE_FMT_S32: {
            int32_t *to = (int32_t *)(void *)encoder->frame->data[0] + at;
            for (size_t i = 0; i < frames; i++)
                to[i * MS_AUDIO_CHANNELS] = quantise(in[i], 8388608) * 256;
            break;
        }
        case AV_SAMPLE_FMT_FLT: {
            float *to = (float *)(void *)encoder->frame->data[0] + at;
            for (size_t i = 0; i < frames; i++)
                to[i * MS_AUDIO_CHANNELS] = in[i];
            break;
        }
        default: /* AV_SAMPLE_FMT_FLTP */
            memcpy((float *)(void *)encoder->frame->extended_data[c] + encoder->filled, in,
                   frames * sizeof(float));
            break;
        }
    }
    encoder->filled += (int)frames;
}

static int fill_blocks(struct ms_encoder *encoder, const float *const planes[MS_AUDIO_CHANNELS],
                       size_t frames, struct ms_error *err) {
    size_t done = 0;
    while (done < frames) {
        size_t room = (size_t)(encoder->block_frames - encoder->filled);
        size_t piece = frames - done < room ? frames - done : room;
        gather(encoder, planes, done, piece);
        done += piece;
        if (encoder->filled == encoder->block_frames) {
            int rc = send_block(encoder, err);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

static int fill_from_stage(struct ms_encoder *encoder, int count, struct ms_error *err) {
    const float *planes[MS_AUDIO_CHANNELS] = {encoder->converter.stage[0],
                                              encoder->converter.stage[1]};
    return fill_blocks(encoder, planes, (size_t)count, err);
}

int ms_encoder_write(struct ms_encoder *encoder, const float *const planes[MS_AUDIO_CHANNELS],
                     size_t frames, struct ms_error *err) {
    ms_ffmpeg_forget_log();
    if (encoder->converter.swr == NULL)
        return fill_blocks(encoder, planes, frames, err);
    for (size_t done = 0; done < frames;) {
        size_t left = frames - done;
        int piece = left < MS_CONVERT_MAX_FRAMES ? (int)left : MS_CONVERT_MAX_FRAMES;
        const uint8_t *at[MS_AUDIO_CHANNELS] = {(const uint8_t *)(planes[0] + done),
                                                (const uint8_t *)(planes[1] + done)};
        int count;
        int rc = ms_converter_push(&encoder->converter, at, piece, &count, err);
        if (rc < 0 || (rc = fill_from_stage(encoder, count, err)) < 0)
            return rc;
        done += (size_t)piece;
    }
    return 0;
}

int ms_encoder_finish(struct ms_encoder *encoder, struct ms_error *err) {
    ms_ffmpeg_forget_log();
    int rc = 0;
    for (int count = 1; encoder->converter.swr != NULL && count > 0;) {
        rc = ms_converter_drain(&encoder->converter, &count, err);
        if (rc < 0 || (rc = fill_from_stage(encoder, count, err)) < 0)
            return rc;
    }
    if (encoder->filled > 0 && (rc = send_block(encoder, err)) < 0)
        return rc;
    rc = send(encoder, NULL, err);
    if (rc < 0)
        return rc;
    rc = av_write_trailer(encoder->muxer);
    if (rc < 0)
        return encode_error(encoder, rc, "cannot be completed", err);
    encoder->muxer->pb = NULL;
    return ms_sink_finish(&encoder->sink, err);
}

int ms_encoder_publish(struct ms_encoder *encoder, struct ms_error *err) {
    return ms_sink_publish(&encoder->sink, err);
}

void ms_encoder_free(struct ms_encoder *encoder) {
    if (encoder == NULL)
        return;
    ms_converter_close(&encoder->converter);
    avcodec_free_context(&encoder->codec);
    avformat_free_context(encoder->muxer); /* it does not own the sink's I/O */
    av_packet_free(&encoder->packet);
    av_frame_free(&encoder->frame);
    ms_sink_discard(&encoder->sink);
    free(encoder);
}
