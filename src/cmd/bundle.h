/* Stems that do not become files of their own: one song's as a zip, or one stem or the zip on
 * standard output. They are separated into a folder that exists for this alone. */
#ifndef MSAAS_CMD_BUNDLE_H
#define MSAAS_CMD_BUNDLE_H

#include "msaas/pipeline.h"

struct ms_bundle {
    bool zip;
    int output;   /* standard output; -1: the zips are files */
    char *folder; /* of the stems while they are separated; NULL: not made yet */
};

/* Makes the folder, in `parent`, which exists. */
MS_MUST_CHECK int ms_bundle_open(struct ms_bundle *bundle, const char *parent,
                                 struct ms_error *err);
/* Paths in it for these outputs, which the caller frees. */
MS_MUST_CHECK int ms_bundle_place(const struct ms_bundle *bundle, const char *extension,
                                  struct ms_pipeline_output *outputs, int count,
                                  struct ms_error *err);
/* Packs the finished outputs and removes them. track: of the song, after which the folder in a zip
 * is called. path: of the zip, where it is a file; it stands there whole or not at all. */
MS_MUST_CHECK int ms_bundle_send(const struct ms_bundle *bundle,
                                 const struct ms_pipeline_output *outputs, int count,
                                 const char *track, const char *path, struct ms_error *err);
/* Removes the folder. */
void ms_bundle_close(struct ms_bundle *bundle);

#endif
