/* One network's forward pass: normalised segments in, their sources out. For lanes.c and bench.
 *
 * A session belongs to one thread: everything it does (libtorch's operators included) runs on
 * the thread that calls it, with one thread of its own; sessions of one model may run at the
 * same time on different threads. */
#ifndef MSAAS_NETWORK_H
#define MSAAS_NETWORK_H

#include "msaas/err.h"
#include "msaas/model.h"

enum ms_stage {
    MS_STAGE_STFT,
    MS_STAGE_ENCODERS,
    MS_STAGE_TRANSFORMER,
    MS_STAGE_DECODERS,
    MS_STAGE_ISTFT,
    MS_STAGE_COUNT
};
extern const char *const ms_stage_names[MS_STAGE_COUNT];

/* First thing in a subcommand that runs networks, on the main thread while it is the only one: sets up the allocator. */
void ms_network_prepare_process(void);

struct ms_session;

MS_MUST_CHECK int ms_session_new(const struct ms_model *model, struct ms_session **out,
                                 struct ms_error *err);
void ms_session_free(struct ms_session *session);

/* A batch of `count` segments, 1 or more, in one pass: mix [count][2][segment_frames], normalised;
 * out [count][stem_count][2][segment_frames]. Both contiguous and the caller's: one transfer to a
 * GPU and one back. On the CPU a segment's values are the same, bit for bit, in any batch. */
MS_MUST_CHECK int ms_session_forward(struct ms_session *session, int network, int count,
                                     const float *mix, float *out, struct ms_error *err);

/* Seconds spent in each stage by all forwards of this session so far. */
void ms_session_stage_seconds(const struct ms_session *session, double seconds[MS_STAGE_COUNT]);

/* "1.13.1" and the like of the libtorch in use (loaded for it); "none". Static strings. */
const char *ms_network_libtorch_version(void);

#endif
