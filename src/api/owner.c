/* See owner.h. */
#include "owner.h"

#include <string.h>

bool ms_api_sees_all(const struct ms_account *caller) {
    return caller == NULL || (caller->scopes & MS_SCOPE_ADMIN) != 0;
}

bool ms_api_shows_owner(const struct ms_account *caller) {
    return caller != NULL && ms_api_sees_all(caller);
}

const char *ms_api_owner_seen(const struct ms_account *caller) {
    return ms_api_sees_all(caller) ? NULL : caller->name;
}

bool ms_api_may_ask(const struct ms_account *caller, const char *id) {
    char mark[MS_OWNER_MARK_BYTES];
    if (!ms_job_id_is_valid(id))
        return false;
    return ms_api_sees_all(caller) ||
           (ms_owner_mark(caller->name, mark, NULL) == 0 && ms_job_id_has_mark(id, mark));
}

bool ms_api_may_see(const struct ms_account *caller, const struct ms_job *job) {
    return ms_api_may_ask(caller, job->id) &&
           (ms_api_sees_all(caller) || strcmp(caller->name, job->owner) == 0);
}
