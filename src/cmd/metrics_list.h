/* See metrics_list.c. */
#ifndef MSAAS_CMD_METRICS_LIST_H
#define MSAAS_CMD_METRICS_LIST_H

#include "msaas/metrics.h"

extern struct ms_metric *const ms_cmd_metrics[]; /* NULL ends it */

#endif
