/* What a stem inherits from its source: read by media.c, passed on by
 * stream.c, written by encode.c. */
#ifndef MSAAS_AUDIO_TAGS_H
#define MSAAS_AUDIO_TAGS_H

#include <libavformat/avformat.h>

#include "msaas/audio.h"

#define MS_TAGS_TEXTS 11 /* how many are kept: title, artist ... */
#define MS_TAGS_TEXT_BYTES (64 << 10)
#define MS_TAGS_COVER_BYTES (16 << 20)

struct ms_audio_tags *ms_tags_new(void); /* NULL: no memory */
void ms_tags_free(struct ms_audio_tags *tags);

/* Keeps a text or a picture if it can be used: bounded, and UTF-8, JPEG or PNG. Only memory can run
 * out (MS_ENOMEM). which: below MS_TAGS_TEXTS. */
MS_MUST_CHECK int ms_tags_set_text(struct ms_audio_tags *tags, int which, const char *value,
                                   struct ms_error *err);
MS_MUST_CHECK int ms_tags_set_cover(struct ms_audio_tags *tags, const uint8_t *data, int bytes,
                                    struct ms_error *err);
/* Borrowed; NULL: there is none. */
const char *ms_tags_text(const struct ms_audio_tags *tags, int which);
const uint8_t *ms_tags_cover(const struct ms_audio_tags *tags, int *bytes);

/* Copies what is worth keeping. `stream` is the audio stream (Ogg has its tags there). */
MS_MUST_CHECK int ms_tags_read(const AVFormatContext *format, const AVStream *stream,
                               struct ms_audio_tags **out, struct ms_error *err);

/* Before the header: the texts, and the cover where the format keeps pictures (*cover: the stream
 * for it, NULL where there is none to write). `audio` is the only other stream. tags may be NULL.
 */
MS_MUST_CHECK int ms_tags_write(const struct ms_audio_tags *tags, enum ms_audio_format to,
                                AVFormatContext *format, AVStream *audio, AVStream **cover,
                                struct ms_error *err);
/* Right after the header, when there is a cover stream. */
MS_MUST_CHECK int ms_tags_write_cover(const struct ms_audio_tags *tags, AVFormatContext *format,
                                      const AVStream *cover, struct ms_error *err);

#endif
