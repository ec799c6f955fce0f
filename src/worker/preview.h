/* The beginnings of stems for those who listen before the job is done: each complete piece
 * (MS_PREVIEW_PIECE_S) of every output is put into the store as 16-bit FLAC while the separation
 * goes on, by a thread of its own; when all outputs have it, the lease tells the queue.
 *
 * It never fails a job and never waits: where the store fails, or is so slow that too much waits to
 * be put, the preview ends there. All functions are called on the worker's thread, and accept NULL,
 * which previews nothing. */
#ifndef MSAAS_WORKER_PREVIEW_H
#define MSAAS_WORKER_PREVIEW_H

#include "lease.h"
#include "msaas/job.h"
#include "msaas/pipeline.h"
#include "msaas/store.h"
#include "outage.h"

struct ms_preview_options {
    struct ms_store_options store; /* its `cancel` is not used */
    struct ms_outage *store_outage;
    struct ms_lease *lease;
    double seconds; /* of each stem, rounded up to whole pieces */
};

struct ms_preview;
MS_MUST_CHECK int ms_preview_new(const struct ms_preview_options *options, struct ms_preview **out,
                                 struct ms_error *err);
/* Gives removals that wait a few seconds, then ends the thread. */
void ms_preview_free(struct ms_preview *preview);

/* The job's song has so many frames, and blocks of its outputs will come. A song that is no longer
 * than a piece is not previewed: its stems are there as soon. */
void ms_preview_begin(struct ms_preview *preview, const struct ms_job *job,
                      const struct ms_pipeline_output *outputs, int output_count, int rate_hz,
                      int64_t song_frames);
/* The next block of an output, the outputs in turn. Copies what it needs. */
void ms_preview_hear(struct ms_preview *preview, int output,
                     const float *const planes[MS_AUDIO_CHANNELS], size_t frames);
/* Nothing more is put, and nothing is being put. True: pieces may lie in the store. Does nothing
 * when there was no _begin. */
bool ms_preview_end(struct ms_preview *preview);
/* Removes a job's pieces from the store, some time later. */
void ms_preview_remove(struct ms_preview *preview, const struct ms_job *job);

#endif
