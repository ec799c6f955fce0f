/* The decoder's process: a song comes in, messages (stream.h) go out. */
#ifndef MSAAS_AUDIO_DECODE_CHILD_H
#define MSAAS_AUDIO_DECODE_CHILD_H

#define MS_DECODE_CPU_S 3 /* of processor time, before there is audio to show for it */

/* Standard input is the song, a regular file; standard output is the pipe. Confines this process,
 * which must have no other thread, decodes and ends it. */
_Noreturn void ms_decode_child(int sample_rate_hz);

#endif
