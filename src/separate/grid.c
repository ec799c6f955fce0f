/* The arithmetic of the chunk grid (demucs/apply.py of Demucs v4) for separate.c. Owns nothing;
 * any thread. */
#include "grid.h"

/* splitmix64: a full-period generator whose whole state is the seed. */
static uint64_t random_next(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* Uniform in 0..max, both included: draws from the incomplete last span are thrown away. */
static int64_t random_up_to(uint64_t *state, int64_t max) {
    uint64_t span = (uint64_t)max + 1, excess = (UINT64_MAX % span + 1) % span, drawn;
    do
        drawn = random_next(state);
    while (drawn > UINT64_MAX - excess);
    return (int64_t)(drawn % span);
}

/* 1, 2 ... up to the middle and down again to 1. */
static double weight_at(int64_t segment_frames, int64_t i) {
    int64_t rising = i + 1, falling = segment_frames - i;
    return (double)(rising < falling ? rising : falling);
}

void ms_grid_init(struct ms_grid *grid, int64_t song_frames, int64_t segment_frames,
                  int64_t stride_frames, int shifts, int64_t max_shift, uint64_t seed,
                  double *cover) {
    grid->song_frames = song_frames;
    grid->segment_frames = segment_frames;
    grid->stride_frames = stride_frames;
    grid->runs = shifts > 0 ? shifts : 1;
    uint64_t state = seed;
    for (int run = 0; run < grid->runs; run++) {
        grid->start[run] = shifts > 0 ? random_up_to(&state, max_shift) - max_shift : 0;
        grid->next[run] = grid->start[run];
    }
    /* The chunks before a frame exist whether or not the song goes on after it. So the sum depends
     * only on the distance from the run's start, and from segment_frames - stride_frames on it
     * repeats with the stride. */
    grid->cover = cover;
    for (int64_t i = 0; i < segment_frames; i++)
        cover[i] =
            weight_at(segment_frames, i) + (i < stride_frames ? 0.0 : cover[i - stride_frames]);
}

int64_t ms_grid_chunks(const struct ms_grid *grid) {
    int64_t chunks = 0;
    for (int run = 0; run < grid->runs; run++)
        chunks += (grid->song_frames - grid->start[run] - 1) / grid->stride_frames + 1;
    return chunks;
}

/* The run whose turn it is; the lower number where two have the same position. */
static int first_run(const struct ms_grid *grid) {
    int first = 0;
    for (int run = 1; run < grid->runs; run++)
        if (grid->next[run] < grid->next[first])
            first = run;
    return first;
}

int64_t ms_grid_first(const struct ms_grid *grid) {
    return grid->next[first_run(grid)];
}

bool ms_grid_next(struct ms_grid *grid, struct ms_chunk *chunk) {
    int first = first_run(grid);
    int64_t left = grid->song_frames - grid->next[first];
    if (left <= 0)
        return false;
    chunk->position = grid->next[first];
    chunk->length = left < grid->segment_frames ? left : grid->segment_frames;
    chunk->window = chunk->position - (grid->segment_frames - chunk->length) / 2;
    chunk->since = chunk->position - grid->start[first];
    grid->next[first] += grid->stride_frames;
    return true;
}

void ms_grid_gain(const struct ms_grid *grid, const struct ms_chunk *chunk, float *gain) {
    int64_t segment = grid->segment_frames;
    int64_t steady = segment - grid->stride_frames;
    int64_t at = chunk->since;
    if (at >= segment)
        at = steady + (at - steady) % grid->stride_frames;
    for (int64_t i = 0; i < chunk->length; i++) {
        gain[i] = (float)(weight_at(segment, i) / (grid->cover[at] * grid->runs));
        if (++at == segment)
            at = steady;
    }
}
