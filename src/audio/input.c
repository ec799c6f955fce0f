/* From an open file to a demuxer and a decoder, for hostile files. FFmpeg sees only the file's
 * bytes through read_bytes, so that nothing in it can make FFmpeg open another file or the network.
 * The two lists below name the accepted containers and codecs. */
#include "input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <libavutil/avstring.h>
#include <libavutil/intreadwrite.h>
#include <libavutil/opt.h>

#include "ffmpeg.h"
#include "msaas/audio.h"

#define IO_BUFFER_BYTES (32 << 10)
#define PROBE_BYTES (1 << 20)   /* read to find out the container */
#define ANALYSE_BYTES (4 << 20) /* read to find out the streams' parameters */
#define MAX_STREAMS 64
#define MAX_ID3_TAGS 8
#define MAX_PRIMING_FRAMES 8192 /* encoders delay audio by less */

/* FFmpeg's names. Absent on purpose: everything that refers to other files or to the network (hls,
 * concat, dash, sdp, image2 ...), devices, and formats of text. */
static const char containers[] =
    "aac,ac3,aiff,ape,asf,au,caf,eac3,flac,matroska,mov,mp3,ogg,w64,wav,wv";
static const char codecs[] =
    "aac,ac3,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,alac,ape,dca,eac3,flac,mp1float,mp2float,mp3,"
    "mp3float,opus,"
    "pcm_alaw,pcm_f32be,pcm_f32le,pcm_f64be,pcm_f64le,pcm_mulaw,pcm_s16be,pcm_s16le,pcm_s24be,pcm_"
    "s24le,pcm_s32be,"
    "pcm_s32le,pcm_s8,pcm_u8,vorbis,wavpack,wmalossless,wmapro,wmav1,wmav2";

static int read_bytes(void *opaque, uint8_t *buffer, int size) {
    struct ms_input *input = opaque;
    size_t got = 0;
    /* Some offsets that a file can name are an error to the kernel. */
    if (input->at_bytes >= input->source.bytes)
        return AVERROR_EOF;
    if (input->source.read(input->source.context, input->at_bytes, buffer, (size_t)size, &got,
                           &input->read_error) != 0)
        return AVERROR(EIO);
    input->at_bytes += (int64_t)got;
    return got > 0 ? (int)got : AVERROR_EOF;
}

static int64_t seek_bytes(void *opaque, int64_t offset, int whence) {
    struct ms_input *input = opaque;
    switch (whence & ~AVSEEK_FORCE) {
    case AVSEEK_SIZE: return input->source.bytes;
    case SEEK_SET: break;
    case SEEK_CUR:
        if (offset > 0 && input->at_bytes > INT64_MAX - offset)
            return AVERROR(EINVAL);
        offset += input->at_bytes;
        break;
    case SEEK_END:
        if (offset > 0)
            return AVERROR(EINVAL);
        offset += input->source.bytes;
        break;
    default: return AVERROR(EINVAL);
    }
    if (offset < 0)
        return AVERROR(EINVAL);
    input->at_bytes = offset;
    return offset;
}

static int refuse_to_open(AVFormatContext *format, AVIOContext **io, const char *url, int flags,
                          AVDictionary **options) {
    (void)format, (void)io, (void)url, (void)flags, (void)options;
    return AVERROR(EPERM);
}

/* Fills the buffer from `at`; *got is less than its size only at the end of the file. */
static int read_at(struct ms_input *input, int64_t at, uint8_t *buffer, int size, int *got,
                   struct ms_error *err) {
    *got = 0;
    input->at_bytes = at;
    while (*got < size) {
        int part = read_bytes(input, buffer + *got, size - *got);
        if (part == AVERROR_EOF)
            return 0;
        if (part < 0)
            return ms_error_copy(err, &input->read_error);
        *got += part;
    }
    return 0;
}

/* Finds the container by the bytes alone; the file's name does not count. Skips ID3v2 tags first,
 * since a large cover picture in them puts the audio behind the part that is read. */
static int find_container(struct ms_input *input, const char *accepted, struct ms_error *err) {
    uint8_t *window = av_mallocz(PROBE_BYTES + AVPROBE_PADDING_SIZE);
    if (window == NULL)
        return ms_error_set(err, MS_ENOMEM, "out of memory");
    int64_t at = 0;
    int got = 0;
    int rc = 0;
    for (int tags = 0; tags < MAX_ID3_TAGS; tags++) {
        uint8_t head[10];
        rc = read_at(input, at, head, (int)sizeof head, &got, err);
        if (rc < 0)
            goto out;
        if (got < (int)sizeof head || memcmp(head, "ID3", 3) != 0)
            break;
        int64_t length = (int64_t)(head[6] & 0x7f) << 21 | (head[7] & 0x7f) << 14 |
                         (head[8] & 0x7f) << 7 | (head[9] & 0x7f);
        int64_t footer = (head[5] & 0x10) != 0 ? 10 : 0;
        at += (int64_t)sizeof head + length + footer;
    }
    rc = read_at(input, at, window, PROBE_BYTES, &got, err);
    if (rc < 0)
        goto out;
    AVProbeData probe = {.filename = "", .buf = window, .buf_size = got};
    int score = 0;
    input->container = av_probe_input_format3(&probe, 1, &score);
    if (input->container == NULL)
        rc = ms_error_set(err, MS_EINPUT, "is not audio of any known format");
    else if (av_match_list(input->container->name, accepted, ',') <= 0)
        rc = ms_error_set(err, MS_EINPUT, "is not an accepted audio format (it looks like %s)",
                          input->container->name);
out:
    av_free(window);
    return rc;
}

static void close_demuxer(struct ms_input *input) {
    avformat_close_input(&input->format);
    input->stream = NULL;
    if (input->io != NULL)
        av_freep(&input->io->buffer);
    avio_context_free(&input->io);
}

/* The error of a failed read. An error of the disk comes before a fault of the file. */
static int read_error(struct ms_input *input, int av_error, const char *what,
                      struct ms_error *err) {
    if (input->read_error.code != 0)
        return ms_error_copy(err, &input->read_error);
    if (av_error == AVERROR(ENOMEM))
        return ms_ffmpeg_error(err, MS_EINPUT, 0, NULL, "%s: asks for too much memory", what);
    return ms_ffmpeg_error(err, MS_EINPUT, av_error, NULL, "%s", what);
}

static int open_demuxer(struct ms_input *input, bool advanced_edits, struct ms_error *err) {
    close_demuxer(input);
    input->at_bytes = 0;
    uint8_t *buffer = av_malloc(IO_BUFFER_BYTES);
    if (buffer != NULL)
        input->io =
            avio_alloc_context(buffer, IO_BUFFER_BYTES, 0, input, read_bytes, NULL, seek_bytes);
    if (input->io == NULL)
        av_free(buffer);
    AVFormatContext *format = avformat_alloc_context();
    if (input->io == NULL || format == NULL) {
        avformat_free_context(format);
        return ms_error_set(err, MS_ENOMEM, "out of memory");
    }
    format->pb = input->io;
    format->io_open = refuse_to_open;
    format->flags |= AVFMT_FLAG_CUSTOM_IO;
    format->probesize = ANALYSE_BYTES;
    format->max_streams = MAX_STREAMS;
    int rc = av_opt_set(format, "format_whitelist", containers, 0);
    if (rc >= 0)
        rc = av_opt_set(format, "codec_whitelist", codecs, 0);
    if (rc >= 0) /* no protocol has this name, so none is allowed */
        rc = av_opt_set(format, "protocol_whitelist", "none", 0);
    AVDictionary *options = NULL;
    if (rc >= 0 && strncmp(input->container->name, "mov", 3) == 0) {
        rc = av_dict_set_int(&options, "advanced_editlist", advanced_edits, 0);
        if (rc >= 0)
            rc = av_dict_set_int(&options, "ignore_chapters", 1, 0);
    }
    if (rc < 0) {
        avformat_free_context(format);
        rc = ms_ffmpeg_error(err, MS_EINTERNAL, rc, NULL, "cannot set up FFmpeg");
        goto out;
    }
    ms_ffmpeg_forget_log();
    rc = avformat_open_input(&format, "", input->container, &options); /* frees format on failure */
    if (rc < 0) {
        rc = read_error(input, rc, "cannot be read as audio", err);
        goto out;
    }
    input->format = format;
    /* Other streams are never read. */
    for (unsigned i = 0; i < format->nb_streams; i++)
        if (format->streams[i]->codecpar->codec_type != AVMEDIA_TYPE_AUDIO)
            format->streams[i]->discard = AVDISCARD_ALL;
    rc = avformat_find_stream_info(format, NULL);
    if (rc < 0) {
        rc = read_error(input, rc, "cannot be read as audio", err);
        goto out;
    }
    int index = av_find_best_stream(format, AVMEDIA_TYPE_AUDIO, -1, -1, NULL, 0);
    if (index < 0) {
        rc = ms_error_set(err, MS_EINPUT, "has no audio stream");
        goto out;
    }
    input->stream = format->streams[index];
    for (unsigned i = 0; i < format->nb_streams; i++)
        if (i != (unsigned)index)
            format->streams[i]->discard = AVDISCARD_ALL;
    rc = 0;
out:
    av_dict_free(&options);
    return rc;
}

static int64_t duration_frames(const struct ms_input *input) {
    const AVStream *stream = input->stream;
    if (stream->duration == AV_NOPTS_VALUE || stream->codecpar->sample_rate <= 0)
        return -1;
    return av_rescale_q(stream->duration, stream->time_base,
                        (AVRational){1, stream->codecpar->sample_rate});
}

/* iTunes writes " 0 PRIMING REMAINDER COUNT ..." in hex; COUNT is the number of real frames. */
static int64_t itunes_frames(const AVFormatContext *format) {
    const AVDictionaryEntry *entry = av_dict_get(format->metadata, "iTunSMPB", NULL, 0);
    if (entry == NULL)
        return -1;
    char *at = entry->value;
    unsigned long long field = 0;
    for (int i = 0; i < 4; i++) {
        char *end;
        field = strtoull(at, &end, 16);
        if (end == at)
            return -1;
        at = end;
    }
    return field > 0 && field <= INT64_MAX ? (int64_t)field : -1;
}

/* AAC in MP4 comes in whole packets. Its true end is in the track's duration (exact, with priming)
 * and in its edit list (rounded to the movie's coarse time scale, which may even drop the last
 * packet). So where the edit list only cuts priming and padding, the file is read without it and
 * cut in media.c. */
static int choose_edits(struct ms_input *input, struct ms_error *err) {
    input->track_frames = -1;
    if (strncmp(input->container->name, "mov", 3) != 0 ||
        input->stream->codecpar->codec_id != AV_CODEC_ID_AAC || input->stream->nb_frames <= 0)
        return 0;
    input->edited_frames = duration_frames(input);
    int rc = open_demuxer(input, false, err);
    if (rc < 0)
        return rc;
    int64_t track = duration_frames(input);
    if (input->edited_frames <= 0 || track < input->edited_frames ||
        track - input->edited_frames > MAX_PRIMING_FRAMES)
        return open_demuxer(input, true, err);
    input->track_frames = track;
    return 0;
}

/* AAC in fragments has neither; FFmpeg cuts its priming as iTunSMPB says. */
static bool is_fragmented(const struct ms_input *input) {
    return strncmp(input->container->name, "mov", 3) == 0 &&
           input->stream->codecpar->codec_id == AV_CODEC_ID_AAC && input->stream->nb_frames <= 0;
}

int64_t ms_input_end(const struct ms_input *input, const AVPacket *first) {
    if (input->track_frames < 0)
        return is_fragmented(input) ? itunes_frames(input->format) : -1;
    int64_t itunes = itunes_frames(input->format);
    if (itunes > 0 && itunes <= input->track_frames &&
        input->track_frames - itunes <= MAX_PRIMING_FRAMES)
        return itunes;
    size_t size = 0;
    const uint8_t *skip = av_packet_get_side_data(first, AV_PKT_DATA_SKIP_SAMPLES, &size);
    int64_t priming = skip != NULL && size >= 4 ? (int64_t)AV_RL32(skip) : 0;
    int64_t end = input->track_frames - priming;
    /* Where both agree but for the edit list's rounding, the track's duration is the exact one. */
    int64_t rounding = input->stream->codecpar->sample_rate / 300;
    if (end > input->edited_frames + rounding || end < input->edited_frames - rounding)
        end = input->edited_frames;
    return end;
}

static int check_parameters(const struct ms_input *input, struct ms_error *err) {
    const AVCodecParameters *parameters = input->stream->codecpar;
    int channels = parameters->ch_layout.nb_channels;
    if (parameters->codec_id == AV_CODEC_ID_NONE)
        return ms_error_set(err, MS_EINPUT, "its audio is in an unknown format");
    if (channels > MS_AUDIO_MAX_CHANNELS)
        return ms_error_set(err, MS_EINPUT, "has %d channels; at most %d are accepted", channels,
                            MS_AUDIO_MAX_CHANNELS);
    if (parameters->sample_rate < MS_AUDIO_MIN_RATE_HZ ||
        parameters->sample_rate > MS_AUDIO_MAX_RATE_HZ)
        return ms_error_set(err, MS_EINPUT, "has a sample rate of %d Hz; %d to %d Hz are accepted",
                            parameters->sample_rate, MS_AUDIO_MIN_RATE_HZ, MS_AUDIO_MAX_RATE_HZ);
    return 0;
}

static int open_codec(struct ms_input *input, struct ms_error *err) {
    const AVCodecParameters *parameters = input->stream->codecpar;
    const AVCodec *codec = avcodec_find_decoder(parameters->codec_id);
    if (codec == NULL || av_match_list(codec->name, codecs, ',') <= 0)
        return ms_error_set(err, MS_EINPUT, "its audio is in a format that is not accepted (%s)",
                            avcodec_get_name(parameters->codec_id));
    input->codec = avcodec_alloc_context3(codec);
    if (input->codec == NULL)
        return ms_error_set(err, MS_ENOMEM, "out of memory");
    int rc = avcodec_parameters_to_context(input->codec, parameters);
    if (rc >= 0) {
        input->codec->pkt_timebase = input->stream->time_base;
        input->codec->thread_count = 1;
        rc = avcodec_open2(input->codec, codec, NULL);
    }
    if (rc < 0)
        return read_error(input, rc, "its audio cannot be decoded", err);
    return 0;
}

int ms_input_open(struct ms_input *input, const struct ms_media_source *source,
                  const char *accepted, struct ms_error *err) {
    ms_ffmpeg_init();
    *input = (struct ms_input){.source = *source, .track_frames = -1};
    int rc = find_container(input, accepted != NULL ? accepted : containers, err);
    if (rc < 0 || (rc = open_demuxer(input, true, err)) < 0 ||
        (rc = choose_edits(input, err)) < 0 || (rc = check_parameters(input, err)) < 0)
        return rc;
    return open_codec(input, err);
}

void ms_input_close(struct ms_input *input) {
    avcodec_free_context(&input->codec);
    close_demuxer(input);
}
