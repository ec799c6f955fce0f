/* The decoder as the rest of msaas sees it: a process of its own for each pass over a song. FFmpeg
 * runs in there, behind walls (confine.c), and sends audio through a pipe (stream.c). Here the file
 * is opened, the process is started, watched and ended. Runs on the caller's thread.
 *
 * The process is this program, executed anew: memory without anybody's secrets, no lock that
 * another thread holds, and always of the same build. */
#include "msaas/audio.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "confine.h"
#include "decode_child.h"
#include "msaas/sys.h"
#include "stream.h"
#include "tags.h"

#define CHILD_NAME "msaas-decode"
#define LEAST_SPEED 5 /* seconds of audio for a second of processor time */

struct ms_decoder {
    char *path;
    int song;
    int rate_hz;
    pid_t child; /* 0: none */
    int pipe;
    rlim_t granted_s; /* of processor time */
    struct ms_stream stream;
    struct ms_audio_tags *tags; /* of the first pass */
    int64_t whole_frames;       /* of a pass that reached the end; -1: none did yet */
};

static bool is_prepared;

void ms_decoder_prepare(int argc, char *const argv[]) {
    if (argc == 2 && strcmp(argv[0], CHILD_NAME) == 0)
        ms_decode_child((int)strtol(argv[1], NULL, 10));
    /* Whoever started this program may have ignored it. Then nobody learns how a child ended, and
     * its number may be another process's when it is killed. */
    (void)signal(SIGCHLD, SIG_DFL);
    is_prepared = true;
}

/* ---- the process ---- */

/* Out of the way of the child's standard input and output. */
static int lift(int fd) {
    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    const int lifted = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    const int cause = errno;
    (void)close(fd);
    errno = cause;
    return lifted;
}

/* Returns an errno. The child gets the song, the pipe and standard error, which it closes once it
 * runs: until then the linker may have something to say. No other descriptor, no variable but the
 * linker's. Every signal that asks a program to end is blocked, since Ctrl-C is for its parent to
 * answer; all others do what they do by default, above all SIGXCPU. */
static int spawn(struct ms_decoder *decoder, int output) {
    char rate[16];
    (void)snprintf(rate, sizeof rate, "%d", decoder->rate_hz);
    char name[] = CHILD_NAME;
    char *arguments[] = {name, rate, NULL};
    const char *libraries = getenv("LD_LIBRARY_PATH");
    char *variable = libraries != NULL ? ms_strdupf("LD_LIBRARY_PATH=%s", libraries) : NULL;
    char *variables[] = {variable, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t blocked, all;
    (void)sigfillset(&all);
    (void)sigemptyset(&blocked);
    (void)sigaddset(&blocked, SIGINT);
    (void)sigaddset(&blocked, SIGTERM);
    (void)sigaddset(&blocked, SIGHUP);
    (void)sigaddset(&blocked, SIGQUIT);
    (void)sigaddset(&blocked, SIGPIPE);
    int rc = posix_spawn_file_actions_init(&files);
    if (rc != 0)
        goto out;
    rc = posix_spawnattr_init(&attributes);
    if (rc != 0) {
        (void)posix_spawn_file_actions_destroy(&files);
        goto out;
    }
    if ((rc = posix_spawn_file_actions_adddup2(&files, decoder->song, STDIN_FILENO)) == 0 &&
        (rc = posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO)) == 0 &&
        (rc = posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1)) == 0 &&
        (rc = posix_spawnattr_setsigmask(&attributes, &blocked)) == 0 &&
        (rc = posix_spawnattr_setsigdefault(&attributes, &all)) == 0 &&
        (rc = posix_spawnattr_setflags(&attributes,
                                       POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF)) == 0)
        rc = posix_spawn(&decoder->child, "/proc/self/exe", &files, &attributes, arguments,
                         variables);
    if (rc != 0)
        decoder->child = 0;
    (void)posix_spawnattr_destroy(&attributes);
    (void)posix_spawn_file_actions_destroy(&files);
out:
    free(variable);
    return rc;
}

static int start(struct ms_decoder *decoder, struct ms_error *err) {
    int ends[2];
    if (!is_prepared)
        return ms_error_set(err, MS_EINTERNAL, "this program has not called ms_decoder_prepare");
    if (pipe2(ends, O_CLOEXEC) != 0)
        return ms_error_set(err, MS_EIO, "cannot make a pipe for its decoder: %s", strerror(errno));
    const int output = lift(ends[1]);
    decoder->pipe = ends[0];
    int cause = output < 0 ? errno : 0;
    if (cause == 0 && fcntl(decoder->pipe, F_SETFL, O_NONBLOCK) != 0)
        cause = errno;
    if (cause == 0)
        cause = spawn(decoder, output);
    if (output >= 0)
        (void)close(output);
    if (cause != 0)
        return ms_error_set(err, MS_EIO, "cannot start the decoder, /proc/self/exe: %s%s",
                            strerror(cause), cause == ENOENT ? "; is /proc mounted?" : "");
    decoder->granted_s = MS_DECODE_CPU_S;
    return ms_stream_open(&decoder->stream, decoder->pipe, decoder->rate_hz, err);
}

/* Ends the child, if there is one. How a child ended that had done so before is in *status. */
static void stop(struct ms_decoder *decoder, int *status) {
    ms_stream_close(&decoder->stream);
    if (decoder->pipe >= 0)
        (void)close(decoder->pipe);
    decoder->pipe = -1;
    if (decoder->child <= 0)
        return;
    (void)kill(decoder->child, SIGKILL);
    while (waitpid(decoder->child, status, 0) < 0 && errno == EINTR)
        continue;
    decoder->child = 0;
}

/* Why the child ended without a word. What a file did to it, it would do again; before it was ready
 * it had seen none of the file. */
static int judge(struct ms_decoder *decoder, struct ms_error *err) {
    const bool was_ready = decoder->stream.ready;
    const bool had_audio = decoder->stream.frames > 0;
    int status = 0;
    stop(decoder, &status);
    const int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    char how[60];
    if (number != 0)
        (void)snprintf(how, sizeof how, "%s", strsignal(number));
    else
        (void)snprintf(how, sizeof how, "exit code %d", WEXITSTATUS(status));
    if (number == SIGKILL)
        return ms_error_set(err, MS_ENOMEM,
                            "its decoder was killed; did the machine's memory run out?");
    if (!was_ready)
        return ms_error_set(err, MS_EUNSUPPORTED, "the decoder does not start here (%s)", how);
    if (number == SIGXCPU)
        return ms_error_set(err, MS_EINPUT, "%s",
                            had_audio ? "takes too long to decode"
                                      : "takes too long to open: it has too many tags or too large "
                                        "an index");
    return ms_error_set(err, MS_EINPUT, "%s its decoder (%s)", number != 0 ? "crashed" : "ended",
                        how);
}

/* More audio gives the child more time. */
static void grant_time(struct ms_decoder *decoder) {
    const rlim_t due_s =
        MS_DECODE_CPU_S + (rlim_t)(decoder->stream.frames / decoder->rate_hz / LEAST_SPEED);
    struct rlimit limit;
    if (due_s <= decoder->granted_s || prlimit(decoder->child, RLIMIT_CPU, NULL, &limit) != 0)
        return;
    limit.rlim_cur = due_s < limit.rlim_max ? due_s : limit.rlim_max;
    if (prlimit(decoder->child, RLIMIT_CPU, &limit, NULL) == 0)
        decoder->granted_s = due_s;
}

/* Makes the stage hold at least one frame, unless the end is reached. */
static int fill_stage(struct ms_decoder *decoder, struct ms_error *err) {
    struct ms_stream *stream = &decoder->stream;
    while (stream->stage_at == stream->stage_count && !stream->ended) {
        int rc = decoder->child > 0 ? ms_stream_receive(stream, err)
                                    : ms_error_set(err, MS_EINPUT, "cannot be decoded");
        if (rc < 0 && stream->broken_off)
            rc = judge(decoder, err);
        if (rc < 0)
            return ms_error_prefix(err, "%s", decoder->path);
        /* Callers rely on it, and the child may be in the hands of the file. */
        if (decoder->whole_frames >= 0 &&
            (stream->frames > decoder->whole_frames ||
             (stream->ended && stream->frames != decoder->whole_frames)))
            return ms_error_about(err, MS_EINPUT, decoder->path,
                                  "was not decoded to the same length twice");
        grant_time(decoder);
    }
    if (stream->ended)
        decoder->whole_frames = stream->frames;
    return 0;
}

/* ---- the decoder ---- */

static int open_song(struct ms_decoder *decoder, struct ms_error *err) {
    const char *path = decoder->path;
    /* O_NONBLOCK: opening a FIFO must not wait for its writer. */
    decoder->song = lift(open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
    if (decoder->song < 0)
        return ms_error_about(err, errno == ENOENT || errno == ENOTDIR ? MS_ENOTFOUND : MS_EIO,
                              path, "cannot be opened: %s", strerror(errno));
    struct stat status;
    if (fstat(decoder->song, &status) != 0)
        return ms_error_about(err, MS_EIO, path, "%s", strerror(errno));
    if (S_ISDIR(status.st_mode))
        return ms_error_about(err, MS_EINPUT, path, "is a folder, not an audio file");
    if (!S_ISREG(status.st_mode))
        return ms_error_about(err, MS_EINPUT, path, "is not a regular file");
    if (status.st_size == 0)
        return ms_error_about(err, MS_EINPUT, path, "is empty (0 bytes)");
    return 0;
}

static int begin(struct ms_decoder *decoder, struct ms_error *err) {
    int rc = start(decoder, err);
    return rc < 0 ? ms_error_prefix(err, "%s", decoder->path) : fill_stage(decoder, err);
}

int ms_decoder_open(const char *path, int sample_rate_hz, struct ms_decoder **out,
                    struct ms_error *err) {
    struct ms_error own = {0};
    struct ms_decoder *decoder = calloc(1, sizeof *decoder);
    if (decoder == NULL)
        return ms_error_about(err, MS_ENOMEM, path, "out of memory");
    *decoder = (struct ms_decoder){.path = strdup(path),
                                   .song = -1,
                                   .rate_hz = sample_rate_hz,
                                   .pipe = -1,
                                   .whole_frames = -1};
    int rc = decoder->path != NULL ? open_song(decoder, &own)
                                   : ms_error_about(&own, MS_ENOMEM, path, "out of memory");
    if (rc == 0)
        rc = begin(decoder, &own);
    if (rc == 0 && decoder->stream.ended)
        rc = ms_error_about(&own, MS_EINPUT, path, "holds no audio (zero samples)");
    if (rc < 0) {
        ms_decoder_free(decoder);
        return ms_error_copy(err, &own);
    }
    decoder->tags = decoder->stream.tags;
    decoder->stream.tags = NULL;
    *out = decoder;
    return 0;
}

void ms_decoder_free(struct ms_decoder *decoder) {
    if (decoder == NULL)
        return;
    stop(decoder, NULL);
    if (decoder->song >= 0)
        (void)close(decoder->song);
    ms_tags_free(decoder->tags);
    free(decoder->path);
    free(decoder);
}

const struct ms_audio_tags *ms_decoder_tags(const struct ms_decoder *decoder) {
    return decoder->tags;
}

bool ms_decoder_was_damaged(const struct ms_decoder *decoder) {
    return decoder->stream.damaged;
}

int ms_decoder_read(struct ms_decoder *decoder, float *const planes[MS_AUDIO_CHANNELS],
                    size_t capacity, size_t *frames, struct ms_error *err) {
    struct ms_stream *stream = &decoder->stream;
    struct ms_error own = {0};
    *frames = 0;
    size_t done = 0;
    while (done < capacity) {
        if (fill_stage(decoder, &own) < 0)
            return ms_error_copy(err, &own);
        if (stream->ended)
            break;
        const size_t ready = (size_t)(stream->stage_count - stream->stage_at);
        const size_t piece = capacity - done < ready ? capacity - done : ready;
        for (int c = 0; c < MS_AUDIO_CHANNELS; c++)
            memcpy(planes[c] + done, stream->stage[c] + stream->stage_at, piece * sizeof(float));
        stream->stage_at += (int)piece;
        done += piece;
    }
    *frames = done;
    return 0;
}

int ms_decoder_rewind(struct ms_decoder *decoder, struct ms_error *err) {
    struct ms_error own = {0};
    stop(decoder, NULL);
    return begin(decoder, &own) < 0 ? ms_error_copy(err, &own) : 0;
}

int ms_decoder_probe(char missing[MS_DECODER_WALLS_BYTES], struct ms_error *err) {
    static const char *const names[MS_WALLS] = {"seccomp", "Landlock", "capabilities dropped",
                                                "limits of resources"};
    struct ms_error own = {0};
    struct ms_decoder decoder = {.song = open("/dev/null", O_RDONLY | O_CLOEXEC),
                                 .rate_hz = MS_AUDIO_MIN_RATE_HZ,
                                 .pipe = -1};
    missing[0] = '\0';
    int rc = start(&decoder, &own);
    if (rc == 0)
        rc = ms_stream_receive(&decoder.stream, &own);
    if (rc < 0 && decoder.stream.broken_off)
        rc = judge(&decoder, &own);
    size_t length = 0;
    for (int i = 0; rc == 0 && i < MS_WALLS; i++)
        if ((decoder.stream.missing_walls & 1u << i) != 0)
            length += (size_t)snprintf(missing + length, MS_DECODER_WALLS_BYTES - length, "%s%s",
                                       length > 0 ? ", " : "", names[i]);
    stop(&decoder, NULL);
    if (decoder.song >= 0)
        (void)close(decoder.song);
    return rc < 0 ? ms_error_copy(err, &own) : 0;
}
