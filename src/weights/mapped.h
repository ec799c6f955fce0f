/* A whole file, mapped read-only. */
#ifndef MSAAS_WEIGHTS_MAPPED_H
#define MSAAS_WEIGHTS_MAPPED_H

#include <stddef.h>
#include <stdint.h>

#include "msaas/err.h"

struct ms_mapped {
    const uint8_t *bytes; /* NULL when not mapped, or empty */
    size_t size;
};

/* Regular files of at most max_bytes only. MS_ENOTFOUND, MS_EIO, MS_ETOOLARGE; the text names the
 * file. The file must not shrink while it is mapped: model files are only ever replaced by
 * renaming. */
MS_MUST_CHECK int ms_mapped_open(struct ms_mapped *mapped, const char *path, int64_t max_bytes,
                                 struct ms_error *err);
/* Gives back the memory of the pages read so far. Reading them again takes them from the page
 * cache. */
void ms_mapped_rest(const struct ms_mapped *mapped);
/* Accepts a struct of zeros. */
void ms_mapped_close(struct ms_mapped *mapped);

#endif
