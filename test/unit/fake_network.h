/* A stand-in for the network: libtorch takes seconds where these tests want thousands of segments.
 *
 * It fills struct ms_network. What it computes depends on where in the window a sample lies and on
 * the other channel, so that a window one frame off is seen. */
#ifndef MSAAS_TEST_FAKE_NETWORK_H
#define MSAAS_TEST_FAKE_NETWORK_H

#include <stdatomic.h>

#include "msaas/network.h"

struct fake_network {
    struct ms_network network;
    bool plain; /* stem s is the mix, s + 1 times, and nothing else */
    atomic_int forwards[MS_MODEL_MAX_MEMBERS]; /* how often each was run, on a batch */
    atomic_int sessions;                       /* alive */
    int fail_forward; /* number of the forward that fails, from 1; 0: none */
    int fail_session; /* likewise of the session that cannot be made */
    atomic_int forwards_begun, sessions_begun;
    bool float32_only; /* whatever it is asked for */
    bool open;
    int opens;     /* so far */
    int fail_open; /* number of the opening that fails, from 1; 0: none */
    void (*on_forward)(void *context, int number); /* may be NULL; called on the lanes' threads */
    void *on_forward_context;
};

/* What fake_open opens, by whatever path. It refuses to be opened twice at a time. */
extern struct fake_network *fake_on_disk;
int fake_open(const char *path, const char *device, enum ms_precision precision,
              struct ms_network **out, struct ms_error *err);

/* `stems` stems called "drums", "bass", "other", "vocals", ..., one member for all of them. */
void fake_init(struct fake_network *fake, int sample_rate_hz, int segment_frames, int stems);

/* The network itself, of one segment: mix [2][frames] -> out [stem_count][2][frames]. */
void fake_forward(const struct fake_network *fake, int member, const float *mix, float *out);

#endif
