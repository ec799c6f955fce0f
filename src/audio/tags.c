/* Title, artist, album ... and one cover picture, from FFmpeg's metadata and back into it. All of
 * it comes from outside: texts are bounded and must be UTF-8, and the picture must be the JPEG or
 * PNG that it claims to be. */
#include "tags.h"

#include <string.h>

#include <libavutil/avstring.h>
#include <libavutil/base64.h>
#include <libavutil/intreadwrite.h>

#include "ffmpeg.h"

#define MAX_TEXT_BYTES 4096
#define MAX_COVER_BYTES (16 << 20)
#define MAX_COVER_SIDE 65535

/* FFmpeg's names for them, the same for every container. */
static const char *const kept[] = {"title", "artist", "album",    "album_artist", "track",
                                   "disc",  "date",   "composer", "genre",        "comment"};

struct ms_audio_tags {
    AVDictionary *texts;
    uint8_t *cover;
    int cover_bytes;
    enum AVCodecID cover_codec; /* MJPEG or PNG */
    int cover_width, cover_height;
};

static bool is_text(const char *value) {
    size_t length = strlen(value);
    if (length == 0 || length > MAX_TEXT_BYTES)
        return false;
    const uint8_t *at = (const uint8_t *)value, *end = at + length;
    while (at < end) {
        int32_t code;
        if (av_utf8_decode(&code, &at, end, 0) < 0)
            return false;
    }
    return true;
}

static bool read_png_size(const uint8_t *data, int size, int *width, int *height) {
    static const uint8_t magic[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    if (size < 24 || memcmp(data, magic, sizeof magic) != 0 || memcmp(data + 12, "IHDR", 4) != 0)
        return false;
    *width = (int)(AV_RB32(data + 16) & INT32_MAX);
    *height = (int)(AV_RB32(data + 20) & INT32_MAX);
    return true;
}

/* The frame header (SOF0 to SOF15 but for the three markers of other meaning) holds the size. */
static bool read_jpeg_size(const uint8_t *data, int size, int *width, int *height) {
    if (size < 4 || data[0] != 0xff || data[1] != 0xd8)
        return false;
    int at = 2;
    while (at + 9 <= size && data[at] == 0xff) {
        uint8_t marker = data[at + 1];
        if (marker == 0xff) { /* fill byte */
            at++;
            continue;
        }
        if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 &&
            marker != 0xcc) {
            *height = AV_RB16(data + at + 5);
            *width = AV_RB16(data + at + 7);
            return true;
        }
        at += 2 + AV_RB16(data + at + 2);
    }
    return false;
}

static int read_cover(const AVFormatContext *format, struct ms_audio_tags *tags) {
    const AVPacket *best = NULL;
    for (unsigned i = 0; i < format->nb_streams; i++) {
        const AVStream *stream = format->streams[i];
        const AVPacket *picture = &stream->attached_pic;
        if ((stream->disposition & AV_DISPOSITION_ATTACHED_PIC) == 0 || picture->data == NULL ||
            picture->size <= 0 || picture->size > MAX_COVER_BYTES)
            continue;
        enum AVCodecID codec;
        int width = 0, height = 0;
        if (read_png_size(picture->data, picture->size, &width, &height))
            codec = AV_CODEC_ID_PNG;
        else if (read_jpeg_size(picture->data, picture->size, &width, &height))
            codec = AV_CODEC_ID_MJPEG;
        else
            continue;
        if (width <= 0 || height <= 0 || width > MAX_COVER_SIDE || height > MAX_COVER_SIDE)
            continue;
        const AVDictionaryEntry *kind = av_dict_get(stream->metadata, "comment", NULL, 0);
        bool front = kind != NULL && strcmp(kind->value, "Cover (front)") == 0;
        if (best != NULL && !front)
            continue;
        best = picture;
        tags->cover_codec = codec;
        tags->cover_width = width;
        tags->cover_height = height;
        if (front)
            break;
    }
    if (best == NULL)
        return 0;
    tags->cover = av_memdup(best->data, (size_t)best->size);
    tags->cover_bytes = best->size;
    return tags->cover != NULL ? 0 : AVERROR(ENOMEM);
}

int ms_tags_read(const AVFormatContext *format, const AVStream *stream, struct ms_audio_tags **out,
                 struct ms_error *err) {
    struct ms_audio_tags *tags = av_mallocz(sizeof *tags);
    int rc = tags != NULL ? 0 : AVERROR(ENOMEM);
    for (size_t i = 0; rc >= 0 && i < sizeof kept / sizeof *kept; i++) {
        const AVDictionaryEntry *entry = av_dict_get(format->metadata, kept[i], NULL, 0);
        if (entry == NULL)
            entry = av_dict_get(stream->metadata, kept[i], NULL, 0);
        if (entry != NULL && is_text(entry->value))
            rc = av_dict_set(&tags->texts, kept[i], entry->value, 0);
    }
    if (rc >= 0)
        rc = read_cover(format, tags);
    if (rc < 0) {
        ms_tags_free(tags);
        return ms_error_set(err, MS_ENOMEM, "out of memory for tags");
    }
    *out = tags;
    return 0;
}

void ms_tags_free(struct ms_audio_tags *tags) {
    if (tags == NULL)
        return;
    av_dict_free(&tags->texts);
    av_free(tags->cover);
    av_free(tags);
}

/* Opus keeps a picture as a comment: FLAC's picture block in base64. */
static int write_picture_comment(const struct ms_audio_tags *tags, AVDictionary **to) {
    const char *mime = tags->cover_codec == AV_CODEC_ID_PNG ? "image/png" : "image/jpeg";
    size_t mime_bytes = strlen(mime);
    size_t block_bytes = 32 + mime_bytes + (size_t)tags->cover_bytes;
    uint8_t *block = av_malloc(block_bytes);
    char *text = av_malloc(AV_BASE64_SIZE(block_bytes));
    int rc = AVERROR(ENOMEM);
    if (block == NULL || text == NULL)
        goto out;
    uint8_t *at = block;
    AV_WB32(at, 3); /* front cover */
    AV_WB32(at + 4, (uint32_t)mime_bytes);
    for (size_t i = 0; i < mime_bytes; i++)
        at[8 + i] = (uint8_t)mime[i];
    at += 8 + mime_bytes;
    AV_WB32(at, 0); /* no description */
    AV_WB32(at + 4, (uint32_t)tags->cover_width);
    AV_WB32(at + 8, (uint32_t)tags->cover_height);
    AV_WB32(at + 12, 24); /* bits per pixel */
    AV_WB32(at + 16, 0);  /* no palette */
    AV_WB32(at + 20, (uint32_t)tags->cover_bytes);
    memcpy(at + 24, tags->cover, (size_t)tags->cover_bytes);
    if (av_base64_encode(text, (int)AV_BASE64_SIZE(block_bytes), block, (int)block_bytes) == NULL)
        goto out;
    rc = av_dict_set(to, "METADATA_BLOCK_PICTURE", text, AV_DICT_DONT_STRDUP_VAL);
    text = NULL;
out:
    av_free(block);
    av_free(text);
    return rc;
}

static int add_cover_stream(const struct ms_audio_tags *tags, AVFormatContext *format,
                            AVStream **cover) {
    AVStream *stream = avformat_new_stream(format, NULL);
    if (stream == NULL)
        return AVERROR(ENOMEM);
    stream->disposition = AV_DISPOSITION_ATTACHED_PIC;
    stream->codecpar->codec_type = AVMEDIA_TYPE_VIDEO;
    stream->codecpar->codec_id = tags->cover_codec;
    stream->codecpar->width = tags->cover_width;
    stream->codecpar->height = tags->cover_height;
    stream->time_base = (AVRational){1, 90000};
    *cover = stream;
    return av_dict_set(&stream->metadata, "comment", "Cover (front)", 0);
}

int ms_tags_write(const struct ms_audio_tags *tags, enum ms_audio_format to,
                  AVFormatContext *format, AVStream *audio, AVStream **cover,
                  struct ms_error *err) {
    *cover = NULL;
    if (tags == NULL)
        return 0;
    /* Ogg's comments belong to the stream. */
    AVDictionary **texts = to == MS_FORMAT_OPUS ? &audio->metadata : &format->metadata;
    int rc = av_dict_copy(texts, tags->texts, 0);
    if (rc >= 0 && tags->cover != NULL) {
        if (to == MS_FORMAT_OPUS)
            rc = write_picture_comment(tags, texts);
        else if (to != MS_FORMAT_WAV)
            rc = add_cover_stream(tags, format, cover);
    }
    if (rc < 0)
        return ms_ffmpeg_error(err, rc == AVERROR(ENOMEM) ? MS_ENOMEM : MS_EINTERNAL, rc, NULL,
                               "cannot carry the tags over");
    return 0;
}

int ms_tags_write_cover(const struct ms_audio_tags *tags, AVFormatContext *format,
                        const AVStream *cover, struct ms_error *err) {
    AVPacket *packet = av_packet_alloc();
    int rc = packet != NULL ? av_new_packet(packet, tags->cover_bytes) : AVERROR(ENOMEM);
    if (rc >= 0) {
        memcpy(packet->data, tags->cover, (size_t)tags->cover_bytes);
        packet->stream_index = cover->index;
        packet->pts = packet->dts = 0;
        packet->flags |= AV_PKT_FLAG_KEY;
        rc = av_write_frame(format, packet);
    }
    av_packet_free(&packet);
    if (rc < 0)
        return ms_ffmpeg_error(err, rc == AVERROR(ENOMEM) ? MS_ENOMEM : MS_EIO, rc, NULL,
                               "cannot write the cover picture");
    return 0;
}
