/* Stems that are gone from the store: removed by hand, or by the bucket's life-cycle rule. The
 * store is the truth, and the queue learns of it here: the job becomes expired, and is done again
 * when its song comes again. */
#ifndef MSAAS_API_EXPIRY_H
#define MSAAS_API_EXPIRY_H

#include "link.h"

/* A stem of the job was not found: has the job expire, and sets the problem that this is for a
 * client. Always false. */
bool ms_api_expire(struct ms_api_link *link, const struct ms_job *job, struct ms_problem *problem);
/* Looks for all stems of a succeeded job, and has it expire, in *job too, if one is certainly
 * gone. Returns whether the store could answer. */
bool ms_api_look_for_stems(struct ms_api_link *link, struct ms_job *job);
/* The same for requests that only show the job: looks at each job once in 10 s, and one job at a
 * time, so that polls cost little, and a store that hangs holds up no more than one of them. */
void ms_api_look_now_and_then(struct ms_api *api, struct ms_job *job);

#endif
