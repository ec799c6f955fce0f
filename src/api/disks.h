/* The disks of this machine that the service writes to. */
#ifndef MSAAS_API_DISKS_H
#define MSAAS_API_DISKS_H

#include "link.h"

/* Whether each of them has space. Sets the metric. */
bool ms_api_has_space(struct ms_api *api, struct ms_problem *problem);

#endif
