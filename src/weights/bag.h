/* Bags of networks as upstream describes them, NAME.yaml: which networks ("models", by signature),
 * with which weight for each stem ("weights"), and "segment". */
#ifndef MSAAS_WEIGHTS_BAG_H
#define MSAAS_WEIGHTS_BAG_H

#include <stddef.h>

#include "msaas/manifest.h"

/* Fills networks, weights (stem_count: how many each network has; 0: there are none) and segment_s.
 * MS_EMODEL: the text names the line, also of a key that is not known. Aliases are refused. */
MS_MUST_CHECK int ms_bag_parse(const char *text, size_t size, struct ms_manifest *out,
                               struct ms_error *err);

#endif
