/* Any bytes as a stored job. What is taken can be shown, stored, and read again as the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/job.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct ms_job job;
    if (ms_job_from_json((const char *)bytes, size, &job, NULL) != 0)
        return 0;
    struct ms_job again;
    char *first = NULL, *second = NULL, *shown = NULL;
    if (ms_job_to_public_json(&job, false, &shown, NULL) != 0 ||
        ms_job_to_json(&job, &first, NULL) != 0 ||
        ms_job_from_json(first, strlen(first), &again, NULL) != 0 ||
        ms_job_to_json(&again, &second, NULL) != 0 || strcmp(first, second) != 0)
        abort();
    ms_job_fini(&job);
    ms_job_fini(&again);
    free(first);
    free(second);
    free(shown);
    return 0;
}
