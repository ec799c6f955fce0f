/* Whose jobs a caller may know of. A job of another owner is answered in every way like a job that
 * does not exist, and is not even looked up, so that time tells nothing either. Pure; any thread.
 * caller NULL: there are no accounts, and everybody sees everything. */
#ifndef MSAAS_API_OWNER_H
#define MSAAS_API_OWNER_H

#include "msaas/account.h"
#include "msaas/job.h"

/* Whether the caller may know of the job: the one place that decides it. */
bool ms_api_may_see(const struct ms_account *caller, const struct ms_job *job);
/* The same before the job is looked up, from its id. */
bool ms_api_may_ask(const struct ms_account *caller, const char *id);
/* Whether the caller sees the jobs of all. */
bool ms_api_sees_all(const struct ms_account *caller);
/* Whether it is told who owns a job: those who see the jobs of all accounts. */
bool ms_api_shows_owner(const struct ms_account *caller);
/* The owner whose jobs alone the caller sees, "" for those without one; NULL: all. */
const char *ms_api_owner_seen(const struct ms_account *caller);

#endif
