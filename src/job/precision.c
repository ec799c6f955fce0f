/* The names of precisions. Owns nothing; any thread. */
#include "msaas/precision.h"

#include <string.h>

static const char *const names[] = {
    [MS_PRECISION_AUTO] = "auto",
    [MS_PRECISION_FLOAT32] = "float32",
    [MS_PRECISION_BF16] = "bf16",
};
enum { COUNT = sizeof names / sizeof *names };

const char *ms_precision_name(enum ms_precision precision) {
    return (unsigned)precision < COUNT ? names[precision] : "unknown";
}

int ms_precision_parse(const char *name, enum ms_precision *out, struct ms_error *err) {
    for (unsigned i = 0; i < COUNT; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (enum ms_precision)i;
            return 0;
        }
    }
    return ms_error_set(err, MS_EUSAGE, "float32, bf16 or auto, not \"%.40s\"", name);
}
