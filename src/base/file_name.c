/* See file_name.h. */
#include "msaas/file_name.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "msaas/text.h"

static bool is_music(const char *ending) {
    static const char *const endings[] = {"mp3", "wav",  "flac", "ogg", "oga",  "opus", "m4a",
                                          "aac", "aiff", "aif",  "wma", "ape",  "wv",   "ac3",
                                          "mp2", "caf",  "w64",  "mp4", "m4v",  "mov",  "mkv",
                                          "mka", "webm", "avi",  "mpg", "mpeg", "alac"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(ending, endings[i]) == 0)
            return true;
    return false;
}

void ms_file_name(const char *song, char out[MS_FILE_NAME_BYTES]) {
    for (const char *at = song; *at != '\0'; at++)
        if (*at == '/' || *at == '\\')
            song = at + 1;
    const char *dot = strrchr(song, '.');
    const char *end = dot != NULL && is_music(dot + 1) ? dot : song + strlen(song);
    size_t size = 0;
    song += strspn(song, ". ");
    while (song < end) {
        uint32_t code = 0;
        const size_t length = ms_utf8_read(song, (size_t)(end - song), &code);
        const bool fits = length > 0 && ms_char_is_plain(code) &&
                          (code >= 0x80 || strchr(":*?\"<>|", (int)code) == NULL);
        if (size + (fits ? length : 1) >= MS_FILE_NAME_BYTES)
            break;
        if (fits)
            memcpy(out + size, song, length);
        else
            out[size] = '_';
        size += fits ? length : 1;
        song += length > 0 ? length : 1;
    }
    while (size > 0 && (out[size - 1] == '.' || out[size - 1] == ' '))
        size--;
    out[size] = '\0';
}
