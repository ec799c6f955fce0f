/* All of the decoder's process, once it has begun. */
#include "decode_child.h"

#include <string.h>
#include <unistd.h>

#include "confine.h"
#include "msaas/media.h"
#include "stream.h"
#include "tags.h"

static bool send_tags(const struct ms_audio_tags *tags) {
    for (uint32_t i = 0; i < MS_TAGS_TEXTS; i++) {
        const char *text = ms_tags_text(tags, (int)i);
        if (text != NULL &&
            !ms_message_send(STDOUT_FILENO, MS_MESSAGE_TEXT, &i, sizeof i, text, strlen(text)))
            return false;
    }
    int bytes = 0;
    const uint8_t *cover = ms_tags_cover(tags, &bytes);
    return cover == NULL ||
           ms_message_send(STDOUT_FILENO, MS_MESSAGE_COVER, cover, (size_t)bytes, NULL, 0);
}

/* False: nobody reads any more. */
static bool send_block(const float *const planes[MS_AUDIO_CHANNELS], int frames) {
    for (int at = 0; at < frames; at += MS_MESSAGE_FRAMES) {
        const int left = frames - at;
        const size_t bytes =
            (size_t)(left < MS_MESSAGE_FRAMES ? left : MS_MESSAGE_FRAMES) * sizeof(float);
        if (!ms_message_send(STDOUT_FILENO, MS_MESSAGE_AUDIO, planes[0] + at, bytes, planes[1] + at,
                             bytes))
            return false;
    }
    return true;
}

static int decode(int sample_rate_hz, struct ms_error *err) {
    struct ms_media *media = NULL;
    int rc = ms_media_open(STDIN_FILENO, sample_rate_hz, &media, err);
    bool heard = rc == 0 && send_tags(ms_media_tags(media));
    for (int frames = 1; heard && frames > 0;) {
        const float *planes[MS_AUDIO_CHANNELS];
        rc = ms_media_next(media, planes, &frames, err);
        if (rc < 0)
            break;
        heard = send_block(planes, frames);
    }
    const uint32_t damaged = rc == 0 && ms_media_was_damaged(media);
    if (rc == 0 && heard)
        (void)ms_message_send(STDOUT_FILENO, MS_MESSAGE_END, &damaged, sizeof damaged, NULL, 0);
    ms_media_free(media);
    return rc;
}

_Noreturn void ms_decode_child(int sample_rate_hz) {
    struct ms_error err = {0};
    (void)close(STDERR_FILENO); /* what comes from now on may be a file's */
    const uint32_t missing = ms_confine(MS_DECODE_CPU_S);
    if (ms_message_send(STDOUT_FILENO, MS_MESSAGE_READY, &missing, sizeof missing, NULL, 0) &&
        decode(sample_rate_hz, &err) < 0) {
        const int32_t code = err.code;
        (void)ms_message_send(STDOUT_FILENO, MS_MESSAGE_FAILED, &code, sizeof code, err.text,
                              strlen(err.text));
    }
    _exit(0);
}
