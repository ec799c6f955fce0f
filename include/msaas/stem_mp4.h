/* A stem file, as DJ programs play it (NI Stems, NAME.stem.mp4): an MP4 file of five stereo tracks,
 * the mix and the four stems that it is the sum of. The box moov/udta/stem holds JSON: the name and
 * the colour of each stem. Only the mix is enabled, so that other players play it as any song.
 *
 * Memory does not depend on the length, but for 54 kB a minute of lists. Output is a function of
 * input and options alone: no dates. One object serves one thread at a time. */
#ifndef MSAAS_STEM_MP4_H
#define MSAAS_STEM_MP4_H

#include "msaas/audio.h"

#define MS_STEM_MP4_STEMS 4
#define MS_STEM_MP4_TRACKS (1 + MS_STEM_MP4_STEMS) /* the mix first */
#define MS_STEM_MP4_MIME "audio/mp4"

/* The stems in the order of their tracks: "drums", "bass", "other", "vocals". */
extern const char *const ms_stem_mp4_stems[MS_STEM_MP4_STEMS];

enum ms_stem_mp4_codec {
    MS_STEM_MP4_AAC,
    MS_STEM_MP4_ALAC, /* 16 bits, exact */
};

struct ms_stem_mp4_options {
    enum ms_stem_mp4_codec codec;
    int bitrate_kbps; /* of each track, AAC only: 32 to 512; 0: 256 */
};

struct ms_stem_mp4;

/* Writes to `fd`, an empty file, which stays the caller's. */
MS_MUST_CHECK int ms_stem_mp4_open(int fd, int sample_rate_hz,
                                   const struct ms_stem_mp4_options *options,
                                   struct ms_stem_mp4 **out, struct ms_error *err);
/* The next frames of the four stems. The mix is their sum. Samples beyond full scale are clamped
 * with ALAC. */
MS_MUST_CHECK int ms_stem_mp4_write(struct ms_stem_mp4 *file,
                                    const float *const stems[MS_STEM_MP4_STEMS][MS_AUDIO_CHANNELS],
                                    size_t frames, struct ms_error *err);
/* Completes the file; *bytes: its size. tags may be NULL. Afterwards only _free is allowed.
 * MS_EIO: the disk; MS_ETOOLARGE: longer than 27 hours. */
MS_MUST_CHECK int ms_stem_mp4_finish(struct ms_stem_mp4 *file, const struct ms_audio_tags *tags,
                                     int64_t *bytes, struct ms_error *err);
void ms_stem_mp4_free(struct ms_stem_mp4 *file);

#endif
