/* The boxes of an MP4 file, written to a stream: size, type, content. Their sizes are filled in
 * afterwards, so the stream must be a file. Errors stay in the stream. */
#ifndef MSAAS_AUDIO_MP4_BOX_H
#define MSAAS_AUDIO_MP4_BOX_H

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* Returns where the box begins, for ms_box_end. */
off_t ms_box_begin(FILE *to, const char *type);
off_t ms_box_begin_full(FILE *to, const char *type, unsigned version, unsigned flags);
void ms_box_end(FILE *to, off_t box);

/* The lowest `bytes` (at most 8) of the value, the highest of them first. */
void ms_box_put(FILE *to, int bytes, uint64_t value);
void ms_box_put_zeros(FILE *to, int bytes);

#endif
