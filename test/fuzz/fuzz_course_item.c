/* Any bytes as an item of the course's list. What is taken can be stored, and written as an item
 * that is read as the same job; only blanks in the callback's data may differ. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/job.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct ms_job job, again;
    char id[MS_JOB_ID_HEX], *item = NULL, *stored = NULL;
    (void)ms_course_item_id((const char *)bytes, size, id);
    if (ms_course_item_read((const char *)bytes, size, &job, NULL) != 0)
        return 0;
    if (!ms_job_id_is_valid(job.id) || ms_job_options_check(&job.options, NULL) != 0 ||
        ms_course_item_write(&job, &item, NULL) != 0 ||
        !ms_course_item_id(item, strlen(item), id) || strcmp(id, job.id) != 0 ||
        ms_course_item_read(item, strlen(item), &again, NULL) != 0 ||
        strcmp(again.id, job.id) != 0 || strcmp(again.options.model, job.options.model) != 0 ||
        again.callbacks[0].version != job.callbacks[0].version ||
        (job.callbacks[0].url != NULL && strcmp(again.callbacks[0].url, job.callbacks[0].url) != 0))
        abort();
    ms_job_fini(&again);
    if (ms_job_to_json(&job, &stored, NULL) != 0 ||
        ms_job_from_json(stored, strlen(stored), &again, NULL) != 0 ||
        strcmp(again.song_key, job.song_key) != 0)
        abort();
    ms_job_fini(&again);
    ms_job_fini(&job);
    free(item);
    free(stored);
    return 0;
}
