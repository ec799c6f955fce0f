/* How jobs are watched: by looking again and again, for all who listen together not too often. */
#ifndef MSAAS_API_EVENTS_H
#define MSAAS_API_EVENTS_H

#include "link.h"

/* Between two looks at the job of one who listens. The more listen (api->listeners), the longer. */
int ms_api_look_ms(const struct ms_api *api);

#endif
