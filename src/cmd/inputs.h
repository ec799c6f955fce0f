/* The songs that a command line names: files, and the files in folders. */
#ifndef MSAAS_CMD_INPUTS_H
#define MSAAS_CMD_INPUTS_H

#include <stdbool.h>
#include <sys/stat.h>

#include "msaas/err.h"

struct ms_input {
    char *path;
    /* the name of the file without its extension; for a file in a named folder, with the folders
     * between */
    char *track;
    char *extension; /* without the dot; "" if there is none */
    dev_t device;    /* device and inode tell whether two names are the same file */
    ino_t inode;
};

struct ms_inputs {
    struct ms_input *items;
    int count, capacity;
    /* Called for every file that cannot be used; the others go on. */
    void (*refused)(void *context, const char *path, const struct ms_error *err);
    void *context;
};

/* Adds a file; with `recursive` also the files in a folder whose extension is that of audio or
 * video, sorted, without hidden files and links to folders. skip: a folder that is left out,
 * because results go there (NULL: none). Fails only if memory runs out or there are too many
 * files. */
MS_MUST_CHECK int ms_inputs_add(struct ms_inputs *inputs, const char *path, bool recursive,
                                const struct stat *skip, struct ms_error *err);
void ms_inputs_clear(struct ms_inputs *inputs);

#endif
