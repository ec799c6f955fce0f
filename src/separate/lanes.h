/* Lanes: threads with a session each, and the segments in flight between them and separate.c.
 *
 * The caller claims a slot, fills its window and submits it; any lane runs it, in one forward with
 * those next to it; the caller collects slots in the order in which it submitted them. One caller
 * thread.
 *
 * A lane begins when a full batch waits, or when a fuller one cannot come because the caller has
 * flushed or waits to collect. A caller that submits all slots that it can claim before it collects
 * gets full batches, except a song's last. */
#ifndef MSAAS_SEPARATE_LANES_H
#define MSAAS_SEPARATE_LANES_H

#include <stdatomic.h>
#include <stdbool.h>

#include "grid.h"
#include "msaas/err.h"
#include "msaas/network.h"

#define MS_LANES_MAX 256
#define MS_BATCH_MAX 64

struct ms_slot {
    struct ms_chunk chunk; /* the caller's note */
    float *window;         /* [2][segment_frames of the model], normalised */
    /* [stem_count][2][segment_frames of the model]; stems that are not wanted are undefined */
    float *stems;
    bool done;           /* guarded by the lanes' lock, as is what follows */
    struct ms_error err; /* code 0: the stems are good */
};

struct ms_lanes;

/* Returns when every lane has its session. batch: segments of a forward, at most. */
MS_MUST_CHECK int ms_lanes_new(struct ms_network *network, int lanes, int batch,
                               struct ms_lanes **out, struct ms_error *err);
void ms_lanes_free(struct ms_lanes *lanes);
int ms_lanes_count(const struct ms_lanes *lanes);
/* How many slots may be in flight: a batch for each lane, and one more to fill ahead. */
int ms_lanes_slots(const struct ms_lanes *lanes);

/* Chooses the stems that the next segments give. Nothing may be in flight. MS_EMODEL: no network
 * serves a wanted stem. */
MS_MUST_CHECK int ms_lanes_want(struct ms_lanes *lanes, const bool *wanted, struct ms_error *err);

/* The slot to fill next, NULL while all are in flight. */
struct ms_slot *ms_lanes_claim(struct ms_lanes *lanes);
void ms_lanes_submit(struct ms_lanes *lanes); /* the slot claimed last */
/* runs what was submitted, also in a batch that is not full */
void ms_lanes_flush(struct ms_lanes *lanes);
/* Of the slots in flight the one submitted first, without waiting; NULL: there is none. Its chunk
 * may be read. */
const struct ms_slot *ms_lanes_oldest(const struct ms_lanes *lanes);
/* Waits until that slot is done. Returns its error, or MS_ECANCELED once *cancel (may be NULL) is
 * true. */
MS_MUST_CHECK int ms_lanes_collect(struct ms_lanes *lanes, const atomic_bool *cancel,
                                   struct ms_slot **out, struct ms_error *err);
void ms_lanes_release(struct ms_lanes *lanes); /* the slot collected last */

/* Drops what has not begun and waits for forwards in progress. Afterwards nothing is in flight. */
void ms_lanes_drain(struct ms_lanes *lanes);

#endif
