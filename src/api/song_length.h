/* How long a song is, as far as its beginning tells. Pure; any thread. */
#ifndef MSAAS_API_SONG_LENGTH_H
#define MSAAS_API_SONG_LENGTH_H

#include <stddef.h>
#include <stdint.h>

#define MS_SONG_HEAD_BYTES ((size_t)1 << 20) /* more of the song need not be read */

/* Seconds, of WAV, FLAC and MP3 with a Xing or Info frame; 0: its head does not tell. What a head
 * tells may be wrong: it is decided again when the song is decoded. head: the song's first bytes;
 * song_bytes: of the whole. */
double ms_song_seconds(const void *head, size_t head_bytes, int64_t song_bytes);

#endif
