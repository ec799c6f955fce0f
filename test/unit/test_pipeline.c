/* A song's whole way through real decoding, separating and encoding; a stand-in for the network
 * alone. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_network.h"
#include "msaas/pipeline.h"
#include "msaas/sys.h"
#include "song.h"
#include "spool.h"

#define RATE_HZ 44100
#define SEGMENT 20000
#define FRAMES 70001

/* ---- a folder for each test: in/ and out/ ---- */

static char folder[256];

static char *path_in(const char *name) {
    char *path = ms_strdupf("%s/%s", folder, name);
    assert_non_null(path);
    return path;
}

static int set_up(void **state) {
    (void)state;
    const char *root = getenv("TMPDIR");
    (void)snprintf(folder, sizeof folder, "%s/msaas-pipeline-XXXXXX", root != NULL ? root : "/tmp");
    if (mkdtemp(folder) == NULL)
        return -1;
    char *out = path_in("out");
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

static int tear_down(void **state) {
    (void)state;
    char *out = path_in("out");
    (void)empty_folder(out);
    (void)empty_folder(folder);
    free(out);
    return rmdir(folder);
}

static void put_u32(FILE *file, uint32_t value) {
    for (int i = 0; i < 4; i++)
        (void)fputc((int)(value >> (8 * i) & 255u), file);
}

/* A float WAV of `frames` frames whose header claims `claimed`. */
static void write_wav(const char *path, const struct song *song, int64_t frames, int64_t claimed) {
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

static void read_audio(const char *path, float *planes[2], int64_t *frames) {
    struct ms_decoder *decoder = NULL;
    struct ms_error err = {0};
    if (ms_decoder_open(path, RATE_HZ, &decoder, &err) != 0)
        fail_msg("%s", err.text);
    planes[0] = new_plane(FRAMES + 1);
    planes[1] = new_plane(FRAMES + 1);
    size_t got = 1;
    for (*frames = 0; got > 0; *frames += (int64_t)got) {
        float *const at[2] = {planes[0] + *frames, planes[1] + *frames};
        if (ms_decoder_read(decoder, at, (size_t)(FRAMES + 1 - *frames), &got, &err) != 0)
            fail_msg("%s", err.text);
        if (*frames + (int64_t)got == FRAMES + 1)
            break;
    }
    ms_decoder_free(decoder);
}

/* ---- a run ---- */

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

static void bench_init(struct bench *bench) {
    memset(bench, 0, sizeof *bench);
    fake_init(&bench->model, RATE_HZ, SEGMENT, 4);
    bench->model.plain = true;
    song_init(&bench->song, FRAMES);
    bench->input = path_in("song.wav");
    bench->spool_dir = path_in("out");
    write_wav(bench->input, &bench->song, FRAMES, FRAMES);
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

static void bench_fini(struct bench *bench) {
    bench_clear_paths(bench);
    song_fini(&bench->song);
    free(bench->input);
    free(bench->spool_dir);
}

static int bench_run_to(struct bench *bench, int lanes, const char *extension) {
    bench_clear_paths(bench);
    int rc = ms_pipeline_labels(&bench->model.network.info, &bench->options, bench->outputs,
                                &bench->count, &bench->err);
    assert_int_equal(rc, 0);
    for (int i = 0; i < bench->count; i++) {
        struct ms_pipeline_output *output = &bench->outputs[i];
        output->path = ms_strdupf("%s/out/%s.%s", folder, output->label, extension);
        if (bench->keep)
            output->kept_path = ms_strdupf("%s/out/kept.%s.flac", folder, output->label);
    }
    struct ms_separator *separator = new_separator(&bench->model, lanes);
    rc = ms_pipeline_run(separator, &bench->model.network.info, bench->input, &bench->options,
                         bench->outputs, bench->count, bench->spool_dir, &bench->hooks,
                         &bench->stats, &bench->err);
    ms_separator_free(separator);
    return rc;
}

static void bench_run(struct bench *bench) {
    if (bench_run_to(bench, 2, "wav") != 0)
        fail_msg("%s", bench->err.text);
    assert_int_equal(bench->stats.frames, FRAMES);
    assert_false(bench->stats.damaged);
    assert_true(bench->stats.total_s > 0.0);
}

static int entries_out(void) {
    char *out = path_in("out");
    const int entries = empty_folder(out);
    free(out);
    return entries;
}

/* Stem s of the plain network is the mix s + 1 times, around the mix's mean. */
static double mix_mean(const struct song *song) {
    double sum = 0.0;
    for (int64_t i = 0; i < song->frames; i++)
        sum += ((double)song->planes[0][i] + (double)song->planes[1][i]) / 2.0;
    return sum / (double)song->frames;
}

static double stem_at(const struct bench *bench, int stem, int channel, int64_t frame,
                      double mean) {
    return (stem + 1) * ((double)bench->song.planes[channel][frame] - mean) + mean;
}

enum treatment { RESCALED, CLAMPED, UNTOUCHED };

/* The file must be factor[0] * stem 0 + ... + mix_factor * mix, then treated. Returns the peak
 * before. */
static double check_file(struct bench *bench, const char *path, const double factors[4],
                         double mix_factor, enum treatment treatment) {
    float *planes[2];
    int64_t frames;
    double mean = mix_mean(&bench->song), peak = 0.0;
    read_audio(path, planes, &frames);
    assert_int_equal(frames, FRAMES);
    double *expected[2];
    for (int c = 0; c < 2; c++) {
        expected[c] = calloc(FRAMES, sizeof *expected[c]);
        for (int64_t i = 0; i < FRAMES; i++) {
            expected[c][i] = mix_factor * (double)bench->song.planes[c][i];
            for (int s = 0; s < 4; s++)
                expected[c][i] += factors[s] * stem_at(bench, s, c, i, mean);
            peak = fmax(peak, fabs(expected[c][i]));
        }
    }
    for (int c = 0; c < 2; c++)
        for (int64_t i = 0; i < FRAMES; i++) {
            double want = expected[c][i];
            if (treatment == RESCALED)
                want /= fmax(1.01 * peak, 1.0);
            else if (treatment == CLAMPED)
                want = fmin(fmax(want, -0.99), 0.99);
            if (!(fabs(want - (double)planes[c][i]) < 1e-5))
                fail_msg("%s: channel %d frame %lld is %g, not %g", path, c, (long long)i,
                         (double)planes[c][i], want);
        }
    for (int c = 0; c < 2; c++) {
        free(planes[c]);
        free(expected[c]);
    }
    return peak;
}

static void check_output(struct bench *bench, int number, const double factors[4],
                         double mix_factor, enum treatment treatment) {
    (void)check_file(bench, bench->outputs[number].path, factors, mix_factor, treatment);
}

/* ---- tests ---- */

static void labels_stems(void **state) {
    (void)state;
    struct fake_network model;
    fake_init(&model, RATE_HZ, SEGMENT, 4);
    struct ms_pipeline_options options = {.two_stems = -1, .stems = {[1] = true, [3] = true}};
    struct ms_pipeline_output outputs[MS_PIPELINE_MAX_OUTPUTS];
    int count = 0;
    assert_int_equal(ms_pipeline_labels(&model.network.info, &options, outputs, &count, NULL), 0);
    assert_int_equal(count, 2);
    assert_string_equal(outputs[0].label, "bass");
    assert_string_equal(outputs[1].label, "vocals");
    assert_null(outputs[1].path);
    assert_null(outputs[1].kept_path);
    static const char *const others[] = {
        [MS_OTHER_ADD] = "no_vocals", [MS_OTHER_MINUS] = "minus_vocals"};
    options.two_stems = 3;
    for (int method = 0; method < 2; method++) {
        options.other_method = (enum ms_other_method)method;
        assert_int_equal(ms_pipeline_labels(&model.network.info, &options, outputs, &count, NULL),
                         0);
        assert_int_equal(count, 2);
        assert_string_equal(outputs[0].label, "vocals");
        assert_string_equal(outputs[1].label, others[method]);
    }
    options.other_method = MS_OTHER_NONE;
    assert_int_equal(ms_pipeline_labels(&model.network.info, &options, outputs, &count, NULL), 0);
    assert_int_equal(count, 1);
    options.two_stems = 4;
    assert_int_equal(ms_pipeline_labels(&model.network.info, &options, outputs, &count, NULL),
                     MS_EUSAGE);
    options = (struct ms_pipeline_options){.two_stems = -1};
    assert_int_equal(ms_pipeline_labels(&model.network.info, &options, outputs, &count, NULL),
                     MS_EUSAGE);
}

static void keeps_to_the_clip_mode(void **state) {
    (void)state;
    static const enum treatment treatments[] = {
        [MS_CLIP_RESCALE] = RESCALED, [MS_CLIP_CLAMP] = CLAMPED, [MS_CLIP_NONE] = UNTOUCHED};
    struct bench bench;
    bench_init(&bench);
    for (int clip = 0; clip < 3; clip++) {
        bench.options.clip = (enum ms_clip_mode)clip;
        bench_run(&bench);
        for (int s = 0; s < 4; s++) {
            double factors[4] = {0};
            factors[s] = 1.0;
            check_output(&bench, s, factors, 0.0, treatments[clip]);
        }
        assert_int_equal(entries_out(), 4);
    }
    bench_fini(&bench);
}

static bool is_flac_of_24_bits(const char *path) {
    unsigned char head[26] = {0};
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(head, 1, sizeof head, file), sizeof head);
    (void)fclose(file);
    /* STREAMINFO: 20 bits of rate, 3 of channels - 1, 5 of bits - 1 */
    return memcmp(head, "fLaC", 4) == 0 && ((head[20] & 1) << 4 | head[21] >> 4) == 23;
}

/* Of one separation, and from what is as loud as the stem is: whatever the clip mode says of the
 * other file. */
static void keeps_what_was_not_asked_for(void **state) {
    (void)state;
    static const enum treatment treatments[] = {
        [MS_CLIP_RESCALE] = RESCALED, [MS_CLIP_CLAMP] = CLAMPED, [MS_CLIP_NONE] = UNTOUCHED};
    struct bench bench;
    bench_init(&bench);
    bench_run(&bench);
    const int forwards = atomic_load(&bench.model.forwards_begun);
    assert_int_equal(entries_out(), 4);
    bench.keep = true;
    for (int clip = 0; clip < 3; clip++) {
        atomic_store(&bench.model.forwards_begun, 0);
        bench.options.clip = (enum ms_clip_mode)clip;
        bench_run(&bench);
        assert_int_equal(atomic_load(&bench.model.forwards_begun), forwards);
        for (int s = 0; s < 4; s++) {
            double factors[4] = {0};
            factors[s] = 1.0;
            check_output(&bench, s, factors, 0.0, treatments[clip]);
            const char *kept = bench.outputs[s].kept_path;
            const double peak = check_file(&bench, kept, factors, 0.0, RESCALED);
            assert_true(is_flac_of_24_bits(kept));
            assert_true(fabs(bench.stats.gains[s] * fmax(1.01 * peak, 1.0) - 1) < 1e-5);
            assert_true(s < 3 || bench.stats.gains[s] < 1);
        }
        assert_int_equal(entries_out(), 8);
    }
    bench_fini(&bench);
}

static void makes_two_stems(void **state) {
    (void)state;
    struct bench bench;
    bench_init(&bench);
    bench.model.network.info.member_count = 4; /* a bag: one network for each stem */
    for (int n = 0; n < 4; n++)
        for (int s = 0; s < 4; s++)
            bench.model.network.info.weights[n][s] = n == s;
    bench.options.clip = MS_CLIP_RESCALE;
    bench.options.two_stems = 1;
    static const double own[] = {0, 1, 0, 0}, rest[] = {1, 0, 1, 1}, minus[] = {0, -1, 0, 0};
    bench.options.other_method = MS_OTHER_ADD;
    bench_run(&bench);
    check_output(&bench, 0, own, 0.0, RESCALED);
    check_output(&bench, 1, rest, 0.0, RESCALED);
    assert_true(bench.model.forwards[0] > 0);

    atomic_store(&bench.model.forwards[0], 0);
    bench.options.other_method = MS_OTHER_MINUS;
    bench_run(&bench);
    check_output(&bench, 0, own, 0.0, RESCALED);
    check_output(&bench, 1, minus, 1.0, RESCALED);
    assert_int_equal(entries_out(), 3);

    bench.options.other_method = MS_OTHER_NONE;
    bench_run(&bench);
    check_output(&bench, 0, own, 0.0, RESCALED);
    assert_int_equal(bench.model.forwards[0], 0);
    assert_int_equal(entries_out(), 1);
    bench_fini(&bench);
}

static char *slurp(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *bytes = malloc(1 << 22);
    assert_non_null(bytes);
    *size = fread(bytes, 1, 1 << 22, file);
    (void)fclose(file);
    return bytes;
}

static void bytes_do_not_depend_on_lanes(void **state) {
    (void)state;
    static const enum ms_audio_format formats[] = {MS_FORMAT_WAV, MS_FORMAT_MP3, MS_FORMAT_FLAC};
    struct bench bench;
    bench_init(&bench);
    bench.model.plain = false;
    bench.options.encode.sample_type = MS_SAMPLE_INT16;
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
        bench.options.encode.format = formats[f];
        char *bytes[4] = {NULL};
        size_t sizes[4];
        for (int lanes = 1; lanes <= 4; lanes++) {
            if (bench_run_to(&bench, lanes, ms_audio_format_extension(formats[f])) != 0)
                fail_msg("%s", bench.err.text);
            for (int i = 0; i < 4; i++) {
                size_t size;
                char *these = slurp(bench.outputs[i].path, &size);
                assert_true(size > 1000);
                if (lanes == 1) {
                    bytes[i] = these;
                    sizes[i] = size;
                    continue;
                }
                assert_int_equal(size, sizes[i]);
                assert_memory_equal(these, bytes[i], size);
                free(these);
            }
        }
        for (int i = 0; i < 4; i++)
            free(bytes[i]);
    }
    bench_fini(&bench);
}

/* Whatever goes wrong, neither an output nor a temporary file is left. */
static void check_fails(struct bench *bench, int expected, const char *part) {
    int rc = bench_run_to(bench, 2, "wav");
    if (rc != expected || strstr(bench->err.text, part) == NULL)
        fail_msg("%s (%d) is not \"...%s...\" (%d)", bench->err.text, rc, part, expected);
    assert_int_equal(entries_out(), 0);
}

static void leaves_nothing_after_a_fault(void **state) {
    (void)state;
    struct bench bench;
    bench_init(&bench);
    char *wanted_input = bench.input, *wanted_spool = bench.spool_dir;
    bench.input = path_in("missing.wav");
    check_fails(&bench, MS_ENOTFOUND, bench.input);
    free(bench.input);
    bench.input = path_in("empty.wav");
    write_wav(bench.input, &bench.song, 0, 0);
    check_fails(&bench, MS_EINPUT, bench.input);
    free(bench.input);
    bench.input = path_in(
        "deafening.wav"); /* the decoder lets it pass, its level cannot be told in a float */
    struct song loudest;
    song_init(&loudest, 2);
    for (int c = 0; c < 2; c++)
        memcpy((float *)(uintptr_t)loudest.planes[c], (float[]){3.4e38f, -3.4e38f},
               2 * sizeof(float));
    write_wav(bench.input, &loudest, 2, 2);
    check_fails(&bench, MS_EINPUT, bench.input);
    song_fini(&loudest);
    free(bench.input);
    bench.input = wanted_input;
    bench.options.max_seconds = (double)(FRAMES - 1) / RATE_HZ;
    check_fails(&bench, MS_EINPUT, "is longer than");
    bench.options.max_seconds = 0;
    bench.spool_dir = path_in("nowhere");
    check_fails(&bench, MS_EIO, bench.spool_dir);
    free(bench.spool_dir);
    bench.spool_dir = wanted_spool;
    bench.model.fail_forward = 3;
    check_fails(&bench, MS_EINTERNAL, "forward");
    bench.model.fail_forward = 0;

    bench.options.separate.overlap = 1.0;
    check_fails(&bench, MS_EUSAGE, "overlap");
    bench_fini(&bench);
}

/* A full disk, as far as a process can have one of its own: no file may grow past a limit. */
static void tells_a_full_disk(void **state) {
    (void)state;
    struct bench bench;
    bench_init(&bench);
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    for (int clip = 0; clip < 3; clip++) {
        bench.options.clip = (enum ms_clip_mode)clip;
        small = before;
        small.rlim_cur = FRAMES * 4;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        int rc = bench_run_to(&bench, 2, "wav");
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        if (rc != MS_EIO || strstr(bench.err.text, folder) == NULL ||
            strstr(bench.err.text, strerror(EFBIG)) == NULL)
            fail_msg("clip mode %d: %s (%d)", clip, bench.err.text, rc);
        if (bench.options.clip == MS_CLIP_RESCALE) /* told before work begins */
            assert_int_equal(atomic_load(&bench.model.forwards_begun), 0);
        assert_int_equal(entries_out(), 0);
    }
    (void)signal(SIGXFSZ, handler);
    bench_fini(&bench);
}

/* 24-bit FLAC and 16-bit WAV together may take more than the spool that they are made of. */
static void claims_what_its_files_may_take(void **state) {
    (void)state;
    struct bench bench;
    bench_init(&bench);
    bench.options.encode.sample_type = MS_SAMPLE_INT16;
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    for (int keep = 0; keep < 2; keep++)
        for (int frame_bytes = 8; frame_bytes <= 10; frame_bytes++) {
            bench.keep = keep == 1;
            small = before;
            small.rlim_cur = (rlim_t)(FRAMES * frame_bytes);
            atomic_store(&bench.model.forwards_begun, 0);
            assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
            const int rc = bench_run_to(&bench, 2, "wav");
            assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
            const bool fits = frame_bytes >= (keep == 1 ? 10 : 8);
            if (rc != (fits ? 0 : MS_EIO))
                fail_msg("%d bytes, %s: %d", frame_bytes, keep == 1 ? "kept" : "not kept", rc);
            assert_int_equal(atomic_load(&bench.model.forwards_begun) > 0, fits);
            assert_int_equal(entries_out(), fits ? 4 + 4 * keep : 0);
        }
    (void)signal(SIGXFSZ, handler);
    bench_fini(&bench);
}

/* No file may grow past a limit any more once all segments are done: the encoders at the end come
 * upon it. */
static void limit_after_last(void *context, const struct ms_separate_progress *progress) {
    if (progress->segments_done == progress->segments_total)
        assert_int_equal(setrlimit(RLIMIT_FSIZE, context), 0);
}

static void tells_the_first_of_the_faults(void **state) {
    (void)state;
    struct bench bench;
    bench_init(&bench);
    /* Whole blocks of the spools, which are on disk before the last segment is told; louder from
     * stem to stem, none past full scale, and so are the files larger. */
    const int64_t frames = INT64_C(2) * 65536;
    song_fini(&bench.song);
    song_init(&bench.song, frames);
    for (int c = 0; c < 2; c++)
        for (int64_t i = 0; i < frames; i++)
            ((float *)(uintptr_t)bench.song.planes[c])[i] *= 0.25f;
    write_wav(bench.input, &bench.song, frames, frames);
    bench.options.encode = (struct ms_encode_options){.format = MS_FORMAT_FLAC};
    assert_int_equal(bench_run_to(&bench, 1, "flac"), 0);
    struct stat sizes[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(stat(bench.outputs[i].path, &sizes[i]), 0);
        assert_true(i == 0 || sizes[i].st_size > sizes[i - 1].st_size);
    }
    assert_int_equal(entries_out(), 4);

    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    bench.hooks = (struct ms_separate_hooks){.context = &small, .progress = limit_after_last};
    /* From output `first` on all fail, the later the sooner. */
    for (int first = 0; first < 4; first++)
        for (int lanes = 1; lanes <= 4; lanes++) {
            small = before;
            small.rlim_cur = (rlim_t)sizes[first].st_size - 1;
            int rc = bench_run_to(&bench, lanes, "flac");
            assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
            if (rc != MS_EIO || strstr(bench.err.text, bench.outputs[first].path) == NULL)
                fail_msg("%d lanes: %s (%d), not of %s", lanes, bench.err.text, rc,
                         bench.outputs[first].path);
            assert_int_equal(entries_out(), 0);
        }
    (void)signal(SIGXFSZ, handler);
    bench_fini(&bench);
}

static void publishes_all_or_none(void **state) {
    (void)state;
    static const char *const names[] = {"vocals.wav", "kept.vocals.flac"};
    struct bench bench;
    bench_init(&bench);
    bench.keep = true;
    for (int i = 0; i < 2; i++) {
        char *in_the_way = ms_strdupf("%s/out/%s", folder, names[i]);
        char *in_it = ms_strdupf("%s/file", in_the_way);
        assert_int_equal(mkdir(in_the_way, 0777), 0);
        FILE *file = fopen(in_it, "wb");
        assert_non_null(file);
        (void)fclose(file);
        assert_true(bench_run_to(&bench, 1, "wav") < 0);
        assert_non_null(strstr(bench.err.text, names[i]));
        assert_int_equal(unlink(in_it), 0);
        assert_int_equal(entries_out(), 1);
        free(in_the_way);
        free(in_it);
    }
    bench_fini(&bench);
}

static void cancel_at_third(void *context, int number) {
    if (number == 3)
        atomic_store((atomic_bool *)context, true);
}

static void cancel_after_last(void *context, const struct ms_separate_progress *progress) {
    if (progress->segments_done == progress->segments_total)
        atomic_store((atomic_bool *)context, true);
}

/* The linker puts this before the spool's own. */
static atomic_bool *cancel_at_spool_read; /* NULL: none */
static atomic_int spool_reads;
int __real_ms_spool_read(struct ms_spool *spool, float *planes[MS_AUDIO_CHANNELS], size_t *frames,
                         struct ms_error *err);

int __wrap_ms_spool_read(struct ms_spool *spool, float *planes[MS_AUDIO_CHANNELS], size_t *frames,
                         struct ms_error *err) {
    atomic_fetch_add(&spool_reads, 1);
    if (cancel_at_spool_read != NULL)
        atomic_store(cancel_at_spool_read, true);
    return __real_ms_spool_read(spool, planes, frames, err);
}

static void stops_when_canceled(void **state) {
    (void)state;
    struct bench bench;
    bench_init(&bench);
    static atomic_bool cancel; /* outlives a test that fails */
    bench.hooks.cancel = &cancel;
    bench.model.on_forward = cancel_at_third;
    bench.model.on_forward_context = &cancel;
    assert_int_equal(bench_run_to(&bench, 1, "wav"), MS_ECANCELED);
    assert_int_equal(entries_out(), 0);

    /* Before the spooled stems are encoded. */
    atomic_store(&cancel, false);
    bench.model.on_forward = NULL;
    bench.hooks.context = &cancel;
    bench.hooks.progress = cancel_after_last;
    assert_int_equal(bench_run_to(&bench, 2, "wav"), MS_ECANCELED);
    assert_int_equal(entries_out(), 0);

    /* While they are: the stem whose blocks are read goes no further, no other begins. */
    bench.hooks.progress = NULL;
    cancel_at_spool_read = &cancel;
    for (int lanes = 1; lanes <= 4; lanes++) {
        atomic_store(&cancel, false);
        atomic_store(&spool_reads, 0);
        assert_int_equal(bench_run_to(&bench, lanes, "wav"), MS_ECANCELED);
        assert_in_range(atomic_load(&spool_reads), 1, lanes);
        assert_int_equal(entries_out(), 0);
    }
    cancel_at_spool_read = NULL;
    bench_fini(&bench);
}

static void tells_a_truncated_source(void **state) {
    (void)state;
    struct bench bench;
    bench_init(&bench);
    write_wav(bench.input, &bench.song, 30000, 1000000000 / 8);
    assert_int_equal(bench_run_to(&bench, 2, "wav"), 0);
    assert_int_equal(bench.stats.frames, 30000);
    bench_fini(&bench);
}

int main(int argc, char **argv) {
    ms_decoder_prepare(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(labels_stems, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keeps_to_the_clip_mode, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keeps_what_was_not_asked_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(makes_two_stems, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bytes_do_not_depend_on_lanes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(leaves_nothing_after_a_fault, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tells_a_full_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(claims_what_its_files_may_take, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tells_the_first_of_the_faults, set_up, tear_down),
        cmocka_unit_test_setup_teardown(publishes_all_or_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stops_when_canceled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tells_a_truncated_source, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
