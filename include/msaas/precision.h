/* In what a network computes, as users, jobs and models name it. One place for the names: every
 * door uses these. */
#ifndef MSAAS_PRECISION_H
#define MSAAS_PRECISION_H

#include "msaas/err.h"

enum ms_precision {
    MS_PRECISION_AUTO, /* the backend's choice for the device; of a job: its worker's */
    MS_PRECISION_FLOAT32,
    MS_PRECISION_BF16,
};

const char *ms_precision_name(enum ms_precision precision); /* "auto", "float32", "bf16" */
/* MS_EUSAGE with a text that says what there is; *out is then left as it was. */
MS_MUST_CHECK int ms_precision_parse(const char *name, enum ms_precision *out,
                                     struct ms_error *err);

#endif
