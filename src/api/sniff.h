/* Whether bytes may be a song, by how they begin: so that what plainly is none is refused before it
 * is stored. Pure; any thread. */
#ifndef MSAAS_HTTP_SNIFF_H
#define MSAAS_HTTP_SNIFF_H

#include <stdbool.h>
#include <stddef.h>

/* True for the beginnings of audio files and of containers that may hold audio, as FFmpeg reads
 * them. It says nothing of the rest. */
bool ms_sniff_is_media(const void *bytes, size_t size);

#endif
