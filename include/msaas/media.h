/* An audio file, decoded in this process: what runs behind the walls of the decoder's own
 * process. */
#ifndef MSAAS_AUDIO_MEDIA_H
#define MSAAS_AUDIO_MEDIA_H

#include <stdbool.h>

#include "msaas/audio.h"

struct ms_media;

/* Opens the best audio stream of a regular file that is open for reading; `fd` stays the caller's,
 * and its position does not count. At least one frame can be decoded. Errors have no subject. */
MS_MUST_CHECK int ms_media_open(int fd, int sample_rate_hz, struct ms_media **out,
                                struct ms_error *err);
void ms_media_free(struct ms_media *media);

const struct ms_audio_tags *ms_media_tags(const struct ms_media *media); /* borrowed */

/* The next block of planar stereo, finite or not; *frames == 0: the end. `planes` are the media's
 * own until the next call. */
MS_MUST_CHECK int ms_media_next(struct ms_media *media, const float *planes[MS_AUDIO_CHANNELS],
                                int *frames, struct ms_error *err);

/* Whether parts could not be decoded; valid after the end. */
bool ms_media_was_damaged(const struct ms_media *media);

#endif
