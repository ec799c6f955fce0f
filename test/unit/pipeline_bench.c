/* See pipeline_bench.h. */
#include "pipeline_bench.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "msaas/sys.h"

char bench_folder[256];

char *bench_path(const char *name) {
    char *path = ms_strdupf("%s/%s", bench_folder, name);
    assert_non_null(path);
    return path;
}

int bench_set_up(void **state) {
    (void)state;
    const char *root = getenv("TMPDIR");
    (void)snprintf(bench_folder, sizeof bench_folder, "%s/msaas-pipeline-XXXXXX",
                   root != NULL ? root : "/tmp");
    if (mkdtemp(bench_folder) == NULL)
        return -1;
    char *out = bench_path("out");
    int rc = mkdir(out, 0777);
    free(out);
    return rc;
}

/* Empties a folder one level deep; how many entries it had. */
static int empty_folder(const char *path) {
    DIR *opened = opendir(path);
    assert_non_null(opened);
    int entries = 0;
    for (struct dirent *entry; (entry = readdir(opened)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *name = ms_strdupf("%s/%s", path, entry->d_name);
        if (unlink(name) != 0)
            (void)rmdir(name);
        free(name);
        entries++;
    }
    closedir(opened);
    return entries;
}

int bench_tear_down(void **state) {
    (void)state;
    char *out = bench_path("out");
    (void)empty_folder(out);
    (void)empty_folder(bench_folder);
    free(out);
    return rmdir(bench_folder);
}

int bench_entries_out(void) {
    char *out = bench_path("out");
    const int entries = empty_folder(out);
    free(out);
    return entries;
}

static void put_u32(FILE *file, uint32_t value) {
    for (int i = 0; i < 4; i++)
        (void)fputc((int)(value >> (8 * i) & 255u), file);
}

void write_float_wav(const char *path, const struct song *song, int64_t frames, int64_t claimed) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    uint32_t bytes = (uint32_t)claimed * 8u;
    (void)fputs("RIFF", file);
    put_u32(file, 36 + bytes);
    (void)fputs("WAVEfmt ", file);
    put_u32(file, 16);
    put_u32(file, 3 | 2u << 16); /* IEEE float, two channels */
    put_u32(file, RATE_HZ);
    put_u32(file, RATE_HZ * 8);
    put_u32(file, 8 | 32u << 16);
    (void)fputs("data", file);
    put_u32(file, bytes);
    for (int64_t i = 0; i < frames; i++)
        for (int c = 0; c < 2; c++)
            (void)fwrite(&song->planes[c][i], sizeof(float), 1, file);
    assert_int_equal(fclose(file), 0);
}

void bench_init(struct bench *bench) {
    memset(bench, 0, sizeof *bench);
    fake_init(&bench->model, RATE_HZ, SEGMENT, 4);
    bench->model.plain = true;
    song_init(&bench->song, FRAMES);
    bench->input = bench_path("song.wav");
    bench->spool_dir = bench_path("out");
    write_float_wav(bench->input, &bench->song, FRAMES, FRAMES);
    bench->options.separate.overlap = 0.25;
    bench->options.encode = (struct ms_encode_options){MS_FORMAT_WAV, MS_SAMPLE_FLOAT32, 0, 2};
    bench->options.two_stems = -1;
    for (int s = 0; s < 4; s++)
        bench->options.stems[s] = true;
}

static void bench_clear_paths(struct bench *bench) {
    for (int i = 0; i < bench->count; i++) {
        free(bench->outputs[i].path);
        free(bench->outputs[i].kept_path);
    }
    bench->count = 0;
}

void bench_fini(struct bench *bench) {
    bench_clear_paths(bench);
    song_fini(&bench->song);
    free(bench->input);
    free(bench->spool_dir);
}

int bench_run_to(struct bench *bench, int lanes, const char *extension) {
    bench_clear_paths(bench);
    int rc = ms_pipeline_labels(&bench->model.network.info, &bench->options, bench->outputs,
                                &bench->count, &bench->err);
    assert_int_equal(rc, 0);
    for (int i = 0; i < bench->count; i++) {
        struct ms_pipeline_output *output = &bench->outputs[i];
        output->path = ms_strdupf("%s/out/%s.%s", bench_folder, output->label, extension);
        if (bench->keep)
            output->kept_path = ms_strdupf("%s/out/kept.%s.flac", bench_folder, output->label);
    }
    struct ms_separator *separator = new_separator(&bench->model, lanes);
    rc = ms_pipeline_run(separator, &bench->model.network.info, bench->input, &bench->options,
                         bench->outputs, bench->count, bench->spool_dir, &bench->hooks,
                         &bench->stats, &bench->err);
    ms_separator_free(separator);
    return rc;
}
