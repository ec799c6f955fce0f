/* An MP4 file of audio tracks in the making (ISO/IEC 14496-12 and -14): the samples as they come,
 * then everything that describes them. stem_mp4.c fills it. It keeps 4 bytes for each sample and 16
 * for each chunk (5 tracks of AAC: 54 kB a minute), where FFmpeg's muxer keeps 64 bytes for each
 * sample. Any thread, one at a time. */
#ifndef MSAAS_AUDIO_MP4_H
#define MSAAS_AUDIO_MP4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "msaas/audio.h"

#define MS_MP4_MAX_TRACKS 8

struct ms_mp4_track {
    const char *name; /* borrowed */
    bool enabled;     /* played unless the listener chooses otherwise */
    /* "mp4a": AAC, config is its AudioSpecificConfig; "alac": config is a box of that name. */
    const char *codec;
    const void *config; /* borrowed */
    int config_bytes;
    int bits;           /* of a sample, as the description says it */
    int sample_frames;  /* of all its samples but the last */
    int priming_frames; /* at the beginning of the first, which are not heard */
};

struct ms_mp4;

/* Writes to `fd`, an empty file, from its beginning; it stays the caller's. All are stereo. */
MS_MUST_CHECK int ms_mp4_open(int fd, int rate_hz, const struct ms_mp4_track *tracks, int count,
                              struct ms_mp4 **out, struct ms_error *err);
/* Adds a sample to a track. Those that follow each other in one track are a chunk. */
MS_MUST_CHECK int ms_mp4_write(struct ms_mp4 *mp4, int track, const void *bytes, size_t size,
                               struct ms_error *err);
/* Describes the samples: `frames` of each track are heard, from the end of its priming to somewhere
 * in its last sample (else MS_EINTERNAL). tags may be NULL. `stem`: what the box
 * moov/udta/stem holds. *bytes: the size of the file. Afterwards only _free is allowed. */
MS_MUST_CHECK int ms_mp4_finish(struct ms_mp4 *mp4, int64_t frames,
                                const struct ms_audio_tags *tags, const char *stem, int64_t *bytes,
                                struct ms_error *err);
void ms_mp4_free(struct ms_mp4 *mp4);

#endif
