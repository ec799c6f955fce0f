/* See mix.h. */
#include "mix.h"

#include <math.h>

void ms_mix_matrix(double db, double pan, double scale, double matrix[2][2]) {
    const double half_pi = acos(0);
    const double gain = isinf(db) && db < 0 ? 0 : pow(10, db / 20) * scale;
    const double x = pan <= 0 ? pan + 1 : pan;
    const double away = pan == 0 ? 0 : gain * cos(x * half_pi); /* of one side, to the other */
    const double stays = pan == 0 ? gain : gain * sin(x * half_pi);
    if (pan <= 0) {
        matrix[0][0] = gain;
        matrix[0][1] = away;
        matrix[1][0] = 0;
        matrix[1][1] = stays;
    } else { /* the same with the sides, and sine and cosine, exchanged */
        matrix[0][0] = away;
        matrix[0][1] = 0;
        matrix[1][0] = stays;
        matrix[1][1] = gain;
    }
}

bool ms_mix_is_silent(const double matrix[2][2]) {
    return matrix[0][0] == 0 && matrix[0][1] == 0 && matrix[1][0] == 0 && matrix[1][1] == 0;
}

void ms_mix_add(const double matrix[2][2], const float *const in[2], size_t frames,
                double *const sum[2]) {
    const double ll = matrix[0][0], lr = matrix[0][1], rl = matrix[1][0], rr = matrix[1][1];
    const float *left = in[0], *right = in[1];
    double *to_left = sum[0], *to_right = sum[1];
    for (size_t i = 0; i < frames; i++) {
        const double l = left[i], r = right[i];
        to_left[i] += ll * l + lr * r;
        to_right[i] += rl * l + rr * r;
    }
}

void ms_mix_round(const double *const sum[2], size_t frames, bool clamp, float *const out[2]) {
    for (int c = 0; c < 2; c++)
        for (size_t i = 0; i < frames; i++) {
            const double value = sum[c][i];
            out[c][i] = (float)(!clamp ? value : value > 1 ? 1 : value < -1 ? -1 : value);
        }
}
