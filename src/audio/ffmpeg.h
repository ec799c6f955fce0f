/* What every user of FFmpeg in this room shares: its log caught instead of printed, and its errors
 * put into words. */
#ifndef MSAAS_AUDIO_FFMPEG_H
#define MSAAS_AUDIO_FFMPEG_H

#include <libavcodec/avcodec.h>

#include "msaas/err.h"

/* Once per process: takes over FFmpeg's log and bounds its single allocations. Cheap to repeat; any
 * thread. */
void ms_ffmpeg_init(void);

/* Forgets the lines caught on this thread, so that the next error names only its own cause. */
void ms_ffmpeg_forget_log(void);

/* Records an error about `subject` (NULL: none): the given text, what FFmpeg calls `av_error` (0:
 * nothing), and the last error line of its log on this thread. Returns `code`. */
int ms_ffmpeg_error(struct ms_error *err, int code, int av_error, const char *subject,
                    const char *fmt, ...) MS_PRINTF(5, 6);

/* Settings of FFmpeg's AAC encoder that err least in least time; docs/speed.md has the figures.
 * context: of that encoder, before it is opened. Returns 0 or FFmpeg's error. */
int ms_ffmpeg_tune_aac(AVCodecContext *context);

#endif
