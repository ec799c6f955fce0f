/* What the files of the folder's backend share: fs.c does all but the walk through folders. */
#ifndef MSAAS_STORE_FS_H
#define MSAAS_STORE_FS_H

#include "store_ops.h"

/* A page of a list, as ms_store_list has it. */
struct ms_fs_list {
    const char *prefix, *after;
    int max;
    struct ms_object_entry *entries;
    int *count;
};
/* Adds the objects in the folder, and in those in it, to the page, in the order of their keys.
 * Takes the descriptor `folder`. path: the folder's part of the keys, "" or with a slash at its
 * end. */
MS_MUST_CHECK int ms_fs_list_folder(const struct ms_fs_list *list, int folder, const char *path,
                                    struct ms_error *err);

#endif
