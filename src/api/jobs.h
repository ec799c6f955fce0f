/* What both versions of the API do with jobs. */
#ifndef MSAAS_API_JOBS_H
#define MSAAS_API_JOBS_H

#include "link.h"

/* Checks the request, stores the song, puts the job into the queue. *now: the job as it is then,
 * the caller's to ms_job_fini. */
bool ms_api_accept(struct ms_api *api, struct ms_song_request *request, struct ms_job *now,
                   struct ms_problem *problem);
/* 404 for what is no id as well. *job is the caller's. */
bool ms_api_find(struct ms_api *api, const char *id, struct ms_job *job,
                 struct ms_problem *problem);
/* The job, or one stem of it (NULL: all), with its objects. *gone: at once; else when its worker
 * lets go of it. */
bool ms_api_erase(struct ms_api *api, const char *id, const char *stem, bool *gone,
                  struct ms_problem *problem);

#endif
