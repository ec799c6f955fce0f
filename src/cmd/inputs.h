/* The songs that a command line asks for: its files, and those in its folders. */
#ifndef MSAAS_CMD_INPUTS_H
#define MSAAS_CMD_INPUTS_H

#include <stdbool.h>
#include <sys/stat.h>

#include "msaas/err.h"

struct ms_input {
    char *path;
    /* the file's name without its extension; in folders with the folders below the one given */
    char *track;
    char *extension; /* without the dot; "" when there is none */
    dev_t device;    /* device and inode say which of two names are one file */
    ino_t inode;
};

struct ms_inputs {
    struct ms_input *items;
    int count, capacity;
    /* Whatever cannot be used is told here, and the rest goes on. */
    void (*refused)(void *context, const char *path, const struct ms_error *err);
    void *context;
};

/* Adds a file, or with `recursive` the files of a folder that look like audio or video by their
 * extension, sorted, hidden ones and links to folders left out. `skip`: a folder not to enter,
 * where results go (NULL: none). Only running out of memory or numbers is an error. */
MS_MUST_CHECK int ms_inputs_add(struct ms_inputs *inputs, const char *path, bool recursive,
                                const struct stat *skip, struct ms_error *err);
void ms_inputs_clear(struct ms_inputs *inputs);

#endif
