/* Waveform <-> spectrogram, as Demucs has them (_spec, _magnitude, _mask, _ispec in
 * demucs/htdemucs.py): Hann window, hop of a quarter of it, "normalized". The only user of
 * libavutil's transforms, which are planned once a session.
 *
 * Frame t covers the samples from (t - 1.5) * hop on, nfft of them; beyond its ends the waveform
 * is reflected. Each sample that is wanted back lies under four frames, two of zeros stand
 * before the first and behind the last; the squares of the four windows add up to 1.5
 * everywhere. */
#include <libavutil/mem.h>
#include <libavutil/tx.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"

/* Frames that go together, so that neighbours in the spectrogram are written and read together. */
#define BLOCK_FRAMES 8
#define WINDOWS_SQUARED 1.5

struct ms_fourier {
    int nfft;
    AVTXContext *forward, *inverse;
    av_tx_fn run_forward, run_inverse;
    float *window; /* [nfft], times what the transforms leave out */
    float *wave;   /* [nfft] */
};

struct ms_fourier *ms_fourier_new(int nfft) {
    struct ms_fourier *f = calloc(1, sizeof *f);
    if (f == NULL)
        return NULL;
    f->nfft = nfft;
    const float scale = 1.0f;
    f->window = malloc((size_t)nfft * sizeof *f->window);
    f->wave = av_malloc((size_t)(nfft + 2) * sizeof *f->wave); /* aligned for its vectors */
    if (f->window == NULL || f->wave == NULL ||
        av_tx_init(&f->forward, &f->run_forward, AV_TX_FLOAT_RDFT, 0, nfft, &scale, 0) < 0 ||
        av_tx_init(&f->inverse, &f->run_inverse, AV_TX_FLOAT_RDFT, 1, nfft, &scale, 0) < 0) {
        ms_fourier_free(f);
        return NULL;
    }
    const double pi = acos(-1.0);
    for (int i = 0; i < nfft; i++)
        f->window[i] = (float)((0.5 - 0.5 * cos(2.0 * pi * i / nfft)) / sqrt(nfft));
    return f;
}

void ms_fourier_free(struct ms_fourier *f) {
    if (f == NULL)
        return;
    av_tx_uninit(&f->forward);
    av_tx_uninit(&f->inverse);
    av_free(f->wave);
    free(f->window);
    free(f);
}

int ms_fourier_size(const struct ms_fourier *f) {
    return f->nfft;
}

/* Floats of a spectrum: nfft / 2 + 1 complex numbers, the last one (Nyquist) unused, up to whole
 * 64 bytes. */
static int64_t line_of(int nfft) {
    return ((int64_t)nfft + 2 + 15) / 16 * 16;
}

size_t ms_fourier_scratch(int nfft, int64_t channels) {
    return (size_t)(BLOCK_FRAMES * channels * line_of(nfft)) * sizeof(float);
}

static int64_t reflect(int64_t i, int64_t count) {
    while (i < 0 || i >= count)
        i = i < 0 ? -i : 2 * (count - 1) - i;
    return i;
}

static void take_frame(struct ms_fourier *f, const float *x, int64_t frames, int64_t from,
                       float *spectrum) {
    if (from >= 0 && from + f->nfft <= frames)
        for (int i = 0; i < f->nfft; i++)
            f->wave[i] = x[from + i] * f->window[i];
    else
        for (int i = 0; i < f->nfft; i++)
            f->wave[i] = x[reflect(from + i, frames)] * f->window[i];
    f->run_forward(f->forward, spectrum, f->wave, sizeof(float));
}

void ms_cpu_spectrum(struct ms_fourier *f, const float *x, int64_t channels, int64_t frames,
                     float *y, void *scratch) {
    const int64_t hop = f->nfft / 4, times = (frames + hop - 1) / hop, bins = f->nfft / 2,
                  line = line_of(f->nfft);
    float *spectra = scratch;
    for (int64_t t = 0; t < times; t += BLOCK_FRAMES) {
        const int64_t count = times - t < BLOCK_FRAMES ? times - t : BLOCK_FRAMES;
        for (int64_t i = 0; i < count * channels; i++)
            take_frame(f, x + i % channels * frames, frames, (t + i / channels) * hop - hop / 2 * 3,
                       spectra + i * line);
        for (int64_t bin = 0; bin < bins; bin++) {
            float *to = y + (bin * times + t) * channels * 2;
            for (int64_t i = 0; i < count * channels; i++)
                memcpy(to + i * 2, spectra + i * line + bin * 2, 2 * sizeof *to);
        }
    }
}

static void add_frame(struct ms_fourier *f, float *spectrum, float *y, int64_t frames,
                      int64_t from) {
    spectrum[1] = 0.0f; /* of a real waveform; so is what stands for Nyquist */
    spectrum[f->nfft] = spectrum[f->nfft + 1] = 0.0f;
    f->run_inverse(f->inverse, f->wave, spectrum, sizeof(float) * 2);
    const int64_t first = from < 0 ? -from : 0,
                  end = from + f->nfft > frames ? frames - from : f->nfft;
    for (int64_t i = first; i < end; i++)
        y[from + i] += f->wave[i] * f->window[i];
}

void ms_cpu_waveform(struct ms_fourier *f, const float *x, int64_t channels, int64_t frames,
                     float scale, float offset, float *y, void *scratch) {
    const int64_t hop = f->nfft / 4, times = (frames + hop - 1) / hop, bins = f->nfft / 2,
                  line = line_of(f->nfft);
    float *spectra = scratch;
    const float by = scale / (float)WINDOWS_SQUARED, plus = offset / (float)WINDOWS_SQUARED;
    for (int64_t t = 0; t < times; t += BLOCK_FRAMES) {
        const int64_t count = times - t < BLOCK_FRAMES ? times - t : BLOCK_FRAMES;
        for (int64_t bin = 0; bin < bins; bin++) {
            const float *from = x + (bin * times + t) * channels * 2;
            for (int64_t i = 0; i < count * channels; i++) {
                float *to = spectra + i * line + bin * 2;
                to[0] = from[i * 2] * by + plus;
                to[1] = from[i * 2 + 1] * by + plus;
            }
        }
        for (int64_t i = 0; i < count * channels; i++)
            add_frame(f, spectra + i * line, y + i % channels * frames, frames,
                      (t + i / channels) * hop - hop / 2 * 3);
    }
}
