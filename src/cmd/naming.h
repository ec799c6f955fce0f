/* Names of results, from a template like "{track}/{stem}.{ext}". */
#ifndef MSAAS_CMD_NAMING_H
#define MSAAS_CMD_NAMING_H

#include "msaas/err.h"

struct ms_naming {
    const char *model, *track, *trackext, *stem, *ext;
};

/* A path below some folder: *out (the caller's to free) never leaves it, whatever the values hold:
 * no part of it is empty, "." or "..". MS_EUSAGE names the fault. */
MS_MUST_CHECK int ms_naming_expand(const char *template, const struct ms_naming *values, char **out,
                                   struct ms_error *err);

#endif
