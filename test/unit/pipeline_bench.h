/* What a pipeline runs with: a song in a folder of the test's own, real decoding, separating and
 * encoding, a stand-in for the network alone. */
#ifndef MSAAS_TEST_PIPELINE_BENCH_H
#define MSAAS_TEST_PIPELINE_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_network.h"
#include "msaas/pipeline.h"
#include "song.h"

#define RATE_HZ 44100
#define SEGMENT 20000
#define FRAMES 70001

/* The folder, with out/ in it: bench_set_up makes it, bench_tear_down removes it. */
extern char bench_folder[256];
int bench_set_up(void **state);
int bench_tear_down(void **state);
char *bench_path(const char *name); /* in the folder; the caller's */
int bench_entries_out(void);        /* empties out/; how many entries it had */

/* A float WAV of `frames` frames whose header claims `claimed`. */
void write_float_wav(const char *path, const struct song *song, int64_t frames, int64_t claimed);

struct bench {
    struct fake_network model;
    struct song song;
    char *input, *spool_dir;
    struct ms_pipeline_options options;
    struct ms_pipeline_output outputs[MS_PIPELINE_MAX_OUTPUTS];
    int count;
    bool keep; /* each output without loss, too */
    struct ms_separate_hooks hooks;
    struct ms_pipeline_stats stats;
    struct ms_error err;
};

void bench_init(struct bench *bench);
void bench_fini(struct bench *bench);
/* Each output is out/LABEL.EXTENSION. As ms_pipeline_run; the error is bench->err. */
int bench_run_to(struct bench *bench, int lanes, const char *extension);

#endif
