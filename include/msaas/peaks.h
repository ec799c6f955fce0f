/* The peaks of stems, from which a page draws them: of each bin of frames the largest magnitude in
 * any channel, 255 being full scale. 50 bins a second; fewer where a long song would have too many.
 * One thread at a time. */
#ifndef MSAAS_PEAKS_H
#define MSAAS_PEAKS_H

#include <stddef.h>
#include <stdint.h>

#include "msaas/audio.h"

#define MS_PEAKS_BIN_FRAMES 882 /* doubled until there are no more bins than: */
#define MS_PEAKS_MAX_BINS 30000

struct ms_peaks { /* of one stem; zeroed: of none */
    int64_t frames, frames_per_bin;
    int64_t count; /* of bins; the last one may be shorter */
    uint8_t *bins;
    int64_t at;    /* frames added */
    float highest; /* in the bin that is not yet full */
};
/* frames: how many there will be. */
MS_MUST_CHECK int ms_peaks_init(struct ms_peaks *peaks, int64_t frames, struct ms_error *err);
void ms_peaks_fini(struct ms_peaks *peaks);
/* The next frames. What is beyond `frames` does not count. */
void ms_peaks_add(struct ms_peaks *peaks, const float *const planes[MS_AUDIO_CHANNELS],
                  size_t frames);

/* The document of a job's stems, all of the same length: their names, their peaks as base64, and
 * the gain by which what is kept of each was multiplied since. The caller frees it. */
MS_MUST_CHECK int ms_peaks_to_json(const struct ms_peaks *peaks, const char *const *names,
                                   const double *gains, int count, int sample_rate_hz, char **out,
                                   struct ms_error *err);

#endif
