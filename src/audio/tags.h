/* What a stem inherits from its source: read by decode.c, written by encode.c. */
#ifndef MSAAS_AUDIO_TAGS_H
#define MSAAS_AUDIO_TAGS_H

#include <libavformat/avformat.h>

#include "msaas/audio.h"

/* Copies what is worth keeping. `stream` is the audio stream (Ogg has its tags there). */
MS_MUST_CHECK int ms_tags_read(const AVFormatContext *format, const AVStream *stream,
                               struct ms_audio_tags **out, struct ms_error *err);
void ms_tags_free(struct ms_audio_tags *tags);

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
