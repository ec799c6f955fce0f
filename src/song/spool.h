/* A spool: planar stereo written to disk in order and read back once. Measures the peak as it is
 * written. One thread. */
#ifndef MSAAS_SONG_SPOOL_H
#define MSAAS_SONG_SPOOL_H

#include "msaas/audio.h"

struct ms_spool;

/* Its file lies in `folder` without a name, so that it is gone with the process in any case. */
MS_MUST_CHECK int ms_spool_new(const char *folder, struct ms_spool **out, struct ms_error *err);
void ms_spool_free(struct ms_spool *spool);

/* Claims the disk's space for so many frames, before the first is written, and for as much more
 * when a frame is to take more bytes in the files made of them than in the spool: that is given
 * back when writing ends. MS_EIO: there is not enough. */
MS_MUST_CHECK int ms_spool_reserve(struct ms_spool *spool, int64_t frames, int frame_bytes,
                                   struct ms_error *err);
MS_MUST_CHECK int ms_spool_write(struct ms_spool *spool,
                                 const float *const planes[MS_AUDIO_CHANNELS], size_t frames,
                                 struct ms_error *err);
/* Ends writing; the next read gives the first frames. */
MS_MUST_CHECK int ms_spool_rewind(struct ms_spool *spool, struct ms_error *err);
/* The next frames, *frames == 0 at the end, whose space on the disk is given back. planes point
 * into the spool until the next call; they may be changed. */
MS_MUST_CHECK int ms_spool_read(struct ms_spool *spool, float *planes[MS_AUDIO_CHANNELS],
                                size_t *frames, struct ms_error *err);

float ms_spool_peak(const struct ms_spool *spool); /* largest magnitude written */

#endif
