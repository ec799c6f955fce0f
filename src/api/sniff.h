/* Whether bytes may be a song, judged by their beginning, so that other files are refused before
 * they are stored. Pure; any thread. */
#ifndef MSAAS_HTTP_SNIFF_H
#define MSAAS_HTTP_SNIFF_H

#include <stdbool.h>
#include <stddef.h>

/* True for the beginnings of audio files and of containers that may contain audio and that FFmpeg
 * reads. The rest of the bytes is not checked. */
bool ms_sniff_is_media(const void *bytes, size_t size);

#endif
