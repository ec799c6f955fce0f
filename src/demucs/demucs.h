/* Demucs v4, hybrid transformer (https://github.com/facebookresearch/demucs): the family. */
#ifndef MSAAS_DEMUCS_DEMUCS_H
#define MSAAS_DEMUCS_DEMUCS_H

#include "msaas/network.h"

/* See ms_network_open. */
MS_MUST_CHECK int ms_demucs_open(const char *path, const char *device, enum ms_precision precision,
                                 struct ms_network **out, struct ms_error *err);

#endif
