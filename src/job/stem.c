/* See stem.h. */
#include "msaas/stem.h"

#include <stdio.h>
#include <string.h>

int ms_stem_find(const char (*stems)[MS_STEM_NAME_BYTES], int count, const char *name,
                 size_t length, struct ms_error *err) {
    char known[600] = "";
    size_t used = 0;
    for (int i = 0; i < count; i++) {
        if (strlen(stems[i]) == length && strncmp(stems[i], name, length) == 0)
            return i;
        if (used < sizeof known)
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "",
                                     stems[i]);
    }
    return ms_error_set(err, MS_EUSAGE, "the model has no stem \"%.*s\"; it has %s",
                        length < 60 ? (int)length : 60, name, known);
}

void ms_stem_label(enum ms_stem_part part, const char *stem, char label[MS_STEM_LABEL_BYTES]) {
    static const char *const prefixes[] = {
        [MS_STEM_ITSELF] = "", [MS_STEM_OTHERS] = "no_", [MS_STEM_MIX_MINUS] = "minus_"};
    (void)snprintf(label, MS_STEM_LABEL_BYTES, "%s%s", prefixes[part], stem);
}
