/* Stems by their names: which of a model's it is, and how an output is called. Pure; any thread. */
#ifndef MSAAS_STEM_H
#define MSAAS_STEM_H

#include <stddef.h>

#include "msaas/err.h"

#define MS_STEM_NAME_BYTES 32
#define MS_STEM_LABEL_BYTES 48

/* The index of the stem `name` (`length` bytes of it) among those of the model. MS_EUSAGE
 * (negative), with a text that lists what there is. */
MS_MUST_CHECK int ms_stem_find(const char (*stems)[MS_STEM_NAME_BYTES], int count, const char *name,
                               size_t length, struct ms_error *err);

enum ms_stem_part {
    MS_STEM_ITSELF,
    MS_STEM_OTHERS,   /* the other stems added: "no_vocals" */
    MS_STEM_MIX_MINUS /* the mix minus the stem: "minus_vocals" */
};
/* The label of an output: part of its file's name and of its URL. */
void ms_stem_label(enum ms_stem_part part, const char *stem, char label[MS_STEM_LABEL_BYTES]);

#endif
