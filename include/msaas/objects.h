/* The objects of a job in the store, all of them, whoever put them there: the song under each of
 * its names, the stems in the format that was asked for and in any other, what is kept of them, and
 * the pieces of its preview.
 * Runs on the caller's thread; waits for the store. Errors are the store's; what was removed until
 * then stays removed, and each call may be repeated. */
#ifndef MSAAS_OBJECTS_H
#define MSAAS_OBJECTS_H

#include "msaas/job.h"
#include "msaas/store.h"

/* The song first: who finds the stems gone may send it again, and it stays. */
MS_MUST_CHECK int ms_objects_remove(struct ms_store *store, const struct ms_job *job,
                                    struct ms_error *err);
MS_MUST_CHECK int ms_objects_remove_song(struct ms_store *store, const struct ms_job *job,
                                         struct ms_error *err);
MS_MUST_CHECK int ms_objects_remove_stems(struct ms_store *store, const struct ms_job *job,
                                          struct ms_error *err);
/* What clients may hear while the job is at work. */
MS_MUST_CHECK int ms_objects_remove_previews(struct ms_store *store, const struct ms_job *job,
                                             struct ms_error *err);
/* Removes what workers that were killed left of previews: pieces of any job that are so old. *count
 * is set in any case. */
MS_MUST_CHECK int ms_objects_sweep_previews(struct ms_store *store, int64_t age_ms, int *count,
                                            struct ms_error *err);
/* All that is made of one stem. */
MS_MUST_CHECK int ms_objects_remove_stem(struct ms_store *store, const struct ms_job *job,
                                         const char *stem, struct ms_error *err);

#endif
