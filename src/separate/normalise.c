/* First pass over a song: the level by which separate.c normalises the mix and scales the stems
 * back. Owns nothing; any thread. */
#include "normalise.h"

#include <math.h>

void ms_level_add(struct ms_level *level, const float *left, const float *right, size_t frames) {
    if (frames == 0)
        return;
    /* Two passes over the block, then Chan's rule to join it: no cancellation, however long the
     * song or large its offset. */
    double sum = 0.0;
    for (size_t i = 0; i < frames; i++)
        sum += ((double)left[i] + (double)right[i]) * 0.5;
    double mean = sum / (double)frames;
    double square_sum = 0.0;
    for (size_t i = 0; i < frames; i++) {
        double deviation = ((double)left[i] + (double)right[i]) * 0.5 - mean;
        square_sum += deviation * deviation;
    }
    double before = (double)level->frames, added = (double)frames, total = before + added;
    double apart = mean - level->mean;
    level->mean += apart * (added / total);
    level->square_sum += square_sum + apart * apart * (before * added / total);
    level->frames += (int64_t)frames;
}

double ms_level_deviation(const struct ms_level *level) {
    return level->frames < 2 ? 0.0 : sqrt(level->square_sum / (double)(level->frames - 1));
}
