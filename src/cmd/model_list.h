/* Which models there are, as commands print them. */
#ifndef MSAAS_CMD_MODEL_LIST_H
#define MSAAS_CMD_MODEL_LIST_H

#include <stdbool.h>

#include "msaas/model.h"

/* Calls visit for every NAME.json in the models' folder, in order. */
MS_MUST_CHECK int ms_model_list_each(const char *folder,
                                     int (*visit)(void *context, const char *path,
                                                  struct ms_error *err),
                                     void *context, struct ms_error *err);
/* Prints those in the folder, then those that could be fetched into it. */
MS_MUST_CHECK int ms_model_list_print(const char *folder, bool json, struct ms_error *err);

/* "drums, bass" */
void ms_model_print_stems(const struct ms_model_info *info);
/* path: NULL for one that could be fetched */
void ms_model_print_json(const struct ms_model_info *info, const char *path);

#endif
