/* Level of a song: mean and unbiased standard deviation of its mono mix, gathered by blocks. */
#ifndef MSAAS_SEPARATE_NORMALISE_H
#define MSAAS_SEPARATE_NORMALISE_H

#include <stddef.h>
#include <stdint.h>

struct ms_level {
    int64_t frames;
    double mean;
    double square_sum; /* of the deviations from mean */
};

/* Adds `frames` frames; the result does not depend on how a song is cut into blocks beyond
 * rounding. */
void ms_level_add(struct ms_level *level, const float *left, const float *right, size_t frames);

/* Of what was added so far; 0 for fewer than two frames. */
double ms_level_deviation(const struct ms_level *level);

#endif
