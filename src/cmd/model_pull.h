/* The way of a published model to this machine. */
#ifndef MSAAS_CMD_MODEL_PULL_H
#define MSAAS_CMD_MODEL_PULL_H

#include "msaas/manifest.h"
#include "msaas/option.h"

/* Downloads the model from its publisher, or from --url, checks it and imports it into the folder.
 * With --via-store it is had from the store, if that has a good one; else one of all that ask at
 * the same time downloads it and puts it there, and the others wait. */
MS_MUST_CHECK int ms_model_pull(const struct ms_options *options, const char *folder,
                                const struct ms_manifest *manifest, struct ms_model_info *info,
                                struct ms_error *err);

#endif
