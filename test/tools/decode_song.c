/* decode_song FILE: decodes it as a job does, twice, and keeps nothing. Prints, with tabs between:
 * the code's name or "ok", seconds of audio, seconds of processor time and MiB of memory that the
 * decoder's processes took, the error. Exit code 0 whatever the file. */
#include <stdio.h>
#include <sys/resource.h>

#include "msaas/audio.h"

#define RATE_HZ 44100
#define BLOCK_FRAMES 16384

static int read_all(struct ms_decoder *decoder, int64_t *frames, struct ms_error *err) {
    static float left[BLOCK_FRAMES], right[BLOCK_FRAMES];
    float *planes[MS_AUDIO_CHANNELS] = {left, right};
    size_t got = 1;
    int rc = 0;
    for (*frames = 0; rc == 0 && got > 0; *frames += (int64_t)got)
        rc = ms_decoder_read(decoder, planes, BLOCK_FRAMES, &got, err);
    return rc;
}

static double seconds(struct timeval time) {
    return (double)time.tv_sec + (double)time.tv_usec * 1e-6;
}

int main(int argc, char **argv) {
#ifndef DECODE_IN_PROCESS
    ms_decoder_prepare(argc, argv);
#endif
    struct ms_error err = {0};
    struct ms_decoder *decoder = NULL;
    int64_t frames = 0;
    int rc = ms_decoder_open(argc > 1 ? argv[1] : "", RATE_HZ, &decoder, &err);
    if (rc == 0)
        rc = read_all(decoder, &frames, &err);
    if (rc == 0)
        rc = ms_decoder_rewind(decoder, &err);
    if (rc == 0)
        rc = read_all(decoder, &frames, &err);
    ms_decoder_free(decoder);
    struct rusage used;
#ifdef DECODE_IN_PROCESS
    (void)getrusage(RUSAGE_SELF, &used);
#else
    (void)getrusage(RUSAGE_CHILDREN, &used);
#endif
    printf("%s\t%.2f\t%.2f\t%ld\t%s\n", rc == 0 ? "ok" : ms_code_name(rc), (double)frames / RATE_HZ,
           seconds(used.ru_utime) + seconds(used.ru_stime), used.ru_maxrss / 1024, err.text);
    return 0;
}
