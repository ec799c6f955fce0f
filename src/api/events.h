/* How jobs are watched: by looking again and again, for all who listen together not too often. */
#ifndef MSAAS_API_EVENTS_H
#define MSAAS_API_EVENTS_H

#include "link.h"

/* Of whoever listens, between two looks at its job. The more listen (api->listeners), the longer. */
int ms_api_look_ms(const struct ms_api *api);

#endif
