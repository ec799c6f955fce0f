/* See peaks.h. Fed as stems are encoded (pipeline.c). */
#include "msaas/peaks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/base64.h"
#include "msaas/json.h"

int ms_peaks_init(struct ms_peaks *peaks, int64_t frames, struct ms_error *err) {
    *peaks = (struct ms_peaks){.frames = frames, .frames_per_bin = MS_PEAKS_BIN_FRAMES};
    while ((frames + peaks->frames_per_bin - 1) / peaks->frames_per_bin > MS_PEAKS_MAX_BINS)
        peaks->frames_per_bin *= 2;
    peaks->count = (frames + peaks->frames_per_bin - 1) / peaks->frames_per_bin;
    peaks->bins = calloc((size_t)peaks->count + 1, 1);
    return peaks->bins != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "no memory for a stem's peaks");
}

void ms_peaks_fini(struct ms_peaks *peaks) {
    free(peaks->bins);
    *peaks = (struct ms_peaks){0};
}

void ms_peaks_add(struct ms_peaks *peaks, const float *const planes[MS_AUDIO_CHANNELS],
                  size_t frames) {
    for (size_t at = 0, count; at < frames && peaks->at < peaks->frames; at += count) {
        const int64_t bin = peaks->at / peaks->frames_per_bin;
        int64_t end = (bin + 1) * peaks->frames_per_bin;
        if (end > peaks->frames)
            end = peaks->frames;
        count = (size_t)(end - peaks->at);
        if (count > frames - at)
            count = frames - at;
        float highest = peaks->highest;
        for (int c = 0; c < MS_AUDIO_CHANNELS; c++)
            for (size_t i = at; i < at + count; i++)
                highest = fmaxf(highest, fabsf(planes[c][i]));
        peaks->at += (int64_t)count;
        peaks->highest = highest;
        if (peaks->at < end)
            return;
        peaks->bins[bin] = (uint8_t)lrintf(255 * fminf(highest, 1));
        peaks->highest = 0;
    }
}

int ms_peaks_to_json(const struct ms_peaks *peaks, const char *const *names, const double *gains,
                     int count, int sample_rate_hz, char **out, struct ms_error *err) {
    struct ms_json_writer *w = ms_json_writer_new();
    bool whole = w != NULL;
    *out = NULL;
    if (whole) {
        ms_json_begin_object(w, NULL);
        ms_json_put_int(w, "version", 1);
        ms_json_put_int(w, "sample_rate", sample_rate_hz);
        ms_json_put_int(w, "frames", peaks[0].frames);
        ms_json_put_int(w, "frames_per_bin", peaks[0].frames_per_bin);
        ms_json_begin_array(w, "stems");
    }
    for (int i = 0; whole && i < count; i++) {
        char *digits = ms_base64_encode(peaks[i].bins, (size_t)peaks[i].count);
        whole = digits != NULL;
        ms_json_begin_object(w, NULL);
        ms_json_put_string(w, "name", names[i]);
        ms_json_put_double(w, "gain", gains[i]);
        ms_json_put_string(w, "peaks", digits);
        ms_json_end_object(w);
        free(digits);
    }
    if (whole) {
        size_t size = 0;
        ms_json_end_array(w);
        ms_json_end_object(w);
        const char *text = ms_json_writer_text(w, &size);
        *out = text != NULL ? strdup(text) : NULL;
    }
    ms_json_writer_free(w);
    return *out != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "no memory for peaks");
}
