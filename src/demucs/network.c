/* See network.h. The one place that knows which families there are. Owns nothing; any thread. */
#include "msaas/network.h"

#include "demucs.h"

const char *const ms_stage_names[MS_STAGE_COUNT] = {"stft", "encoders", "transformer", "decoders",
                                                    "istft"};

int ms_network_open(const char *path, const char *device, enum ms_precision precision,
                    struct ms_network **out, struct ms_error *err) {
    return ms_demucs_open(path, device, precision, out, err);
}

void ms_network_free(struct ms_network *network) {
    if (network != NULL)
        network->ops->free(network);
}
