/* Any file -> planar stereo float at the rate asked for, by blocks. Owns the open input, FFmpeg's
 * packet and frame, and the converter; no other memory, whatever the file's length. Runs on the
 * caller's thread.
 *
 * A read walks: packet -> decoder -> frame -> (in pieces) converter -> stage -> the caller's
 * planes. Rewinding closes demuxer and decoder and opens them anew on the same file, so that a
 * second pass cannot differ from the first. */
#include "msaas/audio.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <libavutil/avstring.h>
#include <libavutil/mathematics.h>

#include "convert.h"
#include "ffmpeg.h"
#include "input.h"
#include "tags.h"

#define MAX_PACKET_BYTES (16 << 20)
#define MAX_BARREN_PACKETS 10000 /* in a row without audio: minutes of a song */

struct ms_decoder {
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

    struct ms_converter converter; /* of the current frames' format; swr == NULL: none yet */
    int stage_at, stage_count;     /* converted, not yet given to the caller */
    int64_t given_frames;
};

static void stop(struct ms_decoder *decoder) {
    ms_converter_close(&decoder->converter);
    ms_input_stop(&decoder->input);
    if (decoder->frame != NULL)
        av_frame_unref(decoder->frame);
    if (decoder->packet != NULL)
        av_packet_unref(decoder->packet);
    decoder->frame_at = decoder->stage_at = decoder->stage_count = decoder->barren = 0;
    decoder->source_frames = decoder->given_frames = 0;
    decoder->end_frames = -1;
    decoder->decode_error = 0;
    decoder->any_packet = decoder->flushing = decoder->decoded_all = decoder->ended = false;
    decoder->damaged = false;
}

static int feed(struct ms_decoder *decoder, struct ms_error *err) {
    struct ms_input *input = &decoder->input;
    AVPacket *packet = decoder->packet;
    int rc = av_read_frame(input->format, packet);
    if (rc < 0 && input->read_errno != 0)
        return ms_error_about(err, MS_EIO, input->path, "cannot be read: %s",
                              strerror(input->read_errno));
    if (rc == AVERROR(EAGAIN))
        return 0;
    if (rc < 0) { /* the end, or a place after which the demuxer finds nothing */
        if (rc != AVERROR_EOF) {
            decoder->damaged = true;
            decoder->decode_error = rc;
        }
        decoder->flushing = true;
        (void)avcodec_send_packet(input->codec, NULL);
        return 0;
    }
    if (packet->stream_index != input->stream->index) {
        av_packet_unref(packet);
        return 0;
    }
    if (packet->size > MAX_PACKET_BYTES) {
        av_packet_unref(packet);
        return ms_error_about(err, MS_EINPUT, input->path, "has a packet of more than %d MiB",
                              MAX_PACKET_BYTES >> 20);
    }
    if (!decoder->any_packet) {
        decoder->any_packet = true;
        decoder->end_frames = ms_input_end(input, packet);
    }
    if ((packet->flags & AV_PKT_FLAG_CORRUPT) != 0)
        decoder->damaged = true;
    rc = avcodec_send_packet(input->codec, packet);
    av_packet_unref(packet);
    if (rc < 0 && rc != AVERROR_EOF) {
        decoder->damaged = true;
        decoder->decode_error = rc;
    }
    return 0;
}

static int check_frame(const struct ms_decoder *decoder, struct ms_error *err) {
    const AVFrame *frame = decoder->frame;
    int channels = frame->ch_layout.nb_channels;
    if (channels < 1 || channels > MS_AUDIO_MAX_CHANNELS)
        return ms_error_about(err, MS_EINPUT, decoder->input.path,
                              "has %d channels; at most %d are accepted", channels,
                              MS_AUDIO_MAX_CHANNELS);
    if (frame->sample_rate < MS_AUDIO_MIN_RATE_HZ || frame->sample_rate > MS_AUDIO_MAX_RATE_HZ)
        return ms_error_about(err, MS_EINPUT, decoder->input.path,
                              "has a sample rate of %d Hz; %d to %d Hz are accepted",
                              frame->sample_rate, MS_AUDIO_MIN_RATE_HZ, MS_AUDIO_MAX_RATE_HZ);
    return 0;
}

/* The next frame with samples in it, or decoded_all. */
static int next_frame(struct ms_decoder *decoder, struct ms_error *err) {
    AVFrame *frame = decoder->frame;
    decoder->frame_at = 0;
    for (;;) {
        av_frame_unref(frame);
        if (decoder->barren > MAX_BARREN_PACKETS)
            return ms_ffmpeg_error(err, MS_EINPUT, decoder->decode_error, decoder->input.path,
                                   "is too damaged: %d packets in a row hold no audio",
                                   MAX_BARREN_PACKETS);
        int rc = avcodec_receive_frame(decoder->input.codec, frame);
        if (rc == AVERROR_EOF) {
            decoder->decoded_all = true;
            return 0;
        }
        if (rc == AVERROR(ENOMEM))
            return ms_error_about(err, MS_ENOMEM, decoder->input.path, "out of memory");
        if (rc < 0) {
            decoder->barren++;
            if (rc != AVERROR(EAGAIN)) {
                decoder->damaged = true;
                decoder->decode_error = rc;
            } else if (decoder->flushing) { /* the decoder neither ends nor gives a frame */
                decoder->decoded_all = true;
                return 0;
            } else {
                rc = feed(decoder, err);
                if (rc < 0)
                    return rc;
            }
            continue;
        }
        if (frame->decode_error_flags != 0)
            decoder->damaged = true;
        if (decoder->end_frames >= 0 &&
            frame->nb_samples > decoder->end_frames - decoder->source_frames)
            frame->nb_samples = (int)(decoder->end_frames - decoder->source_frames);
        if (frame->nb_samples <= 0) {
            decoder->barren++;
            continue;
        }
        rc = check_frame(decoder, err);
        if (rc < 0)
            return rc;
        decoder->barren = 0;
        decoder->source_frames += frame->nb_samples;
        return 0;
    }
}

static bool converter_fits(const struct ms_decoder *decoder) {
    const struct ms_converter *converter = &decoder->converter;
    const AVFrame *frame = decoder->frame;
    return converter->format == frame->format && converter->in_rate_hz == frame->sample_rate &&
           av_channel_layout_compare(&converter->layout, &frame->ch_layout) == 0;
}

/* Whether a file that states its length ended early. Matroska states only the length of the whole
 * file, which is the audio's where there is no other stream. */
static bool is_short(const struct ms_decoder *decoder) {
    const AVFormatContext *format = decoder->input.format;
    const AVStream *stream = decoder->input.stream;
    bool of_file = stream->duration == AV_NOPTS_VALUE && format->nb_streams == 1;
    int64_t duration = of_file ? format->duration : stream->duration;
    AVRational base = of_file ? AV_TIME_BASE_Q : stream->time_base;
    int rate = stream->codecpar->sample_rate;
    if (format->duration_estimation_method == AVFMT_DURATION_FROM_BITRATE ||
        duration == AV_NOPTS_VALUE || rate <= 0)
        return false;
    int64_t said = av_rescale_q(duration, base, (AVRational){1, rate});
    int64_t tolerance = said / 50 > rate / 2 ? said / 50 : rate / 2;
    return decoder->source_frames < said - tolerance;
}

/* Puts the next frames into the converter's stage, or sets `ended`. */
static int refill(struct ms_decoder *decoder, struct ms_error *err) {
    struct ms_converter *converter = &decoder->converter;
    AVFrame *frame = decoder->frame;
    decoder->stage_at = decoder->stage_count = 0;
    while (decoder->stage_count == 0) {
        int rc;
        if (!decoder->decoded_all && decoder->frame_at == frame->nb_samples &&
            (rc = next_frame(decoder, err)) < 0)
            return rc;
        if (decoder->decoded_all || (converter->swr != NULL && !converter_fits(decoder))) {
            /* All frames of this format are in: take what the filter still holds. */
            if (converter->swr != NULL &&
                (rc = ms_converter_drain(converter, &decoder->stage_count, err)) < 0)
                return rc;
            if (decoder->stage_count == 0) {
                ms_converter_close(converter);
                if (decoder->decoded_all) {
                    decoder->ended = true;
                    decoder->damaged = decoder->damaged || is_short(decoder);
                    return 0;
                }
            }
            continue;
        }
        if (converter->swr == NULL &&
            (rc = ms_converter_open(converter, decoder->input.path, &frame->ch_layout,
                                    (enum AVSampleFormat)frame->format, frame->sample_rate,
                                    decoder->rate_hz, err)) < 0)
            return rc;
        const uint8_t *planes[MS_AUDIO_MAX_CHANNELS];
        int sample_bytes = av_get_bytes_per_sample(converter->format);
        bool planar = av_sample_fmt_is_planar(converter->format) != 0;
        int channels = frame->ch_layout.nb_channels;
        int step_bytes = planar ? sample_bytes : sample_bytes * channels;
        for (int p = 0; p < (planar ? channels : 1); p++)
            planes[p] = frame->extended_data[p] + (ptrdiff_t)decoder->frame_at * step_bytes;
        int left = frame->nb_samples - decoder->frame_at;
        int piece = left < MS_CONVERT_MAX_FRAMES ? left : MS_CONVERT_MAX_FRAMES;
        decoder->frame_at += piece;
        rc = ms_converter_push(converter, planes, piece, &decoder->stage_count, err);
        if (rc < 0)
            return rc;
    }
    return 0;
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

/* Makes the stage hold at least one frame, all finite, unless the end is reached. */
static int ensure_stage(struct ms_decoder *decoder, struct ms_error *err) {
    if (decoder->stage_at < decoder->stage_count || decoder->ended)
        return 0;
    int rc = refill(decoder, err);
    if (rc < 0)
        return rc;
    for (int c = 0; c < MS_AUDIO_CHANNELS && !decoder->ended; c++)
        if (!all_finite(decoder->converter.stage[c], decoder->stage_count))
            return ms_error_about(err, MS_EINPUT, decoder->input.path,
                                  "holds NaN or infinity at %.1f s; samples must be finite numbers",
                                  (double)decoder->given_frames / decoder->rate_hz);
    return 0;
}

static int start(struct ms_decoder *decoder, struct ms_error *err) {
    int rc = ms_input_start(&decoder->input, err);
    return rc < 0 ? rc : ensure_stage(decoder, err);
}

int ms_decoder_open(const char *path, int sample_rate_hz, struct ms_decoder **out,
                    struct ms_error *err) {
    struct ms_decoder *decoder = calloc(1, sizeof *decoder);
    if (decoder == NULL)
        return ms_error_about(err, MS_ENOMEM, path, "out of memory");
    decoder->rate_hz = sample_rate_hz;
    decoder->end_frames = -1;
    int rc = ms_input_open(&decoder->input, path, err);
    if (rc < 0)
        goto out;
    decoder->packet = av_packet_alloc();
    decoder->frame = av_frame_alloc();
    if (decoder->packet == NULL || decoder->frame == NULL) {
        rc = ms_error_about(err, MS_ENOMEM, path, "out of memory");
        goto out;
    }
    rc = start(decoder, err);
    if (rc < 0)
        goto out;
    if (decoder->ended) {
        rc = decoder->decode_error != 0
                 ? ms_ffmpeg_error(err, MS_EINPUT, decoder->decode_error, path,
                                   "none of its audio can be decoded")
                 : ms_error_about(err, MS_EINPUT, path, "holds no audio (zero samples)");
        goto out;
    }
    rc = ms_tags_read(decoder->input.format, decoder->input.stream, &decoder->tags, err);
out:
    if (rc < 0) {
        ms_decoder_free(decoder);
        return rc;
    }
    *out = decoder;
    return 0;
}

void ms_decoder_free(struct ms_decoder *decoder) {
    if (decoder == NULL)
        return;
    stop(decoder);
    ms_input_close(&decoder->input);
    av_packet_free(&decoder->packet);
    av_frame_free(&decoder->frame);
    ms_tags_free(decoder->tags);
    free(decoder);
}

const struct ms_audio_tags *ms_decoder_tags(const struct ms_decoder *decoder) {
    return decoder->tags;
}

bool ms_decoder_was_damaged(const struct ms_decoder *decoder) {
    return decoder->damaged;
}

int ms_decoder_read(struct ms_decoder *decoder, float *const planes[MS_AUDIO_CHANNELS],
                    size_t capacity, size_t *frames, struct ms_error *err) {
    *frames = 0;
    size_t done = 0;
    while (done < capacity) {
        int rc = ensure_stage(decoder, err);
        if (rc < 0)
            return rc;
        if (decoder->ended)
            break;
        size_t ready = (size_t)(decoder->stage_count - decoder->stage_at);
        size_t piece = capacity - done < ready ? capacity - done : ready;
        for (int c = 0; c < MS_AUDIO_CHANNELS; c++)
            memcpy(planes[c] + done, decoder->converter.stage[c] + decoder->stage_at,
                   piece * sizeof(float));
        decoder->stage_at += (int)piece;
        decoder->given_frames += (int64_t)piece;
        done += piece;
    }
    *frames = done;
    return 0;
}

int ms_decoder_rewind(struct ms_decoder *decoder, struct ms_error *err) {
    stop(decoder);
    return start(decoder, err);
}
