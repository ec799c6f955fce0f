/* What both versions of the API do with jobs. */
#ifndef MSAAS_API_JOBS_H
#define MSAAS_API_JOBS_H

#include "caller.h"
#include "link.h"

struct ms_api_key;

/* `caller` is who asks: a job that it may not see (owner.h) is one that does not exist. */

/* Checks the request, stores the song and puts the job, which is the caller's, into the queue.
 * *now: the job as it is then; to be given to ms_job_fini. Adds the headers that tell of the
 * account's limits. key: of the request, zero or NULL where it has none; if it gets an answer, that
 * is the answer, and *now has nothing but the id. */
bool ms_api_accept(struct ms_api *api, const struct ms_http_call *call,
                   struct ms_song_request *request, struct ms_api_key *key, struct ms_job *now,
                   struct ms_problem *problem);
/* 404 also if id is not a valid id. *job is owned by the caller. */
bool ms_api_find(struct ms_api *api, const struct ms_account *caller, const char *id,
                 struct ms_job *job, struct ms_problem *problem);
/* The job that the path names first, for whoever asks. */
bool ms_api_find_asked(const struct ms_http_call *call, struct ms_job *job,
                       struct ms_problem *problem);
/* As ms_api_find. Where the queue does not know the job, but the store has its stem as MP3, *job
 * has that stem alone: a queue that lost its records loses no stems. */
bool ms_api_find_track(struct ms_api *api, const struct ms_account *caller, const char *id,
                       const char *stem, struct ms_job *job, struct ms_problem *problem);
/* Removes a job, or one stem of it (NULL: all), with its objects; a stem also where only the store
 * knows it. *gone: it is removed; otherwise it will be when its worker stops. */
bool ms_api_erase(struct ms_api *api, const struct ms_account *caller, const char *id,
                  const char *stem, bool *gone, struct ms_problem *problem);

#endif
