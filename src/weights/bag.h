/* Bags of networks as upstream describes them, NAME.yaml: which networks ("models", by signature),
 * with which weight for each stem ("weights"), and "segment". */
#ifndef MSAAS_WEIGHTS_BAG_H
#define MSAAS_WEIGHTS_BAG_H

#include <stddef.h>

#include "msaas/manifest.h"

/* Reads the part of YAML that bags are written in: keys at the left margin with scalars or lists of
 * either style, and comments. Fills networks, weights (stem_count: how many each network has; 0:
 * there are none) and segment_s. MS_EMODEL: the text names the line, also of a key that is not
 * known. */
MS_MUST_CHECK int ms_bag_parse(const char *text, size_t size, struct ms_manifest *out,
                               struct ms_error *err);

#endif
