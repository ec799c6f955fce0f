/* Four stems, planar float -> five tracks of AAC or ALAC in one MP4 file: the mix is made here. Has
 * an encoder for each track, and the file in the making (mp4.c). Runs on the caller's thread. */
#include "msaas/stem_mp4.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <libavcodec/avcodec.h>

#include "ffmpeg.h"
#include "mp4.h"

#define DEFAULT_KBPS 256
#define MIX 0 /* the number of its track */

const char *const ms_stem_mp4_stems[MS_STEM_MP4_STEMS] = {"drums", "bass", "other", "vocals"};

static const char *const names[MS_STEM_MP4_TRACKS] = {"Mix", "Drums", "Bass", "Other", "Vocals"};

/* What version 1 asks for. Players are to change nothing; the colours can be told apart by people
 * who see few. */
static const char manifest[] =
    "{\"mastering_dsp\":{\"compressor\":{\"enabled\":false,\"input_gain\":0,\"output_gain\":0,"
    "\"threshold\":0,\"dry_wet\":100,\"attack\":0.003,\"release\":0.3,\"ratio\":2,"
    "\"hp_cutoff\":20},\"limiter\":{\"enabled\":false,\"threshold\":0,\"ceiling\":0,"
    "\"release\":0.05}},\"version\":1,\"stems\":[{\"name\":\"Drums\",\"color\":\"#009E73\"},"
    "{\"name\":\"Bass\",\"color\":\"#D55E00\"},{\"name\":\"Other\",\"color\":\"#CC79A7\"},"
    "{\"name\":\"Vocals\",\"color\":\"#56B4E9\"}]}";

struct track {
    AVCodecContext *codec;
    AVFrame *frame; /* [codec->frame_size], planar */
    int filled;
};

struct ms_stem_mp4 {
    struct ms_mp4 *mp4;
    struct track tracks[MS_STEM_MP4_TRACKS];
    AVPacket *packet;
    int64_t frames; /* written */
};

static int fail(int av_error, const char *what, struct ms_error *err) {
    return ms_ffmpeg_error(err, av_error == AVERROR(ENOMEM) ? MS_ENOMEM : MS_EINTERNAL, av_error,
                           NULL, "a stem file %s", what);
}

static int open_track(struct track *track, int rate_hz, const struct ms_stem_mp4_options *options,
                      struct ms_error *err) {
    const bool aac = options->codec == MS_STEM_MP4_AAC;
    const AVChannelLayout stereo = AV_CHANNEL_LAYOUT_STEREO;
    const AVCodec *codec = avcodec_find_encoder_by_name(aac ? "aac" : "alac");
    if (codec == NULL)
        return ms_error_set(err, MS_EUNSUPPORTED, "this FFmpeg was built without %s",
                            aac ? "aac" : "alac");
    AVCodecContext *context = track->codec = avcodec_alloc_context3(codec);
    AVFrame *frame = track->frame = av_frame_alloc();
    if (context == NULL || frame == NULL)
        return fail(AVERROR(ENOMEM), "cannot be made", err);
    context->sample_fmt = aac ? AV_SAMPLE_FMT_FLTP : AV_SAMPLE_FMT_S16P;
    context->sample_rate = rate_hz;
    context->ch_layout = stereo;
    context->time_base = (AVRational){1, rate_hz};
    context->thread_count = 1;
    context->flags |= AV_CODEC_FLAG_BITEXACT | AV_CODEC_FLAG_GLOBAL_HEADER;
    if (aac)
        context->bit_rate =
            (options->bitrate_kbps != 0 ? options->bitrate_kbps : DEFAULT_KBPS) * INT64_C(1000);
    int rc = aac ? ms_ffmpeg_tune_aac(context) : 0;
    if (rc >= 0)
        rc = avcodec_open2(context, codec, NULL);
    if (rc >= 0) {
        frame->format = context->sample_fmt;
        frame->ch_layout = stereo;
        frame->sample_rate = rate_hz;
        frame->nb_samples = context->frame_size;
        rc = av_frame_get_buffer(frame, 0);
    }
    return rc < 0 ? fail(rc, "has no encoder", err) : 0;
}

int ms_stem_mp4_open(int fd, int sample_rate_hz, const struct ms_stem_mp4_options *options,
                     struct ms_stem_mp4 **out, struct ms_error *err) {
    *out = NULL;
    ms_ffmpeg_init();
    ms_ffmpeg_forget_log();
    struct ms_stem_mp4 *file = calloc(1, sizeof *file);
    if (file == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a stem file");
    struct ms_mp4_track described[MS_STEM_MP4_TRACKS];
    file->packet = av_packet_alloc();
    int rc = file->packet != NULL ? 0 : fail(AVERROR(ENOMEM), "cannot be made", err);
    for (int i = 0; rc == 0 && i < MS_STEM_MP4_TRACKS; i++) {
        rc = open_track(&file->tracks[i], sample_rate_hz, options, err);
        const AVCodecContext *codec = file->tracks[i].codec;
        if (rc == 0)
            described[i] = (struct ms_mp4_track){
                .name = names[i],
                .enabled = i == MIX,
                .codec = options->codec == MS_STEM_MP4_AAC ? "mp4a" : "alac",
                .config = codec->extradata,
                .config_bytes = codec->extradata_size,
                .bits = 16,
                .sample_frames = codec->frame_size,
                .priming_frames = codec->initial_padding,
            };
    }
    if (rc == 0)
        rc = ms_mp4_open(fd, sample_rate_hz, described, MS_STEM_MP4_TRACKS, &file->mp4, err);
    if (rc == 0)
        *out = file;
    else
        ms_stem_mp4_free(file);
    return rc;
}

/* Encodes what the track has gathered; at the end, what its encoder holds back. */
static int send(struct ms_stem_mp4 *file, int number, bool end, struct ms_error *err) {
    struct track *track = &file->tracks[number];
    track->frame->nb_samples = track->filled;
    track->filled = 0;
    int rc = avcodec_send_frame(track->codec, end ? NULL : track->frame);
    while (rc >= 0) {
        rc = avcodec_receive_packet(track->codec, file->packet);
        if (rc == AVERROR(EAGAIN) || rc == AVERROR_EOF) {
            /* The codec may keep a reference to the buffer. */
            track->frame->nb_samples = track->codec->frame_size;
            rc = av_frame_make_writable(track->frame);
            return rc < 0 ? fail(rc, "cannot be encoded", err) : 0;
        }
        if (rc < 0)
            break;
        rc = ms_mp4_write(file->mp4, number, file->packet->data, (size_t)file->packet->size, err);
        av_packet_unref(file->packet);
        if (rc != 0)
            return rc;
    }
    return fail(rc, "cannot be encoded", err);
}

/* The frames of a track: a stem's own, or the sum of all. */
static void gather(struct track *track, int number,
                   const float *const stems[MS_STEM_MP4_STEMS][MS_AUDIO_CHANNELS], size_t from,
                   int frames) {
    for (int c = 0; c < MS_AUDIO_CHANNELS; c++) {
        for (int i = 0; i < frames; i++) {
            const size_t at = from + (size_t)i;
            const float sample = number != MIX ? stems[number - 1][c][at]
                                               : stems[0][c][at] + stems[1][c][at] +
                                                     stems[2][c][at] + stems[3][c][at];
            if (track->codec->sample_fmt == AV_SAMPLE_FMT_FLTP)
                ((float *)(void *)track->frame->data[c])[track->filled + i] = sample;
            else
                ((int16_t *)(void *)track->frame->data[c])[track->filled + i] =
                    (int16_t)lrintf(fminf(fmaxf(sample * 32768, -32768), 32767));
        }
    }
    track->filled += frames;
}

int ms_stem_mp4_write(struct ms_stem_mp4 *file,
                      const float *const stems[MS_STEM_MP4_STEMS][MS_AUDIO_CHANNELS], size_t frames,
                      struct ms_error *err) {
    ms_ffmpeg_forget_log();
    for (int n = 0; n < MS_STEM_MP4_TRACKS; n++) {
        struct track *track = &file->tracks[n];
        for (size_t done = 0; done < frames;) {
            const size_t room = (size_t)(track->codec->frame_size - track->filled);
            const size_t part = frames - done < room ? frames - done : room;
            gather(track, n, stems, done, (int)part);
            done += part;
            const int rc = part == room ? send(file, n, false, err) : 0;
            if (rc != 0)
                return rc;
        }
    }
    file->frames += (int64_t)frames;
    return 0;
}

int ms_stem_mp4_finish(struct ms_stem_mp4 *file, const struct ms_audio_tags *tags, int64_t *bytes,
                       struct ms_error *err) {
    ms_ffmpeg_forget_log();
    int rc = 0;
    for (int n = 0; rc == 0 && n < MS_STEM_MP4_TRACKS; n++) {
        if (file->tracks[n].filled > 0)
            rc = send(file, n, false, err);
        if (rc == 0)
            rc = send(file, n, true, err);
    }
    return rc == 0 ? ms_mp4_finish(file->mp4, file->frames, tags, manifest, bytes, err) : rc;
}

void ms_stem_mp4_free(struct ms_stem_mp4 *file) {
    if (file == NULL)
        return;
    for (int n = 0; n < MS_STEM_MP4_TRACKS; n++) {
        avcodec_free_context(&file->tracks[n].codec);
        av_frame_free(&file->tracks[n].frame);
    }
    av_packet_free(&file->packet);
    ms_mp4_free(file->mp4);
    free(file);
}
