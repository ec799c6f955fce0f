/* The sum of stems, each with a gain and a place between left and right; see render.h for the law.
 * Pure; any thread. */
#ifndef MSAAS_RENDER_MIX_H
#define MSAAS_RENDER_MIX_H

#include <stdbool.h>
#include <stddef.h>

/* db: -INFINITY mutes. scale: applied besides. matrix: see struct ms_render_part. */
void ms_mix_matrix(double db, double pan, double scale, double matrix[2][2]);
bool ms_mix_is_silent(const double matrix[2][2]);
/* Adds frames of one stem to the sum. */
void ms_mix_add(const double matrix[2][2], const float *const in[2], size_t frames,
                double *const sum[2]);
/* Rounds the sum; clamp: to -1 .. 1. */
void ms_mix_round(const double *const sum[2], size_t frames, bool clamp, float *const out[2]);

#endif
