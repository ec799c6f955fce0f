/* See objects.h. Between a job's names (job) and the store. Owns nothing. */
#include "msaas/objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/sys.h"

#define SWEEP_PAGE 100

int ms_objects_remove_song(struct ms_store *store, const struct ms_job *job, struct ms_error *err) {
    char key[MS_JOB_SONG_KEY_BYTES];
    int rc = 0;
    for (int name = 0; rc == 0 && name < MS_JOB_SONG_NAMES; name++) {
        if (!ms_job_song_key(job, (enum ms_job_song_name)name, key))
            continue;
        rc = ms_store_remove(store, MS_BUCKET_SONGS, key, err);
        if (rc == MS_EUSAGE) /* another program's name, which can be none */
            rc = 0;
    }
    return rc;
}

/* All keys of stems that begin with this, and those of what is kept. */
static int remove_all(struct ms_store *store, const char *prefix, struct ms_error *err) {
    char kept[sizeof MS_JOB_KEPT_FOLDER + MS_JOB_KEY_MAX];
    (void)snprintf(kept, sizeof kept, MS_JOB_KEPT_FOLDER "%s", prefix);
    const int rc = ms_store_remove_all(store, MS_BUCKET_STEMS, prefix, err);
    return rc == 0 ? ms_store_remove_all(store, MS_BUCKET_STEMS, kept, err) : rc;
}

int ms_objects_remove_stem(struct ms_store *store, const struct ms_job *job, const char *stem,
                           struct ms_error *err) {
    char prefix[MS_JOB_KEY_MAX];
    (void)snprintf(prefix, sizeof prefix, "%s-%s.", job->id, stem);
    return remove_all(store, prefix, err);
}

int ms_objects_remove_stems(struct ms_store *store, const struct ms_job *job,
                            struct ms_error *err) {
    char prefix[MS_JOB_KEY_MAX];
    (void)snprintf(prefix, sizeof prefix, "%s-", job->id);
    const int rc = remove_all(store, prefix, err);
    return rc == 0 ? ms_objects_remove_previews(store, job, err) : rc;
}

int ms_objects_remove_previews(struct ms_store *store, const struct ms_job *job,
                               struct ms_error *err) {
    char folder[MS_JOB_KEY_MAX];
    (void)snprintf(folder, sizeof folder, MS_JOB_PREVIEW_FOLDER "%s", job->id);
    return ms_store_remove_all(store, MS_BUCKET_STEMS, folder, err);
}

int ms_objects_sweep_previews(struct ms_store *store, int64_t age_ms, int *count,
                              struct ms_error *err) {
    const int64_t until_ms = ms_unix_ms() - age_ms;
    struct ms_object_entry *page = calloc(SWEEP_PAGE, sizeof *page);
    char after[MS_STORE_KEY_BYTES] = "";
    int rc = 0;
    *count = 0;
    if (page == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory to remove objects");
    for (int found = 1; rc == 0 && found > 0;) {
        rc = ms_store_list(store, MS_BUCKET_STEMS, MS_JOB_PREVIEW_FOLDER, after, SWEEP_PAGE, page,
                           &found, err);
        for (int i = 0; rc == 0 && i < found; i++) {
            memcpy(after, page[i].key, sizeof after);
            if (page[i].modified_ms > until_ms)
                continue;
            rc = ms_store_remove(store, MS_BUCKET_STEMS, after, err);
            *count += rc == 0;
        }
    }
    free(page);
    return rc;
}

int ms_objects_remove(struct ms_store *store, const struct ms_job *job, struct ms_error *err) {
    const int rc = ms_objects_remove_song(store, job, err);
    return rc == 0 ? ms_objects_remove_stems(store, job, err) : rc;
}
