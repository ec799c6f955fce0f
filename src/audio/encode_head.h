/* The heads of streams: what FFmpeg writes into the head of a file when it has reached the end, put
 * there at the beginning, from the number of frames. Each changes the head that FFmpeg has written,
 * in place. Pure; any thread. */
#ifndef MSAAS_AUDIO_ENCODE_HEAD_H
#define MSAAS_AUDIO_ENCODE_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All before the samples, which have `data_bytes`. Past 4 GiB it becomes RF64 (EBU Tech 3306).
 * False: this is no such head. */
bool ms_head_wav(uint8_t *head, size_t size, int64_t frames, int64_t data_bytes);
/* The frame "Xing" at the end of the head, with LAME's tag in it: length, and how much to cut at
 * both ends (constant bit rate). False: there is no such frame. */
bool ms_head_mp3(uint8_t *head, size_t size, int64_t frames, int delay_frames, int64_t bit_rate,
                 int rate_hz);
/* ftyp and moov of fragments, in place, with room for MS_HEAD_M4A_BYTES more: adds iTunSMPB, which
 * says how much to cut at both ends, since a fragmented file has no length. Returns the size with
 * it; 0: moov is not there yet; -1: these are not such boxes. */
#define MS_HEAD_M4A_BYTES 256
int64_t ms_head_m4a(uint8_t *head, size_t size, int64_t frames, int delay_frames);
/* STREAMINFO (RFC 9639, 8.2), as FFmpeg has it in extradata. */
void ms_head_flac(uint8_t *info, int size, int64_t frames);

#endif
