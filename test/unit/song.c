/* See song.h. */
#include "song.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

float *new_plane(int64_t frames) {
    float *plane = calloc((size_t)frames + 1, sizeof *plane);
    assert_non_null(plane);
    return plane;
}

void song_init(struct song *song, int64_t frames) {
    float *planes[2] = {new_plane(frames), new_plane(frames)};
    uint32_t noise = 12345;
    for (int64_t i = 0; i < frames; i++)
        for (int c = 0; c < 2; c++) {
            noise = noise * 1664525u + 1013904223u;
            planes[c][i] = 0.3f * sinf((float)(i * (c + 2)) * 0.037f) +
                           0.2f * ((float)(noise >> 8) / 8388608.0f - 1.0f) + 0.05f;
        }
    *song = (struct song){
        .planes = {planes[0], planes[1]}, .frames = frames, .second_frames = frames, .fail_at = -1};
}

void song_fini(struct song *song) {
    free((float *)(uintptr_t)song->planes[0]);
    free((float *)(uintptr_t)song->planes[1]);
}

static int song_read(void *context, float *const planes[2], size_t capacity, size_t *frames,
                     struct ms_error *err) {
    struct song *song = context;
    assert_in_range(capacity, 1, MS_STEM_BLOCK_FRAMES);
    if (song->fail_at >= 0 && song->pass == song->fail_pass && song->at >= song->fail_at)
        return ms_error_set(err, MS_EINPUT, "the song broke off");
    int64_t count = (song->pass == 0 ? song->frames : song->second_frames) - song->at;
    if (count > (int64_t)capacity)
        count = (int64_t)capacity;
    if (count > 333)
        count = 333;
    for (int c = 0; c < 2; c++)
        memcpy(planes[c], song->planes[c] + song->at, (size_t)count * sizeof(float));
    song->at += count;
    *frames = (size_t)count;
    return 0;
}

static int song_rewind(void *context, struct ms_error *err) {
    struct song *song = context;
    if (song->fail_rewind)
        return ms_error_set(err, MS_EIO, "the song cannot be read again");
    song->at = 0;
    song->pass++;
    return 0;
}

void stems_init(struct stems *stems, int count, const struct song *song) {
    *stems = (struct stems){
        .count = count, .capacity = song->second_frames, .song = song, .fail_at = -1};
    for (int s = 0; s < count; s++)
        for (int c = 0; c < 2; c++)
            stems->planes[s][c] = new_plane(stems->capacity);
}

void stems_fini(struct stems *stems) {
    for (int s = 0; s < stems->count; s++)
        for (int c = 0; c < 2; c++)
            free(stems->planes[s][c]);
}

static int stems_write(void *context, const float *const (*planes)[2], const float *const mix[2],
                       size_t frames, struct ms_error *err) {
    struct stems *stems = context;
    assert_in_range(frames, 1, MS_STEM_BLOCK_FRAMES);
    assert_true(stems->frames + (int64_t)frames <= stems->capacity);
    if (stems->fail_at >= 0 && stems->frames >= stems->fail_at)
        return ms_error_set(err, MS_EIO, "the sink is full");
    for (int c = 0; c < 2; c++) {
        assert_memory_equal(mix[c], stems->song->planes[c] + stems->frames, frames * sizeof(float));
        for (int s = 0; s < stems->count; s++)
            if (planes[s][c] != NULL)
                memcpy(stems->planes[s][c] + stems->frames, planes[s][c], frames * sizeof(float));
    }
    stems->frames += (int64_t)frames;
    return 0;
}

struct ms_separate_options default_options(void) {
    struct ms_separate_options options = {.overlap = 0.25};
    for (int s = 0; s < MS_MODEL_MAX_STEMS; s++)
        options.wanted[s] = true;
    return options;
}

int run_song(struct ms_separator *separator, struct song *song, struct stems *stems,
             const struct ms_separate_options *options, const struct ms_separate_hooks *hooks,
             struct ms_error *err) {
    song->at = 0;
    song->pass = 0;
    stems->frames = 0;
    struct ms_mix_source source = {song, song_read, song_rewind};
    struct ms_stem_sink sink = {stems, stems_write};
    return ms_separator_run(separator, &source, &sink, options, hooks, err);
}

struct ms_separator *new_batch_separator(struct fake_network *model, int lanes, int batch) {
    struct ms_separator *separator = NULL;
    struct ms_error err = {0};
    if (ms_separator_new(&model->network, lanes, batch, &separator, &err) != 0)
        fail_msg("%s", err.text);
    return separator;
}

struct ms_separator *new_separator(struct fake_network *model, int lanes) {
    return new_batch_separator(model, lanes, 1);
}
