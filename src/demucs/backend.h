/* What computes networks, behind a table of functions: the library libmsaas_torch.so (src/tensor,
 * network). It is loaded when the first network is made, so that commands which run none neither
 * load libtorch (160 MB, a second) nor need it installed.
 *
 * Nothing of libtorch crosses this line, and no exception. */
#ifndef MSAAS_DEMUCS_BACKEND_H
#define MSAAS_DEMUCS_BACKEND_H

#include "msaas/network.h"
#include "msaas/weights.h"

struct ms_member; /* one network of a model, ready to run: immutable, shared by threads */

struct ms_runner; /* runs networks on one thread; owns their activations */

struct ms_backend {
    const char *(*version)(void);
    /* The precision that a network on this device computes in when `asked` is asked for; never
     * AUTO. MS_EUNSUPPORTED, MS_EUSAGE: there is no such device. */
    int (*resolve)(const char *device, enum ms_precision asked, enum ms_precision *out,
                   struct ms_error *err);
    /* hyper: has passed ms_hyper_check; weights: ms_weights_check. precision: as `resolve` gave
     * it. The member keeps nothing of the arguments. */
    int (*member_new)(const struct ms_hyper *hyper, const struct ms_weights *weights,
                      const char *device, enum ms_precision precision, struct ms_member **out,
                      struct ms_error *err);
    void (*member_free)(struct ms_member *member); /* NULL is fine */
    /* On the device of `like`, for the calling thread. */
    int (*runner_new)(const struct ms_member *like, struct ms_runner **out, struct ms_error *err);
    void (*runner_free)(struct ms_runner *runner); /* NULL is fine */
    /* See struct ms_network_ops. */
    int (*forward)(struct ms_runner *runner, const struct ms_member *member, int count,
                   const float *mix, float *out, double seconds[MS_STAGE_COUNT],
                   struct ms_error *err);
};

/* Defined by the library under this name. */
extern const struct ms_backend ms_torch_backend;

/* Loads the library at the first call; any thread. MS_EUNSUPPORTED: it is not there or does not
 * fit. */
MS_MUST_CHECK int ms_backend_open(const struct ms_backend **out, struct ms_error *err);

#endif
