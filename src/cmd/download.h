/* An answer of the server -> a file, which has its name only when it is complete. */
#ifndef MSAAS_CMD_DOWNLOAD_H
#define MSAAS_CMD_DOWNLOAD_H

#include "client.h"

struct ms_download {
    const char *path;   /* on the server, with its query */
    const char *label;  /* of the progress bar, and in messages */
    const char *file;   /* over what stands there; "-": standard output */
    int64_t bytes;      /* < 0: not known */
    int patience_s;     /* for the server to make it before the first byte comes; 0: 30 */
    const char *sha256; /* NULL: not known */
};
/* An error of the server is told in its words. MS_ECORRUPT: the bytes are others than was said. */
MS_MUST_CHECK int ms_client_download(struct ms_client *client, const struct ms_download *download,
                                     struct ms_error *err);

#endif
