/* Names of results, from a template like "{track}/{stem}.{ext}". */
#ifndef MSAAS_CMD_NAMING_H
#define MSAAS_CMD_NAMING_H

#include "msaas/err.h"

struct ms_naming {
    const char *model, *track, *trackext, *stem, *ext;
};

/* *out: a relative path that never leaves its folder, whatever the values contain: no part of it is
 * empty, "." or "..". The caller frees it. MS_EUSAGE names the fault of the template. */
MS_MUST_CHECK int ms_naming_expand(const char *template, const struct ms_naming *values, char **out,
                                   struct ms_error *err);

#endif
