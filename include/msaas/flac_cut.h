/* A FLAC file from a frame on, as a file of its own, without what lies before: its head says so,
 * the blocks of samples are those of the file. A few reads find the place, however long the file.
 * Texts of the head come along, pictures do not. For files whose blocks have one size (RFC 9639),
 * as all have that this program writes. Owns the new head; one thread. */
#ifndef MSAAS_FLAC_CUT_H
#define MSAAS_FLAC_CUT_H

#include "msaas/media.h"

struct ms_flac_cut {
    struct ms_media_source whole;
    uint8_t *head;
    size_t head_bytes;
    int64_t body_at; /* in the whole, where the blocks begin that come along */
    int64_t frames;  /* of the whole */
    int64_t before;  /* frames of the whole that lie before those blocks */
};

/* `first` is in the first block of the cut: before <= first. Where it is past the end, the cut
 * is empty and only `frames` counts. The source is copied. MS_EUNSUPPORTED: the file's blocks have
 * more than one size, or it does not say how long it is; MS_EINPUT: it is no FLAC, or damaged; or
 * the source's errors. After a failure only _close is allowed. */
MS_MUST_CHECK int ms_flac_cut_open(struct ms_flac_cut *cut, const struct ms_media_source *whole,
                                   int64_t first, struct ms_error *err);
/* Borrows the cut. */
struct ms_media_source ms_flac_cut_source(struct ms_flac_cut *cut);
void ms_flac_cut_close(struct ms_flac_cut *cut); /* may be zero, or closed */

#endif
