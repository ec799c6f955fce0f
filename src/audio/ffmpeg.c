/* FFmpeg's process-wide state: its log callback and allocation limit. The log is kept per thread
 * (the last error line only): every decoder and encoder here runs on the thread that calls it. */
#include "ffmpeg.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <libavutil/error.h>
#include <libavutil/log.h>
#include <libavutil/mem.h>
#include <libavutil/opt.h>

/* A demuxer's index of a day of music fits; a size field that lies does not. */
#define MAX_ALLOCATION_BYTES ((size_t)256 << 20)

static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local char last_line[200];

static void catch_log(void *context, int level, const char *fmt, va_list args) {
    (void)context;
    if (level > AV_LOG_ERROR)
        return;
    char line[sizeof last_line];
    (void)vsnprintf(line, sizeof line, fmt, args);
    size_t length = strlen(line);
    while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == ' '))
        line[--length] = '\0';
    if (length == 0)
        return;
    /* The line may quote the file's bytes, which are not to reach a terminal as control sequences.
     */
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)line[i];
        if (c < 0x20 || c >= 0x7f)
            line[i] = '?';
    }
    memcpy(last_line, line, length + 1);
}

static void init(void) {
    av_log_set_callback(catch_log);
    av_max_alloc(MAX_ALLOCATION_BYTES);
}

void ms_ffmpeg_init(void) {
    (void)pthread_once(&once, init);
}

void ms_ffmpeg_forget_log(void) {
    last_line[0] = '\0';
}

int ms_ffmpeg_error(struct ms_error *err, int code, int av_error, const char *subject,
                    const char *fmt, ...) {
    char text[sizeof err->text];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    char cause[AV_ERROR_MAX_STRING_SIZE] = "";
    if (av_error != 0)
        (void)av_strerror(av_error, cause, sizeof cause);
    return ms_error_about(err, code, subject, "%s%s%s%s%s%s", text, cause[0] != '\0' ? ": " : "",
                          cause, last_line[0] != '\0' ? " (" : "", last_line,
                          last_line[0] != '\0' ? ")" : "");
}

int ms_ffmpeg_tune_aac(AVCodecContext *context) {
    int rc = av_opt_set(context->priv_data, "aac_coder", "fast", 0);
    if (rc >= 0)
        rc = av_opt_set_int(context->priv_data, "aac_pns", 0, 0);
    if (rc >= 0)
        rc = av_opt_set_int(context->priv_data, "aac_is", 0, 0);
    return rc;
}
