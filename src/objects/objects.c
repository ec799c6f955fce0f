/* See objects.h. Between a job's names (job) and the store. Owns nothing. */
#include "msaas/objects.h"

#include <stdio.h>

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
    return remove_all(store, prefix, err);
}

int ms_objects_remove(struct ms_store *store, const struct ms_job *job, struct ms_error *err) {
    const int rc = ms_objects_remove_song(store, job, err);
    return rc == 0 ? ms_objects_remove_stems(store, job, err) : rc;
}
