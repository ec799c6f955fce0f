/* Where segments lie in a song: the chunk grid of every run, in the order in which separate.c
 * walks it.
 *
 * Positions are frames of the song; the grid of a shifted run starts before frame 0. Runs (one
 * without shifts, one for each shift otherwise) are interleaved by position, so that one pass
 * over the song serves them all. */
#ifndef MSAAS_SEPARATE_GRID_H
#define MSAAS_SEPARATE_GRID_H

#include <stdbool.h>
#include <stdint.h>

#define MS_GRID_MAX_RUNS 100

struct ms_chunk {
    int64_t position; /* of its first frame in the song */
    int64_t length;   /* frames that count: segment_frames, fewer where the song ends */
    int64_t window;   /* where its window of segment_frames starts */
    int64_t since;    /* position in its own run: a multiple of the stride */
};

struct ms_grid {
    int64_t song_frames, segment_frames, stride_frames;
    int runs;
    int64_t start[MS_GRID_MAX_RUNS]; /* of each run */
    int64_t next[MS_GRID_MAX_RUNS];  /* of each run, position of its next chunk */
    /* [segment_frames], borrowed: sum of the weights at each frame since a run's start */
    double *cover;
};

/* song_frames > 0, 1 <= stride <= segment. shifts 0..MS_GRID_MAX_RUNS, each start drawn from
 * 0..max_shift frames before the song by a generator of its own, seeded with `seed`. cover holds
 * segment_frames values. */
void ms_grid_init(struct ms_grid *grid, int64_t song_frames, int64_t segment_frames,
                  int64_t stride_frames, int shifts, int64_t max_shift, uint64_t seed,
                  double *cover);

/* Position of the first chunk. Call it before ms_grid_next. */
int64_t ms_grid_first(const struct ms_grid *grid);
int64_t ms_grid_chunks(const struct ms_grid *grid); /* of all runs together */

/* The next chunk by position; false after the last. */
bool ms_grid_next(struct ms_grid *grid, struct ms_chunk *chunk);

/* gain[0..chunk->length): the share of each frame of the chunk in the result, which is its
 * triangular weight divided by the sum of the weights of its run's chunks there, and by the number
 * of runs. */
void ms_grid_gain(const struct ms_grid *grid, const struct ms_chunk *chunk, float *gain);

#endif
