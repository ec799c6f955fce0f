/* A network that separates: the seam between `separate`, which cuts songs into segments, and a
 * family of networks, which turns a segment into its stems. ms_network_open chooses the family:
 * today there is one, Demucs v4. A test's stand-in fills the struct by itself.
 *
 * A model is one network or a bag of several, its members, each with a weight for every stem
 * (htdemucs_ft). What runs them is a session: it belongs to one thread, and everything that it does
 * runs on that thread. Sessions of one network may run at the same time on different threads. */
#ifndef MSAAS_NETWORK_H
#define MSAAS_NETWORK_H

#include "msaas/err.h"
#include "msaas/model.h"
#include "msaas/precision.h"

enum ms_stage {
    MS_STAGE_STFT,
    MS_STAGE_ENCODERS,
    MS_STAGE_TRANSFORMER,
    MS_STAGE_DECODERS,
    MS_STAGE_ISTFT,
    MS_STAGE_COUNT
};
extern const char *const ms_stage_names[MS_STAGE_COUNT];

struct ms_network;
struct ms_session; /* the family's own */

struct ms_network_ops {
    /* Frees the network; its sessions are freed before. */
    void (*free)(struct ms_network *network);
    /* Called on the session's thread. */
    int (*session_new)(struct ms_network *network, struct ms_session **out, struct ms_error *err);
    void (*session_free)(struct ms_session *session); /* NULL is fine */
    /* `count` segments, 1 or more, in one pass of one member: mix [count][2][segment_frames],
     * normalised; out [count][stem_count][2][segment_frames]. Both contiguous and the caller's.
     * On the CPU a segment's values are the same, bit for bit, in any batch. Adds to `seconds`
     * what each stage took. */
    int (*forward)(struct ms_session *session, int member, int count, const float *mix, float *out,
                   double seconds[MS_STAGE_COUNT], struct ms_error *err);
};

/* A family's own object begins with this one. Immutable once opened; shared by any number of
 * threads. */
struct ms_network {
    const struct ms_network_ops *ops;
    struct ms_model_info info;
    enum ms_precision precision; /* what it computes in: never AUTO */
    const char *libtorch;        /* the version in use, "1.13.1"; static */
};

/* Opens `path`: NAME.json, or a folder that holds exactly one. The weights are mapped and checked
 * as ms_model_verify does. device: "cpu", "cuda", "cuda:N"; MS_EUNSUPPORTED where this build or
 * machine has none. precision: what is asked for; the network tells what came of it. */
MS_MUST_CHECK int ms_network_open(const char *path, const char *device, enum ms_precision precision,
                                  struct ms_network **out, struct ms_error *err);
void ms_network_free(struct ms_network *network); /* NULL is fine */

#endif
