/* A song in memory that the separator reads in odd blocks, and a place for its stems. Faults on
 * demand. */
#ifndef MSAAS_TEST_SONG_H
#define MSAAS_TEST_SONG_H

#include "fake_network.h"
#include "msaas/separate.h"

struct song {
    const float *planes[2];
    int64_t frames, second_frames; /* of the first and the second pass */
    int64_t at;
    int pass;
    int64_t fail_at; /* frame at which reading fails in pass fail_pass; -1: never */
    int fail_pass;
    bool fail_rewind;
};

struct stems {
    int count;
    int64_t frames, capacity;
    float *planes[MS_MODEL_MAX_STEMS][2];
    const struct song *song; /* whose frames the mix must be */
    int64_t fail_at;         /* -1: never */
};

float *new_plane(int64_t frames); /* zeros; the caller's to free() */

/* Tones and noise, not the same left and right. */
void song_init(struct song *song, int64_t frames);
void song_fini(struct song *song);

/* Checks that the mix that comes with the stems is the song's. */
void stems_init(struct stems *stems, int count, const struct song *song);
void stems_fini(struct stems *stems);

struct ms_separate_options default_options(void); /* overlap 0.25, every stem wanted */
struct ms_separator *new_separator(struct fake_network *model, int lanes);
struct ms_separator *new_batch_separator(struct fake_network *model, int lanes, int batch);
int run_song(struct ms_separator *separator, struct song *song, struct stems *stems,
             const struct ms_separate_options *options, const struct ms_separate_hooks *hooks,
             struct ms_error *err);

#endif
