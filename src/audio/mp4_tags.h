/* Tags in an MP4 file. */
#ifndef MSAAS_AUDIO_MP4_TAGS_H
#define MSAAS_AUDIO_MP4_TAGS_H

#include <stdio.h>

#include "msaas/audio.h"

/* The box `meta`, as iTunes has it in moov/udta. */
void ms_mp4_put_tags(FILE *to, const struct ms_audio_tags *tags);

#endif
