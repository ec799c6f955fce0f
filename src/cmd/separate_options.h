/* Options of `msaas separate` -> those of the pipeline. */
#ifndef MSAAS_CMD_SEPARATE_OPTIONS_H
#define MSAAS_CMD_SEPARATE_OPTIONS_H

#include "msaas/option.h"
#include "msaas/pipeline.h"

/* All that can be checked without the model. */
MS_MUST_CHECK int ms_separate_options_read(const struct ms_options *options,
                                           struct ms_pipeline_options *out, struct ms_error *err);
/* What depends on it: which stems, and how long a segment is. */
MS_MUST_CHECK int ms_separate_options_suit(const struct ms_options *options,
                                           const struct ms_model_info *info,
                                           struct ms_pipeline_options *out, struct ms_error *err);

#endif
