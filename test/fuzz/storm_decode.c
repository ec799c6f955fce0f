/* storm_decode ROUNDS SEED FILE|FOLDER...: mutated songs through the whole decoder, each in a
 * process behind its walls. After every round the decoder has ended, and its process has kept
 * within 10 s of processor time and 512 MiB. Rounds are the same for the same seed and files.
 *
 * To be fast the process is forked from this small program instead of started anew. */
#include <dirent.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "decode_child.h"
#include "msaas/audio.h"

#define RATE_HZ 44100
#define MAX_SEEDS 1000
#define MAX_BYTES (1 << 20)
#define MAX_FRAMES (120 * RATE_HZ)
#define MOST_CPU_S 10
#define MOST_KIB (512 << 10)

static struct {
    uint8_t *bytes;
    size_t size;
    const char *name;
} seeds[MAX_SEEDS];
static int seed_count;

static void die(const char *what, const char *which) {
    fprintf(stderr, "storm_decode: %s: %s\n", what, which);
    exit(1);
}

/* ---- the process, forked ---- */

static int child_input, child_output;

int __real_posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *, int, int);
int __wrap_posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *files, int from, int to);
int __wrap_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *files,
                       const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]);

int __wrap_posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *files, int from, int to) {
    *(to == STDIN_FILENO ? &child_input : &child_output) = from;
    return __real_posix_spawn_file_actions_adddup2(files, from, to);
}

int __wrap_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *files,
                       const posix_spawnattr_t *attributes, char *const argv[],
                       char *const envp[]) {
    (void)path, (void)files, (void)attributes, (void)envp;
    *pid = fork();
    if (*pid == 0) {
        (void)dup2(child_input, STDIN_FILENO);
        (void)dup2(child_output, STDOUT_FILENO);
        (void)close_range(STDERR_FILENO + 1, ~0u, 0);
        ms_decode_child(atoi(argv[1]));
    }
    return *pid < 0;
}

/* ---- mutations ---- */

static uint64_t state;

static uint32_t below(size_t limit) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((state >> 33) % (limit > 0 ? limit : 1));
}

/* Song into `out`: a seed with a few changes, mostly in its head, where the structure is. */
static size_t mutate(uint8_t *out, const char **name) {
    static const uint32_t numbers[] = {0,          1,          0x7f,      0x80,    0xff,
                                       0x7fff,     0x8000,     0xffff,    0x10000, 0x7fffffff,
                                       0x80000000, 0xffffffff, 0xfffffff0};
    const uint32_t which = below((size_t)seed_count);
    size_t size = seeds[which].size;
    *name = seeds[which].name;
    memcpy(out, seeds[which].bytes, size);
    for (uint32_t change = 1 + below(below(2) ? 4 : 40); change > 0 && size > 0; change--) {
        const size_t reach = below(3) && size > 2000 ? 2000 : size;
        const size_t at = below(reach);
        const uint32_t length = 1 + below(below(4) ? 16 : size - at);
        const uint32_t number = numbers[below(sizeof numbers / sizeof *numbers)];
        switch (below(8)) {
        case 0: out[at] ^= (uint8_t)(1u << below(8)); break;
        case 1: out[at] = (uint8_t)below(256); break;
        case 2: /* a number of either order */
            for (size_t i = 0, swap = below(2); i < 4 && at + i < size; i++)
                out[at + i] = (uint8_t)(number >> (swap ? 8 * i : 24 - 8 * i));
            break;
        case 3: /* a piece twice */
            if (size + length <= MAX_BYTES && at + length <= size) {
                memmove(out + at + length, out + at, size - at);
                size += length;
            }
            break;
        case 4: /* a piece less */
            if (at + length < size) {
                memmove(out + at, out + at + length, size - at - length);
                size -= length;
            }
            break;
        case 5: /* a piece of another song */
        {
            const uint32_t other = below((size_t)seed_count);
            const size_t from = below(seeds[other].size);
            size_t piece = seeds[other].size - from;
            piece = piece < length ? piece : length;
            piece = piece < size - at ? piece : size - at;
            memcpy(out + at, seeds[other].bytes + from, piece);
            break;
        }
        case 6:
            if (below(10) == 0)
                size = at;
            break;
        default:
            for (size_t i = at; i < at + length && i < size; i++)
                out[i] = (uint8_t)below(256);
            break;
        }
    }
    return size;
}

static int visible(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static void add(const char *path) {
    struct stat status;
    if (stat(path, &status) != 0)
        die("cannot be found", path);
    if (S_ISDIR(status.st_mode)) {
        struct dirent **entries = NULL;
        int count = scandir(path, &entries, visible, alphasort);
        for (int i = 0; i < count; i++) {
            char *name = NULL;
            if (asprintf(&name, "%s/%s", path, entries[i]->d_name) < 0)
                die("no memory", path);
            add(name);
        }
        return;
    }
    if (status.st_size == 0 || status.st_size > MAX_BYTES || seed_count == MAX_SEEDS)
        return;
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc((size_t)status.st_size);
    if (file == NULL || bytes == NULL ||
        fread(bytes, 1, (size_t)status.st_size, file) != (size_t)status.st_size)
        die("cannot be read", path);
    fclose(file);
    seeds[seed_count].bytes = bytes;
    seeds[seed_count].size = (size_t)status.st_size;
    seeds[seed_count++].name = path;
}

/* ---- rounds ---- */

static int decode(const char *path, struct ms_error *err) {
    static float left[16384], right[16384];
    float *planes[MS_AUDIO_CHANNELS] = {left, right};
    struct ms_decoder *decoder = NULL;
    int rc = ms_decoder_open(path, RATE_HZ, &decoder, err);
    size_t got = 1;
    for (int64_t frames = 0; rc == 0 && got > 0 && frames < MAX_FRAMES; frames += (int64_t)got)
        rc = ms_decoder_read(decoder, planes, 16384, &got, err);
    ms_decoder_free(decoder);
    return rc;
}

static double cpu_s(const struct rusage *used) {
    return (double)(used->ru_utime.tv_sec + used->ru_stime.tv_sec) +
           (double)(used->ru_utime.tv_usec + used->ru_stime.tv_usec) * 1e-6;
}

/* The song that did it, for the next try. */
static void keep(const uint8_t *bytes, size_t size, const char *why, long round) {
    char name[64];
    (void)snprintf(name, sizeof name, "storm-%s-%ld", why, round);
    FILE *file = fopen(name, "wb");
    if (file != NULL) {
        (void)fwrite(bytes, 1, size, file);
        (void)fclose(file);
    }
}

int main(int argc, char **argv) {
    ms_decoder_prepare(argc, argv);
    static uint8_t song[MAX_BYTES];
    if (argc < 4)
        die("usage", "storm_decode ROUNDS SEED FILE|FOLDER...");
    const long rounds = atol(argv[1]);
    state = strtoull(argv[2], NULL, 10);
    for (int i = 3; i < argc; i++)
        add(argv[i]);
    if (seed_count == 0)
        die("no song", argv[3]);
    long songs = 0, refused = 0, crashed = 0, other = 0;
    double most_s = 0, before_s = 0;
    struct rusage used = {0};
    for (long round = 0; round < rounds; round++) {
        const char *name = "";
        const size_t size = mutate(song, &name);
        const int fd = memfd_create("song", MFD_CLOEXEC);
        char path[64];
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (fd < 0 || write(fd, song, size) != (ssize_t)size)
            die("no file in memory", name);
        struct ms_error err = {0};
        const int rc = decode(path, &err);
        (void)close(fd);
        (void)getrusage(RUSAGE_CHILDREN, &used);
        const double took_s = cpu_s(&used) - before_s;
        before_s = cpu_s(&used);
        most_s = took_s > most_s ? took_s : most_s;
        const bool crash = strstr(err.text, "its decoder (") != NULL;
        songs += rc == 0;
        refused += rc == MS_EINPUT && !crash;
        crashed += crash;
        other += rc != 0 && rc != MS_EINPUT;
        if (crash || (rc != 0 && rc != MS_EINPUT)) {
            printf("round %ld: of %s: %s: %s\n", round, name, ms_code_name(rc), err.text);
            keep(song, size, "crash", round);
        }
        if (took_s > MOST_CPU_S || used.ru_maxrss > MOST_KIB) {
            keep(song, size, "limit", round);
            printf("round %ld: of %s: took %.1f s and at most %ld KiB\n", round, name, took_s,
                   used.ru_maxrss);
            return 1;
        }
        if (round % 10000 == 9999) {
            printf("%ld rounds: %ld songs, %ld refused, %ld crashed in their process, %ld others; "
                   "at most %.2f s and %ld MiB\n",
                   round + 1, songs, refused, crashed, other, most_s, used.ru_maxrss >> 10);
            (void)fflush(stdout);
        }
    }
    printf("%ld rounds: %ld songs, %ld refused, %ld crashed in their process, %ld others; "
           "at most %.2f s and %ld MiB\n",
           rounds, songs, refused, crashed, other, most_s, used.ru_maxrss >> 10);
    return 0;
}
