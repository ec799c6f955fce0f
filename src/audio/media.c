/* Any file -> planar stereo float at the rate asked for, by blocks. Owns the input, FFmpeg's packet
 * and frame, and the converter; no other memory, whatever the file's length. One thread.
 *
 * A block walks: packet -> decoder -> frame -> (in pieces) converter -> stage. */
#include "msaas/media.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libavutil/avstring.h>
#include <libavutil/mathematics.h>

#include "convert.h"
#include "ffmpeg.h"
#include "input.h"
#include "tags.h"

#define MAX_PACKET_BYTES (16 << 20)
#define MAX_BARREN_PACKETS 10000 /* in a row without audio: minutes of a song */
#define MAX_CHANGES 100          /* of rate or channels; each makes the converter's filter anew */

struct ms_media {
    struct ms_input input;
    struct ms_audio_tags *tags;
    int rate_hz; /* of the output */
    AVPacket *packet;
    AVFrame *frame;
    int frame_at;          /* frames of `frame` already converted */
    int64_t source_frames; /* decoded so far, at the source's rate */
    int64_t end_frames;    /* see ms_input_end; -1: none */
    int barren;            /* packets in a row without audio */
    int decode_error;      /* FFmpeg's last one */
    bool any_packet, flushing, decoded_all, ended, damaged;

    int changes;                   /* of the frames' format */
    struct ms_converter converter; /* of the current frames' format; swr == NULL: none yet */
    int stage_count;               /* frames in its stage */
    bool given;                    /* the stage was given to the caller */
};

static int feed(struct ms_media *media, struct ms_error *err) {
    struct ms_input *input = &media->input;
    AVPacket *packet = media->packet;
    int rc = av_read_frame(input->format, packet);
    if (rc < 0 && input->read_error.code != 0)
        return ms_error_copy(err, &input->read_error);
    if (rc == AVERROR(EAGAIN))
        return 0;
    if (rc < 0) { /* the end, or a place after which the demuxer finds nothing */
        if (rc != AVERROR_EOF) {
            media->damaged = true;
            media->decode_error = rc;
        }
        media->flushing = true;
        (void)avcodec_send_packet(input->codec, NULL);
        return 0;
    }
    if (packet->stream_index != input->stream->index) {
        av_packet_unref(packet);
        return 0;
    }
    if (packet->size > MAX_PACKET_BYTES) {
        av_packet_unref(packet);
        return ms_error_set(err, MS_EINPUT, "has a packet of more than %d MiB",
                            MAX_PACKET_BYTES >> 20);
    }
    if (!media->any_packet) {
        media->any_packet = true;
        media->end_frames = ms_input_end(input, packet);
    }
    if ((packet->flags & AV_PKT_FLAG_CORRUPT) != 0)
        media->damaged = true;
    rc = avcodec_send_packet(input->codec, packet);
    av_packet_unref(packet);
    if (rc < 0 && rc != AVERROR_EOF) {
        media->damaged = true;
        media->decode_error = rc;
    }
    return 0;
}

static int check_frame(const struct ms_media *media, struct ms_error *err) {
    const AVFrame *frame = media->frame;
    int channels = frame->ch_layout.nb_channels;
    if (channels < 1 || channels > MS_AUDIO_MAX_CHANNELS)
        return ms_error_set(err, MS_EINPUT, "has %d channels; at most %d are accepted", channels,
                            MS_AUDIO_MAX_CHANNELS);
    if (frame->sample_rate < MS_AUDIO_MIN_RATE_HZ || frame->sample_rate > MS_AUDIO_MAX_RATE_HZ)
        return ms_error_set(err, MS_EINPUT, "has a sample rate of %d Hz; %d to %d Hz are accepted",
                            frame->sample_rate, MS_AUDIO_MIN_RATE_HZ, MS_AUDIO_MAX_RATE_HZ);
    return 0;
}

/* The next frame with samples in it, or decoded_all. */
static int next_frame(struct ms_media *media, struct ms_error *err) {
    AVFrame *frame = media->frame;
    media->frame_at = 0;
    for (;;) {
        av_frame_unref(frame);
        if (media->barren > MAX_BARREN_PACKETS)
            return ms_ffmpeg_error(err, MS_EINPUT, media->decode_error, NULL,
                                   "is too damaged: %d packets in a row hold no audio",
                                   MAX_BARREN_PACKETS);
        int rc = avcodec_receive_frame(media->input.codec, frame);
        if (rc == AVERROR_EOF) {
            media->decoded_all = true;
            return 0;
        }
        if (rc == AVERROR(ENOMEM))
            return ms_error_set(err, MS_ENOMEM, "out of memory");
        if (rc < 0) {
            media->barren++;
            if (rc != AVERROR(EAGAIN)) {
                media->damaged = true;
                media->decode_error = rc;
            } else if (media->flushing) { /* the decoder neither ends nor gives a frame */
                media->decoded_all = true;
                return 0;
            } else {
                rc = feed(media, err);
                if (rc < 0)
                    return rc;
            }
            continue;
        }
        if (frame->decode_error_flags != 0)
            media->damaged = true;
        if (media->end_frames >= 0 && frame->nb_samples > media->end_frames - media->source_frames)
            frame->nb_samples = (int)(media->end_frames - media->source_frames);
        if (frame->nb_samples <= 0) {
            media->barren++;
            continue;
        }
        rc = check_frame(media, err);
        if (rc < 0)
            return rc;
        media->barren = 0;
        media->source_frames += frame->nb_samples;
        return 0;
    }
}

static bool converter_fits(const struct ms_media *media) {
    const struct ms_converter *converter = &media->converter;
    const AVFrame *frame = media->frame;
    return converter->format == frame->format && converter->in_rate_hz == frame->sample_rate &&
           av_channel_layout_compare(&converter->layout, &frame->ch_layout) == 0;
}

/* Whether a file that states its length ended early. Matroska states only the length of the whole
 * file, which is the audio's where there is no other stream. */
static bool is_short(const struct ms_media *media) {
    const AVFormatContext *format = media->input.format;
    const AVStream *stream = media->input.stream;
    bool of_file = stream->duration == AV_NOPTS_VALUE && format->nb_streams == 1;
    int64_t duration = of_file ? format->duration : stream->duration;
    AVRational base = of_file ? AV_TIME_BASE_Q : stream->time_base;
    int rate = stream->codecpar->sample_rate;
    if (format->duration_estimation_method == AVFMT_DURATION_FROM_BITRATE ||
        duration == AV_NOPTS_VALUE || rate <= 0)
        return false;
    int64_t said = av_rescale_q(duration, base, (AVRational){1, rate});
    int64_t tolerance = said / 50 > rate / 2 ? said / 50 : rate / 2;
    return media->source_frames < said - tolerance;
}

/* Puts the next frames into the converter's stage, or sets `ended`. */
static int refill(struct ms_media *media, struct ms_error *err) {
    struct ms_converter *converter = &media->converter;
    AVFrame *frame = media->frame;
    media->stage_count = 0;
    while (media->stage_count == 0) {
        int rc;
        if (!media->decoded_all && media->frame_at == frame->nb_samples &&
            (rc = next_frame(media, err)) < 0)
            return rc;
        if (media->decoded_all || (converter->swr != NULL && !converter_fits(media))) {
            /* All frames of this format are in: take what the filter still holds. */
            if (converter->swr != NULL &&
                (rc = ms_converter_drain(converter, &media->stage_count, err)) < 0)
                return rc;
            if (media->stage_count == 0) {
                ms_converter_close(converter);
                if (media->decoded_all) {
                    media->ended = true;
                    media->damaged = media->damaged || is_short(media);
                    return 0;
                }
            }
            continue;
        }
        if (converter->swr == NULL && media->changes++ > MAX_CHANGES)
            return ms_error_set(err, MS_EINPUT,
                                "changes its sample rate or channels more than %d times",
                                MAX_CHANGES);
        if (converter->swr == NULL &&
            (rc = ms_converter_open(converter, NULL, &frame->ch_layout,
                                    (enum AVSampleFormat)frame->format, frame->sample_rate,
                                    media->rate_hz, err)) < 0)
            return rc;
        const uint8_t *planes[MS_AUDIO_MAX_CHANNELS];
        int sample_bytes = av_get_bytes_per_sample(converter->format);
        bool planar = av_sample_fmt_is_planar(converter->format) != 0;
        int channels = frame->ch_layout.nb_channels;
        int step_bytes = planar ? sample_bytes : sample_bytes * channels;
        for (int p = 0; p < (planar ? channels : 1); p++)
            planes[p] = frame->extended_data[p] + (ptrdiff_t)media->frame_at * step_bytes;
        int left = frame->nb_samples - media->frame_at;
        int piece = left < MS_CONVERT_MAX_FRAMES ? left : MS_CONVERT_MAX_FRAMES;
        media->frame_at += piece;
        rc = ms_converter_push(converter, planes, piece, &media->stage_count, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int open_media(const struct ms_media_source *source, const char *accepted,
                      int sample_rate_hz, struct ms_media **out, struct ms_error *err) {
    struct ms_media *media = calloc(1, sizeof *media);
    if (media == NULL)
        return ms_error_set(err, MS_ENOMEM, "out of memory");
    media->rate_hz = sample_rate_hz;
    media->end_frames = -1;
    media->packet = av_packet_alloc();
    media->frame = av_frame_alloc();
    int rc = media->packet != NULL && media->frame != NULL
                 ? 0
                 : ms_error_set(err, MS_ENOMEM, "out of memory");
    if (rc == 0)
        rc = ms_input_open(&media->input, source, accepted, err);
    if (rc == 0)
        rc = refill(media, err);
    if (rc == 0 && media->ended)
        rc = media->decode_error != 0
                 ? ms_ffmpeg_error(err, MS_EINPUT, media->decode_error, NULL,
                                   "none of its audio can be decoded")
                 : ms_error_set(err, MS_EINPUT, "holds no audio (zero samples)");
    if (rc == 0)
        rc = ms_tags_read(media->input.format, media->input.stream, &media->tags, err);
    if (rc < 0) {
        ms_media_free(media);
        return rc;
    }
    *out = media;
    return 0;
}

/* context: the descriptor, as a number. */
static int read_file(void *context, int64_t at, void *buffer, size_t size, size_t *got,
                     struct ms_error *err) {
    ssize_t count;
    do
        count = pread((int)(intptr_t)context, buffer, size, (off_t)at);
    while (count < 0 && errno == EINTR);
    if (count < 0)
        return ms_error_set(err, MS_EIO, "cannot be read: %s", strerror(errno));
    *got = (size_t)count;
    return 0;
}

int ms_media_open(int fd, int sample_rate_hz, struct ms_media **out, struct ms_error *err) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): a number, and nobody takes it for an address
    void *const context = (void *)(intptr_t)fd;
    const struct ms_media_source source = {
        .bytes = lseek(fd, 0, SEEK_END), .read = read_file, .context = context};
    if (source.bytes < 0)
        return ms_error_set(err, MS_EIO, "cannot be read: %s", strerror(errno));
    return open_media(&source, NULL, sample_rate_hz, out, err);
}

int ms_media_open_source(const struct ms_media_source *source, enum ms_audio_format format,
                         int sample_rate_hz, struct ms_media **out, struct ms_error *err) {
    static const char *const containers[] = {[MS_FORMAT_WAV] = "wav",
                                             [MS_FORMAT_MP3] = "mp3",
                                             [MS_FORMAT_FLAC] = "flac",
                                             [MS_FORMAT_OPUS] = "ogg",
                                             [MS_FORMAT_M4A] = "mov"};
    return open_media(source, containers[format], sample_rate_hz, out, err);
}

int64_t ms_media_frames(const struct ms_media *media) {
    const AVStream *stream = media->input.stream;
    const char *container = media->input.container->name;
    const bool exact = strcmp(container, "flac") == 0 || strcmp(container, "wav") == 0;
    if (!exact || stream->duration <= 0 || stream->codecpar->sample_rate != media->rate_hz)
        return -1;
    return av_rescale_q(stream->duration, stream->time_base, (AVRational){1, media->rate_hz});
}

void ms_media_free(struct ms_media *media) {
    if (media == NULL)
        return;
    ms_converter_close(&media->converter);
    ms_input_close(&media->input);
    av_packet_free(&media->packet);
    av_frame_free(&media->frame);
    ms_tags_free(media->tags);
    free(media);
}

const struct ms_audio_tags *ms_media_tags(const struct ms_media *media) {
    return media->tags;
}

bool ms_media_was_damaged(const struct ms_media *media) {
    return media->damaged;
}

int ms_media_next(struct ms_media *media, const float *planes[MS_AUDIO_CHANNELS], int *frames,
                  struct ms_error *err) {
    int rc = media->given && !media->ended ? refill(media, err) : 0;
    if (rc < 0)
        return rc;
    for (int c = 0; c < MS_AUDIO_CHANNELS; c++)
        planes[c] = media->converter.stage[c];
    *frames = media->ended ? 0 : media->stage_count;
    media->given = true;
    return 0;
}
