/* Title, artist, album ... and one cover picture, from FFmpeg's metadata and back into it. All of
 * it comes from outside: texts are bounded and must be UTF-8, and the picture must be the JPEG or
 * PNG that it claims to be. */
#include "tags.h"

#include <string.h>

#include <libavutil/avstring.h>
#include <libavutil/base64.h>
#include <libavutil/intreadwrite.h>

#include "ffmpeg.h"

#define MAX_COVER_SIDE 65535

/* FFmpeg's names for them, the same for every container. */
static const char *const kept[MS_TAGS_TEXTS] = {"title", "artist",  "album", "album_artist",
                                                "track", "disc",    "date",  "composer",
                                                "genre", "comment", "lyrics"};

struct ms_audio_tags {
    AVDictionary *texts;
    uint8_t *cover;
    int cover_bytes;
    enum AVCodecID cover_codec; /* MJPEG or PNG */
    int cover_width, cover_height;
};

static bool is_text(const char *value) {
    size_t length = strlen(value);
    if (length == 0 || length > MS_TAGS_TEXT_BYTES)
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

static bool is_picture(const uint8_t *data, int size, enum AVCodecID *codec, int *width,
                       int *height) {
    if (size <= 0 || size > MS_TAGS_COVER_BYTES)
        return false;
    if (read_png_size(data, size, width, height))
        *codec = AV_CODEC_ID_PNG;
    else if (read_jpeg_size(data, size, width, height))
        *codec = AV_CODEC_ID_MJPEG;
    else
        return false;
    return *width > 0 && *height > 0 && *width <= MAX_COVER_SIDE && *height <= MAX_COVER_SIDE;
}

struct ms_audio_tags *ms_tags_new(void) {
    return av_mallocz(sizeof(struct ms_audio_tags));
}

void ms_tags_free(struct ms_audio_tags *tags) {
    if (tags == NULL)
        return;
    av_dict_free(&tags->texts);
    av_free(tags->cover);
    av_free(tags);
}

static int no_memory(struct ms_error *err) {
    return ms_error_set(err, MS_ENOMEM, "out of memory for tags");
}

int ms_tags_set_text(struct ms_audio_tags *tags, int which, const char *value,
                     struct ms_error *err) {
    if (!is_text(value))
        return 0;
    return av_dict_set(&tags->texts, kept[which], value, 0) < 0 ? no_memory(err) : 0;
}

const char *ms_tags_text(const struct ms_audio_tags *tags, int which) {
    const AVDictionaryEntry *entry = av_dict_get(tags->texts, kept[which], NULL, 0);
    return entry != NULL ? entry->value : NULL;
}

int ms_tags_set_cover(struct ms_audio_tags *tags, const uint8_t *data, int bytes,
                      struct ms_error *err) {
    if (!is_picture(data, bytes, &tags->cover_codec, &tags->cover_width, &tags->cover_height))
        return 0;
    av_free(tags->cover);
    tags->cover = av_memdup(data, (size_t)bytes);
    tags->cover_bytes = bytes;
    return tags->cover == NULL ? no_memory(err) : 0;
}

const uint8_t *ms_tags_cover(const struct ms_audio_tags *tags, int *bytes) {
    *bytes = tags->cover_bytes;
    return tags->cover;
}

/* The front cover, or else the first picture. */
static const AVPacket *choose_cover(const AVFormatContext *format) {
    const AVPacket *first = NULL;
    for (unsigned i = 0; i < format->nb_streams; i++) {
        const AVStream *stream = format->streams[i];
        const AVPacket *picture = &stream->attached_pic;
        enum AVCodecID codec;
        int width, height;
        if ((stream->disposition & AV_DISPOSITION_ATTACHED_PIC) == 0 || picture->data == NULL ||
            !is_picture(picture->data, picture->size, &codec, &width, &height))
            continue;
        const AVDictionaryEntry *kind = av_dict_get(stream->metadata, "comment", NULL, 0);
        if (kind != NULL && strcmp(kind->value, "Cover (front)") == 0)
            return picture;
        if (first == NULL)
            first = picture;
    }
    return first;
}

/* ID3 tells languages apart, as in "lyrics-eng". */
static const AVDictionaryEntry *find_text(const AVDictionary *from, const char *name) {
    const AVDictionaryEntry *entry = av_dict_get(from, name, NULL, 0);
    if (entry == NULL && strcmp(name, "lyrics") == 0)
        entry = av_dict_get(from, "lyrics-", NULL, AV_DICT_IGNORE_SUFFIX);
    return entry;
}

int ms_tags_read(const AVFormatContext *format, const AVStream *stream, struct ms_audio_tags **out,
                 struct ms_error *err) {
    struct ms_audio_tags *tags = ms_tags_new();
    int rc = tags != NULL ? 0 : no_memory(err);
    for (int i = 0; rc == 0 && i < MS_TAGS_TEXTS; i++) {
        const AVDictionaryEntry *entry = find_text(format->metadata, kept[i]);
        if (entry == NULL)
            entry = find_text(stream->metadata, kept[i]);
        if (entry != NULL)
            rc = ms_tags_set_text(tags, i, entry->value, err);
    }
    const AVPacket *cover = choose_cover(format);
    if (rc == 0 && cover != NULL)
        rc = ms_tags_set_cover(tags, cover->data, cover->size, err);
    if (rc < 0) {
        ms_tags_free(tags);
        return rc;
    }
    *out = tags;
    return 0;
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
